"""The tool beside the JobManager: what it reads from the REST API and from the volume, and in which order it acts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

OVERVIEW = {"jid": "j1", "name": "books", "state": "RUNNING", "start-time": 5, "tasks": {"total": 2, "running": 2}}


def known(rest: Any, **changes: Any) -> None:
    """Let the server know one job."""
    job = {**OVERVIEW, **changes}
    rest.on("GET", "/jobs/overview", (200, {"jobs": [job]}))
    parameters = {"bookstore.sql-hash": "abc", "bookstore.settings-hash": "def"}
    rest.on("GET", "/jobs/j1/config", (200, {"execution-config": {"user-config": parameters}}))
    rest.on("GET", "/jobs/j1/checkpoints", (200, {"latest": {"completed": {"latest_ack_timestamp": 7}}}))
    trace = "org.x.Outer: wrapped\n\tat a.b\nCaused by: org.y.Inner: why\n\tat c.d\n"
    rest.on("GET", "/jobs/j1/exceptions?maxExceptions=1", (200, {"exceptionHistory": {"entries": [{"stacktrace": trace}]}}))


def checkpoint(root: Path, path: str, modified: float, content: str = "state") -> None:
    file = root / "jobs" / path / "_metadata"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    os.utime(file, (modified, modified))


def test_a_job_is_described_with_its_hashes_and_innermost_cause(rest: Any, load: Any) -> None:
    known(rest)
    assert load("flink_jobs").listing() == [{
        "id": "j1", "name": "books", "state": "RUNNING", "hash": "abc", "settings_hash": "def", "tasks": 2, "running": 2,
        "checkpoint": 7, "failure": "org.y.Inner: why",
    }]  # fmt: skip


def test_an_election_and_a_job_that_is_read_in_are_waited_for(rest: Any, load: Any) -> None:
    known(rest)
    initializing = {"jobs": [{**OVERVIEW, "state": "INITIALIZING"}]}
    rest.on("GET", "/jobs/overview", (503, {"errors": ["election"]}), (200, initializing), (200, {"jobs": [OVERVIEW]}))
    assert [job["state"] for job in load("flink_jobs").listing()] == ["RUNNING"]
    assert [path for _, path, _ in rest.asked].count("/jobs/overview") == 3


def test_a_wait_without_end_tells_what_was_seen(rest: Any, load: Any) -> None:
    rest.on("GET", "/jobs/overview", (503, {"errors": ["leader election"]}))
    tool = load("flink_jobs")
    with pytest.raises(tool.RefusedError, match="not ready within 0 s: answered 503: .*leader election"):
        tool.listing()


def test_the_newest_whole_checkpoint_of_each_hash_is_found(tmp_path: Path, load: Any) -> None:
    checkpoint(tmp_path, "books/abc/j1/chk-1", 10)
    checkpoint(tmp_path, "books/abc/j2/chk-9", 20)
    checkpoint(tmp_path, "books/abc/j3/chk-3", 30, content="")
    checkpoint(tmp_path, "books/old/j0/chk-5", 40)
    assert load("flink_jobs").retained() == {
        "books": {"abc": f"file://{tmp_path}/jobs/books/abc/j2/chk-9", "old": f"file://{tmp_path}/jobs/books/old/j0/chk-5"}
    }


def test_statements_end_with_a_semicolon_at_the_end_of_a_line(load: Any) -> None:
    sql = "-- One; two;\nCREATE TABLE a (\n  x STRING -- not a comment line\n);\n\nINSERT INTO b\nSELECT ';' FROM a;\n"
    made = load("flink_jobs").statements(sql)
    assert made == ["CREATE TABLE a (\n  x STRING -- not a comment line\n)", "INSERT INTO b\nSELECT ';' FROM a"]


def test_a_statement_set_is_one_statement(load: Any) -> None:
    tool = load("flink_jobs")
    first = "INSERT INTO b\nSELECT CASE WHEN x > 1 THEN 2 END"
    sql = f"CREATE TABLE a (x INT);\nEXECUTE STATEMENT SET BEGIN\n{first};\nINSERT INTO c\nSELECT 1;\nEND;\nCREATE TABLE d (x INT);\n"
    made = tool.statements(sql)
    assert made == [
        "CREATE TABLE a (x INT)", f"EXECUTE STATEMENT SET BEGIN\n{first};\nINSERT INTO c\nSELECT 1;\nEND", "CREATE TABLE d (x INT)",
    ]  # fmt: skip
    assert [tool.opens_set(statement) for statement in made] == [False, True, False]


def test_apply_stops_then_submits_with_the_savepoint(rest: Any, tmp_path: Path, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known(rest)
    rest.on("POST", "/jobs/j1/stop", (202, {"request-id": "r"}))
    done = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/1"}}
    rest.on("GET", "/jobs/j1/savepoints/r", (200, {"status": {"id": "IN_PROGRESS"}}), (200, done))
    rest.on("GET", "/jobs/j1/status", (200, {"status": "RUNNING"}), (200, {"status": "FINISHED"}))
    checkpoint(tmp_path, "orders/ooo/j7/chk-2", 10)
    tool = load("flink_jobs")
    calls: list[tuple[str, str | None]] = []

    def submit(wanted: Any, common: Any, restore: str | None) -> str:
        # The old job had ended before.
        assert rest.asked[-1][1] == "/jobs/j1/status"
        assert common == {"a": "b"}
        calls.append((wanted["name"], restore))
        if restore and "chk-2" in restore:
            raise tool.RefusedError("Unexpected magic number")
        return f"new {wanted['name']}"

    monkeypatch.setattr(tool, "submit", submit)
    submitted = [
        {"name": "books", "hash": "abc", "start": "savepoint"}, {"name": "orders", "hash": "ooo", "start": "checkpoint"},
        {"name": "items", "hash": "iii", "start": "checkpoint"}, {"name": "stock", "hash": "sss", "start": "beginning"},
    ]  # fmt: skip
    plan = {"stop": [{"id": "j1", "name": "books", "savepoint": True}], "submit": submitted, "settings": {"a": "b"}}
    damaged = f"file://{tmp_path}/jobs/orders/ooo/j7/chk-2"
    assert tool.apply(plan) == {
        "savepoints": {"books": "file:/s/1"}, "restored": {"books": "file:/s/1", "orders": damaged}, "reread": ["orders"],
        "submitted": {name: f"new {name}" for name in ("books", "orders", "items", "stock")},
    }  # fmt: skip
    # One that cannot be read is given up.
    assert calls == [("books", "file:/s/1"), ("orders", damaged), ("orders", None), ("items", None), ("stock", None)]


def test_a_refused_job_without_state_ends_the_call(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load("flink_jobs")

    def refuse(*_: object) -> str:
        raise tool.RefusedError("job books was not accepted: no such table")

    monkeypatch.setattr(tool, "submit", refuse)
    with pytest.raises(tool.RefusedError, match="no such table"):
        tool.submit_all([{"name": "books"}], {}, {})


def test_a_savepoint_that_fails_ends_the_call(rest: Any, load: Any) -> None:
    rest.on("POST", "/jobs/j1/stop", (202, {"request-id": "r"}))
    rest.on("GET", "/jobs/j1/savepoints/r", (200, {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"class": "Full"}}}))
    tool = load("flink_jobs")
    with pytest.raises(tool.RefusedError, match="no savepoint of job j1: .*Full"):
        tool.stop("j1", "file:///s")


def test_without_savepoint_a_job_is_cancelled(rest: Any, load: Any) -> None:
    known(rest)
    rest.on("PATCH", "/jobs/j1?mode=cancel", (202, {}))
    rest.on("GET", "/jobs/j1/status", (200, {"status": "CANCELED"}))
    load("flink_jobs").apply({"stop": [{"id": "j1", "name": "books", "savepoint": False}], "submit": [], "settings": {}})
    assert ("PATCH", "/jobs/j1?mode=cancel") in [(method, path) for method, path, _ in rest.asked]


def test_leftovers_are_swept_and_ways_back_kept(tmp_path: Path, load: Any) -> None:
    for path, modified in (("books/abc/active", 5), ("books/abc/old", 10), ("books/abc/older", 3), ("books/zzz/oldest", 1)):
        checkpoint(tmp_path, f"{path}/chk-1", modified)
        os.utime(tmp_path / "jobs" / path, (modified, modified))
    (tmp_path / "jobs/books/abc/empty/shared").mkdir(parents=True)
    for name, modified in (("savepoint-1", 1), ("savepoint-2", 2)):
        (tmp_path / "savepoints/books" / name).mkdir(parents=True)
        os.utime(tmp_path / "savepoints/books" / name, (modified, modified))
    load("flink_jobs").sweep({"active"})
    assert sorted(str(one.relative_to(tmp_path)) for one in tmp_path.glob("*/*/*")) == ["jobs/books/abc", "savepoints/books/savepoint-2"]
    assert sorted(one.name for one in (tmp_path / "jobs/books/abc").iterdir()) == ["active", "old"]


def test_the_answer_is_one_line_of_json(rest: Any, load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    known(rest)
    load("flink_jobs").main(["describe"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert sorted(json.loads(lines[0])) == ["jobs", "retained"]


def test_an_unknown_request_is_refused_with_the_usage(load: Any) -> None:
    with pytest.raises(SystemExit, match="describe"):
        load("flink_jobs").main(["submit"])
