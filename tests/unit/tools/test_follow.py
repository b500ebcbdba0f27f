"""What `tools/follow` makes of what it saw: lines in time order without anything of a person, and where the order's way ended."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from operator_view.follow import command, trail
from operator_view.follow.seen import Event, Log, Seen

ORDER, BOOK = "01234567-89ab-5cde-8f01-23456789abcd", "00000000-0000-0000-0000-000000000011"
CREATED, CANCELLED, REJECTED = (f"{digit * 8}-0000-0000-0000-000000000000" for digit in "123")
REQUEST, OTHER = "5d1c-request", "another-request"
PLACED = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)


def later(seconds: float) -> str:
    return (PLACED + timedelta(seconds=seconds)).isoformat()


def line(seconds: float, **values: Any) -> str:
    return json.dumps({"timestamp": later(seconds), "event": "request", "request_id": REQUEST, **values})


def event(name: str = CREATED, kind: str = "order.created", seconds: float = 0, **changes: Any) -> Event:
    return replace(Event(name, kind, PLACED + timedelta(seconds=seconds), REQUEST, published=True), **changes)


def complete() -> Seen:
    """An order that went all of its way."""
    return Seen(
        ORDER,
        order={"status": "CONFIRMED", "total": "20.00", "currency": "USD", "reason": None, "created_at": later(0), "updated_at": later(0),
               "lines": 1, "copies": 2},
        now=PLACED + timedelta(minutes=1),
        events=[event()],
        inventory={
            "reservations": [{"book": BOOK, "copies": 2, "status": "COMMITTED", "expires_at": later(900)}],
            "movements": [{"at": later(-0.1), "book": BOOK, "delta": 0, "reserved": 2, "reason": "held"},
                          {"at": later(1), "book": BOOK, "delta": -2, "reserved": -2, "reason": "committed"}],
            "cancelled_at": None,
            "processed": [{"id": CREATED, "at": later(1)}], "letters": [],
        },
        analytics={"fact": {"status": "CONFIRMED", "synced_at": later(2)}, "lines": 1,
                   "views": [{"name": "mv_sales", "at": later(3), "dirty": False}]},
        logs=[
            Log("gateway", line(-0.2, method="POST", path="/ecom/checkout", status=201)),
            Log("ecom-api", line(0.1, method="POST", route="/ecom/checkout", status=201)),
            Log("inventory-api", line(-0.1, method="PUT", route="/internal/reservations/{order_id}", status=200)),
            Log("inventory-worker", line(1, event="event_consumed", topic="order.created", place="order.created/0/7", result="applied")),
        ],
    )  # fmt: skip


def cancelled(reason: str = "cancelled_by_customer") -> Seen:
    """An order that was cancelled, and its copies came back."""
    seen = complete()
    assert seen.order
    seen.order |= {"status": "CANCELLED", "reason": reason, "updated_at": later(10)}
    seen.inventory["reservations"][0]["status"] = "RELEASED"
    seen.analytics["fact"]["status"] = "CANCELLED"
    seen.analytics["views"][0]["at"] = later(20)
    if reason != "out_of_stock":
        seen.events.append(event(CANCELLED, "order.cancelled", 10))
        seen.inventory["processed"].append({"id": CANCELLED, "at": later(11)})
    return seen


def end(seen: Seen) -> tuple[str, int]:
    text, status = command.report(seen)
    return text[-1], status


def test_a_complete_order_in_time_order() -> None:
    text, status = command.report(complete())
    assert status == command.COMPLETE
    assert text[:2] == [f"Order {ORDER}", f"Request {REQUEST}"]
    dated = [one for one in text if one.startswith("2026-")]
    assert dated == sorted(dated, key=lambda one: one[:23])
    wheres = [one.split("  ")[1].strip() for one in dated]
    assert wheres == [
        "gateway log", "inventory-db stock", "inventory-api log", "ecom-db orders", "ecom-db outbox", "ecom-api log", "inventory-db worker",
        "inventory-db stock", "inventory-worker log", "analytics-db", "analytics-db views",
    ]  # fmt: skip
    assert any("place=order.created/0/7" in one for one in dated)
    assert not [one for one in text if one.startswith(("note", "STOP", "BK-"))]


def test_the_paths_of_cancelled_orders() -> None:
    assert end(cancelled())[1] == command.COMPLETE
    assert end(cancelled("cancelled_by_admin"))[1] == command.COMPLETE
    rejected = cancelled("out_of_stock")
    rejected.inventory["reservations"] = []
    rejected.caused = [event(REJECTED, "inventory.rejected", 1)]
    rejected.ecom_consumed = {"processed": [{"id": REJECTED, "at": later(2)}], "letters": []}
    assert end(rejected)[1] == command.COMPLETE


def unpublished(seen: Seen) -> None:
    seen.events[0] = event(published=False)
    seen.inventory |= {"processed": [], "reservations": []}


def unconsumed(seen: Seen) -> None:
    seen.inventory["processed"] = []


def set_aside(seen: Seen) -> None:
    seen.inventory |= {"processed": [], "letters": [{"id": CREATED, "at": later(1), "reason": "DataError", "open": True}]}


def without_row(seen: Seen) -> None:
    seen.events = []


def held(seen: Seen) -> None:
    seen.inventory["reservations"][0]["status"] = "HELD"


def uncommitted(seen: Seen) -> None:
    held(seen)
    seen.order, seen.events = None, []


def rejected_unconsumed(seen: Seen) -> None:
    seen.caused = [event(REJECTED, "inventory.rejected", 1)]


def uncopied(seen: Seen) -> None:
    seen.analytics["fact"] = None


def old_copy(seen: Seen) -> None:
    seen.analytics["fact"]["status"] = "SHIPPED"


def half_copy(seen: Seen) -> None:
    seen.analytics["lines"] = 0


def stale(seen: Seen) -> None:
    seen.analytics["views"].append({"name": "mv_late", "at": later(1.5), "dirty": True})


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (unpublished, "outbox row order.created written 2026-01-02 03:04:05.600; not yet published by debezium-ecom, so not consumed by"),
        (unconsumed, "outbox row order.created written 2026-01-02 03:04:05.600 and published; not yet consumed by inventory-worker"),
        (set_aside, f"inventory-worker set order.created {CREATED} aside: DataError; `make replay` gives it again"),
        (without_row, "the outbox has no order.created of this order"),
        (held, "its reservation is HELD, not COMMITTED"),
        (uncommitted, "Inventory has HELD copies, and ecom-db has no such order: its checkout did not commit"),
        (rejected_unconsumed, "inventory.rejected written 2026-01-02 03:04:06.600 and published; not yet consumed by ecom-worker"),
        (uncopied, "fact_orders has no such order yet"),
        (old_copy, "fact_orders still says SHIPPED"),
        (half_copy, "fact_order_items has 0 of 1 lines"),
        (stale, "1 of 2 views were not refreshed since, first mv_late"),
    ],
)
def test_where_it_stopped(fault: Any, told: str) -> None:
    seen = complete()
    fault(seen)
    last, status = end(seen)
    assert status == command.STOPPED
    assert last.startswith("BK-458: it stopped here: ")
    assert told in last


def test_copies_of_a_cancelled_order_that_did_not_come_back() -> None:
    seen = cancelled()
    seen.inventory["reservations"][0]["status"] = "COMMITTED"
    assert "have to come back" in end(seen)[0]
    seen = cancelled()
    seen.events.pop()
    assert "the outbox has no order.cancelled" in end(seen)[0]


def test_what_is_consumed_was_published_even_if_its_row_was_given_again() -> None:
    seen = complete()
    seen.events[0] = event(published=False)
    assert end(seen)[1] == command.COMPLETE


def test_an_order_older_than_the_outbox_needs_no_row_of_it() -> None:
    seen = complete()
    seen.now, seen.events = PLACED + timedelta(days=31), []
    text, status = command.report(seen)
    assert status == command.COMPLETE
    # The gateway's line is of a checkout, whose path does not name the order.
    assert any("no request id is known" in one for one in text)


@pytest.mark.parametrize("part", ["ecom-db", "inventory-db", "analytics-db"])
def test_a_part_that_is_away_is_named_and_the_others_are_shown(part: str) -> None:
    seen = complete()
    seen.away[part] = "BK-204: no answer"
    if part == "ecom-db":
        seen.order, seen.now, seen.events = None, None, []
    elif part == "inventory-db":
        seen.inventory = {}
    else:
        seen.analytics = {}
    text, status = command.report(seen)
    assert status == command.UNKNOWN
    assert f"BK-457: {part} was not asked: BK-204: no answer" in text
    assert text[-1].startswith("Not known: ")
    assert f"{part} was not asked" in text[-1]
    assert [one for one in text if one.startswith("2026-")]


def test_a_stop_is_told_although_a_later_part_is_away() -> None:
    seen = complete()
    unpublished(seen)
    seen.away["inventory-db"], seen.inventory = "BK-204: no answer", {}
    assert "not yet published by debezium-ecom" in end(seen)[0]


def test_an_unknown_order_is_an_error_only_if_everybody_was_asked() -> None:
    with pytest.raises(command.FollowError, match=f"BK-456: no order has the id {ORDER}"):
        command.report(Seen(ORDER))
    assert end(Seen(ORDER, away={"inventory-db": "BK-204: no answer"}))[1] == command.STOPPED
    assert end(Seen(ORDER, away={"ecom-db": "BK-204: no answer"}))[1] == command.UNKNOWN


@pytest.mark.parametrize(
    "text", ["", "7", "x' OR '1'='1", ORDER[:-1], ORDER + "0", "{" + ORDER + "}", ORDER.replace("-", ""), ORDER + "\n;"]
)
def test_a_malformed_id_is_refused(text: str) -> None:
    with pytest.raises(command.FollowError, match="BK-456: ORDER="):
        command.order_id(text)


def test_an_id_in_capitals_is_the_same() -> None:
    assert command.order_id(f" {ORDER.upper()}\n") == ORDER


def test_malformed_and_no_kubeconfig_end_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    assert command.main(["nothing"]) == command.FAILED
    assert capsys.readouterr().out.startswith("BK-456: ORDER='nothing'")
    assert command.main([ORDER, "--kubeconfig", str(tmp_path / "none")]) == command.FAILED
    out = capsys.readouterr().out
    assert out.startswith("BK-201: ")
    assert len(out.splitlines()) == 1


class Half:
    """A cluster of which only ecom-db and the gateway's log answer."""

    def __init__(self) -> None:
        self.statements: list[list[str]] = []

    def raw(self, path: str, query: dict[str, str] | None = None) -> str:
        return "{}" if path == "/version" else line(0, method="POST", path="/ecom/checkout", status=201)

    def objects(self, kind: str, namespace: str, labelSelector: str) -> list[dict[str, Any]]:  # noqa: N803 # the API's name
        if namespace != "gateway":
            raise ClusterError("BK-202: no answer")
        return [{"metadata": {"name": "gateway-0"}, "spec": {"containers": [{"name": "istio-proxy"}]}}]

    def execute(self, namespace: str, pod: str, container: str, words: list[str], timeout: float) -> str:
        self.statements.append(words)
        if namespace != "ecom":
            raise ClusterError(f"BK-204: no command can be run in {namespace}/{pod}: gone")
        rows = [{"id": CREATED, "type": "order.created", "at": later(0), "request_id": REQUEST, "published": True}]
        return json.dumps({"order": complete().order, "events": rows, "now": later(60)}) + "\n--\n"


