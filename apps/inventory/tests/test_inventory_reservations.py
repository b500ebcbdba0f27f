"""I-04 to I-06: what one caller at a time sees; what many at once do is in test_inventory_concurrency."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from inventory_testing import book, check_law, commit, metric, order
from pydantic import TypeAdapter

from inventory.app import Service
from inventory.reservations.schemas import Reservation

pytestmark = pytest.mark.anyio
PATH = "/internal/reservations"
UNKNOWN = "ffffffff-ffff-4fff-bfff-ffffffffffff"
Headers = dict[str, str]


def wanted(order_id: str, **copies: int) -> dict[str, object]:
    """Body of I-04; ``b7=2`` wants two copies of book 7."""
    return {
        "order_id": order_id,
        "items": [{"book_id": book(int(name[1:])), "quantity": count} for name, count in copies.items()],
    }


def counts(rows: Any, number: int) -> tuple[int, int]:
    """Quantity and reserved of a book."""
    found: tuple[int, int] = rows.execute(
        "SELECT quantity, reserved FROM inventory WHERE book_id = %s", [book(number)]
    ).fetchone()
    return found


def trace(rows: Any) -> tuple[int, int, int]:
    """How much was written: movements without the seed's, events, the sum of all versions."""
    found: tuple[int, int, int] = rows.execute(
        "SELECT (SELECT count(*) FROM stock_movements WHERE reason <> 'seed'), (SELECT count(*) FROM outbox_events),"
        " (SELECT sum(version)::int FROM inventory)"
    ).fetchone()
    return found


async def test_hold(internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any) -> None:
    response = await internal.post(PATH, json=wanted(order(1), b29=2, b1=3), headers=ecom)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    TypeAdapter(Reservation).validate_python(body)
    left = datetime.fromisoformat(body.pop("expires_at")) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    assert body == {
        "order_id": order(1),
        "status": "HELD",
        "items": [{"book_id": book(1), "quantity": 3}, {"book_id": book(29), "quantity": 2}],
    }
    assert (counts(rows, 1), counts(rows, 29)) == ((50, 3), (3, 2))
    assert check_law(rows) == 5
    assert metric(service, "held") == 1


async def test_repeat_is_the_same_reservation(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any
) -> None:
    first = await internal.post(PATH, json=wanted(order(1), b1=3, b2=1), headers=ecom)
    before = trace(rows)
    for body in (wanted(order(1), b1=3, b2=1), wanted(order(1), b2=1, b1=3)):
        again = await internal.post(PATH, json=body, headers=ecom)
        assert again.status_code == 200
        assert {**again.json(), "expires_at": first.json()["expires_at"]} == first.json()
    assert trace(rows) == before
    assert (metric(service, "held"), metric(service, "repeated")) == (1, 2)


@pytest.mark.parametrize(
    "other", [{"b1": 2}, {"b1": 3, "b2": 1}, {"b2": 3}, {"b1": 3, "b3": 1, "b4": 1}, {"b1": 4, "b3": 1}]
)
async def test_other_items_for_the_same_order(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any, other: dict[str, int]
) -> None:
    await internal.post(PATH, json=wanted(order(1), b1=3, b3=1), headers=ecom)
    before = trace(rows)
    response = await internal.post(PATH, json=wanted(order(1), **other), headers=ecom)
    assert (response.status_code, response.json()["code"]) == (409, "reservation_mismatch")
    assert order(1) in response.json()["detail"]
    assert trace(rows) == before
    assert (counts(rows, 1), counts(rows, 3)) == ((50, 3), (50, 1))
    assert metric(service, "mismatch") == 1


async def test_all_or_nothing(internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any) -> None:
    """Each short book is told, a book that nobody knows among them; the ones in stock are not held."""
    await internal.post(PATH, json=wanted(order(1), b29=1), headers=ecom)
    before = trace(rows)
    body = wanted(order(2), b30=1, b1=5, b29=3)
    body["items"] = [*body["items"], {"book_id": UNKNOWN, "quantity": 9}]  # type: ignore[misc]
    response = await internal.post(PATH, json=body, headers=ecom)
    assert (response.status_code, response.json()["code"]) == (409, "insufficient_stock")
    assert response.json()["books"] == [
        {"book_id": book(29), "requested": 3, "available": 2},
        {"book_id": book(30), "requested": 1, "available": 0},
        {"book_id": UNKNOWN, "requested": 9, "available": 0},
    ]
    assert trace(rows) == before
    assert (await internal.get(f"{PATH}/{order(2)}", headers=ecom)).status_code == 404
    assert metric(service, "insufficient_stock") == 1
    # The same order may ask for what there is.
    assert (await internal.post(PATH, json=wanted(order(2), b29=2), headers=ecom)).status_code == 201


