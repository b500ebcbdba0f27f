# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at the event pipeline once: broker, replication slots, streaming jobs."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, look
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_source
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.debezium_servers import sentence, stored_by_source
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker
from ansible_collections.bookstore.platform.plugins.module_utils.verification import consumer_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Object, Web

CALL_TIMEOUT = 30.0
# For events to be consumed. The mesh's probes take half of it anyway; right after all nodes were started, workers take their time.
PATIENCE = 60.0
SLOTS = """
SELECT coalesce(json_agg(json_build_object('name', slot_name, 'active', active, 'wal_status', wal_status,
       'retained_mib', pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) / 1048576)), '[]')
FROM pg_replication_slots WHERE slot_type = 'logical'
"""
# How long ago, counted from the database's start if that was later: nobody audits while the platform is down.
AUDIT = """
SELECT coalesce(json_agg(json_build_object('table', tables.name, 'result', result, 'persistent', cardinality(persistent_buckets),
       'unsettled', cardinality(unsettled_buckets),
       'age_s', extract(epoch FROM now() - greatest(audited_at, pg_postmaster_start_time()))::int)), '[]')
FROM unnest('{{{tables}}}'::text[]) AS tables (name) LEFT JOIN cdc_audit ON table_name = tables.name
"""
# The newest of each row stands for it; of many some are shown.
QUARANTINE = """
SELECT json_build_object('count', (SELECT count(*) FROM quarantined_records WHERE resolved_at IS NULL), 'entries', (
    SELECT coalesce(json_agg(entry), '[]') FROM (
        SELECT topic, kafka_partition AS partition, kafka_offset AS offset, left(reason, 300) AS reason,
               coalesce(row_key, left(encode(record_key, 'escape'), 100)) AS key
        FROM quarantined_records WHERE resolved_at IS NULL ORDER BY seen_at DESC LIMIT 20) AS entry))
"""
# What the audit of the views' summaries left, and how far they are behind the tables.
SUMMARIES = """
SELECT json_build_object('passes', passes_in_a_row, 'orders', passed_differing, 'sums', sums_differing, 'lag_s', (
    SELECT coalesce(extract(epoch FROM now() - nullif(complete_until, '-infinity'))::int, 0) FROM mv_summary_state WHERE behind))
FROM mv_summary_audit
"""


def observe(cluster: Cluster, web: Web, wanted: Object, patient_until: float) -> Object:
    """Return {topics, groups, slots: {instance: [...]}, jobs: [{name, state, checkpoints, failure}], audit: [{table, result, ...}],
    quarantine: {count, entries}, summaries: {passes, orders, sums, lag_s}, capture: [fault, ...]}.

    With it ``snapshots``: {slot: how far a new snapshot is} of slots that nobody reads, and of servers that take one; and ``doors``:
    {slot: why its server's door does not tell}.

    ``wanted``: {groups, slots: [{source, namespace, instance, database, slot}], doors: {source: port of its server}, flink_port,
    audit: {namespace, instance, database, tables}, quarantine: {namespace, instance, database}, capture: [{source, database, tables}]}.
    Events that are on their way are waited for: the broker is asked again until a group has consumed what was there at first, or
    until ``patient_until`` (time.monotonic); of a busy shop some event is always on its way. ClusterError and OSError when something
    cannot be asked.
    """
    with ThreadPoolExecutor(max_workers=6) as pool:
        broker = pool.submit(_broker, cluster, wanted["groups"], patient_until)
        slots = pool.submit(lambda: {one["instance"]: _slots(cluster, one) for one in wanted["slots"]})
        jobs = pool.submit(_jobs, web, wanted.get("flink_port"))
        audit = pool.submit(_audit, cluster, wanted.get("audit") or {})
        quarantine = pool.submit(_quarantine, cluster, wanted.get("quarantine") or {})
        summaries = pool.submit(_summaries, cluster, wanted.get("quarantine") or {})
        capture = pool.submit(_capture, cluster, wanted.get("capture") or [])
        unapplied = pool.submit(consumer_checks.observe, cluster, wanted)
        return {
            **broker.result(), "slots": slots.result(), **_snapshots(cluster, web, wanted, slots.result()),
            "jobs": jobs.result(), "audit": audit.result(), "quarantine": quarantine.result(),
            "summaries": summaries.result(), "capture": capture.result(), **unapplied.result(),
        }  # fmt: skip


