"""Where the platform keeps its things, as the inventory declares it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

ROOT = Path(__file__).parents[2]
GROUP_VARS = ROOT / "inventory" / "local" / "group_vars" / "all"


@dataclass(frozen=True)
class Settings:
    """``addresses``: what is served at which URL. ``hosts``: names that must resolve to this host."""

    cluster: str
    state: Path
    cache: Path
    data: Path
    hosts: list[str]
    https_port: int
    nodeports: list[dict[str, Any]]
    namespaces: list[str]

    @property
    def kubeconfig(self) -> Path:
        """Return where the kubeconfig is."""
        return self.state / "kubeconfig"

    @property
    def api_host(self) -> str:
        """Return the host name of the APIs."""
        return next(host for host in self.hosts if host.startswith("api."))


def load(environment: Mapping[str, str] = os.environ, folder: Path = GROUP_VARS) -> Settings:
    """Read the inventory. Values given to a playbook with -e are not known here."""
    platform = yaml.safe_load((folder / "platform.yml").read_text(encoding="utf-8"))
    network = yaml.safe_load((folder / "network.yml").read_text(encoding="utf-8"))
    workloads = yaml.safe_load((folder / "workloads.yml").read_text(encoding="utf-8"))["bookstore_workloads"]
    home = Path(environment.get("HOME") or Path.home())
    domain = platform["bookstore_domain"]

    def own(variable: str, fallback: str) -> Path:
        return Path(environment.get(variable) or home / fallback) / "bookstore-platform"

    return Settings(
        cluster=platform["bookstore_cluster_name"],
        state=own("XDG_STATE_HOME", ".local/state"),
        cache=own("XDG_CACHE_HOME", ".cache"),
        data=own("XDG_DATA_HOME", ".local/share"),
        hosts=[f"{name}.{domain}" for name in platform["bookstore_hostnames"]],
        https_port=workload_table.gateway_node_ports(workloads)["https"],
        nodeports=workload_table.node_ports(workloads),
        namespaces=[entry["name"] for entry in network["bookstore_namespaces"]],
    )
