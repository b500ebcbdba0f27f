"""The rules of Prometheus as data; what they say of series is judged by promtool in tests/component/observability."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import alerts

RULES = "roles/observability/files/rules"


@pytest.fixture
def sources(committed: dict[str, str]) -> str:
    """The text of our own programs that export metrics."""
    return "".join(
        text for path, text in committed.items()
        if re.match(r"apps/\w+/src/.*\.py$|components/node-proxy/.*\.go$", path) and not path.endswith("_test.go")
    )  # fmt: skip


def test_alerts_are_complete_and_ask_for_metrics_that_there_are(
    root: Path, committed: dict[str, str], sources: str, no_faults: list[str]
) -> None:
    no_faults += alerts.faults(*alerts.load(root / RULES), sources, committed["docs/errors.md"])


BREAKS: list[tuple[str, Callable[[list[dict[str, Any]]], Any]]] = [
    ("nobody exports chore_failuers_total", lambda rules: rules[0].update(expr="increase(chore_failuers_total[2h]) > 2")),
    ("nobody exports no_such_metric", lambda rules: rules[0].update(expr='sum by (x) (rate(no_such_metric{y!=""}[5m])) / on (z) up > 1')),
    ("severity is one of", lambda rules: rules[0]["labels"].update(severity="bad")),
    ("does not list BK-999", lambda rules: rules[0]["annotations"].update(remedy="BK-" + "999")),
    ("annotations are", lambda rules: rules[0]["annotations"].pop("summary")),
    ("has ['alert'", lambda rules: rules[0].pop("for")),
    ("is there twice", lambda rules: rules[1].update(alert=rules[0]["alert"])),
    ("is nothing for a label", lambda rules: rules[0]["annotations"].update(summary="{{ $labels.email }}")),
]


@pytest.mark.parametrize(("fragment", "change"), BREAKS, ids=[fragment for fragment, _ in BREAKS])
def test_a_bad_alert_is_found(
    fragment: str, change: Callable[[list[dict[str, Any]]], Any], root: Path, committed: dict[str, str], sources: str
) -> None:
    found, records = alerts.load(root / RULES)
    rules = [copy.deepcopy(alert.rule) for alert in found]
    change(rules)
    broken = [alerts.Alert(alert.file, rule) for alert, rule in zip(found, rules, strict=True)]
    faults = alerts.faults(broken, records, sources, committed["docs/errors.md"])
    assert any(fragment in fault for fault in faults), faults


def test_the_document_holds_the_table(root: Path, committed: dict[str, str]) -> None:
    table = alerts.table(alerts.load(root / RULES)[0])
    assert table in committed["docs/alerts.md"], f"docs/alerts.md must hold this table, made from {RULES}:\n{table}"


def test_limits_follow_the_settings_that_they_are_about(root: Path) -> None:
    """Half of the log that a slot may keep; one streaming job for each file of SQL."""
    found = {alert.name: alert.rule["expr"] for alert in alerts.load(root / RULES)[0]}
    kept = yaml.safe_load((root / "roles/databases/defaults/main.yml").read_text(encoding="utf-8"))["databases_max_slot_wal"]
    number, unit = re.fullmatch(r"(\d+)(MB|GB)", kept).groups()  # type: ignore[union-attr]
    assert found["SlotRetainsLog"].endswith(f"> {int(number) * (1 << (20 if unit == 'MB' else 30)) // 2}")
    jobs = [file for file in (root / "flink/sql").glob("*.sql") if "INSERT INTO" in file.read_text(encoding="utf-8")]
    assert found["StreamingJobMissing"].endswith(f"< {len(jobs)}"), [job.name for job in jobs]


def test_every_alert_has_a_fault_that_fires_it_or_a_reason(root: Path) -> None:
    declared = yaml.safe_load((root / "tests/live/faults/alerts.yml").read_text(encoding="utf-8"))
    names = {alert.name for alert in alerts.load(root / RULES)[0]}
    assert set(declared["fired"]) | set(declared["unfired"]) == names
    assert not set(declared["fired"]) & set(declared["unfired"])
    tests = (root / "tests/live/faults/test_alerts.py").read_text(encoding="utf-8")
    for name, test in declared["fired"].items():
        assert f"def {test}(" in tests, f"{name}: no test {test}"
    assert all(len(reason) > 20 for reason in declared["unfired"].values())
