"""A job's memory does not depend on how many rows there are: a million of them pass through less heap than the TaskManager has.

With state for each row (a few hundred bytes) the virtual machine ends for want of memory before half of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bookstore_common.testing.postgres import Postgres

from .broker import publish_many, running_broker
from .mini_cluster import ROOT, database, in_flink, prepared

ROWS = 1_000_000
# Beside the job, the mini-cluster's virtual machine holds a JobManager and the client.
HEAP_MIB = 192
JOB, TOPIC, TABLE = "cdc-fact-order-items", "cdc.ecom.public.order_items", "fact_order_items"


def records() -> Iterator[tuple[bytes, bytes]]:
    """Insertions of lines; only what the format reads of a change."""
    order, book = uuid.UUID(int=1 << 100, version=4), uuid.UUID(int=2 << 100, version=4)
    for number in range(ROWS):
        line = uuid.UUID(int=(3 << 100) | number, version=4)
        after = f'{{"id":"{line}","order_id":"{order}","book_id":"{book}","title_at_purchase":"t","quantity":2,"price_at_purchase":"1.50"}}'
        yield f'{{"id":"{line}"}}'.encode(), f'{{"before":null,"after":{after},"op":"c"}}'.encode()


@pytest.mark.timeout(900)
def test_a_million_rows_pass_through_a_small_heap(server: Postgres, images: dict[str, str], tmp_path: Path) -> None:
    defaults = yaml.safe_load((ROOT / "roles/flink/defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults["flink_taskmanager_heap"] >= HEAP_MIB, "the platform's TaskManager has less than this test grants"
    for name in ("kafka", "flink"):
        (tmp_path / name).mkdir()
    settings = prepared(server, tmp_path / "flink")
    name = database(server)
    with running_broker(images["kafka"], tmp_path / "kafka") as kafka:
        publish_many(images["kafka"], kafka, TOPIC, records())
        sql = (ROOT / f"flink/sql/{JOB}.sql").read_text(encoding="utf-8")
        plan = [{"sql": sql, "url": f"jdbc:postgresql://127.0.0.1:{server.port}/{name}"}]
        in_flink(images["flink"], tmp_path / "flink", {"plan": plan, "settings": settings, "kafka": kafka}, HEAP_MIB)
    with server.connect(name) as connection:
        found = connection.execute(f"SELECT count(*), sum(quantity), sum(line_total) FROM {TABLE}".encode()).fetchone()
    assert found == (ROWS, 2 * ROWS, 3 * ROWS)
