"""Benchmark of the way from the source databases to analytics and its views: single changes, and a steady stream of them.

Run on a machine on which the platform is up: ``PYTHONPATH=collections python -m tests.perf.cdc --probes 100 --seconds 300``.
Changes are written by SQL into the captured tables; rows have ids that start with ffffffff and the user cdc-probe, which no
view counts, and are removed at the end. Every change is a statement of its own; COPY and changed keys are forbidden here.
It judges nothing: the figures belong to the machine that is printed with them.

Stages of a single change: commit (the source's clock after it) -> Kafka (``ts_ms`` of the record, the server's clock when
it was made) -> table (first seen in analytics) -> view (all views that read the table were refreshed since). All clocks are
those of one machine. Analytics is asked every 20 ms, which is the resolution.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES, Table
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from .curve import svg
from .machine import REPORTS, STATE, facts, sentence, table
from .psql_session import PsqlError, Session

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
# Probes of others may be under way.
OWN = "ffffffff-bec0"
ROOT = Path(__file__).parents[2]
COLUMNS = ("table", "operation", "stage", "probes", "p50_s", "p95_s", "max_s")
STAGES = ("kafka", "table", "view")
# The column of analytics that shows an update, and the one of the source that makes it.
SHOWS = {"books": ("price", "price"), "orders": ("total", "total"), "order_items": ("quantity", "quantity"), "inventory": ("quantity",) * 2}
# The broker's tool returns the newest thousand records of a topic; a probe makes four in each.
PROBES_PER_READ = 100
# Rows changed in one transaction of the steady stream.
PER_TRANSACTION = 10


def ids() -> dict[str, str]:
    """Ids of one set of rows."""
    made = {name: OWN + str(uuid.uuid4())[len(OWN) :] for name in TABLES}
    return {**made, "inventory": made["books"]}


def insert(name: str, rows: dict[str, str], value: int = 1) -> str:
    """SQL for a new row."""
    return {
        "books": f"INSERT INTO books (id, title, author, genre, price) VALUES ('{rows['books']}', 'Probe', 'Probe', 'Probe', {value});",
        "orders": "INSERT INTO orders (id, user_id, status, total, shipping)"
        f" VALUES ('{rows['orders']}', 'cdc-probe', 'CONFIRMED', {value}, '{{}}');",
        "order_items": "INSERT INTO order_items (id, order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
        f" VALUES ('{rows['order_items']}', '{rows['orders']}', '{rows['books']}', 'Probe', {value}, 1);",
        "inventory": f"INSERT INTO inventory (book_id, quantity) VALUES ('{rows['inventory']}', {value});",
    }[name]


def update(name: str, rows: dict[str, str], value: int) -> str:
    """SQL that gives a row another value."""
    return f"UPDATE {name} SET {SHOWS[name][1]} = {value} WHERE {TABLES[name].key} = '{rows[name]}';"


def delete(name: str, rows: dict[str, str]) -> str:
    """SQL that removes a row."""
    return f"DELETE FROM {name} WHERE {TABLES[name].key} = '{rows[name]}';"


class Bench:
    """Sessions in the three databases."""

    def __init__(self, cluster: Cluster) -> None:
        self.sql = {place: Session(cluster, place) for place in ("ecom", "inventory", "analytics")}

    def close(self) -> None:
        """Remove every row of probes and end the sessions; waits for nothing."""
        try:
            self.sql["ecom"].run(
                f"DELETE FROM order_items WHERE id::text LIKE '{OWN}%'; DELETE FROM orders WHERE id::text LIKE '{OWN}%';"
                f" DELETE FROM books WHERE id::text LIKE '{OWN}%';"
            )
            self.sql["inventory"].run(f"DELETE FROM inventory WHERE book_id::text LIKE '{OWN}%';")
        finally:
            for session in self.sql.values():
                session.close()

    def commit(self, one: Table, statement: str) -> float:
        """Run a statement in its source and return the source's clock after its commit."""
        return float(self.sql[one.place].run(f"{statement} SELECT extract(epoch FROM clock_timestamp());")[-1])

    def look(self, rows: dict[str, str]) -> dict[str, list[Any]]:
        """By table: the shown value or None, whether its views show it, the clock, and when the row was written."""
        parts = []
        for name, one in TABLES.items():
            row = f"(SELECT {SHOWS[name][0]}::float FROM {one.sink} WHERE {one.sink_key} = '{rows[name]}')"
            since = f"(SELECT synced_at FROM {one.sink} WHERE {one.sink_key} = '{rows[name]}')"
            pending = f"(dirty OR EXISTS (SELECT FROM mv_waiting() AS source WHERE source = '{one.sink}'))"
            stale = (
                "EXISTS (SELECT FROM mv_refresh_state JOIN mv_dependencies USING (mv_name)"
                f" WHERE source = '{one.sink}' AND {pending} AND (last_refresh_at >= {since}) IS NOT TRUE)"
            )
            parts.append(
                f"'{name}', json_build_array({row}, NOT {stale}, extract(epoch FROM clock_timestamp()), extract(epoch FROM {since}))"
            )
        seen: dict[str, list[Any]] = json.loads(self.sql["analytics"].run(f"SELECT json_build_object({', '.join(parts)})::jsonb;")[-1])
        return seen

    def follow(self, rows: dict[str, str], expected: int | None) -> dict[str, tuple[float, float]]:
        """Wait until all tables show ``expected``, and their views too; clock of analytics for both by table."""
        in_table: dict[str, float] = {}
        in_view: dict[str, float] = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(in_view) < len(TABLES):
            for name, (value, fresh, clock, _) in self.look(rows).items():
                if (value is None) if expected is None else (value == expected):
                    in_table.setdefault(name, clock)
                    if fresh:
                        in_view.setdefault(name, clock)
            if time.monotonic() > deadline:
                missing = sorted(set(TABLES) - set(in_view))
                raise TimeoutError(
                    f"{', '.join(missing)}: not in every view after {PATIENCE_SECONDS:.0f} s; in the table: {sorted(in_table)}"
                )
            time.sleep(POLL_SECONDS)
        return {name: (in_table[name], in_view[name]) for name in TABLES}


