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
  patience:
    description: Seconds that istio-cni may take for a pod that runs already.
    type: float
    default: 15.0
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Have running pods use the mesh's mode
  bookstore.platform.mesh_enrolment:
    kubeconfig: "{{ bookstore_kubeconfig }}"
"""

RETURN = r"""
rolled:
  description: The workloads that were rolled, each with a pod that was outside of the mesh.
  type: list
  returned: success
"""

from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures, waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError, path_of
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import enrolment


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"patience": {"type": "float", "default": 15.0}, **CONNECTION_SPEC}, supports_check_mode=True)
    try:
        cluster = Cluster.of(module.params)
        found = waiter.wait_for(
            lambda: enrolment.outside(cluster.objects("Pod"), cluster.objects("Namespace")),
            lambda pods: not pods,
            timeout=module.params["patience"],
            interval=1,
        ).value
        if not module.check_mode:
            patch = enrolment.restart_patch(datetime.now(UTC).isoformat(timespec="seconds"))
            for kind, namespace, name in found:
                path = path_of(kind, namespace, name)
                cluster.raw(path, "PATCH", patch, content_type="application/strategic-merge-patch+json")
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    rolled = [f"{kind} {namespace}/{name}: {pod} is outside of the mesh" for (kind, namespace, name), pod in sorted(found.items())]
    module.exit_json(changed=bool(rolled), rolled=rolled)


if __name__ == "__main__":
    main()
