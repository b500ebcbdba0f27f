"""Addresses: every deployed node port has its line, and a bring-up ends with all of them and the next command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import addresses, workload_table

ROOT = Path(__file__).parents[3]
WORKLOADS: dict[str, Any] = yaml.safe_load((ROOT / "inventory/local/group_vars/all/workloads.yml").read_text())["bookstore_workloads"]
NODE_PORTS = workload_table.node_ports(WORKLOADS)
HOSTS = {name: f"{name}.bookstore.test" for name in ("shop", "api", "id")}


def test_every_deployed_address_and_the_next_command_are_told() -> None:
    required, port = workload_table.required_node_ports(WORKLOADS), workload_table.gateway_node_ports(WORKLOADS)["https"]
    text = "\n".join(addresses.closing(NODE_PORTS, HOSTS, port, required))
    for host in HOSTS.values():
        assert f"https://{host}:{port}" in text
    for row in NODE_PORTS:
        assert (f":{row['node_port']}" in text) is (row["id"] in required), row
    assert "Next: make test" in text


def test_what_is_not_deployed_has_no_address() -> None:
    assert addresses.lines(NODE_PORTS, HOSTS, 30000, {32000}) == [f"  {'http://127.0.0.1:32000':<52}dashboards"]


def test_the_playbook_ends_with_them() -> None:
    last = yaml.safe_load((ROOT / "playbooks/bootstrap.yml").read_text())[-1]["tasks"][-1]
    assert "closing_lines" in last["ansible.builtin.set_stats"]["data"]
