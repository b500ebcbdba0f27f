"""What the inventory declares: workloads, and who may reach what. The role hands it over as a file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


class DeclaredError(Exception):
    """The file is missing or wrong; the text names the variable and what to write."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A declared workload. ``optional``: it may be absent."""

    name: str
    namespace: str
    kind: str
    optional: bool = False

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A declared edge between two workloads (ids). ``scrape``: it is there for Prometheus' scrapes only."""

    source: str
    target: str
    ports: tuple[int, ...]
    scrape: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """``doors``: workloads that the nodes may reach in plaintext, through a node port."""

    workloads: dict[str, Workload] = field(default_factory=dict)
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict)
    doors: frozenset[str] = frozenset()
    namespaces: tuple[str, ...] = ()


def read(file: Path) -> Declared:
    """Read the file that role mesh_map writes."""
    try:
        content = orjson.loads(file.read_bytes())
        return parse(content)
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DeclaredError(
            f"DECLARED_FILE={file}: {type(error).__name__}: {error}; "
            "write the file of role mesh_map with workloads and edges"
        ) from error


def parse(content: dict[str, Any]) -> Declared:
    """``workloads``: name, namespace, kind, account, metrics (ports), optional; ``edges``: rows of bookstore_edges."""
    workloads: dict[str, Workload] = {}
    accounts: dict[str, list[str]] = {}
    metrics: dict[str, set[int]] = {}
    made: dict[str, str] = {}
    for row in content["workloads"]:
        # Istio names the Deployment that it makes of a Gateway.
        gateway = row["kind"] == "Gateway"
        name = f"{row['name']}-istio" if gateway else row["name"]
        one = Workload(name, row["namespace"], "Deployment" if gateway else row["kind"], bool(row.get("optional")))
        workloads[one.id] = one
        made[f"{row['namespace']}/{row['name']}"] = one.id
        accounts.setdefault(f"{row['namespace']}/{row.get('account') or name}", []).append(one.id)
        metrics[one.id] = set(row.get("metrics") or [])
    ports: dict[tuple[str, str], set[int]] = {}
    doors = set()
    for row in content["edges"]:
        target = made[f"{row['namespace']}/{row['workload']}"]
        if row.get("node_blocks"):
            doors.add(target)
        for account in row["sources"]:
            for source in accounts.get(account, []):
                ports.setdefault((source, target), set()).update(row["ports"])
    edges = {
        (source, target): Edge(source, target, tuple(sorted(found)), bool(found) and found <= metrics[target])
        for (source, target), found in ports.items()
    }  # fmt: skip
    return Declared(workloads, edges, frozenset(doors), tuple(content.get("namespaces") or ()))
