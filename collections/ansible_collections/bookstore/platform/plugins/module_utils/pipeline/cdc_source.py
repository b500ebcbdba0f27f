# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What the source databases have to log and publish of their captured tables, compared with what they do; and the way back.

Each table: REPLICA IDENTITY FULL. The publication: these tables and no other, whole rows of all rows, insert, update, delete.
Anything less leaves changes out, which nobody sees: a row filter or a column list as well as TRUNCATE, which Debezium skips.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Clock, wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import Sql

Object = dict[str, Any]
KINDS = ("insert", "update", "delete")
IDENTITIES = {"d": "DEFAULT", "n": "NOTHING", "i": "USING INDEX", "f": "FULL"}
# A busy table is waited for that long, and no longer: who waits behind the lock waits, too.
LOCK_TIMEOUT = "5s"
DROP_TIMEOUT = 30.0
STATE = """
SELECT json_build_object(
  'tables', (SELECT coalesce(
      json_object_agg(relname, json_build_object('identity', relreplident, 'owner', relowner::regrole::text)), '{{}}')
             FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname IN ({tables})),
  'publication', (SELECT json_build_object('all', puballtables, 'insert', pubinsert, 'update', pubupdate, 'delete', pubdelete,
                                           'truncate', pubtruncate, 'via_root', pubviaroot,
    'schemas', (SELECT coalesce(json_agg(pnnspid::regnamespace::text), '[]') FROM pg_publication_namespace WHERE pnpubid = p.oid),
    'tables', (SELECT coalesce(json_agg(json_build_object('schema', relnamespace::regnamespace::text, 'name', relname,
                                                          'filter', pg_get_expr(prqual, prrelid), 'columns', prattrs IS NOT NULL)), '[]')
               FROM pg_publication_rel JOIN pg_class ON pg_class.oid = prrelid WHERE prpubid = p.oid))
    FROM pg_publication p WHERE pubname = '{publication}'))
"""


class SourceError(Exception):
    """A source that cannot be brought to its declaration."""


@dataclass(frozen=True)
class Fault:
    """What is not as declared; ``table`` is empty when it is about the publication as a whole."""

    source: str
    table: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}, table {self.table}: {self.text}" if self.table else f"{self.source}: {self.text}"


@dataclass
class Outcome:
    """What was found, the tables of which changes may be missing since, and the sources that are read anew for it."""

    faults: list[Fault] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)


def publication_of(source: Object) -> str:
    """Return the name of a source's publication."""
    return f"debezium_{source['source']}_publication"


def psql(cluster: Cluster, timeout: float) -> Sql:
    """Return how to run SQL in an instance, <namespace>/<name>/<database>, as its superuser over the local socket."""

    def run(place: str, statement: str) -> str:
        namespace, name, database = place.split("/")
        command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={database}", "--no-psqlrc", "-tAq",
                   "--set=ON_ERROR_STOP=1", f"--command={statement}"]  # fmt: skip
        return cluster.execute(namespace, f"{name}-0", "postgresql", command, timeout).strip()

    return run


def place_of(source: Object) -> str:
    """Return where a source's database is, as psql() takes it."""
    database = source["database"]
    return f"{database['namespace']}/{database['name']}/{database['database']}"


def look(run: Sql, source: Object) -> Object:
    """Return {tables: {name: {identity, owner}}, publication: {...} or None}."""
    listed = ", ".join(f"'{table}'" for table in source["tables"])
    found: Object = json.loads(run(place_of(source), STATE.format(tables=listed, publication=publication_of(source))))
    return found


def faults(source: Object, seen: Object) -> list[Fault]:
    """Return what is not as declared."""
    name, found = source["source"], []
    for table in source["tables"]:
        there = seen["tables"].get(table)
        if there is None:
            found.append(Fault(name, table, "does not exist"))
        elif there["identity"] != "f":
            found.append(Fault(name, table, f"REPLICA IDENTITY is {IDENTITIES[there['identity']]}, not FULL"))
    publication = publication_of(source)
    state = seen["publication"]
    if state is None:
        return [*found, Fault(name, "", f"publication {publication} does not exist")]
    if state["all"]:
        found.append(Fault(name, "", f"publication {publication} is FOR ALL TABLES"))
    kinds = [kind for kind in (*KINDS, "truncate") if state[kind]]
    if kinds != list(KINDS):
        found.append(Fault(name, "", f"publication {publication} publishes {', '.join(kinds) or 'nothing'}, not {', '.join(KINDS)}"))
    if state["via_root"]:
        found.append(Fault(name, "", f"publication {publication} publishes via partition roots"))
    found += [Fault(name, "", f"publication {publication} has schema {schema}") for schema in state["schemas"]]
    members = {one["name"]: one for one in state["tables"] if one["schema"] == "public"}
    extra = [one for one in state["tables"] if one["schema"] != "public" or one["name"] not in source["tables"]]
    found += [Fault(name, f"{one['schema']}.{one['name']}", f"is in publication {publication}, and not declared") for one in extra]
    for table in source["tables"]:
        member = members.get(table)
        if member is None and not state["all"]:
            found.append(Fault(name, table, f"is not in publication {publication}"))
        elif member and member["filter"] is not None:
            found.append(Fault(name, table, f"publication {publication} has the row filter {member['filter']}"))
        elif member and member["columns"]:
            found.append(Fault(name, table, f"publication {publication} has a list of columns"))
    return found


