# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""State of a Debezium Server from its pod, its stored offset and its slot; and the restart that makes its guard repair it.

The guard in the server's image decides and repairs at each start (components/debezium-guard/src/Verdict.java); what is
here finds out whether there is something to repair. Positions are log sequence numbers as plain numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

Object = dict[str, Any]
NAMESPACE = "infra"
CONTAINER = "debezium"
LOG_LINES = 12
SLOT = """
SELECT json_build_object('end', (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, 'slot', (
    SELECT json_build_object('active', active, 'wal_status', wal_status, 'confirmed', (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint,
           'retained_bytes', (pg_current_wal_lsn() - restart_lsn)::bigint, 'safe_bytes', safe_wal_size)
    FROM pg_replication_slots WHERE slot_name = '{slot}'))
"""


class ServerError(Exception):
    """A server that was not well in time; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Stored:
    """What the topic of offsets holds: the server's offset, the guard's note, and how far the guard's last snapshot is; None if not.

    ``progress``: {stage: snapshot or comparison, since, at, rows, of, before: rows done when it last began, tables: {table: [rows, of]}}.
    """

    offset: Object | None = None
    note: Object | None = None
    progress: Object | None = None


@dataclass
class ServerState:
    """What one look showed. ``offset``, ``note`` and ``progress`` are as stored, None if not; ``slot`` is None without one."""

    source: str
    pod: str | None
    ready: bool
    restarts: int
    end: int
    slot: Object | None
    offset: Object | None
    note: Object | None
    progress: Object | None = None

    @property
    def fault(self) -> str:
        """Name of what is wrong, empty when the server streams and nothing is left to do."""
        return self._stored() or ("" if self.ready else "not_ready") or self._unfinished()

    @property
    def repairable(self) -> bool:
        """Whether a restart makes the guard repair it, as opposed to a server that is on its way."""
        return bool(self._stored())

    def _stored(self) -> str:
        slot = self.slot
        if slot is None:
            return "slot_absent"
        if slot["wal_status"] == "lost":
            return "slot_lost"
        if slot["confirmed"] is not None and slot["confirmed"] > self.end:
            return "slot_beyond_log"
        position = _position(self.offset)
        if position is None:
            return "offset_absent"
        if position > self.end:
            return "offset_beyond_log"
        # In the middle of a snapshot there is nothing to compare yet.
        if not _in_snapshot(self.offset) and slot["confirmed"] is not None and position < slot["confirmed"]:
            return "offset_behind"
        return ""

    def _unfinished(self) -> str:
        if self.note is not None and self.note.get("lost"):
            # The guard ends the server, and begins anew.
            return "broker_lost_records"
        if _in_snapshot(self.offset):
            return "in_snapshot"
        if self.slot is not None and not self.slot["active"]:
            return "not_streaming"
        if self.note is None or self.note.get("done"):
            return ""
        # The server streams beside it; what was there before is still being published.
        return "comparison_pending" if self._current() and (self.progress or {})["stage"] == "comparison" else "snapshot_pending"

    def report(self) -> Object:
        """The state for people."""
        return {
            "source": self.source, "fault": self.fault, "ready": self.ready, "restarts": self.restarts, "slot": self.slot,
            "offset": _position(self.offset), "end": self.end, "snapshot": self.note, "progress": self.told(),
        }  # fmt: skip

    def told(self) -> str:
        """How far an unfinished snapshot is; empty when there is none, or nothing was told yet."""
        return sentence(self.progress) if self._current() else ""

    def left(self) -> float | None:
        """What of its work a server has before it: 0 streams, up to 1 compares, up to 2 takes a snapshot; None if it does not tell."""
        if not self.fault:
            return 0.0
        if not self._current():
            return None
        progress = self.progress or {}
        done = min(1.0, int(progress["rows"]) / max(1, int(progress["of"])))
        return (2.0 if progress["stage"] == "snapshot" else 1.0) - done

    def _current(self) -> bool:
        """Whether the progress is that of the snapshot or comparison that is under way."""
        if self.progress is None or self.note is None or self.note.get("done"):
            return False
        return str(self.progress.get("since", "")) >= str(self.note.get("since", ""))


@dataclass
class Outcome:
    """What was found, what was restarted, and what was there in the end."""

    before: list[ServerState]
    after: list[ServerState]
    restarted: list[str] = field(default_factory=list)


class ServerControl(Protocol):
    """Reads the state of servers and restarts them."""

    def look(self, servers: list[Object]) -> list[ServerState]:
        """Return the state of each server: {source, database: {name, namespace, database}}."""

    def restart(self, seen: ServerState) -> None:
        """End the server's pod."""

    def log(self, seen: ServerState) -> list[str]:
        """Return the last lines of its log."""


