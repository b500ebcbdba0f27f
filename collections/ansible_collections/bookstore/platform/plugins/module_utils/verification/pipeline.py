# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at the event pipeline once: broker, replication slots, streaming jobs."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.bookstore.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.kafka_topics import Broker
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


def observe(cluster: Cluster, web: Web, wanted: Object, patient_until: float) -> Object:
    """Return {topics, groups, slots: {instance: [...]}, jobs: [{name, state, checkpoints}], audit: [{table, result, ...}]}.

    ``wanted``: {groups, slots: [{namespace, instance, database, slot}], flink_port, audit: {namespace, instance, database,
    tables}}. Events that are on their way are waited for: the broker is asked again until a group has consumed what was there at
    first, or until ``patient_until`` (time.monotonic); of a busy shop some event is always on its way. ClusterError and OSError
    when something cannot be asked.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        broker = pool.submit(_broker, cluster, wanted["groups"], patient_until)
        slots = pool.submit(lambda: {one["instance"]: _slots(cluster, one) for one in wanted["slots"]})
        jobs = pool.submit(_jobs, web, wanted.get("flink_port"))
        audit = pool.submit(_audit, cluster, wanted.get("audit") or {})
        unapplied = pool.submit(consumer_checks.observe, cluster, wanted)
        return {**broker.result(), "slots": slots.result(), "jobs": jobs.result(), "audit": audit.result(), **unapplied.result()}


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


def _audit(cluster: Cluster, one: Object) -> list[Object]:
    return _rows(cluster, one, AUDIT.format(tables=",".join(one["tables"]))) if one else []


def _rows(cluster: Cluster, one: Object, statement: str) -> list[Object]:
    command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={one['database']}",
               "--no-psqlrc", "-tA", "--set=ON_ERROR_STOP=1", f"--command={statement}"]  # fmt: skip
    text = cluster.execute(one["namespace"], f"{one['instance']}-0", "postgresql", command, CALL_TIMEOUT)
    found: list[Object] = json.loads(text)
    return found


def _jobs(web: Web, port: int | None) -> list[Object]:
    if port is None:
        return []

    def ask(path: str) -> Object:
        answer: Object = json.loads(web.http("localhost", path, port).body)
        return answer

    return [
        {"name": job["name"], "state": job["state"], "checkpoints": ask(f"/jobs/{job['jid']}/checkpoints").get("counts", {})}
        for job in ask("/jobs/overview")["jobs"]
    ]