def test_who_does_not_answer_keeps_nobody_else_from_it() -> None:
    cluster = Half()
    seen = command.look(cluster, ORDER)  # type: ignore[arg-type] # a part of a Cluster
    assert set(seen.away) == {"inventory-db", "analytics-db", *(f"log of {name}" for name in command.SERVICES if name != "gateway")}
    assert (seen.order, [log.service for log in seen.logs]) == (complete().order, ["gateway"])
    assert command.report(seen)[1] == command.UNKNOWN
    # Whatever the database would let its superuser do.
    assert all("default_transaction_read_only=on" in words[1] and "statement_timeout=8000" in words[1] for words in cluster.statements)


# Logs -----------------------------------------------------------------------------------------------------------------


def test_only_named_fields_of_a_log_line_are_shown() -> None:
    seen = complete()
    text = line(
        0, event="unhandled_error", sub="u-1", email="a@b.example", token="ey", reason="Error\nnext\x1b[31m", route="/ecom/checkout"
    )
    seen.logs = [Log("ecom-api", text)]
    shown = next(one.text for one in trail.logged(seen, [REQUEST]))
    assert shown == f"unhandled_error route=/ecom/checkout reason=Error?next?[31m [{REQUEST}]"


def test_lines_of_other_requests_and_what_is_no_record_are_left_out() -> None:
    seen = complete()
    seen.logs = [Log("ecom-api", "\n".join([
        line(0, request_id=OTHER), f"warning {REQUEST}", "{" + REQUEST, json.dumps([REQUEST]), json.dumps({"request_id": REQUEST}),
        json.dumps({"request_id": REQUEST, "event": "x", "timestamp": "yesterday"}),
        json.dumps({"request_id": REQUEST, "event": "x", "timestamp": "2026-01-01T00:00:00"}),
        line(0, request_id=None, event="reservation_left_to_expire", order_id=ORDER, reason="TimeoutError"),
        line(0, status=201),
    ]))]  # fmt: skip
    assert [one.text for one in trail.logged(seen, [REQUEST])] == [
        "reservation_left_to_expire reason=TimeoutError", f"request status=201 [{REQUEST}]",
    ]  # fmt: skip


