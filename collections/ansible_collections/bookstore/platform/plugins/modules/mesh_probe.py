#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Prove the edges of the authorization matrix, and that others are closed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_probe
short_description: Prove the edges of the authorization matrix, and that others are closed
version_added: 0.1.0
description:
  - Tests every edge of the matrix whose both ends are deployed, from pods of its own that live for seconds
    (restricted security context, the source's labels, never Ready, so in no Service), or inside pods that exist.
  - With O(depth=full) it also proves what must fail - another service account on the same edge, a pod outside the
    mesh, the right account on a port of others, packets that NetworkPolicies forbid - and that the destination's
    certificate carries its SPIFFE id.
  - A refused connection answers at once, a dropped packet not at all; both are told apart.
  - That the caller's identity is checked is proven by a pair of calls that differ in the service account only.
  - Leaves nothing behind and reports unchanged. In check mode nothing is probed.
options:
  matrix:
    description: Rows of the authorization matrix, as C(bookstore_edges) in the inventory.
    type: list
    elements: dict
    required: true
    suboptions:
      namespace:
        description: Namespace of the destination.
        type: str
        required: true
      workload:
        description: Value of the destination's label C(app.kubernetes.io/name).
        type: str
        required: true
      ports:
        description: Ports of the destination's containers.
        type: list
        elements: int
        required: true
      sources:
        description: Allowed sources, each C(<namespace>/<service account>).
        type: list
        elements: str
        required: true
      protocols:
        description: Port number to what is spoken there; a port without http, postgres, redis or kafka is not tested.
        type: dict
        default: {}
      node_blocks:
        description: Whether nodes may call it in plaintext. Not tested here.
        type: bool
        default: false
  image:
    description: Image of the probe pods; it must hold python3.
    type: str
    required: true
  interpreter:
    description: Name or path of python3 in that image.
    type: str
    default: python3
  depth:
    description: V(edges) tests what must work, V(full) also what must not.
    type: str
    choices: [edges, full]
    default: full
  exec_sources:
    description: Sources whose own pods hold python3; their calls are made there.
    type: list
    elements: str
    default: []
  outsider:
    description: A namespace whose pods may reach none of the destinations.
    type: str
    default: storefront
  trust_domain:
    description: Trust domain of the SPIFFE ids.
    type: str
    default: cluster.local
  timeout:
    description: Seconds that all probes together may take.
    type: float
    default: 180.0
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Prove the mesh
  bookstore.platform.mesh_probe:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    matrix: "{{ bookstore_edges }}"
    image: "{{ bookstore_images['ecom'] }}"
    exec_sources: [ecom/ecom-api]
"""

RETURN = r"""
mode:
  description: ambient or sidecar.
  type: str
  returned: when probed
edges:
  description: What was tested.
  type: list
  elements: dict
  returned: when probed
  contains:
    kind:
      description: allowed, principal, plaintext, identity, port, dropped or control.
      type: str
    source:
      description: Who called.
      type: str
    destination:
      description: Who was called, C(<namespace>/<workload>:<port>).
      type: str
    expected:
      description: Outcomes that are right.
      type: list
    outcome:
      description: answered, rbac_denied, reset, port_closed, timeout, unavailable, unresolved or error.
      type: str
    detail:
      description: What came back.
      type: str
    seconds:
      description: How long it took.
      type: float
    ok:
      description: Whether the outcome is right.
      type: bool
    source_node:
      description: Node of the caller.
      type: str
    source_pod:
      description: Pod in which the call was made; empty for a probe pod, which stands for it.
      type: str
    destination_nodes:
      description: Nodes of the destination's pods.
      type: list
    pods:
      description: The destination's pods.
      type: list
broken:
  description: Those of RV(edges) that are not ok.
  type: list
  returned: when probed
shared_nodes:
  description: Nodes that all broken allowed edges have in common.
  type: list
  returned: when probed
shared_pods:
  description: Pods that all broken allowed edges have in common.
  type: list
  returned: when probed
skipped:
  description: What was not tested, each with the reason.
  type: list
  returned: when probed
seconds:
  description: How long it took.
  type: float
  returned: when probed
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_run

MATRIX_SPEC = {
    "namespace": {"type": "str", "required": True},
    "workload": {"type": "str", "required": True},
    "ports": {"type": "list", "elements": "int", "required": True},
    "sources": {"type": "list", "elements": "str", "required": True},
    "node_blocks": {"type": "bool", "default": False},
    "protocols": {"type": "dict", "default": {}},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "matrix": {"type": "list", "elements": "dict", "required": True, "options": MATRIX_SPEC},
            "image": {"type": "str", "required": True},
            "interpreter": {"type": "str", "default": "python3"},
            "depth": {"type": "str", "choices": ["edges", "full"], "default": "full"},
            "exec_sources": {"type": "list", "elements": "str", "default": []},
            "outsider": {"type": "str", "default": "storefront"},
            "trust_domain": {"type": "str", "default": "cluster.local"},
            "timeout": {"type": "float", "default": 180.0},
            **CONNECTION_SPEC,
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(
            changed=False,
            edges=[],
            broken=[],
            shared_nodes=[],
            shared_pods=[],
            skipped=["check mode: nothing was probed"],
        )
    settings = mesh_run.Settings(
        image=p["image"],
        interpreter=p["interpreter"],
        timeout=p["timeout"],
        outsider=p["outsider"],
        exec_sources=p["exec_sources"],
        trust_domain=p["trust_domain"],
        full=p["depth"] == "full",
    )
    try:
        result = mesh_run.probe_mesh(Cluster.of(p), p["matrix"], settings)
    except (mesh_run.ProbeError, ClusterError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    if result["broken"]:
        lines = [f"BK-220: {len(result['broken'])} of {len(result['edges'])} edges are not as the matrix says:"]
        module.fail_json(msg="\n".join(lines + [mesh_plan.describe(edge) for edge in result["broken"]]), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