async def test_what_a_hold_and_its_release_leave_behind(internal: httpx2.AsyncClient, ecom: Headers, rows: Any) -> None:
    await internal.post(PATH, json=wanted(order(1), b29=2, b1=3), headers=ecom)
    await internal.delete(f"{PATH}/{order(1)}", headers=ecom)
    movements = rows.execute(
        "SELECT book_id::text, delta, reserved_delta, reason, order_id::text, actor FROM stock_movements"
        " WHERE reason <> 'seed' ORDER BY id"
    ).fetchall()
    assert movements == [
        (book(1), 0, 3, "reserved", order(1), "ecom-service"),
        (book(29), 0, 2, "reserved", order(1), "ecom-service"),
        (book(1), 0, -3, "released", order(1), "ecom-service"),
        (book(29), 0, -2, "released", order(1), "ecom-service"),
    ]


async def test_get(internal: httpx2.AsyncClient, service: Service, ecom: Headers) -> None:
    made = await internal.post(PATH, json=wanted(order(1), b1=1), headers=ecom)
    read = await internal.get(f"{PATH}/{order(1)}", headers=ecom)
    assert (read.status_code, read.json()) == (200, made.json())
    await commit(service, order(1))
    assert (await internal.get(f"{PATH}/{order(1)}", headers=ecom)).json()["status"] == "COMMITTED"
    missing = await internal.get(f"{PATH}/{order(2)}", headers=ecom)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (await internal.get(f"{PATH}/x", headers=ecom)).status_code == 422


async def test_release(internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any) -> None:
    await internal.post(PATH, json=wanted(order(1), b1=3, b29=3), headers=ecom)
    for _ in range(3):
        response = await internal.delete(f"{PATH}/{order(1)}", headers=ecom)
        assert (response.status_code, response.content) == (204, b"")
        assert (counts(rows, 1), counts(rows, 29)) == ((50, 0), (3, 0))
    assert check_law(rows) == 0
    assert trace(rows)[:2] == (4, 4)
    assert (await internal.get(f"{PATH}/{order(1)}", headers=ecom)).json()["status"] == "RELEASED"
    assert metric(service, "released") == 1


async def test_release_of_an_unknown_order(internal: httpx2.AsyncClient, ecom: Headers, rows: Any) -> None:
    before = trace(rows)
    response = await internal.delete(f"{PATH}/{order(9)}", headers=ecom)
    assert (response.status_code, response.content) == (204, b"")
    assert trace(rows) == before
    assert (await internal.delete(f"{PATH}/x", headers=ecom)).status_code == 422


async def test_a_committed_reservation_stays(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any
) -> None:
    await internal.post(PATH, json=wanted(order(1), b1=3), headers=ecom)
    await commit(service, order(1))
    assert counts(rows, 1) == (47, 0)
    before = trace(rows)
    response = await internal.delete(f"{PATH}/{order(1)}", headers=ecom)
    assert (response.status_code, response.json()["code"]) == (409, "already_committed")
    again = await internal.post(PATH, json=wanted(order(1), b1=3), headers=ecom)
    assert (again.status_code, again.json()["status"]) == (200, "COMMITTED")
    assert trace(rows) == before
    check_law(rows)


@pytest.mark.parametrize("status", ["RELEASED", "EXPIRED"])
async def test_held_again_after_it_was_given_back(
    internal: httpx2.AsyncClient, ecom: Headers, rows: Any, status: str
) -> None:
    """Checkout gives back after a failed commit, and the customer tries again: same key, same order id."""
    await internal.post(PATH, json=wanted(order(1), b29=3), headers=ecom)
    await internal.delete(f"{PATH}/{order(1)}", headers=ecom)
    rows.execute("UPDATE reservations SET status = %s, expires_at = now() - interval '1 hour'", [status])
    again = await internal.post(PATH, json=wanted(order(1), b29=3), headers=ecom)
    assert (again.status_code, again.json()["status"]) == (201, "HELD")
    assert datetime.fromisoformat(again.json()["expires_at"]) > datetime.now(UTC) + timedelta(minutes=14)
    assert counts(rows, 29) == (3, 3)
    check_law(rows)
    await internal.delete(f"{PATH}/{order(1)}", headers=ecom)
    assert (await internal.post(PATH, json=wanted(order(2), b29=1), headers=ecom)).status_code == 201
    late = await internal.post(PATH, json=wanted(order(1), b29=3), headers=ecom)
    assert (late.status_code, late.json()["books"][0]["available"]) == (409, 2)


