#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Refuse a second run beside the first."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: run_lock
short_description: Refuse a second run beside the first
version_added: 0.1.0
description:
  - Notes that a process holds a state folder and the name of a cluster, for as long as it lives. Fails when another one does,
    unless it is one from which the process descends.
options:
  process:
    description: The process, of C(ansible-playbook); see the lookup P(bookstore.platform.playbook_process#lookup).
    type: int
    required: true
  state_dir:
    description: The state folder.
    type: path
    required: true
  cluster_name:
    description: Name of the cluster.
    type: str
    required: true
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Refuse a second run
  bookstore.platform.run_lock:
    process: "{{ lookup('bookstore.platform.playbook_process') }}"
    state_dir: ~/.local/state/bookstore-platform
    cluster_name: bookstore
"""

RETURN = r"""
scopes:
  description: What is held.
  type: list
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.host import run_lock


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "process": {"type": "int", "required": True},
            "state_dir": {"type": "path", "required": True},
            "cluster_name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    scopes = run_lock.scopes(Path(p["state_dir"]), p["cluster_name"])
    try:
        if not module.check_mode:
            run_lock.acquire(p["process"], scopes)
    except (run_lock.LockError, OSError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=False, scopes=scopes)


if __name__ == "__main__":
    main()
