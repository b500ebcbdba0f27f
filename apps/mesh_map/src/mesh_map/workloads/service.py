"""Golden signals of one workload, of the last hour."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from bookstore_common.problem import NotFoundError
from mesh_map.sources.prometheus import Prometheus, PrometheusError, Series, quoted
from mesh_map.topology.service import Topology

HOUR_SECONDS = 3600
STEP_SECONDS = 30
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
# What a chart shows, by the name of the recorded series (role observability).
_FIELDS = {
    "workload:requests:rate1m": "rate",
    "workload:requests_failed:rate1m": "errors",
    "workload:duration_seconds:p50_1m": "p50",
    "workload:duration_seconds:p95_1m": "p95",
    "workload:processor_cores:rate1m": "processor",
    "workload:memory_bytes": "memory",
    "workload:restarts:count10m": "restarts",
}


class Signals:
    """Asks Prometheus about one workload."""

    def __init__(self, topology: Topology, prometheus: Prometheus, clock: Callable[[], float] = time.time) -> None:
        self._topology = topology
        self._prometheus = prometheus
        self._clock = clock

    async def of(self, namespace: str, name: str) -> dict[str, Any]:
        """Times, and the values of each signal at them (null where there is none). Raises NotFoundError."""
        if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
            raise NotFoundError("No workload has this name.")
        await self._topology.look()
        if f"{namespace}/{name}" not in self._topology.known:
            raise NotFoundError("No workload has this name.")
        # Whole seconds, which no side rounds otherwise.
        end = int(self._clock())
        start = end - HOUR_SECONDS
        where = f"namespace={quoted(namespace)}, workload={quoted(name)}"
        source = f"source_workload_namespace={quoted(namespace)}, source_workload={quoted(name)}"
        target = f"destination_workload_namespace={quoted(namespace)}, destination_workload={quoted(name)}"
        questions = {
            "": f'{{__name__=~"{"|".join(_FIELDS)}", {where}}}',
            "calls": f"sum(edge:requests:rate1m{{{source}}})",
            "bytes": f"sum(edge:sent_bytes:rate1m{{{target}}}) + sum(edge:received_bytes:rate1m{{{target}}})",
        }
        try:
            answers = await asyncio.gather(
                *(self._prometheus.series(query, start, end, STEP_SECONDS) for query in questions.values())
            )
        except PrometheusError as error:
            self._topology.figures.lost(str(error))
            answers = [[] for _ in questions]
        times = [start + index * STEP_SECONDS for index in range(HOUR_SECONDS // STEP_SECONDS + 1)]
        signals: dict[str, list[float | None]] = {}
        for field, found in zip(questions, answers, strict=True):
            for series in found:
                one = field or _FIELDS.get(series.name, "")
                if one:
                    signals[one] = _aligned(series, times)
        return {
            "id": f"{namespace}/{name}", "figures": self._topology.figures.told(), "times": times, "signals": signals,
        }  # fmt: skip


def _aligned(series: Series, times: Iterable[float]) -> list[float | None]:
    """Values at the times, none where a series has a gap."""
    values = {round(when): value for when, value in series.points}
    return [values.get(round(when)) for when in times]
