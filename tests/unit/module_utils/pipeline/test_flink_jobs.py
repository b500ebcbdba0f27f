"""From declared and found jobs to the steps between, and the wait until they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from flink_rest import FlinkRest

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import flink_jobs as flink

SQL = "-- Books.\nCREATE TABLE a (x INT);\n\nINSERT INTO b\nSELECT x FROM a;\n"
SETTINGS = {"execution.checkpointing.interval": "10 s"}
VALUES = {"kafka": "broker:9092"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("books", "orders"):
        (tmp_path / f"{name}.sql").write_text(SQL.replace("b\n", f"{name}\n"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def wanted(folder: Path) -> list[flink.Wanted]:
    return flink.read(["books", "orders"], flink.Declaration(folder, VALUES, SETTINGS), {})


def running(job: flink.Wanted, **changes: Any) -> dict[str, Any]:
    found = {
        "id": f"id-{job.name}", "name": job.name, "state": "RUNNING", "hash": job.hash, "settings_hash": job.settings_hash,
        "tasks": 2, "running": 2, "checkpoint": 1, "failure": "",
    }  # fmt: skip
    return {**found, **changes}


def described(*jobs: dict[str, Any]) -> dict[str, Any]:
    return {"jobs": list(jobs), "retained": {}}


def test_comments_and_spaces_do_not_change_a_job(folder: Path, wanted: list[flink.Wanted]) -> None:
    books = (folder / "books.sql").read_text(encoding="utf-8")
    (folder / "books.sql").write_text("-- Other words.\n" + books.replace("\n\n", "\n  -- More.\n\n"), encoding="utf-8")
    assert flink.read(["books"], flink.Declaration(folder, VALUES, SETTINGS), {})[0].hash == wanted[0].hash
    (folder / "books.sql").write_text(SQL.replace("x FROM", "x + 1 FROM"), encoding="utf-8")
    changed = flink.read(["books"], flink.Declaration(folder, VALUES, SETTINGS), {})[0]
    assert changed.hash != wanted[0].hash
    assert changed.settings_hash == wanted[0].settings_hash
    assert flink.read(["books"], flink.Declaration(folder, VALUES, {}), {})[0].settings_hash != wanted[0].settings_hash


def test_names_in_the_sql_are_filled_before_it_is_compared(folder: Path, wanted: list[flink.Wanted]) -> None:
    file = folder / "books.sql"
    file.write_text(SQL.replace("FROM a", "FROM a -- ${kafka}"), encoding="utf-8")
    (job,) = flink.read(["books"], flink.Declaration(folder, VALUES, SETTINGS), {})
    assert "FROM a -- broker:9092" in job.sql
    file.write_text(job.sql, encoding="utf-8")
    assert flink.read(["books"], flink.Declaration(folder, {}, SETTINGS), {})[0].hash == job.hash
    file.write_text(SQL + "-- ${redis}\n", encoding="utf-8")
    with pytest.raises(flink.JobError, match="BK-181: .*'redis' is not among values; write one of kafka"):
        flink.read(["books"], flink.Declaration(folder, VALUES, SETTINGS), {})


def note(since: str | None, cause: str = "OFFSET_BEHIND") -> dict[str, Any]:
    return {"key": json.dumps(["guard", {}]), "value": since and json.dumps({"cause": cause, "since": since, "done": None})}


class Offsets:
    """The topics of offsets of both servers."""

    def __init__(self, ecom: list[dict[str, Any]], inventory: list[dict[str, Any]]) -> None:
        self._records = {"debezium.ecom.offsets": ecom, "debezium.inventory.offsets": inventory}

    def newest(self, topics: list[str]) -> dict[str, list[dict[str, Any]]]:
        return {topic: self._records[topic] for topic in topics}


def test_the_last_snapshot_of_a_source_belongs_to_its_jobs() -> None:
    offset = {"key": json.dumps(["kafka", {}]), "value": '{"lsn": 1}'}
    found = flink.snapshots(flink.noted(Offsets([offset, note("monday")], [offset, note("tuesday", "FIRST")])))  # type: ignore[arg-type]
    assert found == {
        "cdc-dim-books": "monday", "cdc-fact-orders": "monday", "cdc-fact-order-items": "monday", "cdc-fact-inventory": "tuesday",
    }  # fmt: skip
    assert flink.snapshots(flink.noted(Offsets([offset], [note(None)]))) == {}  # type: ignore[arg-type]


def test_after_a_new_snapshot_a_job_begins_anew_and_takes_no_older_state(folder: Path, wanted: list[flink.Wanted]) -> None:
    """Kafka came back with less than Flink had read: what was written again lies below the position in the job's state."""
    later = flink.read(["books", "orders"], flink.Declaration(folder, VALUES, SETTINGS), {"books": "monday"})
    steps = flink.plan(later, described(*map(running, wanted)), [])
    assert (steps.replaced, steps.unchanged) == (["books"], ["orders"])
    assert [(one["name"], one["start"]) for one in steps.submit] == [("books", "beginning")]
    # A missing one asks for state of its own hash only, and there is none of it.
    missing = flink.plan(later, described(), []).submit[0]
    assert (missing["start"], missing["hash"] == wanted[0].hash) == ("checkpoint", False)
    assert flink.plan(later, described(*map(running, later)), []).unchanged == ["books", "orders"]


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(flink.JobError, match=r"BK-181: job items has no file .*items\.sql"):
        flink.read(["items"], flink.Declaration(folder, VALUES, SETTINGS), {})


