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
  - A container on the nodes' network, which comes back with the engine, and on the host's loopback
    address for pushing. It is replaced only when its image or port changes.
options:
  name:
    description: Name of the container.
    type: str
    required: true
  image:
    description: Image of the registry, in the engine.
    type: str
  network:
    description: Network of the nodes, created when absent.
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
    storage: /var/cache/bookstore/registry
"""

RETURN = r"""
seconds:
  description: How long the registry took to answer.
  type: float
  returned: success
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.docker import (
    DockerError,
    docker,
    ensure_network,
    inspect,
)
from ansible_collections.bookstore.platform.plugins.module_utils.loopback import failure
from ansible_collections.bookstore.platform.plugins.module_utils.waiter import wait_for

# After the engine itself has just started, every node starts beside the registry, from a cold disk: on two cores it
# was seen to need more than half a minute.
START_SECONDS = 180.0


def fault(port: int) -> str | None:
    """Return why the registry does not answer on the loopback address, or None when it does."""
    return failure(f"http://127.0.0.1:{port}/v2/")


def ensure(params: dict[str, object], check: bool) -> bool:
    """Bring the container to the wanted state; tell whether something changed."""
    name, image = str(params["name"]), str(params["image"])
    exists = name in docker("container", "ls", "--all", "--format", "{{.Names}}").split()
    if exists:
        container = inspect([name])[0]
        # One that runs but does not answer yet is waited for, not replaced.
        published = {
            int(binding["HostPort"]) for bindings in container["HostConfig"]["PortBindings"].values() for binding in bindings
        }
        as_wanted = container["Config"]["Image"] == image and published == {params["port"]}
        if as_wanted and container["State"]["Running"]:
            return False
    if check:
        return True
    if exists:
        docker("container", "rm", "--force", name)
    ensure_network(str(params["network"]), str(params["subnet"]))
    storage = Path(str(params["storage"]))
    storage.mkdir(parents=True, exist_ok=True)
    user = f"{os.geteuid()}:{os.getegid()}"
    docker(
        "run", "--detach", "--name", name, "--network", str(params["network"]), "--network-alias", "bookstore-registry",
        "--restart", "always", "--publish", f"127.0.0.1:{params['port']}:5000", "--user", user, "--read-only",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "256m",
        "--volume", f"{storage}:/var/lib/registry", image,
    )
    return True


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
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ("image", "network", "subnet", "port", "storage"))],
        supports_check_mode=True,
    )
    p = module.params
    try:
        if p["state"] == "absent":
            exists = p["name"] in docker("container", "ls", "--all", "--format", "{{.Names}}").split()
            if exists and not module.check_mode:
                docker("container", "rm", "--force", p["name"])
            module.exit_json(changed=exists)
        changed = ensure(p, module.check_mode)
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
    except DockerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, seconds=round(answer.elapsed, 1))


if __name__ == "__main__":
    main()
