#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Create the folders of host-path volumes with their owners."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_volumes
short_description: Create the folders of host-path volumes with their owners
version_added: 0.1.0
description:
  - Works from inside a node container, because hostPath ignores fsGroup and the operator may not be root.
options:
  node:
    description: A node container into which the folders' parent is mounted.
    type: str
    required: true
  root:
    description: The parent as the node sees it.
    type: path
    required: true
  volumes:
    description: Each folder's name and owner (C(name), C(uid)).
    type: list
    elements: dict
    required: true
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Create one folder
  bookstore.platform.node_volumes:
    node: bookstore-control-plane
    root: /var/lib/bookstore
    volumes: [{name: ecom-db, uid: 26000}]
"""

RETURN = r"""
corrected:
  description: Folders that were created or whose owner or mode was corrected.
  type: list
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError, docker

MODE = "700"


def wrong(node: str, root: str, volumes: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the volumes whose folder is missing or has another owner or mode."""
    listing = docker("exec", node, "find", root, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f %U %G %m\\n")
    found = set(listing.splitlines())
    return [v for v in volumes if f"{v['name']} {v['uid']} {v['uid']} {MODE}" not in found]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "volumes": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        todo = wrong(p["node"], p["root"], p["volumes"])
        for volume in [] if module.check_mode else todo:
            path, uid = f"{p['root']}/{volume['name']}", volume["uid"]
            docker("exec", p["node"], "install", "-d", "-o", str(uid), "-g", str(uid), "-m", MODE, path)
    except DockerError as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=bool(todo), corrected=[volume["name"] for volume in todo])


if __name__ == "__main__":
    main()