SET = "EXECUTE STATEMENT SET BEGIN\nINSERT INTO b\nSELECT 1;\nINSERT INTO c\nSELECT 2;\nEND;\n"


@pytest.mark.parametrize(
    "sql",
    ["CREATE TABLE a (x INT);\n", SQL + "INSERT INTO c SELECT 1;\n", "-- INSERT INTO b SELECT 1;\n", SQL + SET, SET + SET],
)
def test_a_file_makes_exactly_one_job(folder: Path, sql: str) -> None:
    (folder / "books.sql").write_text(sql, encoding="utf-8")
    with pytest.raises(flink.JobError, match="BK-181: .* makes [02] jobs; write one INSERT INTO, or one EXECUTE STATEMENT SET"):
        flink.read(["books"], flink.Declaration(folder, VALUES, SETTINGS), {})


def test_a_statement_set_is_one_job(folder: Path) -> None:
    (folder / "books.sql").write_text(SET, encoding="utf-8")
    assert flink.read(["books"], flink.Declaration(folder, VALUES, SETTINGS), {})[0].sql == SET


def test_missing_jobs_start_from_their_newest_checkpoint(wanted: list[flink.Wanted]) -> None:
    steps = flink.plan(wanted, described(), [])
    assert [(one["name"], one["start"], one["hash"]) for one in steps.submit] == [
        ("books", "checkpoint", wanted[0].hash), ("orders", "checkpoint", wanted[1].hash),
    ]  # fmt: skip
    assert (steps.stop, steps.submitted, steps.replaced) == ([], ["books", "orders"], [])


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "FINISHED", "SUSPENDED"])
def test_an_ended_job_counts_as_missing(wanted: list[flink.Wanted], state: str) -> None:
    steps = flink.plan(wanted[:1], described(running(wanted[0], state=state, running=0)), [])
    assert (steps.submitted, steps.stop) == (["books"], [])


def test_equal_jobs_stay_even_while_they_restart(wanted: list[flink.Wanted]) -> None:
    found = described(running(wanted[0]), running(wanted[1], state="RESTARTING", running=0))
    steps = flink.plan(wanted, found, [])
    assert not steps.changes
    assert steps.unchanged == ["books", "orders"]


def test_other_statements_are_applied_to_every_row(wanted: list[flink.Wanted]) -> None:
    steps = flink.plan(wanted, described(running(wanted[0], hash="other"), running(wanted[1])), [])
    assert steps.stop == [{"id": "id-books", "name": "books", "savepoint": True}]
    assert [(one["name"], one["start"]) for one in steps.submit] == [("books", "beginning")]
    assert (steps.replaced, steps.unchanged) == (["books"], ["orders"])