async def test_a_repeat_renews_a_hold_that_is_about_to_end(
    internal: httpx2.AsyncClient, ecom: Headers, rows: Any
) -> None:
    """Checkout's retry finds the hold of its first attempt: it must last until the order is placed."""
    await internal.post(PATH, json=wanted(order(1), b29=3, b1=1), headers=ecom)
    await internal.post(PATH, json=wanted(order(2), b2=1), headers=ecom)
    rows.execute("UPDATE reservations SET expires_at = now() + interval '1 second'")
    again = await internal.post(PATH, json=wanted(order(1), b29=3, b1=1), headers=ecom)
    assert again.status_code == 200
    ends = {row[0] for row in rows.execute("SELECT expires_at FROM reservations WHERE order_id = %s", [order(1)])}
    assert ends == {datetime.fromisoformat(again.json()["expires_at"])}
    assert min(ends) > datetime.now(UTC) + timedelta(minutes=14)
    ((other,),) = rows.execute("SELECT expires_at FROM reservations WHERE order_id = %s", [order(2)]).fetchall()
    assert other < datetime.now(UTC) + timedelta(minutes=1)


async def test_a_committed_reservation_has_no_time_to_renew(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers
) -> None:
    first = await internal.post(PATH, json=wanted(order(1), b1=1), headers=ecom)
    await commit(service, order(1))
    again = await internal.post(PATH, json=wanted(order(1), b1=1), headers=ecom)
    assert (again.status_code, again.json()["status"]) == (200, "COMMITTED")
    assert again.json()["expires_at"] == first.json()["expires_at"]


async def test_an_overdue_hold_keeps_its_stock_and_a_repeat_renews_it(
    internal: httpx2.AsyncClient, ecom: Headers, rows: Any
) -> None:
    await internal.post(PATH, json=wanted(order(1), b29=3), headers=ecom)
    rows.execute("UPDATE reservations SET expires_at = now() - interval '1 second'")
    assert (await internal.post(PATH, json=wanted(order(2), b29=1), headers=ecom)).status_code == 409
    before = trace(rows)
    again = await internal.post(PATH, json=wanted(order(1), b29=3), headers=ecom)
    assert (again.status_code, again.json()["status"]) == (200, "HELD")
    assert datetime.fromisoformat(again.json()["expires_at"]) > datetime.now(UTC) + timedelta(minutes=14)
    assert trace(rows) == before


ITEM = {"book_id": book(1), "quantity": 1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"order_id": "x"}, "order_id"),
        ({"order_id": 7}, "order_id"),
        ({"order_id": None}, "order_id"),
        ({"items": []}, "items"),
        ({"items": ITEM}, "items"),
        ({"items": None}, "items"),
        ({"items": [ITEM, ITEM]}, "items"),
        ({"items": [ITEM, {**ITEM, "book_id": book(1).upper()}]}, "items"),
        ({"items": [{"book_id": str(uuid.UUID(int=n)), "quantity": 1} for n in range(51)]}, "items"),
        ({"items": [{**ITEM, "quantity": 0}]}, "items.0.quantity"),
        ({"items": [ITEM, {**ITEM, "quantity": -1}]}, "items.1.quantity"),
        ({"items": [{**ITEM, "quantity": 100}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "quantity": 10**30}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "quantity": "1"}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "quantity": 1.0}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "quantity": True}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "book_id": "\x00"}]}, "items.0.book_id"),
        ({"items": [{**ITEM, "book_id": "1"}]}, "items.0.book_id"),
        ({"items": [{"book_id": book(1)}]}, "items.0.quantity"),
        ({"items": [{**ITEM, "price": "1.00"}]}, "items.0.price"),
        ({"actor": "me"}, "actor"),
    ],
)
async def test_bad_input_changes_nothing(
    internal: httpx2.AsyncClient, ecom: Headers, rows: Any, change: dict[str, object], field: str
) -> None:
    before = trace(rows)
    body = {"order_id": order(1), "items": [{"book_id": book(1), "quantity": 1}], **change}
    response = await internal.post(PATH, json=body, headers=ecom)
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert field in [error["field"] for error in response.json()["errors"]]
    assert trace(rows) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"{} {}"])
async def test_bad_json_changes_nothing(internal: httpx2.AsyncClient, ecom: Headers, rows: Any, body: bytes) -> None:
    before = trace(rows)
    response = await internal.post(PATH, content=body, headers={**ecom, "content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert trace(rows) == before


async def test_a_failed_commit_holds_nothing_and_counts_nothing(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any
) -> None:
    """The database refuses at the last moment: the answer is an error, and no part of the hold is there."""
    rows.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$")
    rows.execute(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox_events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        " EXECUTE FUNCTION refuse()"
    )
    before = trace(rows)
    response = await internal.post(PATH, json=wanted(order(1), b1=1), headers=ecom)
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert trace(rows) == before
    assert counts(rows, 1) == (50, 0)
    assert metric(service, "held") == 0
    rows.execute("DROP TRIGGER refuse ON outbox_events")
    assert (await internal.post(PATH, json=wanted(order(1), b1=1), headers=ecom)).status_code == 201
