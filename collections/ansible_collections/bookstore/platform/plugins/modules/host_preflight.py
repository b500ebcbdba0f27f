#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Check that a host and the operator's input allow the platform to run."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_preflight
short_description: Check that a host and the operator's input allow the platform to run
version_added: 0.1.0
description:
  - Reports all faults of a phase at once, each with a stable id and the remedy.
  - Only the phase V(sysctls), and V(host) with O(manage_hosts), change anything.
options:
  phase:
    description:
      - V(input) checks variables and archives, V(programs) reports which packages are missing,
        V(sysctls) raises kernel limits, V(host) checks ports, names, memory, disk and networks.
    type: str
    required: true
    choices: [input, programs, sysctls, host]
  variables:
    description: Names of the bookstore_* variables that are set.
    type: list
    elements: str
    default: []
  known_variables_from:
    description: Folder whose YAML files declare all variables.
    type: path
  extra_variables:
    description: Names of all variables that were given with -e.
    type: list
    elements: str
    default: []
  roles:
    description: Folder of the roles, whose argument specs name variables that may be given.
    type: path
  playbook_variables_from:
    description: Folder whose YAML files declare variables of playbooks.
    type: path
  playbook_variables:
    description: Further variables that this playbook reads.
    type: list
    elements: str
    default: []
  archives:
    description: Value of bookstore_image_archives.
    type: str
    default: ""
  packages:
    description: Programs and the packages that bring them.
    type: list
    elements: dict
    default: []
  sysctls:
    description: Kernel settings and their least values.
    type: dict
    default: {}
  cluster_name:
    description: Name of the kind cluster, whose own ports and network are no fault.
    type: str
  ports:
    description: Host ports that must be free on 127.0.0.1.
    type: list
    elements: int
    default: []
  hostnames:
    description: Names that must resolve to 127.0.0.1.
    type: list
    elements: str
    default: []
  manage_hosts:
    description: Write missing names into the hosts file.
    type: bool
    default: false
  node_cidr:
    description: Network of the node containers.
    type: str
  minimum_memory_mib:
    description: Least available memory, in MiB.
    type: int
    default: 0
  minimum_disk_gib:
    description: Least free disk space, in GiB.
    type: int
    default: 0
  minimum_disk_existing_gib:
    description: The same where the cluster exists already.
    type: int
    default: 0
  disk_paths:
    description: Folders whose file systems are checked.
    type: list
    elements: path
    default: []
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Check two ports
  bookstore.platform.host_preflight:
    phase: host
    cluster_name: bookstore
    ports: [30000, 30080]
"""

RETURN = r"""
missing_packages:
  description: Packages to install.
  type: list
  returned: phase is programs
engine_answers:
  description: Whether a container engine answers.
  type: bool
  returned: phase is programs
bounded:
  description: Whether this host lacks the capability SYS_RESOURCE.
  type: bool
  returned: phase is programs
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.host import debian_packages, docker_engine
from ansible_collections.bookstore.platform.plugins.module_utils.host import host_preflight as preflight

SYSCTL_FILE = Path("/etc/sysctl.d/90-bookstore-platform.conf")
# Set by roles while they run, not by the operator.
FACTS = ("bookstore_images", "bookstore_artifacts", "bookstore_effective_mesh_mode", "bookstore_effective_node_proxy",
         "bookstore_effective_image_source", "bookstore_skipped_images", "bookstore_mesh_proven", "bookstore_snapshots")


def check_input(module: AnsibleModule) -> dict[str, Any]:
    """Variables and archives."""
    p = module.params
    known = preflight.declared_variables(Path(p["known_variables_from"]))
    faults = preflight.unknown_variables(p["variables"], known, FACTS)
    roles = preflight.role_variables(Path(p["roles"])) if p["roles"] else set()
    playbooks = preflight.declared_variables(Path(p["playbook_variables_from"])) if p["playbook_variables_from"] else set()
    # Misspelt bookstore_* ones were reported above, wherever they are set.
    extra = [name for name in p["extra_variables"] if not name.startswith("bookstore_")]
    faults += preflight.unknown_extra_variables(extra, {*known, *roles, *playbooks, *p["playbook_variables"]})
    return _answer(module, faults + preflight.broken_archives(p["archives"]))


def check_programs(module: AnsibleModule) -> dict[str, Any]:
    """Missing packages; a fault when this user may not install them."""
    engine = docker_engine.answers()
    missing = preflight.missing_packages(module.params["packages"], engine, preflight.find_program, os.geteuid() == 0)
    faults = []
    if os.geteuid() != 0 and (missing or not engine):
        if missing:
            names = sorted({debian_packages.available(name) for name in missing})
            faults.append(f"BK-101: missing packages: {', '.join(names)}; run as root, or: sudo apt-get install {' '.join(names)}")
        else:
            faults.append("BK-101: no Docker engine answers this user; start it, and add the user to the group docker")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return _answer(module, faults, missing_packages=missing, engine_answers=engine,
                   bounded=docker_engine.capability_missing(status))