def test_other_settings_keep_the_state(wanted: list[flink.Wanted]) -> None:
    steps = flink.plan(wanted[:1], described(running(wanted[0], settings_hash="other")), [])
    assert steps.stop == [{"id": "id-books", "name": "books", "savepoint": True}]
    assert steps.submit[0]["start"] == "savepoint"


def test_a_job_that_does_not_run_is_asked_for_no_savepoint(wanted: list[flink.Wanted]) -> None:
    found = described(running(wanted[0], settings_hash="other", state="RESTARTING", running=0))
    steps = flink.plan(wanted[:1], found, [])
    assert steps.stop == [{"id": "id-books", "name": "books", "savepoint": False}]
    assert steps.submit[0]["start"] == "checkpoint"


def test_the_second_of_two_equal_jobs_is_ended(wanted: list[flink.Wanted]) -> None:
    found = described(running(wanted[0], id="new"), running(wanted[0], id="old"))
    steps = flink.plan(wanted[:1], found, [])
    assert steps.stop == [{"id": "old", "name": "books", "savepoint": False}]
    assert (steps.submit, steps.unchanged) == ([], ["books"])


def test_fresh_jobs_forget_everything(wanted: list[flink.Wanted]) -> None:
    steps = flink.plan(wanted, described(running(wanted[0]), running(wanted[1])), ["orders"])
    assert steps.stop == [{"id": "id-orders", "name": "orders", "savepoint": False}]
    assert [(one["name"], one["start"]) for one in steps.submit] == [("orders", "beginning")]
    with pytest.raises(flink.JobError, match="BK-181: fresh=items is not among jobs; write one of books, orders"):
        flink.plan(wanted, described(), ["items"])


def test_jobs_of_nobody_are_reported_and_left_alone(wanted: list[flink.Wanted]) -> None:
    stranger = {**running(wanted[0]), "name": "stranger"}
    steps = flink.plan(wanted[:1], described(running(wanted[0]), stranger), [])
    assert (steps.unknown, steps.changes) == (["stranger"], False)


class Pod:
    """Stands in for the tool: a script of descriptions, the last of which stays; keeps what it was told to do."""

    def __init__(self, *descriptions: dict[str, Any], answer: dict[str, Any] | None = None) -> None:
        self.descriptions = list(descriptions)
        self.answer = answer or {"savepoints": {}, "submitted": {"books": "id-books"}, "restored": {}, "reread": []}
        self.applied: list[dict[str, Any]] = []

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        assert (namespace, pod, container, timeout) == ("analytics", "flink-jobmanager-0", "tools", 20)
        assert command[:2] == ["python3", "/opt/tools/flink_jobs.py"]
        if command[2] == "apply":
            self.applied.append(json.loads(command[3]))
            return "SLF4J: a warning\n" + json.dumps(self.answer)
        return json.dumps(self.descriptions.pop(0) if len(self.descriptions) > 1 else self.descriptions[0])


def reconcile(pod: Pod, wanted: list[flink.Wanted], apply: bool = True) -> tuple[flink.Plan, dict[str, Any]]:
    tool = flink.Tool(pod, 20)  # type: ignore[arg-type] # a part of a Cluster
    return flink.reconcile(tool, wanted[:1], SETTINGS, [], 10, apply=apply, clock=FakeClock())


def test_a_submitted_job_has_to_run_twice_in_a_row(wanted: list[flink.Wanted]) -> None:
    books = wanted[0]
    restarting = described(running(books, state="RESTARTING", running=0))
    pod = Pod(described(), described(running(books)), restarting, described(running(books)))
    steps, done = reconcile(pod, wanted)
    assert (steps.submitted, done["submitted"]) == (["books"], {"books": "id-books"})
    assert [one["name"] for one in pod.applied[0]["submit"]] == ["books"]
    assert pod.applied[0]["settings"] == SETTINGS