def single(bench: Bench, broker: Broker, probes: int) -> list[dict[str, Any]]:
    """Insert, change and delete one row in each table, ``probes`` times; a line for each change, with the clock at each stage."""
    chance = random.Random(1)  # Spreads probes over the stages' timers
    lines: list[dict[str, Any]] = []
    for number in range(probes):
        rows = ids()
        steps: tuple[tuple[str, int | None, Callable[[str], str]], ...] = (
            ("insert", 1, lambda name, rows=rows: insert(name, rows)),  # type: ignore[misc]
            ("update", 2, lambda name, rows=rows: update(name, rows, 2)),  # type: ignore[misc]
            ("delete", None, lambda name, rows=rows: delete(name, rows)),  # type: ignore[misc]
        )
        for operation, expected, statement in steps:
            time.sleep(chance.uniform(0, 0.5))
            # A row that refers to others goes first, and comes last.
            order = (
                ("order_items", "orders", "books", "inventory")
                if operation == "delete"
                else ("books", "orders", "order_items", "inventory")
            )
            began = {name: bench.commit(TABLES[name], statement(name)) for name in order}
            ended = bench.follow(rows, expected)
            lines += [
                {
                    "name": name,
                    "key": rows[name],
                    "operation": operation,
                    "commit": began[name],
                    "table": ended[name][0],
                    "view": ended[name][1],
                }
                for name in TABLES
            ]
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {probes} probes", flush=True)
        if (number + 1) % PROBES_PER_READ == 0 or number + 1 == probes:
            _kafka_times(broker, [line for line in lines if "kafka" not in line])
    return lines


def _kafka_times(broker: Broker, lines: list[dict[str, Any]]) -> None:
    codes = {"insert": "c", "update": "u", "delete": "d"}
    made: dict[tuple[str, str, str], float] = {}
    for name, one in TABLES.items():
        for record in broker.records(one.topic):
            if record["value"] and OWN in (record["key"] or ""):
                value = json.loads(record["value"])
                made.setdefault((name, json.loads(record["key"])[one.key], value["op"]), value["ts_ms"] / 1000)
    for line in lines:
        line["kafka"] = made.get((line["name"], line["key"], codes[line["operation"]]))


