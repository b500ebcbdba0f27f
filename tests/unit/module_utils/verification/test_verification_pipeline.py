"""Checks of the event pipeline: what they accept, and what each fault is called."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any, ClassVar

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.verification import pipeline, pipeline_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Answer, Context, Finding, Web

WANTED = {
    "topics": [{"name": "order.created", "partitions": 3}, {"name": "order.created.dlq", "partitions": 1}],
    "groups": ["ecom-service"],
    "slots": [{"source": "ecom", "namespace": "ecom", "instance": "ecom-db", "database": "ecomdb", "slot": "debezium_ecom_slot"}],
    "jobs": ["cdc-dim-books"],
    "doors": {"ecom": 32300},
    "flink_port": 32200,
    "audit": {
        "namespace": "analytics", "instance": "analytics-db", "database": "analyticsdb", "tables": ["books", "orders"], "oldest_s": 1800,
    },
    "quarantine": {"namespace": "analytics", "instance": "analytics-db", "database": "analyticsdb"},
    "capture": [{"source": "ecom", "database": {"name": "ecom-db", "namespace": "ecom", "database": "ecomdb"}, "tables": ["books"]}],
}
ENTRY = {"topic": "cdc.ecom.public.books", "partition": 0, "offset": 7, "key": "b1", "reason": "column price: 'NaN' is no decimal number"}
CAPTURED = {
    "tables": {"books": {"identity": "f", "owner": "ecom_owner"}},
    "publication": {
        "all": False, "insert": True, "update": True, "delete": True, "truncate": False, "via_root": False, "schemas": [],
        "tables": [{"schema": "public", "name": "books", "filter": None, "columns": False}],
    },
}  # fmt: skip
SUMMED: dict[str, Any] = {"passes": 1, "orders": 3, "sums": [], "lag_s": None}
AUDITED = {"table": "books", "result": "equal", "persistent": 0, "unsettled": 2, "age_s": 12}


def healthy() -> dict[str, Any]:
    return {
        "topics": {
            "order.created": {"partitions": 3, "begin": 0, "end": 7},
            "order.created.dlq": {"partitions": 1, "begin": 4, "end": 4},
            "of.nobody": {"partitions": 1, "begin": 0, "end": 0},
        },
        "groups": {"ecom-service": {"order.created": 0}, "of-nobody": {"order.created": 9}},
        "snapshots": {}, "doors": {},
        "slots": {
            "ecom-db": [{"name": "debezium_ecom_slot", "active": True, "wal_status": "reserved", "retained_mib": 0.25}]
        },
        "jobs": [{"name": "cdc-dim-books", "state": "RUNNING", "checkpoints": {"completed": 3}, "failure": ""}],
        "audit": [AUDITED],
        "quarantine": {"count": 0, "entries": []},
        "summaries": SUMMED,
        "capture": [],
    }


def ask(check: Any, seen: dict[str, Any], wanted: dict[str, Any] | None = None) -> Finding:
    future: Future[dict[str, Any]] = Future()
    future.set_result(seen)
    found: Finding = check(Context({"pipeline": wanted or WANTED}, {}, Web(), None, None, pipeline=future))
    return found


ALL = [
    pipeline_checks.topics, pipeline_checks.consumers, pipeline_checks.dead_letters, pipeline_checks.slots, pipeline_checks.jobs,
    pipeline_checks.audit, pipeline_checks.quarantine, pipeline_checks.summaries, pipeline_checks.capture,
]  # fmt: skip


@pytest.mark.parametrize("check", ALL)
def test_a_healthy_pipeline_passes(check: Any) -> None:
    assert ask(check, healthy()).status == "passed"


@pytest.mark.parametrize("check", ALL)
def test_nothing_is_claimed_without_an_observation(check: Any) -> None:
    assert check(Context({"pipeline": WANTED}, {}, Web(), None, None)).status == "skipped"


def test_topics_that_are_missing_or_different() -> None:
    seen = healthy()
    del seen["topics"]["order.created.dlq"]
    seen["topics"]["order.created"]["partitions"] = 1
    assert ask(pipeline_checks.topics, seen).faults == [
        "topic order.created has 1 partitions, expected 3",
        "topic order.created.dlq does not exist",
    ]


def test_events_that_wait_and_groups_that_never_consumed() -> None:
    seen = healthy()
    seen["groups"]["ecom-service"] = {"order.created": 2, "order.cancelled": 1}
    assert ask(pipeline_checks.consumers, seen).faults == [
        "group ecom-service has 2 events of order.created to read",
        "group ecom-service has 1 events of order.cancelled to read",
    ]
    assert ask(pipeline_checks.consumers, {**seen, "groups": {}}).faults == ["group ecom-service has never consumed anything"]


def test_dead_letters_count_until_they_are_purged() -> None:
    seen = healthy()
    seen["topics"]["order.created.dlq"]["end"] = 6
    assert ask(pipeline_checks.dead_letters, seen).faults == ["topic order.created.dlq holds 2 events that could not be applied"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"active": False}, "ecom-db: nobody reads slot debezium_ecom_slot"),
        ({"wal_status": "lost"}, "ecom-db: slot debezium_ecom_slot is lost: changes were lost"),
        ({"name": "other"}, "ecom-db: slot debezium_ecom_slot does not exist"),
    ],
)
def test_slots(change: dict[str, Any], fault: str) -> None:
    seen = healthy()
    seen["slots"]["ecom-db"][0].update(change)
    assert ask(pipeline_checks.slots, seen).faults == [fault]


@pytest.mark.parametrize(("told", "shown"), [("snapshot: 10 of 40 rows", ", snapshot: 10 of 40 rows"), ("", "")])
def test_a_snapshot_that_is_taken_is_told_beside_the_slot(told: str, shown: str) -> None:
    seen = {**healthy(), "snapshots": {"debezium_ecom_slot": told}}
    seen["slots"]["ecom-db"][0].update({"active": False})
    assert ask(pipeline_checks.slots, seen).faults == [f"ecom-db: nobody reads slot debezium_ecom_slot; a new snapshot is taken{shown}"]


def test_jobs_run_once_and_make_checkpoints() -> None:
    seen = healthy()
    seen["jobs"][0]["checkpoints"] = {"completed": 0, "failed": 2}
    assert "has not completed a checkpoint" in ask(pipeline_checks.jobs, seen).faults[0]
    seen["jobs"] = [{"name": "cdc-dim-books", "state": "RESTARTING", "checkpoints": {}, "failure": "PSQLException: too long"}]
    assert ask(pipeline_checks.jobs, seen).faults == [
        "job cdc-dim-books, table dim_books runs 0 times, states ['RESTARTING']: PSQLException: too long"
    ]
    twice = [*healthy()["jobs"], *healthy()["jobs"]]
    assert "runs 2 times" in ask(pipeline_checks.jobs, {**seen, "jobs": twice}).faults[0]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"persistent": 3, "result": "divergent"}, "table books differs from its source in 3 of 64 shares, in two audits running"),
        ({"age_s": 1801}, "table books was last audited 1801 s ago, expected within 1800 s of the start of analytics-db"),
        # Once may be a row that was deleted while the audit was under way; and a platform that just came up was not audited yet.
        ({"result": "divergent"}, None),
        ({"result": None, "persistent": None, "unsettled": None, "age_s": 60}, None),
        ({"result": None, "persistent": None, "unsettled": None, "age_s": 1801},
         "table books was never audited, expected within 1800 s of the start of analytics-db"),
    ],
)  # fmt: skip
def test_audits(change: dict[str, Any], fault: str | None) -> None:
    seen = {**healthy(), "audit": [{**AUDITED, **change}]}
    assert ask(pipeline_checks.audit, seen).faults == ([fault] if fault else [])


def test_audits_that_nobody_declared_are_not_asked_for() -> None:
    assert ask(pipeline_checks.audit, healthy(), {**WANTED, "audit": {}}).status == "skipped"


def test_sums_that_stay_wrong_and_orders_that_are_wrong_again_are_told() -> None:
    wrong = {**healthy(), "summaries": {"passes": 2, "orders": 7, "sums": ["sum_days"], "lag_s": 40}}
    found = ask(pipeline_checks.summaries, wrong)
    assert (found.status, found.data) == ("failed", {"summaries_lag_s": 40})
    assert found.faults == [
        "sum_days differs from the orders that were counted, also after it was made anew",
        "the audit found orders that were counted wrongly in 2 passes in a row, 7 in the last",
    ]
    assert ask(pipeline_checks.summaries, wrong, {**WANTED, "quarantine": {}}).status == "skipped"


def test_quarantined_records_are_named_with_table_key_offset_and_reason() -> None:
    seen = {**healthy(), "quarantine": {"count": 1, "entries": [ENTRY]}}
    fault = "table books, key b1, offset 7 of cdc.ecom.public.books: column price: 'NaN' is no decimal number"
    found = ask(pipeline_checks.quarantine, seen)
    assert (found.status, found.faults, found.data) == ("failed", [fault], {"quarantined_records": 1})
    many = {**healthy(), "quarantine": {"count": 9000, "entries": [{**ENTRY, "key": None}] * 20}}
    assert len(ask(pipeline_checks.quarantine, many).faults) == 21
    assert ask(pipeline_checks.quarantine, many).faults[-1].startswith("8980 more; they are in quarantined_records")
    assert ask(pipeline_checks.quarantine, seen, {**WANTED, "quarantine": {}}).status == "skipped"


def test_what_is_not_captured_as_declared_is_named() -> None:
    found = ask(pipeline_checks.capture, {**healthy(), "capture": ["ecom, table books: REPLICA IDENTITY is DEFAULT, not FULL"]})
    assert (found.status, len(found.faults)) == ("failed", 1)
    assert ask(pipeline_checks.capture, healthy(), {**WANTED, "capture": []}).status == "skipped"


@pytest.mark.parametrize(
    ("trace", "cause"),
    [("a.B: x\n\tat y\nCaused by: c.D: z\n\tat w\n", "c.D: z"), ("a.B: x\n\tat y", "a.B: x"), ("", "")],
)
def test_the_cause_of_a_failure_is_the_innermost(trace: str, cause: str) -> None:
    assert pipeline.cause(trace) == cause


class Pods:
    """Answers of commands in pods: a busy shop, whose newest event is never consumed yet."""

    def __init__(self) -> None:
        self.asked = 0

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        if pod == "ecom-db-0":
            assert "--dbname=ecomdb" in command
            if "pg_publication" in command[-1]:
                assert "relname IN ('books')" in command[-1]
                return json.dumps({**CAPTURED, "tables": {"books": {"identity": "d", "owner": "ecom_owner"}}})
            return json.dumps(healthy()["slots"]["ecom-db"])
        if "quarantined_records" in command[-1]:
            return json.dumps({"count": 1, "entries": [ENTRY]})
        if "mv_summary_audit" in command[-1]:
            return json.dumps(SUMMED)
        if pod == "analytics-db-0":
            assert "'{books,orders}'::text[]" in command[-1]
            return json.dumps([AUDITED])
        self.asked += 1
        topics = {"order.created": {"partitions": 3, "begin": 0, "end": 6 + self.asked}}
        return json.dumps({"topics": topics, "groups": {"ecom-service": {"order.created": 1}}})


def test_how_far_a_snapshot_is_is_asked_where_nobody_reads_a_slot() -> None:
    class Idle(Pods):
        note: ClassVar[dict[str, Any]] = {"cause": "SLOT_LOST", "since": "2026-11-28T09:00:00Z", "done": None}

        def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
            if "newest" in command:
                progress = {"stage": "snapshot", "since": self.note["since"], "at": "2026-11-28T09:00:30Z", "rows": 10, "of": 40}
                records = [
                    {"key": json.dumps([kind, {"server": "cdc.ecom"}]), "value": json.dumps(value)}
                    for kind, value in (("guard", self.note), ("guard-progress", progress))
                ]
                return json.dumps({"debezium.ecom.offsets": {"records": records, "left_out": 0}})
            answer = super().execute(namespace, pod, container, command, timeout)
            return answer.replace('"active": true', '"active": false')

    def snapshots() -> Any:
        return pipeline.observe(Idle(), Flink(), WANTED, 0)["snapshots"]  # type: ignore[arg-type]

    assert snapshots() == {"debezium_ecom_slot": "snapshot: 10 of 40 rows, about 90 s left"}
    Idle.note = {**Idle.note, "done": "2026-11-28T09:02:00Z"}
    assert snapshots() == {}


def test_how_far_a_snapshot_is_beside_the_stream_the_server_says_itself() -> None:
    told = {"stage": "snapshot", "since": "2026-11-28T09:00:00Z", "at": "2026-11-28T09:00:30Z", "rows": 20, "of": 40, "before": 10}
    seen = pipeline.observe(Pods(), Flink(told), WANTED, 0)  # type: ignore[arg-type]
    assert seen["snapshots"] == {"debezium_ecom_slot": "snapshot: 20 of 40 rows, about 60 s left"}
    assert seen["doors"] == {}
    assert ask(pipeline_checks.slots, {**healthy(), "snapshots": seen["snapshots"]}).faults == [
        "ecom-db: slot debezium_ecom_slot is read; a new snapshot is taken, snapshot: 20 of 40 rows, about 60 s left"
    ]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, b'{"error": "the server does not answer yet"}', "HTTP 503 instead of 200 at /q/snapshot of port 32300"),
        (421, b"", "HTTP 421 instead of 200"),
        (200, b"<html>", "tells no progress (JSONDecodeError"),
        (200, b"", "tells no progress (JSONDecodeError"),
        (200, b"\xff\xfe{", "tells no progress ("),
        (200, b"{}", "tells no progress (KeyError: 'stage'): '{}'"),
        (200, b"[]", "tells no progress (TypeError"),
        (200, b"null", "tells no progress (TypeError"),
        (200, b'{"stage": "snapshot"}', "tells no progress (KeyError: 'rows')"),
        (200, b'{"stage": "snapshot", "rows": "many", "of": 3}', "tells no progress (ValueError"),
        (200, b'{"stage": "snapshot", "rows": 1, "of": 3, "since": 1, "at": 2}', "tells no progress (TypeError"),
        (200, b'{"stage": "snapshot", "rows": 0, "of": 3, "waiting": "for it"}', "tells no progress ("),
        (None, b"", "Connection refused"),
    ],
)
def test_a_door_that_does_not_tell_how_far_a_snapshot_is_is_a_finding(status: int | None, body: bytes, reason: str) -> None:
    class Door(Flink):
        def http(self, host: str, path: str, port: int | None = None) -> Answer:
            if path != "/q/snapshot":
                return super().http(host, path, port)
            if status is None:
                raise ConnectionRefusedError(111, "Connection refused")
            return Answer(status, {}, body)

    seen = pipeline.observe(Pods(), Door(), WANTED, 0)  # type: ignore[arg-type]
    assert seen["snapshots"] == {}
    (fault,) = ask(pipeline_checks.slots, {**healthy(), "doors": seen["doors"]}).faults
    assert fault.startswith("ecom-db: slot debezium_ecom_slot is read; its server does not tell whether it takes a snapshot: ")
    assert reason in fault


class Flink(Web):
    def __init__(self, snapshot: dict[str, Any] | None = None) -> None:
        self._snapshot = snapshot or {"stage": "none"}

    def http(self, host: str, path: str, port: int | None = None) -> Answer:
        if path == "/q/snapshot":
            assert (host, port) == ("localhost", 32300)
            return Answer(200, {}, json.dumps(self._snapshot).encode())
        assert (host, port) == ("localhost", 32200)
        answers = {
            "/jobs/overview": {"jobs": [{"jid": "1", "name": "cdc-dim-books", "state": "RUNNING", "tasks": {"running": 0, "total": 1}}]},
            "/jobs/1/exceptions?maxExceptions=1": {"exceptionHistory": {"entries": [{"stacktrace": "a\nCaused by: b"}]}},
            "/jobs/1/checkpoints": {"counts": {"completed": 5}},
        }
        return Answer(200, {}, json.dumps(answers[path]).encode())


def test_observing_waits_for_events_on_their_way_and_not_for_those_that_follow() -> None:
    pods = Pods()
    seen = pipeline.observe(pods, Flink(), WANTED, float("inf"))  # type: ignore[arg-type]
    assert pods.asked == 2
    assert seen["groups"] == {"ecom-service": {"order.created": 0}}
    assert seen["jobs"] == [{"name": "cdc-dim-books", "state": "RUNNING", "checkpoints": {"completed": 5}, "failure": "b"}]
    assert seen["quarantine"] == {"count": 1, "entries": [ENTRY]}
    assert seen["summaries"] == SUMMED
    assert seen["capture"] == ["ecom, table books: REPLICA IDENTITY is DEFAULT, not FULL"]
    assert seen["slots"] == healthy()["slots"]
    assert seen["audit"] == [AUDITED]


@pytest.mark.parametrize(
    ("end", "lag", "waiting"),
    [(7, 7, 7), (9, 9, 7), (9, 3, 1), (9, 2, 0), (9, 0, 0), (3, 2, 2)],
    ids=["nothing consumed", "nothing, and more came", "one left", "all of then", "all", "the topic was emptied"],
)
def test_only_records_that_were_there_at_first_are_waited_for(end: int, lag: int, waiting: int) -> None:
    found = {"topics": {"order.created": {"end": end}}, "groups": {"ecom-service": {"order.created": lag}}}
    assert pipeline.waiting(found, {"order.created": 7}) == {"ecom-service": {"order.created": waiting}}


def test_observing_does_not_wait_for_ever() -> None:
    pods = Pods()
    seen = pipeline.observe(pods, Flink(), {**WANTED, "flink_port": None}, 0.0)  # type: ignore[arg-type]
    assert (pods.asked, seen["jobs"]) == (1, [])
    assert seen["groups"] == {"ecom-service": {"order.created": 1}}