def waiting(found: Object, ends: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return, by group and topic, how many records before ``ends`` (of topics, all partitions together) are not consumed.

    ``found``: as Broker.describe. A group that never committed is missing.
    """
    topics = found["topics"]
    return {
        group: {topic: max(0, int(lag) - max(0, topics[topic]["end"] - ends.get(topic, 0))) for topic, lag in lags.items()}
        for group, lags in found["groups"].items()
    }


def _broker(cluster: Cluster, names: list[str], patient_until: float) -> Object:
    broker = Broker(cluster, CALL_TIMEOUT)
    found = broker.describe()
    ends = {name: topic["end"] for name, topic in found["topics"].items()}
    while True:
        groups = waiting(found, ends)
        if not any(any(groups[name].values()) for name in names if name in groups) or time.monotonic() >= patient_until:
            return {**found, "groups": groups}
        found = broker.describe()


def _slots(cluster: Cluster, one: Object) -> list[Object]:
    return _rows(cluster, one, SLOTS)


def _snapshots(cluster: Cluster, web: Web, wanted: Object, found: Object) -> Object:
    """How far snapshots are: the guard says it at its door, and where no server reads, what is kept of it."""
    read = {slot["name"] for slots in found.values() for slot in slots if slot["active"]}
    idle = {one["slot"]: one["source"] for one in wanted["slots"] if one["slot"] not in read}
    kept = stored_by_source(Broker(cluster, CALL_TIMEOUT), sorted(idle.values())) if idle else {}
    told = {slot: sentence(kept[source].progress) for slot, source in idle.items() if not (kept[source].note or {"done": True}).get("done")}
    doors: dict[str, str] = {}
    for one in wanted["slots"]:
        port = wanted.get("doors", {}).get(one["source"])
        if one["slot"] in read and port is not None:
            try:
                if text := _told(web, port):
                    told[one["slot"]] = text
            except (OSError, ValueError) as error:
                doors[one["slot"]] = str(error)
    return {"snapshots": told, "doors": doors}


def _told(web: Web, port: int) -> str:
    """What a server's door says of a snapshot, empty without one; OSError or ValueError with the reason when it does not tell."""
    answer = web.http("localhost", "/q/snapshot", port)
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status} instead of 200 at /q/snapshot of port {port}")
    try:
        progress = json.loads(answer.body)
        return "" if progress["stage"] == "none" else sentence(progress)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = answer.body[:100].decode("utf-8", "replace")
        raise ValueError(f"/q/snapshot of port {port} tells no progress ({type(error).__name__}: {error}): {text!r}") from error


def _audit(cluster: Cluster, one: Object) -> list[Object]:
    return _rows(cluster, one, AUDIT.format(tables=",".join(one["tables"]))) if one else []


def _quarantine(cluster: Cluster, one: Object) -> Object:
    return _asked(cluster, one, QUARANTINE) if one else {"count": 0, "entries": []}


def _summaries(cluster: Cluster, one: Object) -> Object:
    return _asked(cluster, one, SUMMARIES) if one else {}


def _capture(cluster: Cluster, sources: list[Object]) -> list[str]:
    """What of identities and publications is not as declared."""
    run = cdc_source.psql(cluster, CALL_TIMEOUT)
    return [str(fault) for source in sources for fault in cdc_source.faults(source, cdc_source.look(run, source))]


def _rows(cluster: Cluster, one: Object, statement: str) -> list[Object]:
    found: list[Object] = _asked(cluster, one, statement)
    return found


def _asked(cluster: Cluster, one: Object, statement: str) -> Any:
    command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={one['database']}",
               "--no-psqlrc", "-tA", "--set=ON_ERROR_STOP=1", f"--command={statement}"]  # fmt: skip
    return json.loads(look(cluster, one["namespace"], f"{one['instance']}-0", "postgresql", command, CALL_TIMEOUT))


def _jobs(web: Web, port: int | None) -> list[Object]:
    if port is None:
        return []

    def ask(path: str) -> Object:
        answer: Object = json.loads(web.http("localhost", path, port).body)
        return answer

    def failure(job: Object) -> str:
        tasks = job.get("tasks") or {}
        if job["state"] == "RUNNING" and tasks.get("running") == tasks.get("total"):
            return ""
        entries = (ask(f"/jobs/{job['jid']}/exceptions?maxExceptions=1").get("exceptionHistory") or {}).get("entries") or []
        return cause(entries[0].get("stacktrace") or "") if entries else ""

    return [
        {"name": job["name"], "state": job["state"], "checkpoints": ask(f"/jobs/{job['jid']}/checkpoints").get("counts", {}),
         "failure": failure(job)}
        for job in ask("/jobs/overview")["jobs"]
    ]  # fmt: skip


def cause(stacktrace: str) -> str:
    """Return the innermost cause of a stack trace, in one line."""
    lines = [line.strip() for line in stacktrace.splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else (lines or [""])[0])[:300]
