#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Tell what a kind cluster was made with."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kind_cluster_info
short_description: Tell what a kind cluster was made with
version_added: 0.1.0
description:
  - Reads what M(bookstore.platform.kind_cluster) left in the cluster, which need not run.
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: See whether there is a cluster
  bookstore.platform.kind_cluster_info:
    name: bookstore
  register: cluster
"""

RETURN = r"""
image_source:
  description: V(packages) or V(registry); empty when there is no cluster whose creation ended, or no engine that answers.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.host import docker_engine
from ansible_collections.bookstore.platform.plugins.module_utils.kind.kind_cluster import recorded_source


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"name": {"type": "str", "required": True}}, supports_check_mode=True)
    try:
        source = recorded_source(module.params["name"]) if docker_engine.answers() else None
    except DockerError as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=False, image_source=source or "")


if __name__ == "__main__":
    main()
