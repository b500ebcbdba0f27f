"""What the benchmark of the pipeline writes and computes, without a platform."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.perf import cdc
from tests.perf.curve import svg


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [cdc.quantile(values, share) for share in (0.5, 0.95, 1.0)] == [50.0, 95.0, 100.0]
    assert cdc.quantile([3.0], 0.5) == 3.0


def test_a_second_of_the_stream_changes_sixteen_rows_for_each_set() -> None:
    sets = [cdc.ids() for _ in range(13)]
    before = list(sets)
    ecom, inventory = cdc._second(sets, 7, first=False)
    statements = [one for transaction in [*ecom, *inventory] for one in transaction.split(";") if one.strip()]
    assert len(statements) == 13 * 16
    assert max(transaction.count(";") for transaction in [*ecom, *inventory]) == cdc.PER_TRANSACTION
    assert all(old["books"] != new["books"] for old, new in zip(before, sets, strict=True))
    # A changed key or a copy would be lost by the reader of changes.
    assert not [one for one in statements if "COPY" in one or " SET id" in one or "SET book_id" in one]
    assert all(cdc.OWN in one for one in statements)


def test_the_first_second_deletes_nothing() -> None:
    ecom, inventory = cdc._second([cdc.ids()], 2, first=True)
    assert "DELETE" not in "".join([*ecom, *inventory])


def test_summary_tells_each_stage_from_the_commit() -> None:
    lines = [
        {"name": "books", "operation": "insert", "commit": 10.0, "kafka": 10.1, "table": 10.2 + place / 10, "view": 11.0}
        for place in range(2)
    ]
    lines[1]["kafka"] = None  # Its record was compacted away.
    found = {(row["table"], row["operation"], row["stage"]): row for row in cdc.summary(lines)}
    assert found["books", "insert", "kafka"]["probes"] == 1
    assert found["books", "insert", "table"]["p50_s"] == 0.2
    assert found["all", "all", "table"]["max_s"] == 0.3
    assert ("orders", "insert", "view") not in found


def test_the_curve_is_svg_with_all_points() -> None:
    root = ElementTree.fromstring(svg([(0, 0), (1, 2), (2, 1)], "Lag < 1", "s", "s"))
    line = next(part for part in root.iter() if part.tag.endswith("polyline"))
    assert len(line.get("points", "").split()) == 3
    with pytest.raises(ValueError, match="points=1: a curve needs two"):
        svg([(0, 0)], "t", "x", "y")
