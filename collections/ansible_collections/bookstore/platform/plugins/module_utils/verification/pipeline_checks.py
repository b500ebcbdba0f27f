# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the event pipeline (SPEC 11: topics, consumer lag, dead letters, slots, jobs)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Context,
    Finding,
    Object,
    skipped,
    verdict,
)

# Job to the table of analytics that it writes.
SINKS = {table.job: table.sink for table in TABLES.values()}
TOPICS = {table.topic: table.name for table in TABLES.values()}
Function = Callable[[Object, Object], Finding]


def _observed(function: Function) -> Callable[[Context], Finding]:
    """Hand what was declared and what was seen to a check; without a pipeline it is skipped."""

    @wraps(function)
    def check(context: Context) -> Finding:
        if context.pipeline is None:
            return skipped("not asked: no pipeline is declared, or this is check mode, which runs no command in pods")
        return function(context.params["pipeline"], context.pipeline.result())

    return check


@_observed
def topics(wanted: Object, seen: Object) -> Finding:
    """Every declared topic exists with its partitions."""
    faults = []
    for topic in wanted["topics"]:
        there = seen["topics"].get(topic["name"])
        if there is None:
            faults.append(f"topic {topic['name']} does not exist")
        elif there["partitions"] != topic["partitions"]:
            faults.append(f"topic {topic['name']} has {there['partitions']} partitions, expected {topic['partitions']}")
    return verdict(faults, f"{len(wanted['topics'])} topics as declared")


@_observed
def consumers(wanted: Object, seen: Object) -> Finding:
    """The workers have consumed every event that was there when verify began to look."""
    groups = {name: seen["groups"].get(name) for name in wanted["groups"]}
    faults = [
        f"group {name} has {lag} events of {topic} to read"
        for name, lags in groups.items()
        for topic, lag in (lags or {}).items()
        if int(lag)
    ]
    faults += [f"group {name} has never consumed anything" for name, lags in groups.items() if lags is None]
    return verdict(faults, f"no event waits for {', '.join(wanted['groups'])}")


@_observed
def dead_letters(wanted: Object, seen: Object) -> Finding:
    """No event was set aside."""
    names = [topic["name"] for topic in wanted["topics"] if topic["name"].endswith(".dlq")]
    held = {name: seen["topics"][name]["end"] - seen["topics"][name]["begin"] for name in names if name in seen["topics"]}
    faults = [f"topic {name} holds {count} events that could not be applied" for name, count in held.items() if count]
    return verdict(faults, f"{len(held)} topics are empty")


@_observed
def slots(wanted: Object, seen: Object) -> Finding:
    """Each source is being read, and does not keep its log for nobody."""
    faults, details, data = [], [], {}
    for one in wanted["slots"]:
        slot = next((s for s in seen["slots"][one["instance"]] if s["name"] == one["slot"]), None)
        snapshot = seen["snapshots"].get(one["slot"])
        told = "" if snapshot is None else f"; a new snapshot is taken{', ' if snapshot else ''}{snapshot}"
        if slot is None:
            faults.append(f"{one['instance']}: slot {one['slot']} does not exist{told}")
            continue
        if not slot["active"]:
            faults.append(f"{one['instance']}: nobody reads slot {one['slot']}{told}")
        elif told:
            faults.append(f"{one['instance']}: slot {one['slot']} is read{told}")
        if door := seen["doors"].get(one["slot"]):
            faults.append(f"{one['instance']}: slot {one['slot']} is read; its server does not tell whether it takes a snapshot: {door}")
        if slot["wal_status"] not in ("reserved", "extended"):
            faults.append(f"{one['instance']}: slot {one['slot']} is {slot['wal_status']}: changes were lost")
        retained = round(float(slot["retained_mib"] or 0), 1)
        data[f"{one['slot']}_retained_mib"] = retained
        details.append(f"{one['slot']} active, {retained} MiB of log retained")
    return verdict(faults, ", ".join(details), data)


@_observed
def jobs(wanted: Object, seen: Object) -> Finding:
    """Each declared streaming job runs once and has made a checkpoint."""
    if not wanted["jobs"]:
        return skipped("no job is declared")
    faults = []
    for name in wanted["jobs"]:
        running = [job for job in seen["jobs"] if job["name"] == name and job["state"] == "RUNNING"]
        if len(running) != 1:
            mine = [job for job in seen["jobs"] if job["name"] == name]
            failure = next((job["failure"] for job in mine if job.get("failure")), "")
            told = f", table {SINKS[name]}" if name in SINKS else ""
            faults.append(
                f"job {name}{told} runs {len(running)} times, states {[job['state'] for job in mine]}" + (f": {failure}" if failure else "")
            )
        elif not running[0]["checkpoints"].get("completed"):
            faults.append(f"job {name} has not completed a checkpoint: {running[0]['checkpoints']}")
    return verdict(faults, f"{', '.join(wanted['jobs'])} running")


@_observed
def audit(wanted: Object, seen: Object) -> Finding:
    """The standing audit runs, and found no table that differs from its source in two audits running."""
    if not wanted["audit"]:
        return skipped("no audit is declared")
    oldest = int(wanted["audit"]["oldest_s"])
    faults, details = [], []
    for one in seen["audit"]:
        if one["age_s"] is None or one["age_s"] > oldest:
            last = "was never audited" if one["result"] is None else f"was last audited {one['age_s']} s ago"
            faults.append(f"table {one['table']} {last}, expected within {oldest} s of the start of analytics-db")
        if one["persistent"]:
            faults.append(f"table {one['table']} differs from its source in {one['persistent']} of 64 shares, in two audits running")
        details.append(f"{one['table']} {one['result'] or 'not audited yet'}")
    return verdict(faults, ", ".join(details), {"audit_unsettled_shares": sum(one["unsettled"] or 0 for one in seen["audit"])})


@_observed
def quarantine(wanted: Object, seen: Object) -> Finding:
    """Every change record was applied, or its row is right again."""
    if not wanted.get("quarantine"):
        return skipped("no quarantine is declared")
    found = seen["quarantine"]
    faults = [
        f"table {TOPICS.get(one['topic'], one['topic'])}, key {one['key'] or 'none'}, "
        f"offset {one['offset']} of {one['topic']}: {one['reason']}"
        for one in found["entries"]
    ]
    if found["count"] > len(faults):
        faults.append(f"{found['count'] - len(faults)} more; they are in quarantined_records of analyticsdb, with resolved_at NULL")
    return verdict(faults, "no change record waits", {"quarantined_records": found["count"]})


@_observed
def summaries(wanted: Object, seen: Object) -> Finding:
    """What the views are computed from is what the tables say."""
    if not wanted.get("quarantine"):
        return skipped("no analytics database is declared")
    found = seen["summaries"]
    faults = [f"{name} differs from the orders that were counted, also after it was made anew" for name in found["sums"]]
    # A single one was mended when it was found.
    if found["passes"] > 1:
        passes = f"{found['passes']} passes in a row, {found['orders']} in the last"
        faults.append(f"the audit found orders that were counted wrongly in {passes}")
    lag = found["lag_s"]
    return verdict(faults, "sums as the tables say" if lag is None else f"{lag} s behind the tables", {"summaries_lag_s": lag or 0})


@_observed
def capture(wanted: Object, seen: Object) -> Finding:
    """Sources log whole old rows of the captured tables, and publish them and nothing less or more."""
    if not wanted.get("capture"):
        return skipped("no captured table is declared")
    tables = sum(len(source["tables"]) for source in wanted["capture"])
    return verdict(seen["capture"], f"{tables} tables are captured as declared")
