#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Restart what is broken of the mesh, and nothing else."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_recovery
short_description: Restart what is broken of the mesh, and nothing else
version_added: 0.1.0
description:
  - Probes the edges of the matrix as M(bookstore.platform.mesh_probe) does, from pods that are there and from probe pods on the nodes of
    those for which they stand, and looks for pods outside the mesh.
  - Where edges are broken it restarts, one after another, a node proxy that all of them share (ambient mode only) or of which no edge
    holds, istio-cni of a node that starts no pod of the mesh, istiod, the gateway if a broken edge touches it, and at last the pods of
    broken edges, one workload at a time. After each step the broken edges are probed again; it ends as soon as they hold.
  - Edges that stay broken are a warning (BK-490), for whatever runs next may mend them; M(bookstore.platform.platform_verify) judges.
options:
  matrix:
    description: Rows of the authorization matrix, as C(bookstore_edges) in the inventory.
    type: list
    elements: dict
    required: true
  probe_from:
    description: A workload, C(<namespace>/<name>), whose image holds python3. Without a pod of it nothing is probed.
    type: str
    required: true
  exec_sources:
    description: Sources whose own pods hold python3; their calls are made there.
    type: list
    elements: str
    default: []
  outsider:
    description: A namespace whose pods may reach none of the destinations.
    type: str
    default: storefront
  gateway:
    description: Account of the gateway's pods, C(<namespace>/<service account>).
    type: str
    default: gateway/bookstore-gateway-istio
  order:
    description: Patterns of workload names; of workloads that are suspected alike, what fits an earlier one is restarted first.
    type: list
    elements: str
    default: []
  settle:
    description: Seconds that pods which start may make no progress before it is probed.
    type: float
    default: 45.0
  ready:
    description: Seconds that what was restarted may take to be ready.
    type: float
    default: 120.0
  probe_timeout:
    description: Seconds that all probes of one look may take together.
    type: float
    default: 180.0
  timeout:
    description: Seconds after which no further step begins.
    type: float
    default: 900.0
  proof:
    description: File for the proof of a mesh in which nothing is broken, as O(bookstore.platform.platform_verify#module:mesh_proof).
    type: path
  report:
    description: File into which the report is written, as JSON.
    type: path
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Restart what is broken of the mesh
  bookstore.platform.mesh_recovery:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    matrix: "{{ bookstore_edges }}"
    probe_from: ecom/ecom-api
    exec_sources: [ecom/ecom-api]
"""

RETURN = r"""
steps:
  description: What was restarted, each with C(stage), C(target), C(restarted), C(reason), and how many edges were broken before and after.
  type: list
  elements: dict
  returned: when probed
broken:
  description: The edges that were broken at first, as those of M(bookstore.platform.mesh_probe).
  type: list
  elements: dict
  returned: when probed
still_broken:
  description: Those that are broken after all steps.
  type: list
  elements: dict
  returned: when probed
not_judged:
  description: Calls that failed and tell nothing about the mesh.
  type: list
  elements: dict
  returned: when probed
proven:
  description: Whether every edge holds, nothing was restarted, and the proof is kept.
  type: bool
  returned: always
report_lines:
  description: The report as lines. The callback bookstore.platform.progress shows them.
  type: list
  elements: str
  returned: always
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_recovery, mesh_run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "matrix": {"type": "list", "elements": "dict", "required": True},
            "probe_from": {"type": "str", "required": True},
            "exec_sources": {"type": "list", "elements": "str", "default": []},
            "outsider": {"type": "str", "default": "storefront"},
            "gateway": {"type": "str", "default": "gateway/bookstore-gateway-istio"},
            "order": {"type": "list", "elements": "str", "default": []},
            "settle": {"type": "float", "default": 45.0},
            "ready": {"type": "float", "default": 120.0},
            "probe_timeout": {"type": "float", "default": 180.0},
            "timeout": {"type": "float", "default": 900.0},
            "proof": {"type": "path"},
            "report": {"type": "path"},
            **CONNECTION_SPEC,
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, proven=False, report_lines=["mesh: check mode, nothing was probed"])
    try:
        cluster = Cluster.of(p)
        image = mesh_run.workload_image(cluster, p["probe_from"])
        if not image:
            module.exit_json(changed=False, proven=False, report_lines=[f"mesh: not probed, for no pod of {p['probe_from']} is there"])
        settings = mesh_run.Settings(image, timeout=p["probe_timeout"], outsider=p["outsider"], exec_sources=p["exec_sources"])
        proof = Path(p["proof"]) if p["proof"] else None
        options = mesh_recovery.Options(p["gateway"], p["order"], p["settle"], p["ready"], p["timeout"], proof)
        report = mesh_recovery.Recovery(cluster, p["matrix"], settings, options).run()
        told = report.pop("lines")
        if p["report"]:
            path = Path(p["report"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(report, indent=1), encoding="utf-8")
    except (mesh_run.ProbeError, ClusterError, ValueError, OSError) as error:
        module.fail_json(msg=failures.message(error))
    left = report["still_broken"]
    if left:
        names = ", ".join(f"{edge['source']} -> {edge['destination']} ({edge['kind']})" for edge in left[: mesh_recovery.SHOWN])
        module.warn(f"BK-490: {len(left)} edges of the mesh are broken after all steps of recovery, {names}; what follows may mend them")
    keys = ("steps", "broken", "still_broken", "not_judged")
    proven = not report["broken"] and not report["not_judged"] and proof is not None and proof.is_file()
    module.exit_json(changed=bool(report["steps"]), proven=proven, report_lines=told, **{key: report[key] for key in keys})


if __name__ == "__main__":
    main()