def check_sysctls(module: AnsibleModule) -> dict[str, Any]:
    """Raise kernel limits, or say how to."""
    low = preflight.low_sysctls(module.params["sysctls"])
    if low and os.geteuid() != 0:
        commands = " ".join(f"{name}={value}" for name, value in low.items())
        return _answer(module, [f"BK-107: kernel limits are too low for three nodes; run: sudo sysctl -w {commands}"])
    if low and not module.check_mode:
        preflight.raise_sysctls(low, SYSCTL_FILE)
    return _answer(module, [], changed=bool(low))


def check_host(module: AnsibleModule) -> dict[str, Any]:
    """Ports, names, memory, disk and networks."""
    p = module.params
    name, exists = p["cluster_name"], bool(preflight.own_nodes(p["cluster_name"]))
    faults = preflight.port_faults(
        p["ports"], lambda: preflight.held_ports([*preflight.own_nodes(name), *preflight.own_registry(name)])
    )
    faults += preflight.memory_fault(Path("/proc/meminfo").read_text(encoding="ascii"), p["minimum_memory_mib"], exists)
    # What exists has taken its share of the disk, too, and a full disk must not keep it from being repaired.
    faults += preflight.disk_faults(p["disk_paths"], p["minimum_disk_existing_gib"] if exists else p["minimum_disk_gib"])
    if p["node_cidr"]:
        faults += preflight.overlapping_network(p["node_cidr"], preflight.engine_networks(), p["cluster_name"])
    changed, more = _names(module, bool(faults))
    return _answer(module, faults + more, changed=changed)


def _names(module: AnsibleModule, faulty: bool) -> tuple[bool, list[str]]:
    """Make the names resolve, unless the run ends because of other faults anyway; tell whether that was needed, and what is in the way."""
    p, file = module.params, preflight.HOSTS_FILE
    wrong = preflight.unresolved(p["hostnames"])
    if not wrong:
        return False, []
    text = file.read_text(encoding="utf-8", errors="surrogateescape") if file.is_file() else ""
    in_the_way = preflight.names_in_the_way(text, wrong)
    if in_the_way:
        return False, in_the_way
    if preflight.with_names(text, wrong) == text:
        return False, [f"{preflight.names_fault(wrong)}\n{file} has it, but this host's resolver does not use that: see `hosts:` in "
                       "/etc/nsswitch.conf, and caches such as nscd"]
    if not p["manage_hosts"] or faulty or not os.access(file, os.W_OK):
        return False, [preflight.names_fault(wrong)]
    if module.check_mode:
        return True, []
    try:
        preflight.add_names(file, wrong)
    except OSError as error:
        return False, [f"{preflight.names_fault(wrong)}\n{file} cannot be written: {error.strerror}"]
    wrong = preflight.unresolved(p["hostnames"])
    return True, [preflight.names_fault(wrong)] if wrong else []


def _answer(module: AnsibleModule, faults: list[str], **values: Any) -> dict[str, Any]:
    if faults:
        module.fail_json(msg="\n".join(faults), faults=faults)
    return {"changed": False, **values}


PHASES = {"input": check_input, "programs": check_programs, "sysctls": check_sysctls, "host": check_host}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "required": True, "choices": list(PHASES)},
            "variables": {"type": "list", "elements": "str", "default": []},
            "known_variables_from": {"type": "path"},
            "extra_variables": {"type": "list", "elements": "str", "default": []},
            "roles": {"type": "path"},
            "playbook_variables_from": {"type": "path"},
            "playbook_variables": {"type": "list", "elements": "str", "default": []},
            "archives": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "dict", "default": []},
            "sysctls": {"type": "dict", "default": {}},
            "cluster_name": {"type": "str"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "hostnames": {"type": "list", "elements": "str", "default": []},
            "manage_hosts": {"type": "bool", "default": False},
            "node_cidr": {"type": "str"},
            "minimum_memory_mib": {"type": "int", "default": 0},
            "minimum_disk_gib": {"type": "int", "default": 0},
            "minimum_disk_existing_gib": {"type": "int", "default": 0},
            "disk_paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**PHASES[module.params["phase"]](module))
    except DockerError as error:
        module.fail_json(msg=failures.message(error))


if __name__ == "__main__":
    main()
