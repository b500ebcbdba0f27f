"""Edges: those that are declared, with the traffic that Prometheus' recording rules tell of, and those that are not."""

from collections.abc import Iterable
from dataclasses import dataclass

from mesh_map.sources.declared import Declared
from mesh_map.sources.prometheus import Sample

# One question for all: role observability records each of these for each pair of workloads (its README names them).
QUERY = '{__name__=~"edge:.+"}'
# What comes in through a node port is of nobody in the mesh.
DOOR = "host/node-port"
_NOBODY = frozenset({"", "unknown"})
# Namespaces of the cluster's and the mesh's own parts, of which the matrix says nothing.
PLATFORM = frozenset({"kube-system", "istio-system"})


@dataclass(slots=True)
class Edge:
    """Figures are of the last minute, per second, times in milliseconds; None where nothing tells.

    ``state``: active, idle (declared, no traffic), undeclared, or platform (of the cluster's own parts).
    ``identity``: mutual (both ends proved theirs), unproven, or unknown.
    """

    source: str
    target: str
    state: str
    ports: tuple[int, ...] = ()
    scrape: bool = False
    identity: str = "unknown"
    rate: float | None = None
    errors: float | None = None
    p50: float | None = None
    p95: float | None = None
    connections: float | None = None
    sent: float | None = None
    received: float | None = None

    @property
    def flows(self) -> bool:
        return any((self.rate, self.connections, self.sent, self.received))


_FIELDS = {
    "edge:requests:rate1m": "rate",
    "edge:requests_failed:rate1m": "errors",
    "edge:duration_milliseconds:p50_1m": "p50",
    "edge:duration_milliseconds:p95_1m": "p95",
    "edge:connections_opened:rate1m": "connections",
    "edge:sent_bytes:rate1m": "sent",
    "edge:received_bytes:rate1m": "received",
}
_IDENTITY = "edge:mutual_tls:bool"


def edges_of(declared: Declared, samples: Iterable[Sample]) -> list[Edge]:
    """All edges, by source and target."""
    found = {
        key: Edge(key[0], key[1], "idle", one.ports, one.scrape) for key, one in declared.edges.items()
    }  # fmt: skip
    for sample in samples:
        field = _FIELDS.get(sample.name)
        if field is None and sample.name != _IDENTITY:
            continue
        key = _ends(declared, sample)
        if key is None:
            continue
        edge = found.setdefault(key, Edge(key[0], key[1], "undeclared"))
        if field is None:
            edge.identity = "mutual" if sample.value == 1 else "unproven"
        else:
            # Another source of the same name (an unknown one, say) adds to what flows.
            before = getattr(edge, field)
            total = sample.value if before is None or field in ("p50", "p95") else before + sample.value
            setattr(edge, field, total)
    for key, edge in list(found.items()):
        if key in declared.edges:
            edge.state = "active" if edge.flows else "idle"
        elif not edge.flows:
            del found[key]  # it was there once
        elif edge.source == DOOR:
            edge.state = "active"
        elif {edge.source.partition("/")[0], edge.target.partition("/")[0]} & PLATFORM:
            edge.state = "platform"
    return [found[key] for key in sorted(found)]


def _ends(declared: Declared, sample: Sample) -> tuple[str, str] | None:
    labels = sample.labels
    source, target = (labels.get(f"{end}_workload", "") for end in ("source", "destination"))
    spaces = [labels.get(f"{end}_workload_namespace", "") for end in ("source", "destination")]
    if target in _NOBODY:
        return None  # what leaves the mesh has no workload at its end
    target = f"{spaces[1]}/{target}"
    if source in _NOBODY:
        return (DOOR if target in declared.doors else "unknown/unknown", target)
    return (f"{spaces[0]}/{source}", target)
