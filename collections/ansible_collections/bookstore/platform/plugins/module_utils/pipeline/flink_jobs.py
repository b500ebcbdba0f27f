# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Which Flink jobs shall run, which do, and the steps between; and the way to the tool beside the JobManager."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base import loopback, waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, answer_of
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.debezium_servers import stored_by_source
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

Object = dict[str, Any]
# JobStatus.isTerminalState of Flink's sources.
ENDED = ("FAILED", "CANCELED", "FINISHED", "SUSPENDED")
# Job parameters in which the tool (components/flink-tools) keeps both hashes.
HASH = "bookstore.sql-hash"
SETTINGS_HASH = "bookstore.settings-hash"


class JobError(ValueError):
    """A declaration that cannot be carried out, or jobs that do not run."""


@dataclass(frozen=True)
class Wanted:
    """A job as declared; hashes are 16 hexadecimal digits each.

    ``hash`` is of its statements and of the snapshot that its source took last: state belongs to both. ``settings_hash`` is of
    everything else.
    """

    name: str
    sql: str
    hash: str
    settings_hash: str


@dataclass
class Plan:
    """``stop``: {id, name, savepoint}; ``submit``: {name, hash, settings_hash, sql, start}; names otherwise.

    start is "savepoint" (which the stop makes), "checkpoint" (the newest one, if there is any) or "beginning".
    """

    stop: list[Object] = field(default_factory=list)
    submit: list[Object] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.stop or self.submit)

    def document(self, settings: dict[str, str]) -> str:
        """The steps as the tool reads them."""
        return json.dumps({"stop": self.stop, "submit": self.submit, "settings": settings}, sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def significant(sql: str) -> str:
    """Return statements without lines of comment, empty lines and spaces at the ends: what decides what a job does."""
    lines = [line.strip() for line in sql.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("--"))


def jobs_of(sql: str) -> int:
    """Return how many jobs statements make: each INSERT INTO one, and a statement set with all of its own one."""
    made, inside = 0, False
    for line in significant(sql).upper().split("\n"):
        if not inside and line.startswith("EXECUTE STATEMENT SET BEGIN"):
            made, inside = made + 1, True
        elif inside and line == "END;":
            inside = False
        elif not inside and line.startswith("INSERT INTO "):
            made += 1
    return made


def noted(broker: Broker) -> dict[str, str]:
    """Return, by source, when its guard noted that it took its last new snapshot; empty for one without a note."""
    kept = stored_by_source(broker, sorted({table.place for table in TABLES.values()}))
    return {source: str((one.note or {}).get("since") or "") for source, one in kept.items()}


def snapshots(since: dict[str, str]) -> dict[str, str]:
    """Return, by job, when its source took its last new snapshot (``since``, see noted()); jobs of sources without a note are missing.

    A new snapshot may mean that Kafka lost records: its topics then have other records at offsets that a job has read before. A
    job that still has such an offset in its state skips what the snapshot wrote below it, and nobody tells it. It has to begin
    anew; a compacted topic has the latest record of each key.
    """
    return {table.job: since[table.place] for table in TABLES.values() if since[table.place]}


@dataclass(frozen=True)
class Declaration:
    """Folder of the SQL, what ``${name}`` in it stands for, and Flink's configuration of all jobs."""

    folder: Path
    values: dict[str, str]
    settings: dict[str, str]


def read(names: list[str], declared: Declaration, snapshot: dict[str, str]) -> list[Wanted]:
    """Return the declared jobs, each from ``<name>.sql``; JobError when that is missing, incomplete or writes nothing.

    ``snapshot``: see :func:`snapshots`.
    """
    wanted = []
    for name in names:
        file = declared.folder / f"{name}.sql"
        if not file.is_file():
            raise JobError(f"BK-181: job {name} has no file {file}; write one, or remove the name from jobs")
        try:
            sql = Template(file.read_text(encoding="utf-8")).substitute(declared.values)
        except (KeyError, ValueError) as error:
            raise JobError(f"BK-181: {file}: {error} is not among values; write one of {', '.join(sorted(declared.values))}") from error
        if jobs_of(sql) != 1:
            raise JobError(f"BK-181: {file} makes {jobs_of(sql)} jobs; write one INSERT INTO, or one EXECUTE STATEMENT SET BEGIN ... END;")
        basis = significant(sql) + (f"\n-- snapshot {snapshot[name]}" if name in snapshot else "")
        wanted.append(Wanted(name, sql, _digest(basis), _digest(json.dumps(declared.settings, sort_keys=True))))
    return wanted


def plan(wanted: list[Wanted], found: Object, fresh: list[str]) -> Plan:
    """Return what has to be done. ``found``: as the tool describes. ``fresh``: jobs to start anew without their state.

    Missing: submitted with the newest checkpoint of the very same statements, if there is one. Other statements, or a new
    snapshot of the source: stopped with a savepoint (a way back), and submitted without state, so that they are applied to
    every row and not only to those that change from now on; topics hold the latest row of each key. Other settings alone:
    stopped with a savepoint, and resumed from it.
    """
    unknown_names = sorted(set(fresh) - {job.name for job in wanted})
    if unknown_names:
        raise JobError(f"BK-181: fresh={unknown_names[0]} is not among jobs; write one of {', '.join(job.name for job in wanted)}")
    steps = Plan(unknown=sorted({one["name"] for one in found["jobs"] if one["state"] not in ENDED} - {job.name for job in wanted}))
    for job in wanted:
        active = [one for one in found["jobs"] if one["name"] == job.name and one["state"] not in ENDED]
        same = [one for one in active if one["hash"] == job.hash]
        equal = [one for one in same if one["settings_hash"] == job.settings_hash]
        if equal and job.name not in fresh:
            steps.unchanged.append(job.name)
            # Two of one name would write the same rows twice; that is harmless, but it is not what was declared.
            steps.stop += [{"id": one["id"], "name": job.name, "savepoint": False} for one in active if one is not equal[0]]
            continue
        # A job that does not run cannot write a savepoint.
        running = [one for one in active if one["state"] == "RUNNING" and one["running"] == one["tasks"]]
        saved = running[0] if running and job.name not in fresh else None
        steps.stop += [{"id": one["id"], "name": job.name, "savepoint": one is saved} for one in active]
        anew = job.name in fresh or (active and not same)
        start = "beginning" if anew else "savepoint" if saved in same else "checkpoint"
        (steps.replaced if active else steps.submitted).append(job.name)
        steps.submit.append({"name": job.name, "hash": job.hash, "settings_hash": job.settings_hash, "sql": job.sql, "start": start})
    return steps


def lacking(wanted: list[Wanted], jobs: list[Object]) -> list[str]:
    """Return, for each declared job of which not all tasks run, a line that tells why."""
    faults = []
    for job in wanted:
        mine = [one for one in jobs if one["name"] == job.name]
        active = [one for one in mine if one["state"] not in ENDED]
        if any(one["state"] == "RUNNING" and 0 < one["tasks"] == one["running"] for one in active):
            continue
        seen = (active or mine or [{}])[0]
        state = f"{seen['state']}, {seen['running']} of {seen['tasks']} tasks run" if seen else "does not exist"
        faults.append(f"{job.name}: {state}" + (f": {seen['failure']}" if seen.get("failure") else ""))
    return faults


class Tool:
    """The tool beside the JobManager; ClusterError when it fails."""

    COMMAND = ("python3", "/opt/tools/flink_jobs.py")

    def __init__(self, cluster: Cluster, timeout: float, namespace: str = "analytics", pod: str = "flink-jobmanager-0") -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._where = (namespace, pod, "tools")

    def call(self, *arguments: str) -> Object:
        """Run the tool with ``arguments`` and return its answer."""
        text = self._cluster.execute(*self._where, [*self.COMMAND, *arguments], self._timeout)
        found: Object = answer_of(text, "/".join(self._where[:2]))
        return found

    def describe(self) -> Object:
        """Return {jobs: [{id, name, state, hash, settings_hash, tasks, running, checkpoint, failure}], retained}, newest first."""
        return self.call("describe")


def glance(port: int) -> Object | None:
    """Return what describe() says of jobs, as far as plan() needs it, by the REST API on a port of this host; None where it is not sure.

    Some requests, where the tool starts a program in the pod: enough to see that everything is as declared.
    """

    def ask(path: str) -> Object:
        found: Object = json.loads(loopback.get(f"http://127.0.0.1:{port}{path}", {"Host": f"localhost:{port}"}) or "null")
        return found

    jobs = []
    try:
        for one in ask("/jobs/overview")["jobs"]:
            if one["state"] == "INITIALIZING":
                return None
            configuration = (ask(f"/jobs/{one['jid']}/config").get("execution-config") or {}).get("user-config") or {}
            jobs.append({
                "id": one["jid"], "name": one["name"], "state": one["state"], "hash": configuration.get(HASH),
                "settings_hash": configuration.get(SETTINGS_HASH), "tasks": one["tasks"]["total"], "running": one["tasks"]["running"],
            })  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return {"jobs": jobs}


def reconcile(tool: Tool, wanted: list[Wanted], settings: dict[str, str], fresh: list[str], timeout: float, *,
              apply: bool = True, clock: waiter.Clock = time, glanced: Object | None = None) -> tuple[Plan, Object]:  # fmt: skip
    """Carry out the plan and wait until all tasks of all jobs run, twice in a row; return the plan and the tool's answer.

    JobError after ``timeout`` seconds. Where ``glanced`` (see glance()) shows that nothing is to be done, the tool is not asked.
    """
    done: Object = {"savepoints": {}, "submitted": {}, "restored": {}, "reread": []}
    if glanced is not None:
        steps = plan(wanted, glanced, fresh)
        if not steps.changes and not lacking(wanted, glanced["jobs"]):
            return steps, done
    found = tool.describe()
    steps = plan(wanted, found, fresh)
    if not apply:
        return steps, done
    if steps.changes:
        done.update(tool.call("apply", steps.document(settings)))
    elif not lacking(wanted, found["jobs"]):
        return steps, done
    calm = 0

    def poll() -> list[str]:
        nonlocal calm
        faults = lacking(wanted, tool.describe()["jobs"])
        calm = 0 if faults else calm + 1
        return faults

    outcome = waiter.wait_for(poll, lambda faults: calm >= 2, timeout=timeout, interval=1.0, clock=clock)
    if not outcome.done:
        raise JobError(f"BK-182: not all jobs run after timeout={timeout:.0f} s: {'; '.join(outcome.value) or 'they ran only just now'}")
    return steps, done