class RunningServers:
    """The servers of the running platform; ClusterError when it does not answer."""

    def __init__(self, cluster: Cluster, call_timeout: float) -> None:
        self._cluster = cluster
        self._timeout = call_timeout
        self._broker = Broker(cluster, call_timeout)

    def look(self, servers: list[Object]) -> list[ServerState]:
        """Return the state of each server."""
        # The slot is looked at before the offset, which is stored first.
        slots = [self._slot(server) for server in servers]
        kept = stored_by_source(self._broker, [server["source"] for server in servers])
        return [self._seen(server, found, kept[server["source"]]) for server, found in zip(servers, slots, strict=True)]

    def _seen(self, server: Object, found: Object, kept: Stored) -> ServerState:
        source, offset = server["source"], kept.offset
        # The end of the log is looked at after the offset, or a change in between would put the offset of a server that is
        # well beyond the log.
        end = found["end"] if (_position(offset) or 0) <= found["end"] else self._slot(server)["end"]
        pods = self._cluster.objects("Pod", NAMESPACE, labelSelector=f"app.kubernetes.io/name=debezium-{source}")
        pod, ready, restarts = newest(pods)
        return ServerState(source, pod, ready, restarts, end, found["slot"], offset, kept.note, kept.progress)

    def _slot(self, server: Object) -> Object:
        source, database = server["source"], server["database"]
        command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={database['database']}", "--no-psqlrc", "-tA",
                   "--set=ON_ERROR_STOP=1", f"--command={SLOT.format(slot=f'debezium_{source}_slot')}"]  # fmt: skip
        answer: Object = json.loads(
            self._cluster.execute(database["namespace"], f"{database['name']}-0", "postgresql", command, self._timeout)
        )
        return answer

    def restart(self, seen: ServerState) -> None:
        """End the server's pod; its Deployment makes another one."""
        if seen.pod:
            self._cluster.delete("Pod", NAMESPACE, seen.pod)

    def log(self, seen: ServerState) -> list[str]:
        """Return the last lines of its log, of the container before if this one says nothing yet."""
        if not seen.pod:
            return []
        lines = self._cluster.logs(NAMESPACE, seen.pod, CONTAINER, LOG_LINES)
        return lines or self._cluster.logs(NAMESPACE, seen.pod, CONTAINER, LOG_LINES, previous=True)


def offsets_topic(source: str) -> str:
    """Return where a server keeps its offset, and its guard the note."""
    return f"debezium.{source}.offsets"


def stored(records: list[Object]) -> Stored:
    """Return what the records of a topic of offsets say: [{key, value}], oldest first.

    What is neither offset, note nor progress, such as the guard's marks or what somebody wrote by hand, is passed over; an unreadable
    value is none.
    """
    latest: dict[str, Object | None] = {}
    for record in records:
        match _parsed(record["key"]):
            case ["guard", dict()]:
                kind = "note"
            case ["guard-progress", dict()]:
                kind = "progress"
            case [str(name), dict()] if not name.startswith("guard"):
                kind = "offset"
            case _:
                continue
        value = _parsed(record["value"])
        latest[kind] = value if isinstance(value, dict) else None
    return Stored(**latest)


