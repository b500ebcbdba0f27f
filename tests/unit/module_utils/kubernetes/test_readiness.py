"""Readiness predicates against YAML fixtures; no cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness

FIXTURES = Path(__file__).parent / "fixtures" / "readiness"
CASES = [case for file in sorted(FIXTURES.glob("*.yml")) for case in yaml.safe_load(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case: dict[str, Any]) -> None:
    verdict = readiness.judge(case["object"], case.get("pods", []))
    assert verdict.state.value == case["state"], verdict.reason
    assert case.get("reason", "") in verdict.reason


def test_every_kind_has_a_ready_and_an_unready_fixture() -> None:
    seen = {(case["object"]["kind"], case["state"] == "ready") for case in CASES}
    assert seen == {(kind, ready) for kind in readiness.PREDICATES for ready in (True, False)}


def test_restarts_before_the_wait_do_not_count() -> None:
    crashing = {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "b"},
        "status": {
            "containerStatuses": [
                {"name": "app", "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
            ]
        },
    }
    assert readiness.judge(crashing, []).state is readiness.State.FAILED
    assert readiness.judge(crashing, [], baselines={"p": {"app": 5}}).state is readiness.State.WAITING
    assert readiness.judge(crashing, [], baselines={"p": {"app": 4}}).state is readiness.State.FAILED


def test_age() -> None:
    now = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
    assert readiness.age_seconds({"metadata": {"creationTimestamp": "2026-11-23T12:00:00Z"}}, now) == 30
    assert readiness.age_seconds({"metadata": {}}, now) == 0
