"""From pod, stored offset and slot to a fault; and who is restarted for it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from fakes import FakeClock

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import debezium_servers as dbz

SERVER = {"source": "ecom", "database": {"name": "ecom-db", "namespace": "ecom", "database": "ecomdb"}}
WELL = dbz.ServerState(
    source="ecom", pod="debezium-ecom-1", ready=True, restarts=0, end=900,
    slot={"active": True, "wal_status": "reserved", "confirmed": 500}, offset={"lsn": 520, "lsn_commit": 500, "lsn_proc": 520}, note=None,
)  # fmt: skip


def slot(**changes: Any) -> dict[str, Any]:
    return {"slot": {**(WELL.slot or {}), **changes}}


def stage(name: str, since: str = "x") -> dict[str, Any]:
    progress = {"stage": name, "since": since, "at": "y", "rows": 2, "of": 2}
    return {"note": {"cause": "SLOT_LOST", "since": "x", "done": None}, "progress": progress}


@pytest.mark.parametrize(
    ("changes", "fault", "repairable"),
    [
        ({}, "", False),
        ({"slot": None}, "slot_absent", True),
        (slot(wal_status="lost"), "slot_lost", True),
        (slot(confirmed=901), "slot_beyond_log", True),
        ({"offset": None}, "offset_absent", True),
        ({"offset": {"lsn": 901, "lsn_commit": 901}}, "offset_beyond_log", True),
        ({"offset": {"lsn": 520, "lsn_commit": 499}}, "offset_behind", True),
        # An event's own position may lie before the confirmed one: transactions overlap in the log.
        ({"offset": {"lsn": 480, "lsn_commit": 500}}, "", False),
        ({"offset": {"lsn": 880, "lsn_commit": 870}}, "", False),
        ({"offset": {"lsn": 499, "lsn_commit": 499, "snapshot": "INITIAL"}}, "in_snapshot", False),
        ({"ready": False}, "not_ready", False),
        (slot(active=False), "not_streaming", False),
        ({"note": {"cause": "SLOT_LOST", "since": "x", "done": None}}, "snapshot_pending", False),
        (stage("snapshot"), "snapshot_pending", False),
        (stage("comparison"), "comparison_pending", False),
        # What the last one told says nothing about this one.
        (stage("comparison", since="w"), "snapshot_pending", False),
        ({"note": {"cause": "SLOT_LOST", "since": "x", "done": "y"}}, "", False),
        # The guard saw it while the server ran, and ends it: a restart from here would only be a second one.
        ({"note": {"cause": "SLOT_LOST", "since": "x", "done": "y", "lost": True}}, "broker_lost_records", False),
        ({"note": {"cause": "SLOT_LOST", "since": "x", "done": "y", "lost": True}, "ready": False}, "not_ready", False),
    ],
)
def test_faults(changes: dict[str, Any], fault: str, repairable: bool) -> None:
    seen = replace(WELL, **changes)
    assert (seen.fault, seen.repairable) == (fault, repairable)
    assert seen.report()["fault"] == fault


def test_the_newest_offset_counts_and_the_guards_note_is_no_offset() -> None:
    offset, note = json.dumps(["kafka", {"server": "cdc.ecom"}]), json.dumps(["guard", {"server": "cdc.ecom"}])
    records = [
        {"key": offset, "value": '{"lsn": 1}'},
        {"key": note, "value": '{"cause": "FIRST"}'},
        {"key": offset, "value": '{"lsn": 2}'},
    ]
    assert dbz.stored(records) == dbz.Stored({"lsn": 2}, {"cause": "FIRST"})
    assert dbz.stored([*records, {"key": offset, "value": None}]) == dbz.Stored(None, {"cause": "FIRST"})
    assert dbz.stored([]) == dbz.Stored()


def test_what_else_is_in_the_topic_of_offsets_is_passed_over() -> None:
    offset = {"key": json.dumps(["kafka", {"server": "cdc.ecom"}]), "value": '{"lsn": 1}'}
    others = [json.dumps(["guard-marks", {"server": "cdc.ecom"}]), "no JSON", "[]", "{}", "7", None]
    assert dbz.stored([offset, *({"key": key, "value": '{"lsn": 9}'} for key in others)]) == dbz.Stored({"lsn": 1})
    # An offset that cannot be read is none, as for the guard.
    for value in ("\ufffd", "[1]", "7", ""):
        assert dbz.stored([offset, {**offset, "value": value}]) == dbz.Stored()


def test_a_pod_that_ends_is_not_the_servers() -> None:
    def pod(name: str, ready: bool, **metadata: str) -> dict[str, Any]:
        parts = [{"name": "istio-proxy", "ready": True, "restartCount": 7}, {"name": "debezium", "ready": ready, "restartCount": 2}]
        return {"metadata": {"name": name, **metadata}, "status": {"containerStatuses": parts}}

    assert dbz.newest([pod("old", True, deletionTimestamp="now"), pod("new", False)]) == ("new", False, 2)
    assert dbz.newest([]) == (None, False, 0)


class Busy:
    """A cluster whose database goes on between two calls: the end of the log is 900, then 960; the offset is stored in between."""

    def __init__(self, offset: int) -> None:
        self.offset, self.ends = offset, [900, 960]

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        if pod == "kafka-0":
            key = json.dumps(["kafka", {"server": "cdc.ecom"}])
            record = {"key": key, "value": json.dumps({"lsn": self.offset, "lsn_commit": self.offset})}
            return json.dumps({"debezium.ecom.offsets": {"records": [record], "left_out": 0}})
        return json.dumps({"end": self.ends.pop(0), "slot": WELL.slot})

    def objects(self, kind: str, namespace: str, labelSelector: str) -> list[dict[str, Any]]:  # noqa: N803 # the API's name
        return [{"metadata": {"name": "one"}, "status": {"containerStatuses": [{"name": "debezium", "ready": True, "restartCount": 0}]}}]


@pytest.mark.parametrize(("offset", "fault"), [(890, ""), (950, ""), (961, "offset_beyond_log")])
def test_a_database_that_goes_on_while_it_is_looked_at_is_no_fault(offset: int, fault: str) -> None:
    assert [seen.fault for seen in dbz.RunningServers(Busy(offset), 20).look([SERVER])] == [fault]  # type: ignore[arg-type] # a part of a Cluster


class Scene:
    """Servers whose states are given; a restart moves on to the next ones."""

    def __init__(self, *looks: dbz.ServerState) -> None:
        self.looks = list(looks)
        self.restarts: list[str | None] = []

    def look(self, servers: list[dict[str, Any]]) -> list[dbz.ServerState]:
        assert servers == [SERVER]
        return [self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]]

    def restart(self, seen: dbz.ServerState) -> None:
        self.restarts.append(seen.pod)

    def log(self, seen: dbz.ServerState) -> list[str]:
        return ["the slot", "is gone"]


def test_well_servers_are_left_alone() -> None:
    scene = Scene(WELL)
    outcome = dbz.restore(scene, [SERVER], 0, apply=True)
    assert (outcome.restarted, scene.restarts) == ([], [])


def test_a_running_server_with_a_fault_is_restarted_once_and_its_snapshot_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbz, "wait_for", _without_waiting)
    note = {"cause": "SLOT_ABSENT", "since": "15:00", "done": None}
    scene = Scene(replace(WELL, slot=None), replace(WELL, note=note), replace(WELL, note={**note, "done": "15:01"}))
    outcome = dbz.restore(scene, [SERVER], 10, apply=True)
    assert (outcome.restarted, scene.restarts) == (["ecom"], ["debezium-ecom-1"])
    assert outcome.after[0].fault == ""


def test_a_server_that_already_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbz, "wait_for", _without_waiting)
    scene = Scene(replace(WELL, slot=None, ready=False), WELL)
    outcome = dbz.restore(scene, [SERVER], 10, apply=True)
    assert (outcome.restarted, scene.restarts) == ([], [])


def test_check_mode_tells_and_does_nothing() -> None:
    scene = Scene(replace(WELL, offset=None))
    outcome = dbz.restore(scene, [SERVER], 0, apply=False)
    assert (outcome.restarted, scene.restarts) == (["ecom"], [])


def test_what_does_not_heal_is_told_with_its_log() -> None:
    with pytest.raises(
        dbz.ServerError, match=r"BK-177: .*timeout=0 s: debezium-ecom: not_ready, .*offset=500; its log: the slot \| is gone"
    ):
        dbz.restore(Scene(replace(WELL, ready=False)), [SERVER], 0, apply=True)


NOTE = {"cause": "SLOT_LOST", "since": "2026-11-28T09:00:00.5Z", "done": None}
IN_SNAPSHOT = replace(WELL, offset={"lsn": 499, "lsn_commit": 499, "snapshot": "INITIAL"}, note=NOTE)


def progress(rows: int, stage: str = "snapshot", since: str = "2026-11-28T09:00:10.123456789Z") -> dict[str, Any]:
    return {"stage": stage, "since": since, "at": "2026-11-28T09:01:10.123Z", "rows": rows, "of": 4000}


def test_how_far_a_snapshot_is_is_told_with_the_time_that_is_left() -> None:
    key = json.dumps(["guard-progress", {"server": "cdc.ecom"}])
    seen = replace(IN_SNAPSHOT, progress=dbz.stored([{"key": key, "value": json.dumps(progress(1000))}]).progress)
    assert seen.report()["progress"] == "snapshot: 1000 of 4000 rows, about 180 s left"
    assert replace(seen, progress=progress(0)).told() == "snapshot: 0 of 4000 rows"
    # 500 of them in that minute.
    assert replace(seen, progress={**progress(1000), "before": 500}).told() == "snapshot: 1000 of 4000 rows, about 360 s left"
    assert replace(seen, progress={**progress(1000), "before": 1000}).told() == "snapshot: 1000 of 4000 rows"
    assert replace(seen, progress=progress(4000, "comparison")).told() == "comparison: 4000 of 4000 records"


@pytest.mark.parametrize("seen", [
    replace(IN_SNAPSHOT, progress=progress(1000, since="2026-11-27T09:00:00Z")),
    replace(IN_SNAPSHOT, progress=progress(1000), note={**NOTE, "done": "2026-11-28T09:02:00Z"}),
    IN_SNAPSHOT,
])  # fmt: skip
def test_the_progress_of_an_earlier_snapshot_is_none(seen: dbz.ServerState) -> None:
    assert (seen.told(), seen.left()) == ("", None)


def test_what_is_left_becomes_less_from_the_first_row_to_streaming() -> None:
    steps = [progress(0), progress(1000), progress(4000), progress(5), progress(0, "comparison"), progress(4000, "comparison")]
    left = [replace(IN_SNAPSHOT, progress=one).left() for one in steps]
    assert left == [2.0, 1.75, 1.0, pytest.approx(1.99875), 1.0, 0.0]
    assert WELL.left() == 0.0


def test_a_snapshot_may_take_as_long_as_it_gets_on_and_what_stands_still_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(dbz, "wait_for", partial(waiter.wait_for, clock=clock))
    looks = [replace(IN_SNAPSHOT, progress=progress(rows)) for rows in range(0, 4000, 100)]
    assert dbz.restore(Scene(*looks, WELL), [SERVER], 4, apply=True).after == [WELL]
    with pytest.raises(dbz.ServerError, match=r"in_snapshot \(snapshot: 3900 of 4000 rows, about 2 s left\)"):
        dbz.restore(Scene(*looks), [SERVER], 4, apply=True)


def _without_waiting(poll: Any, done: Any, *, timeout: float, interval: float, left: Any) -> Any:
    from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Outcome

    for _ in range(5):
        value = poll()
        if done(value):
            return Outcome(value, True, 1.0)
    return Outcome(value, False, timeout)
