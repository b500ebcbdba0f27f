"""What the map tells beside the graph: alerts with their remedies, freshness of analytics, the last proof."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from mesh_map.sources.prometheus import Sample
from mesh_map.texts import shown

FRESHNESS = '{__name__=~"table:.+|view:.+"}'
# Labels that say where; others may hold anything.
_TOLD = ("namespace", "workload", "pod", "node", "table", "view", "topic", "slot_name", "source_workload",
         "destination_workload", "reason", "chore", "consumer", "job_name")  # fmt: skip
_REMEDY = re.compile(r"BK-[0-9]{3}")
_SEVERITIES = ("critical", "warning", "info")
# What a row of freshness shows, by the name of the recorded series.
_FRESHNESS = {
    "table:lag:records": "lag_records",
    "table:audit_age:seconds": "audit_age_seconds",
    "view:age:seconds": "age_seconds",
    "view:dirty:seconds": "waiting_seconds",
}


def alerts_of(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Alerts, the worst first. ``workload``: the id of a workload that an alert is about, or null."""
    alerts = []
    for alert in found:
        labels = {str(key): str(value) for key, value in (alert.get("labels") or {}).items()}
        notes = {str(key): value for key, value in (alert.get("annotations") or {}).items()}
        severity = labels.get("severity", "")
        remedy = _REMEDY.search(str(notes.get("remedy") or ""))
        alerts.append({
            "name": shown(labels.get("alertname", "")),
            "severity": severity if severity in _SEVERITIES else "warning",
            "state": "pending" if alert.get("state") == "pending" else "firing",
            "since": _unix(alert.get("activeAt")),
            "summary": shown(notes.get("summary") or ""),
            "action": shown(notes.get("action") or ""),
            "remedy": remedy[0] if remedy else "",
            "about": {key: shown(labels[key]) for key in _TOLD if labels.get(key)},
            "workload": _workload(labels),
        })  # fmt: skip
    order = {"firing": 0, "pending": 1}

    def rank(one: dict[str, Any]) -> tuple[int, int, str, str]:
        return order[one["state"]], _SEVERITIES.index(one["severity"]), one["name"], str(one["about"])

    return sorted(alerts, key=rank)


def _workload(labels: Mapping[str, str]) -> str | None:
    namespace, name = labels.get("namespace"), labels.get("workload")
    return f"{namespace}/{name}" if namespace and name else None


def freshness_of(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """One row for each table and view: kind, name, and what is known of it."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in samples:
        kind = sample.name.partition(":")[0]
        field, name = _FRESHNESS.get(sample.name), sample.labels.get(kind, "")
        if field and name:
            rows.setdefault((kind, name), {"kind": kind, "name": shown(name)})[field] = sample.value
    return [rows[key] for key in sorted(rows)]


def proof_of(data: Mapping[str, str]) -> dict[str, Any] | None:
    """The summary that ``verify`` published, or None where it has not (or somebody wrote something else)."""
    try:
        summary = orjson.loads(data.get("summary", ""))
        checks = [
            {key: shown(check.get(key, "")) for key in ("id", "error", "title", "status", "hint")}
            for check in summary["checks"]
        ]
        return {
            "started": datetime.fromisoformat(summary["started"]).timestamp(),
            "seconds": float(summary["seconds"]),
            "counts": {key: int(summary["counts"].get(key, 0)) for key in ("passed", "failed", "skipped")},
            "checks": checks,
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _unix(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text))).timestamp() if text else None
    except ValueError:
        return None