def sentence(progress: Object | None) -> str:
    """Say how far a snapshot is, and how long the rest takes if it goes on like that; empty without progress."""
    if not progress:
        return ""
    rows, of = int(progress["rows"]), int(progress["of"])
    # One that goes on where it was killed did not do all of them in this time.
    new = rows - int(progress.get("before", 0))
    text = f"{progress['stage']}: {rows} of {of} {'rows' if progress['stage'] == 'snapshot' else 'records'}"
    if new > 0 and rows < of:
        took = (datetime.fromisoformat(progress["at"]) - datetime.fromisoformat(progress["since"])).total_seconds()
        text += f", about {took * (of - rows) / new:.0f} s left"
    if waiting := progress.get("waiting"):
        holder = f"{waiting['user']}, application {waiting['application']}, pid {waiting['pid']}" if "pid" in waiting else "somebody"
        text += f"; waits {waiting['seconds']} s for the transaction of {holder} (BK-447)"
    return text


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def stored_by_source(broker: Broker, sources: list[str]) -> dict[str, Stored]:
    """Return what stored() says of each source; one start of the broker's tool for all."""
    found = broker.newest([offsets_topic(source) for source in sources])
    return {source: stored(found[offsets_topic(source)]) for source in sources}


def newest(pods: list[Object]) -> tuple[str | None, bool, int]:
    """Return name, readiness and restarts of the pod that is not being deleted; None, False, 0 without one."""
    for pod in pods:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        parts = [part for part in pod.get("status", {}).get("containerStatuses", []) if part["name"] == CONTAINER]
        return pod["metadata"]["name"], bool(parts and parts[0]["ready"]), parts[0]["restartCount"] if parts else 0
    return None, False, 0


def restore(control: ServerControl, servers: list[Object], timeout: float, *, apply: bool) -> Outcome:
    """Bring every server to stream; ServerError when one does not within ``timeout`` seconds.

    A snapshot of many rows may take longer: while one gets on, the time starts anew.

    A server with a fault in its stored state that runs nevertheless is restarted, once; one that is on its way is waited
    for. Without ``apply`` nothing is restarted or waited for, and ``restarted`` tells what would be.
    """
    before = control.look(servers)
    to_restart = [seen for seen in before if seen.repairable and seen.ready]
    outcome = Outcome(before, before, [seen.source for seen in to_restart])
    if not apply:
        return outcome
    for seen in to_restart:
        control.restart(seen)
    if any(seen.fault for seen in before):
        end = wait_for(lambda: control.look(servers), _all_well, timeout=timeout, interval=2, left=_left)
        outcome.after = end.value
        if not end.done:
            raise ServerError(_complaint(control, end.value, timeout))
    return outcome


def _all_well(seen: list[ServerState]) -> bool:
    return not any(one.fault for one in seen)


def _left(seen: list[ServerState]) -> float | None:
    parts = [one.left() for one in seen]
    return None if None in parts else sum(part for part in parts if part is not None)


def _complaint(control: ServerControl, seen: list[ServerState], timeout: float) -> str:
    parts = []
    for one in seen:
        if one.fault:
            lines = " | ".join(line[:400] for line in control.log(one)) or "(no log)"
            told = f" ({one.told()})" if one.told() else ""
            parts.append(f"debezium-{one.source}: {one.fault}{told}, slot={one.slot}, offset={_position(one.offset)}; its log: {lines}")
    return f"BK-177: not streaming after timeout={timeout:.0f} s: " + "; ".join(parts)


def _in_snapshot(offset: Object | None) -> bool:
    return bool(offset and offset.get("snapshot") and not offset.get("snapshot_completed"))


def _position(offset: Object | None) -> int | None:
    """Up to where whole transactions were published; an event's own position says less, as transactions overlap in the log."""
    if not offset:
        return None
    position = offset.get("lsn_commit") or offset.get("lsn")
    return None if position is None else int(position)