def test_a_change_that_left_no_event_is_found_by_the_path_at_the_gateway() -> None:
    seen = complete()
    seen.logs[0] = Log("gateway", "\n".join([
        line(5, request_id=OTHER, method="PUT", path=f"/admin/orders/{ORDER}/status", status=200),
        line(6, request_id="a-look", method="GET", path=f"/ecom/orders/{ORDER}", status=200),
    ]))  # fmt: skip
    ids = trail.request_ids(seen)
    assert ids == sorted([REQUEST, OTHER])
    assert not [one for one in trail.logged(seen, ids) if "GET" in one.text]


def test_what_is_missing_in_the_logs_is_named_with_its_reason() -> None:
    seen = complete()
    seen.logs[0] = Log("gateway", "", begins=PLACED + timedelta(hours=1))
    seen.logs[3] = Log("inventory-worker", line(1, request_id=OTHER), cut=True)
    assert trail.log_notes(seen, [REQUEST]) == [
        "gateway has no log line of these requests: its log begins 2026-01-02 04:04:05.600",
        "inventory-worker has no log line of these requests; more of it than is read here",
    ]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ClusterError("BK-204: the command: [psql SELECT secrets\n FROM x]: exit 1: ERROR:  column \"a\" does not exist\nLINE 1"),
         'ERROR:  column "a" does not exist'),
        (ClusterError("BK-202: the API server does not answer\nmore"), "BK-202: the API server does not answer"),
        (ValueError(""), "ValueError"),
    ],
)  # fmt: skip
def test_the_reason_of_who_is_away_is_one_line(error: Exception, told: str) -> None:
    assert command.reason(error) == told