def repairs(source: Object, seen: Object) -> str:
    """Return the SQL that brings a source to its declaration, empty when there is nothing to do; SourceError when there is none."""
    name, state = publication_of(source), seen["publication"]
    missing = [table for table in source["tables"] if table not in seen["tables"]]
    if missing:
        raise SourceError(
            f"BK-261: source {source['source']}: table {missing[0]} does not exist; `make up` migrates the service's database, "
            "or remove it from bookstore_captured"
        )
    if not faults(source, seen):
        return ""
    steps = [f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"]
    steps += [f"ALTER TABLE public.{table} REPLICA IDENTITY FULL" for table in source["tables"] if seen["tables"][table]["identity"] != "f"]
    listed = ", ".join(f"public.{table}" for table in source["tables"])
    # Nobody reads between two statements of one transaction: a publication that is made anew was never away.
    if state is not None and state["all"]:
        steps.append(f"DROP PUBLICATION {name}")
        state = None
    if state is None:
        owner = seen["tables"][source["tables"][0]]["owner"]
        steps += [f"CREATE PUBLICATION {name} FOR TABLE {listed}", f"ALTER PUBLICATION {name} OWNER TO {owner}"]
    else:
        steps.append(f"ALTER PUBLICATION {name} SET TABLE {listed}")
    steps.append(f"ALTER PUBLICATION {name} SET (publish = '{', '.join(KINDS)}', publish_via_partition_root = false)")
    return f"BEGIN; {'; '.join(steps)}; COMMIT"


def incomplete(source: Object, seen: Object) -> bool:
    """Return whether changes were not published: then events may be missing, too, and only a new snapshot has all.

    Before a publication was there its slot cannot be read either: PostgreSQL reads the log with the catalogue of then.
    """
    state = seen["publication"]
    if state is None:
        return True
    members = {one["name"] for one in state["tables"] if one["schema"] == "public" and one["filter"] is None and not one["columns"]}
    return not all(state[kind] for kind in KINDS) or (not state["all"] and not members.issuperset(source["tables"]))


def forget_slot(run: Sql, source: Object, clock: Clock = time) -> bool:
    """Drop a source's slot, if there is one: the guard of its Debezium Server takes a new snapshot for it."""
    slot = f"slot_name = 'debezium_{source['source']}_slot'"

    def drop() -> str:
        try:
            run(place_of(source), f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE {slot} AND active")
            return run(place_of(source), f"SELECT count(pg_drop_replication_slot(slot_name)::text) FROM pg_replication_slots WHERE {slot}")
        except ClusterError as error:
            # Its reader is still ending, or is there again.
            return f"not dropped: {' '.join(str(error).split())[-200:]}"

    end = wait_for(drop, str.isdigit, timeout=DROP_TIMEOUT, interval=0.5, clock=clock)
    if not end.done:
        raise SourceError(f"BK-262: source {source['source']}: its slot is {end.value}; run `make up` again")
    return end.value != "0"


def restore(run: Sql, sources: list[Object], *, apply: bool) -> Outcome:
    """Compare all sources, bring them to their declaration, and say what was not as declared."""
    outcome = Outcome()
    for source in sources:
        seen = look(run, source)
        statement = repairs(source, seen)
        if not statement:
            continue
        found = faults(source, seen)
        outcome.faults += found
        outcome.tables += sorted({fault.table for fault in found if fault.table in source["tables"]} or set(source["tables"]))
        if apply:
            run(place_of(source), statement)
            if incomplete(source, seen) and forget_slot(run, source):
                outcome.snapshots.append(source["source"])
            left = faults(source, look(run, source))
            if left:
                raise SourceError(f"BK-262: source {source['source']} is not as declared after it was restored: {left[0]}")
    return outcome
