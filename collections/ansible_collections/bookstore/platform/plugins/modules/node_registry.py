#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Run the registry that the nodes pull from."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: node_registry
short_description: Run the registry that the nodes pull from
version_added: 0.1.0
description:
  - A container that comes back with the engine. On the nodes' network, at a fixed address, it is only read from.
    On the host's loopback address it takes pushes from whoever M(bookstore.platform.container_image) gave credentials to.
  - It is replaced only when its image, port, address or folder changes, or its folder was deleted. The folder's content stays.
options:
  name:
    description: Name of the container.
    type: str
    required: true
  image:
    description: Image of the registry, in the engine.
    type: str
  network:
    description: Network of the nodes, created when absent; with O(state=absent) removed when nothing else is on it.
    type: str
  subnet:
    description: Address range of that network.
    type: str
  port:
    description: Port on 127.0.0.1.
    type: int
  storage:
    description: Folder on the host that keeps the images.
    type: path
  former_storage:
    description: Folder of an earlier version, which becomes O(storage) when that does not exist yet.
    type: path
  state:
    description: Whether the container exists.
    type: str
    choices: [present, absent]
    default: present
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Run the registry
  bookstore.platform.node_registry:
    name: bookstore-registry
    image: bookstore.local/registry:1
    network: bookstore
    subnet: 172.30.0.0/16
    port: 36500
    storage: /var/lib/bookstore/registry
"""

RETURN = r"""
seconds:
  description: How long the registry took to answer.
  type: float
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.base.loopback import failure
from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError, docker
from ansible_collections.bookstore.platform.plugins.module_utils.images.node_registry import Registry, remove

# After the engine itself has just started, every node starts beside the registry, from a cold disk: on two cores it
# was seen to need more than half a minute.
START_SECONDS = 180.0


def fault(port: int) -> str | None:
    """Return why the registry does not answer on the loopback address, or None when it does."""
    return failure(f"http://127.0.0.1:{port}/ready")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "image": {"type": "str"},
            "network": {"type": "str"},
            "subnet": {"type": "str"},
            "port": {"type": "int"},
            "storage": {"type": "path"},
            "former_storage": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("image", "network", "subnet", "port", "storage"))],
        supports_check_mode=True,
    )
    p = module.params
    try:
        if p["state"] == "absent":
            module.exit_json(changed=remove(p["name"], p["network"], module.check_mode))
        registry = Registry(
            p["name"], p["image"], p["network"], p["subnet"], p["port"], Path(p["storage"]),
            Path(p["former_storage"]) if p["former_storage"] else None,
        )
        changed = registry.ensure(module.check_mode)
        if module.check_mode:
            module.exit_json(changed=changed)
        answer = wait_for(lambda: fault(p["port"]), lambda why: why is None, timeout=START_SECONDS, interval=0.2)
        if not answer.done:
            state = docker("container", "inspect", "--format", "{{.State.Status}}, exit code {{.State.ExitCode}}", p["name"])
            module.fail_json(
                msg=f"BK-122: the nodes' registry {p['name']} did not answer on 127.0.0.1:{p['port']} within "
                f"{START_SECONDS:.0f} s: {answer.value}; its container is {state.strip()}, and its log ends with: "
                f"{docker('logs', '--tail', '3', p['name'], stderr=True).strip()}"
            )
    except (DockerError, OSError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=changed, seconds=round(answer.elapsed, 1))


if __name__ == "__main__":
    main()
