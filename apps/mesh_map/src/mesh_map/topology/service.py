"""Looks at both sources and puts the map together; several pages share one look."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import structlog

from bookstore_common.health import CheckFailedError
from mesh_map.settings import Settings
from mesh_map.sources.declared import Declared
from mesh_map.sources.kubernetes import COLLECTIONS, Kubernetes, KubernetesError, Object
from mesh_map.sources.prometheus import Prometheus, PrometheusError
from mesh_map.sources.sight import Sight
from mesh_map.topology import cluster, edges, facts

# Where `verify` leaves its summary.
PROOF = ("observability", "verify-summary")
# How old the newest figure is, by Prometheus' own clock.
AGE = "time() - max(timestamp(up))"
# Four scrapes: figures that are older say nothing of now.
OLDEST_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class Topology:
    """The map. ``look`` never fails: what cannot be seen is told."""

    def __init__(
        self,
        settings: Settings,
        declared: Declared,
        prometheus: Prometheus,
        kubernetes: Kubernetes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._declared = declared
        self._prometheus = prometheus
        self._kubernetes = kubernetes
        self._clock = clock
        self.figures = Sight(clock)
        self.cluster = Sight(clock)
        self._lock = asyncio.Lock()
        self._map: dict[str, Any] = {}
        self._until = 0.0

    @property
    def known(self) -> set[str]:
        """Ids of workloads of the last look, and of those that are declared."""
        return {one["id"] for one in self._map.get("workloads", [])} | set(self._declared.workloads)

    async def look(self) -> dict[str, Any]:
        """The map of now, or of a look that was made a moment ago."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._map = await self._compose()
                self._until = time.monotonic() + self._settings.look_seconds
            return self._map

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[asyncio.Task[None]]:
        """Look for Prometheus also while no page is open: so it is known since when it is away."""
        task = asyncio.create_task(self._watch(), name="watch")
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def check_figures(self) -> None:
        """For readiness: degraded while blind."""
        if self.figures.blind:
            raise CheckFailedError(self.figures.blind.reason)

    async def check_cluster(self) -> None:
        """For readiness: degraded while blind."""
        if self.cluster.blind:
            raise CheckFailedError(self.cluster.blind.reason)

    async def _watch(self) -> None:
        while True:
            await self._see_figures()
            if self.cluster.blind:
                await self._see_cluster()
            await asyncio.sleep(self._settings.watch_seconds)

    async def _see_figures(self) -> bool:
        was_blind = self.figures.blind
        try:
            ages = await self._prometheus.samples(AGE)
        except PrometheusError as error:
            self.figures.lost(str(error))
        else:
            if not ages:
                self.figures.lost("Prometheus holds no figures: it scrapes nothing yet")
            elif ages[0].value > OLDEST_SECONDS:
                self.figures.lost("Prometheus has no new figures", self._clock() - ages[0].value)
            else:
                self.figures.seen()
        if bool(was_blind) != bool(self.figures.blind):
            _log.info("prometheus", seen=not self.figures.blind)
        return not self.figures.blind

    async def _see_cluster(self) -> dict[str, list[Object]] | None:
        try:
            found = await asyncio.gather(*map(self._kubernetes.objects, COLLECTIONS))
        except KubernetesError as error:
            self.cluster.lost(str(error))
            return None
        self.cluster.seen()
        return dict(zip(COLLECTIONS, found, strict=True))

    async def _see_proof(self) -> dict[str, Any] | None:
        try:
            return facts.proof_of(await self._kubernetes.config_map(*PROOF))
        except KubernetesError:
            return None

    async def _ask(self) -> tuple[list[edges.Edge], list[dict[str, Any]], list[dict[str, Any]], bool]:
        """Edges, alerts, freshness, and whether edges are recorded at all; without figures the declared edges."""
        if not await self._see_figures():
            return edges.edges_of(self._declared, []), [], [], True
        try:
            found, fresh, alerts = await asyncio.gather(
                self._prometheus.samples(edges.QUERY),
                self._prometheus.samples(facts.FRESHNESS),
                self._prometheus.alerts(),
            )
        except PrometheusError as error:
            self.figures.lost(str(error))
            return edges.edges_of(self._declared, []), [], [], True
        return (
            edges.edges_of(self._declared, found), facts.alerts_of(alerts), facts.freshness_of(fresh), bool(found),
        )  # fmt: skip

    async def _compose(self) -> dict[str, Any]:
        asked, objects, proof = await asyncio.gather(self._ask(), self._see_cluster(), self._see_proof())
        found, alerts, fresh, recorded = asked
        return {
            "time": self._clock(),
            "figures": self.figures.told(),
            "cluster": self.cluster.told(),
            "recorded": recorded,
            "workloads": self._workloads(objects, found, alerts),
            "edges": [asdict(one) for one in found],
            "alerts": alerts,
            "freshness": fresh,
            "nodes": cluster.nodes_of(objects["Node"]) if objects else [],
            "proof": proof,
        }

    def _workloads(
        self, objects: dict[str, list[Object]] | None, found: list[edges.Edge], alerts: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """What runs, what is declared and does not run, and what only the figures know."""
        rows: dict[str, dict[str, Any]] = {}
        for one in cluster.workloads_of(objects or {}):
            rows[one.id] = {"id": one.id, "declared": one.id in self._declared.workloads, **asdict(one)}
        for one_id, declared in self._declared.workloads.items():
            # A Job runs when it is needed.
            state = "unknown" if objects is None else "off" if declared.kind == "Job" or declared.optional else "absent"
            if one_id not in rows:
                rows[one_id] = _row(one_id, declared.kind, state, declared=True)
        for edge in found:
            for end in (edge.source, edge.target):
                if end not in rows and (edge.flows or end == edges.DOOR):
                    rows[end] = _row(end, "Door" if end == edges.DOOR else "", "unknown")
        fires = [alert["workload"] for alert in alerts if alert["state"] == "firing"]
        for row in rows.values():
            row["alerts"] = fires.count(row["id"])
        return [rows[key] for key in sorted(rows)]


def _row(one_id: str, kind: str, state: str, *, declared: bool = False) -> dict[str, Any]:
    namespace, _, name = one_id.partition("/")
    return {
        "id": one_id, "declared": declared, "namespace": namespace, "name": name, "kind": kind, "wanted": 0, "ready": 0,
        "restarts": 0, "state": state, "reason": "", "last_restart": None, "nodes": [],
    }  # fmt: skip
