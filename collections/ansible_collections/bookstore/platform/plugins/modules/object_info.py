#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Read objects of the cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: object_info
short_description: Read objects of the cluster
version_added: 0.1.0
description:
  - Reads a list of objects on one connection. A task that reads Secrets needs C(no_log).
  - Changes nothing.
options:
  objects:
    description: The objects to read.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind of the object, one of those that the platform uses.
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object, for kinds that have one.
        type: str
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Read what is installed
  bookstore.platform.object_info:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    objects:
      - {kind: Deployment, namespace: istio-system, name: istiod}
  register: installed
"""

RETURN = r"""
objects:
  description: The objects in the order in which they were asked for; null for one that does not exist.
  type: list
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "objects": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "kind": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "namespace": {"type": "str"},
                },
            },
            **CONNECTION_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        cluster = Cluster.of(module.params)
        found = [cluster.get(wanted["kind"], wanted["namespace"], wanted["name"]) for wanted in module.params["objects"]]
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=False, objects=found)


if __name__ == "__main__":
    main()
