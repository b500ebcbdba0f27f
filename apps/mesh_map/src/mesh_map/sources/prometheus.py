"""Prometheus' HTTP API, as far as the map asks it. Only questions; nothing is ever written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient
from bookstore_common.problem import DependencyUnavailableError

NAME = "__name__"


class PrometheusError(Exception):
    """Prometheus does not answer, or not with figures; the text says which."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one time."""

    labels: Mapping[str, str]
    value: float

    @property
    def name(self) -> str:
        return self.labels.get(NAME, "")


@dataclass(frozen=True, slots=True)
class Series:
    """One series over a time: points of (Unix time, value)."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]

    @property
    def name(self) -> str:
        return self.labels.get(NAME, "")


def quoted(value: str) -> str:
    """A label's value as PromQL writes it, whatever is in it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Prometheus:
    """A client. Every method raises PrometheusError."""

    def __init__(self, url: str, metrics: Metrics, patience_seconds: float) -> None:
        self._client = OutboundClient("prometheus", url, metrics, read_seconds=patience_seconds)

    async def samples(self, query: str) -> list[Sample]:
        """What ``query`` is now; values that are no numbers are left out."""
        found = [
            Sample(row.get("metric") or {}, _number((row.get("value") or (0, "NaN"))[1]))
            for row in await self._vector("/api/v1/query", {"query": query}, "vector")
        ]
        return [sample for sample in found if math.isfinite(sample.value)]

    async def series(self, query: str, start: float, end: float, step: int) -> list[Series]:
        """What ``query`` was, every ``step`` seconds."""
        parameters = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": str(step)}
        found = []
        for row in await self._vector("/api/v1/query_range", parameters, "matrix"):
            points = [(float(when), _number(value)) for when, value in row.get("values") or []]
            found.append(Series(row.get("metric") or {}, [point for point in points if math.isfinite(point[1])]))
        return found

    async def alerts(self) -> list[dict[str, Any]]:
        """Alerts that fire or are about to."""
        data = await self._data("/api/v1/alerts", {})
        found = data.get("alerts")
        return [alert for alert in found if isinstance(alert, dict)] if isinstance(found, list) else []

    async def close(self) -> None:
        await self._client.close()

    async def _vector(self, path: str, parameters: dict[str, str], kind: str) -> list[dict[str, Any]]:
        data = await self._data(path, parameters)
        rows = data.get("result")
        if data.get("resultType") != kind or not isinstance(rows, list):
            raise PrometheusError(f"Prometheus answers {path} with no {kind}")
        return [row for row in rows if isinstance(row, dict)]

    async def _data(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        try:
            response = await self._client.request("GET", path, params=parameters)
            answer = response.json()
        except DependencyUnavailableError as error:
            raise PrometheusError("Prometheus does not answer") from error
        data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
        if not isinstance(data, dict):
            raise PrometheusError(f"Prometheus refuses {path} (status {response.status})")
        return data


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