def test_running_jobs_are_left_without_a_wait(wanted: list[flink.Wanted]) -> None:
    pod = Pod(described(running(wanted[0])))
    steps, _ = reconcile(pod, wanted)
    assert (steps.changes, pod.applied) == (False, [])


def test_check_mode_applies_nothing(wanted: list[flink.Wanted]) -> None:
    pod = Pod(described())
    steps, _ = reconcile(pod, wanted, apply=False)
    assert (steps.changes, pod.applied) == (True, [])


def test_a_job_that_does_not_start_is_told_with_its_cause(wanted: list[flink.Wanted]) -> None:
    failing = described(running(wanted[0], state="RESTARTING", running=0, failure='relation "books" does not exist'))
    with pytest.raises(flink.JobError, match='BK-182: not all jobs run after timeout=10 s: books: RESTARTING, 0 of 2 .*"books" does not'):
        reconcile(Pod(failing), wanted)
    with pytest.raises(flink.JobError, match="books: does not exist"):
        reconcile(Pod(described()), wanted)


def rest(*jobs: dict[str, Any]) -> FlinkRest:
    """What Flink answers about such jobs."""
    overview = [
        {"jid": job["id"], "name": job["name"], "state": job["state"], "tasks": {"total": job["tasks"], "running": job["running"]}}
        for job in jobs
    ]  # fmt: skip
    parameters = {job["id"]: {flink.HASH: job["hash"], flink.SETTINGS_HASH: job["settings_hash"]} for job in jobs}
    configurations = {f"/jobs/{key}/config": {"execution-config": {"user-config": found}} for key, found in parameters.items()}
    return FlinkRest({"/jobs/overview": {"jobs": overview}, **configurations})


def test_a_glance_is_enough_where_all_is_as_declared(wanted: list[flink.Wanted]) -> None:
    server = rest(running(wanted[0]))
    pod = Pod()
    glanced = flink.glance(server.port)
    server.close()
    steps, done = flink.reconcile(flink.Tool(pod, 20), wanted[:1], SETTINGS, [], 10, glanced=glanced)  # type: ignore[arg-type]
    assert (steps.unchanged, steps.changes, done["submitted"]) == (["books"], False, {})


@pytest.mark.parametrize("change", [{"hash": "other"}, {"settings_hash": "other"}, {"running": 1}, {"state": "FAILED"}])
def test_whatever_else_it_shows_the_tool_is_asked(wanted: list[flink.Wanted], change: dict[str, Any]) -> None:
    server = rest(running(wanted[0], **change))
    pod = Pod(described(running(wanted[0])))
    glanced = flink.glance(server.port)
    server.close()
    assert glanced is not None
    asked: list[str] = []
    tool = flink.Tool(pod, 20)  # type: ignore[arg-type] # a part of a Cluster
    tool.describe = lambda: asked.append("describe") or pod.descriptions[0]  # type: ignore[method-assign, func-returns-value]
    steps, _ = flink.reconcile(tool, wanted[:1], SETTINGS, [], 10, clock=FakeClock(), glanced=glanced)
    assert asked
    assert not steps.changes


@pytest.mark.parametrize("answers", [
    {}, {"/jobs/overview": {}}, {"/jobs/overview": {"jobs": [{"jid": "a", "name": "books", "state": "INITIALIZING"}]}},
    {"/jobs/overview": {"jobs": [{"jid": "a", "name": "books", "state": "RUNNING", "tasks": {"total": 1, "running": 1}}]}},
])  # fmt: skip
def test_a_glance_that_is_not_sure_shows_nothing(answers: dict[str, Any]) -> None:
    server = FlinkRest(answers)
    assert flink.glance(server.port) is None
    server.close()
    assert flink.glance(server.port) is None


def test_the_tool_keeps_the_hashes_where_they_are_looked_for() -> None:
    tool = (Path(__file__).parents[4] / "components/flink-tools/src/flink_jobs.py").read_text(encoding="utf-8")
    assert f'HASH = "{flink.HASH}"\nSETTINGS_HASH = "{flink.SETTINGS_HASH}"' in tool