def quantile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def summary(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """p50, p95 and maximum in seconds since the commit, by table, operation and stage; ``all`` over all of them."""
    found = []
    groups = [(name, operation) for name in TABLES for operation in ("insert", "update", "delete")]
    for name, operation in [*groups, ("all", "all")]:
        mine = [line for line in lines if name == "all" or (line["name"], line["operation"]) == (name, operation)]
        for stage in STAGES:
            took = [max(line[stage] - line["commit"], 0.0) for line in mine if line[stage] is not None]
            if took:
                figures = [round(quantile(took, share), 3) for share in (0.5, 0.95, 1.0)]
                found.append(dict(zip(COLUMNS, (name, operation, stage, len(took), *figures), strict=True)))
    return found


def steady(bench: Bench, rate: int, seconds: int) -> list[dict[str, float]]:
    """Write ``rate`` row changes a second for ``seconds``; each second how long the newest mark took, or is missing.

    A quarter of the changes go to each table: half updates, a quarter inserts, a quarter deletions of earlier inserts.
    """
    marks, marked = ids(), {1: time.time()}
    for name in ("books", "orders", "order_items", "inventory"):
        bench.commit(TABLES[name], insert(name, marks))
    # Sixteen changes to each set of rows.
    sets = [ids() for _ in range(-(-rate // 16))]
    points: list[dict[str, float]] = []
    started, written, number, spare = time.monotonic(), 0, 0, 0
    while True:
        second = time.monotonic() - started
        if second < seconds:
            number += 1
            value = number + 1
            ecom, inventory = _second(sets, value, first=number == 1)
            ecom.append("".join(update(name, marks, value) for name in ("books", "orders", "order_items")))
            inventory.append(update("inventory", marks, value))
            bench.sql["ecom"].run("\n".join(f"BEGIN; {statements} COMMIT;" for statements in ecom))
            bench.sql["inventory"].run("\n".join(f"BEGIN; {statements} COMMIT;" for statements in inventory))
            marked[value] = time.time()
            written += sum(statements.count(";") for statements in [*ecom, *inventory])
        else:
            spare += 1
        # At the end of the second, so that it is no moment at which little can be behind.
        time.sleep(max(0.0, len(points) + 1 - (time.monotonic() - started)))
        seen = bench.look(marks)
        last = int(min(value[0] or 1 for value in seen.values()))
        newest = number + 1
        # How long the newest mark took to its slowest table; while it is not there, the age of the first one missing.
        lag = max(value[3] for value in seen.values()) - marked[newest] if last >= newest else time.time() - marked[last + 1]
        points.append({"second": round(time.monotonic() - started, 2), "lag_s": round(max(lag, 0.0), 2), "written": written})
        if (second >= seconds and last >= newest) or spare > PATIENCE_SECONDS:
            return points


def _second(sets: list[dict[str, str]], value: int, *, first: bool) -> tuple[list[str], list[str]]:
    """Transactions of one second for both sources; of each set of rows one is inserted, updated twice and deleted."""
    ecom: list[str] = []
    inventory: list[str] = []
    for place in range(len(sets)):
        old, new = sets[place], ids()
        sets[place] = new
        for name in ("order_items", "orders", "books", "inventory"):
            target = inventory if name == "inventory" else ecom
            if not first:
                target.append(delete(name, old))
        for name in ("books", "orders", "order_items", "inventory"):
            target = inventory if name == "inventory" else ecom
            target += [insert(name, new), update(name, new, value), update(name, new, value + 1)]
    return [_together(ecom, at) for at in range(0, len(ecom), PER_TRANSACTION)], [
        _together(inventory, at) for at in range(0, len(inventory), PER_TRANSACTION)
    ]


def _together(statements: list[str], start: int) -> str:
    return " ".join(statements[start : start + PER_TRANSACTION])


def main() -> None:
    """Run the benchmark, print its tables, write them as JSON and the curve of the lag as SVG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=100, help="changes of each kind in each table (default 100)")
    parser.add_argument("--rate", type=int, default=200, help="row changes per second of the steady stream (default 200)")
    parser.add_argument("--seconds", type=int, default=300, help="duration of the steady stream, 600 at most (default 300)")
    parser.add_argument("--json", type=Path, default=REPORTS / "perf-cdc.json", help="file for the figures (default %(default)s)")
    parser.add_argument("--curve", type=Path, default=ROOT / "docs/cdc-lag.svg", help="file for the curve (default %(default)s)")
    arguments = parser.parse_args()
    if not 0 <= arguments.probes <= 500 or not 16 <= arguments.rate <= 500 or not 0 <= arguments.seconds <= 600:
        parser.error("--probes must be 0 to 500, --rate 16 to 500, --seconds 0 to 600")
    machine = facts()
    print(sentence(machine))
    report: dict[str, Any] = {"machine": machine}
    try:
        cluster = Cluster(str(STATE / "kubeconfig"), request_timeout=15)
        bench = Bench(cluster)
        try:
            if arguments.probes:
                report["stages"] = summary(single(bench, Broker(cluster, 60), arguments.probes))
                print(table(COLUMNS, [[row[column] for column in COLUMNS] for row in report["stages"]]))
            if arguments.seconds:
                print(f"{arguments.rate} row changes/s for {arguments.seconds} s ...", flush=True)
                points = steady(bench, arguments.rate, arguments.seconds)
                lags = [point["lag_s"] for point in points]
                achieved = round(points[-1]["written"] / arguments.seconds, 1)
                report["steady"] = {"rate": arguments.rate, "achieved": achieved, "seconds": arguments.seconds, "points": points}
                report["steady"] |= {"lag_p50_s": quantile(lags, 0.5), "lag_p95_s": quantile(lags, 0.95), "lag_max_s": max(lags)}
                print({key: value for key, value in report["steady"].items() if key != "points"})
                title = f"Lag from commit to table, {achieved:g} row changes/s"
                arguments.curve.write_text(svg([(p["second"], p["lag_s"]) for p in points], title, "seconds", "lag in s"), encoding="utf-8")
        finally:
            bench.close()
    except (ClusterError, PsqlError, TimeoutError) as error:
        sys.exit(str(error))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"written to {arguments.json}")


if __name__ == "__main__":
    main()
