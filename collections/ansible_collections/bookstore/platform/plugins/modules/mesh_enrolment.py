#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Roll workloads whose pods have not the data plane that their namespace asks for."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_enrolment
short_description: Roll workloads whose pods have not the data plane that their namespace asks for
version_added: 0.1.0
description:
  - A namespace's label says what becomes of pods that are made from then on. After a change of the mesh mode, or after a pod was made
    while istiod's webhook or istio-cni was away, its workload is rolled, so that its pods are made anew.
  - All such workloads are rolled at once; whoever needs them waits for them. Pods of two data planes do not understand each other,
    so nothing would be gained by rolling them one by one.
options:
  namespaces:
    description: The namespaces of the mesh; what each asks for is read from its labels.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Have running pods use the mesh's mode
  bookstore.platform.mesh_enrolment:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    namespaces: [ecom, inventory]
"""

RETURN = r"""
rolled:
  description: The workloads that were rolled, each with a pod and the reason.
  type: list
  returned: success
"""

from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils import enrolment, failures
from ansible_collections.bookstore.platform.plugins.module_utils.cluster import CONNECTION_SPEC, Cluster, ClusterError, path_of


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"namespaces": {"type": "list", "elements": "str", "required": True}, **CONNECTION_SPEC},
        supports_check_mode=True,
    )
    try:
        cluster = Cluster.of(module.params)
        labels = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in cluster.objects("Namespace")}
        wanted = {name: enrolment.wanted_of(labels.get(name, {})) for name in module.params["namespaces"]}
        found = enrolment.misfits(cluster.objects("Pod"), wanted)
        if not module.check_mode:
            patch = enrolment.restart_patch(datetime.now(UTC).isoformat(timespec="seconds"))
            for kind, namespace, name in found:
                path = path_of(kind, namespace, name)
                cluster.raw(path, "PATCH", patch, content_type="application/strategic-merge-patch+json")
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    rolled = [f"{kind} {namespace}/{name}: {reason}" for (kind, namespace, name), reason in sorted(found.items())]
    module.exit_json(changed=bool(rolled), rolled=rolled)


if __name__ == "__main__":
    main()
