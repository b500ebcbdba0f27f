"""Gaps and dead letters: who is asked, and how each is named."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.verification import consumer_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Context, Finding, Web

WANTED = {"topics": [{"name": "order.created.dlq", "partitions": 1}], "groups": ["inventory-service"]}
GAP = {"id": "1", "topic": "order.created", "partition": 2, "from": 5, "to": 9, "reason": "expired", "consumed_at": None, "reached": False}
LETTER = {"id": "2", "topic": "order.created", "partition": 0, "offset": 7, "event": None, "reason": "no JSON", "applied": False}


def ask(check: Any, gaps: list[Any], letters: list[Any], held: int = 0) -> Finding:
    future: Future[dict[str, Any]] = Future()
    future.set_result(
        {
            "topics": {"order.created.dlq": {"partitions": 1, "begin": 4, "end": 4 + held}},
            "unread": {"inventory": gaps},
            "letters": {"inventory": letters},
        }
    )
    found: Finding = check(Context({"pipeline": WANTED}, {}, Web(), None, None, pipeline=future))
    return found


def test_nothing_open_passes_and_nothing_is_claimed_without_an_observation() -> None:
    for check in (consumer_checks.gaps, consumer_checks.dead_letters):
        assert ask(check, [], []).status == "passed"
        assert check(Context({"pipeline": WANTED}, {}, Web(), None, None)).status == "skipped"


def test_a_gap_is_named_with_topic_and_range() -> None:
    lost = {**GAP, "from": -1, "reason": "unknown"}
    assert ask(consumer_checks.gaps, [GAP, lost], []).faults == [
        "inventory-worker: order.created/2: offsets 5 to 9 were not read (expired), and no hold expires until that is repaired",
        "inventory-worker: order.created/2: offsets ? to 9 were not read (unknown), and no hold expires until that is repaired",
    ]


def test_a_dead_letter_is_named_with_place_and_reason_until_its_event_is_applied() -> None:
    event = {**LETTER, "offset": 8, "event": "e", "reason": "DataError"}
    assert ask(consumer_checks.dead_letters, [], [LETTER, event], held=2).faults == [
        "topic order.created.dlq holds 2 events that could not be applied",
        "order.created/0/7: no event: no JSON",
        "order.created/0/8: event e: DataError",
    ]
    assert ask(consumer_checks.dead_letters, [], [{**event, "applied": True}]).status == "passed"


class Pods:
    """Answers of psql in the databases' pods."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        statement = command[-1]
        self.asked.append((pod, "gaps" if "consumer_gaps" in statement else "letters"))
        return json.dumps([GAP] if "consumer_gaps" in statement else [LETTER])


def test_only_workers_whose_group_is_declared_are_asked() -> None:
    pods: Any = Pods()
    assert consumer_checks.observe(pods, WANTED) == {"unread": {"inventory": [GAP]}, "letters": {"inventory": [LETTER]}}
    assert pods.asked == [("inventory-db-0", "gaps"), ("inventory-db-0", "letters")]
    assert consumer_checks.observe(pods, {"groups": []}) == {"unread": {}, "letters": {}}
