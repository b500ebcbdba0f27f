#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Make sure that a Docker engine answers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: docker_engine
short_description: Make sure that a Docker engine answers
version_added: 0.1.0
description:
  - Starts an installed engine where none answers, with the init system or, without one, by hand.
  - An engine that answers is left as it is.
options:
  bounded_runtime:
    description:
      - Runtime that removes what the host cannot grant from containers. It is used only when this host
        lacks the capability SYS_RESOURCE and this module starts the daemon itself.
    type: path
  optional:
    description: Do nothing on a host that has neither a Docker client nor an engine's data.
    type: bool
    default: false
  log:
    description: Log file of a daemon that is started by hand.
    type: path
    required: true
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Start the engine where none answers
  bookstore.platform.docker_engine:
    log: /var/log/bookstore-dockerd.log
"""

RETURN = r"""
bounded:
  description: Whether the host lacks the capability SYS_RESOURCE.
  type: bool
  returned: success
answers:
  description: Whether an engine answers now.
  type: bool
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.host import docker_engine


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bounded_runtime": {"type": "path"},
            "optional": {"type": "bool", "default": False},
            "log": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    bounded = docker_engine.capability_missing(Path("/proc/self/status").read_text(encoding="ascii"))
    answers = docker_engine.answers()
    changed = not answers and (docker_engine.installed() or not module.params["optional"])
    if changed and not module.check_mode:
        try:
            docker_engine.start(module.params["bounded_runtime"] if bounded else None, Path(module.params["log"]))
        except (docker_engine.EngineError, OSError) as error:
            module.fail_json(msg=failures.message(error))
        answers = True
    module.exit_json(changed=changed, bounded=bounded, answers=answers)


if __name__ == "__main__":
    main()
