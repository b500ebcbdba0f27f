"""I-07 to I-10: what admins see and do."""

import asyncio
from typing import Any

import httpx2
import pytest
from inventory_testing import book, check_law, order
from pydantic import TypeAdapter

from bookstore_common.inputs import MAX_STOCK
from bookstore_common.pagination import Page
from inventory.stock.schemas import MAX_FILTER_IDS, AdminStock, Movement

pytestmark = pytest.mark.anyio
PATH = "/internal/admin/stock"
NEW = "20000000-0000-4000-8000-000000000001"
Headers = dict[str, str]


async def hold(internal: httpx2.AsyncClient, ecom: Headers, number: int, copies: int) -> None:
    body = {"order_id": order(1), "items": [{"book_id": book(number), "quantity": copies}]}
    assert (await internal.post("/internal/reservations", json=body, headers=ecom)).status_code == 201


async def put(
    internal: httpx2.AsyncClient, admin: Headers, book_id: str, setting: Any, version: int | None = None
) -> httpx2.Response:
    """I-08 over the version that is there, or over ``version``."""
    if version is None:
        found = await internal.get(f"{PATH}/{book_id}", headers=admin)
        version = found.json()["version"] if found.status_code == 200 else 0
    return await internal.put(f"{PATH}/{book_id}", json=setting, headers={**admin, "if-match": f'"{version}"'})


def written(rows: Any) -> tuple[int, int]:
    """Movements without the seed's, and events."""
    found: tuple[int, int] = rows.execute(
        "SELECT (SELECT count(*) FROM stock_movements WHERE reason <> 'seed'), (SELECT count(*) FROM outbox_events)"
    ).fetchone()
    return found


async def test_list(internal: httpx2.AsyncClient, admin: Headers) -> None:
    response = await internal.get(PATH, headers=admin)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    page = TypeAdapter(Page[AdminStock]).validate_python(response.json())
    assert (page.page, page.size, page.total, page.pages) == (1, 12, 30, 3)
    assert [str(item.book_id) for item in page.items] == [book(number) for number in range(1, 13)]
    last = (await internal.get(f"{PATH}?page=3&size=12", headers=admin)).json()
    assert [item["book_id"] for item in last["items"]] == [book(number) for number in range(25, 31)]
    beyond = (await internal.get(f"{PATH}?page=4&size=12", headers=admin)).json()
    assert (beyond["items"], beyond["total"], beyond["pages"]) == ([], 30, 3)


async def test_out_of_stock(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    """What nobody can buy: none there, or all promised. A total costs one row."""
    rows.execute("UPDATE inventory SET quantity = 2, reserved = 2 WHERE book_id = %s", [book(7)])
    rows.execute("UPDATE inventory SET quantity = 2, reserved = 1 WHERE book_id = %s", [book(8)])
    found = (await internal.get(f"{PATH}?out_of_stock=true&size=1", headers=admin)).json()
    assert ([item["book_id"] for item in found["items"]], found["total"]) == ([book(7)], 2)
    both = (await internal.get(f"{PATH}?out_of_stock=true&low=true", headers=admin)).json()
    assert [item["book_id"] for item in both["items"]] == [book(7), book(30)]


async def test_low_ones_with_the_fewest_copies_first(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    rows.execute("UPDATE inventory SET quantity = 60, reserved = 58 WHERE book_id = %s", [book(7)])
    rows.execute("UPDATE inventory SET low_stock_threshold = 49 WHERE book_id = %s", [book(8)])
    rows.execute("UPDATE inventory SET low_stock_threshold = 50 WHERE book_id = %s", [book(9)])
    found = (await internal.get(f"{PATH}?low=true", headers=admin)).json()
    assert [(item["book_id"], item["available"], item["stock_status"]) for item in found["items"]] == [
        (book(30), 0, "out_of_stock"),
        (book(7), 2, "low_stock"),
        (book(29), 3, "low_stock"),
        (book(9), 50, "low_stock"),
    ]
    assert found["total"] == 4
    assert (await internal.get(f"{PATH}?low=false", headers=admin)).json()["total"] == 30
    past = (await internal.get(f"{PATH}?low=true&page=9", headers=admin)).json()
    assert (past["items"], past["total"]) == ([], 4)


async def test_only_some_books(internal: httpx2.AsyncClient, admin: Headers) -> None:
    async def found(**query: str) -> tuple[list[str], int]:
        body = (await internal.get(PATH, params=query, headers=admin)).json()
        return [item["book_id"] for item in body["items"]], body["total"]

    assert await found(q=f"{book(29)},{book(4)},{NEW}") == ([book(4), book(29)], 2)
    assert await found(q=f"{book(29)},{book(4)}", size="1", page="2") == ([book(29)], 2)
    assert await found(q=f"{book(29)},{book(4)}", low="true") == ([book(29)], 1)
    # A title search without a match must not show everything.
    assert await found(q="") == ([], 0)
    assert await found(q=NEW) == ([], 0)
    assert await found(q=NEW, page="2") == ([], 0)
    assert (await found(q=",".join([book(1)] * MAX_FILTER_IDS)))[1] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [({"page": "0"}, "page"), ({"size": "101"}, "size"), ({"size": "x"}, "size"), ({"low": "maybe"}, "low"),
     ({"q": "dune"}, "q.0"), ({"q": f"{book(1)},x"}, "q.1"), ({"q": ",".join([book(1)] * (MAX_FILTER_IDS + 1))}, "q")],
)  # fmt: skip
async def test_bad_queries(internal: httpx2.AsyncClient, admin: Headers, query: dict[str, str], field: str) -> None:
    response = await internal.get(PATH, params=query, headers=admin)
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_get(internal: httpx2.AsyncClient, admin: Headers) -> None:
    body = (await internal.get(f"{PATH}/{book(29)}", headers=admin)).json()
    assert body.pop("updated_at").endswith("Z")
    assert body == {
        "book_id": book(29), "quantity": 3, "reserved": 0, "available": 3, "stock_status": "low_stock",
        "low_stock_threshold": 5, "version": 1,
    }  # fmt: skip
    for path in (NEW, f"{NEW}/movements"):
        missing = await internal.get(f"{PATH}/{path}", headers=admin)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    for path in ("x", "x/movements", f"{book(1)}/movements?size=0"):
        assert (await internal.get(f"{PATH}/{path}", headers=admin)).status_code == 422


async def test_set(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    response = await put(internal, admin, book(30), {"quantity": 20, "low_stock_threshold": 20})
    assert response.status_code == 200
    body = response.json()
    TypeAdapter(AdminStock).validate_python(body)
    assert (body["quantity"], body["available"], body["low_stock_threshold"], body["stock_status"]) == (
        20, 20, 20, "low_stock",
    )  # fmt: skip
    found = await internal.get(f"{PATH}/{book(30)}", headers=admin)
    assert (found.json(), found.headers["etag"]) == (body, response.headers["etag"])
    kept = (await put(internal, admin, book(30), {"quantity": 21})).json()
    assert (kept["quantity"], kept["low_stock_threshold"]) == (21, 20)
    assert kept["version"] > body["version"]
    assert kept["updated_at"] > body["updated_at"]
    check_law(rows)


async def test_setting_what_is_there_leaves_no_trace(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    """A threshold is no stock: its change is neither a movement nor an event."""
    for setting in ({"quantity": 50}, {"quantity": 50, "low_stock_threshold": 9}):
        response = await put(internal, admin, book(1), setting)
        assert response.status_code == 200
    assert response.json()["low_stock_threshold"] == 9
    assert written(rows) == (0, 0)


async def test_set_makes_a_missing_row(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    made = await put(internal, admin, NEW, {"quantity": 7}, 0)
    assert made.status_code == 200
    assert (made.json()["quantity"], made.json()["low_stock_threshold"]) == (7, 5)
    assert written(rows) == (1, 1)
    empty = NEW.replace("1", "3")
    assert (await put(internal, admin, empty, {"quantity": 0}, 0)).json()["quantity"] == 0
    assert written(rows) == (1, 1)
    nothing_yet = await internal.get(f"{PATH}/{empty}/movements", headers=admin)
    assert (nothing_yet.status_code, nothing_yet.json()["total"]) == (200, 0)
    check_law(rows)


async def test_one_of_many_makes_the_row(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    """The others are told that there is a stock by now, and its count."""
    answers = await asyncio.gather(*(put(internal, admin, NEW, {"quantity": count}, 0) for count in range(1, 21)))
    [made] = [answer.json() for answer in answers if answer.status_code == 200]
    refused = [answer.json() for answer in answers if answer.status_code == 412]
    assert len(refused) == 19
    assert {(body["code"], body["version"], body["quantity"]) for body in refused} == {
        ("stale_version", made["version"], made["quantity"])
    }
    check_law(rows)
    assert written(rows) == (1, 1)


async def test_a_count_of_before_an_order_is_refused(
    internal: httpx2.AsyncClient, admin: Headers, ecom: Headers, rows: Any
) -> None:
    """Ten copies are counted, three are ordered, ten are said: there would be three that nobody has."""
    counted = (await put(internal, admin, book(1), {"quantity": 10})).json()
    await hold(internal, ecom, 1, 3)
    before = written(rows)
    refused = await put(internal, admin, book(1), {"quantity": 10, "low_stock_threshold": 2}, counted["version"])
    assert (refused.status_code, refused.json()["code"]) == (412, "stale_version")
    now = (await internal.get(f"{PATH}/{book(1)}", headers=admin)).json()
    told = {name: refused.json()[name] for name in ("version", "quantity", "reserved", "low_stock_threshold")}
    assert told == {"version": now["version"], "quantity": 10, "reserved": 3, "low_stock_threshold": 5}
    assert now["version"] > counted["version"]
    assert written(rows) == before
    assert (await put(internal, admin, book(1), {"quantity": 12}, now["version"])).status_code == 200
    check_law(rows)


async def test_one_of_two_admins_with_the_same_count(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    """At the same moment: the one who comes second sees what the first one said."""
    version = (await internal.get(f"{PATH}/{book(1)}", headers=admin)).json()["version"]
    answers = await asyncio.gather(
        *(put(internal, admin, book(1), {"quantity": 60 + count}, version) for count in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 9]
    assert written(rows) == (1, 1)
    check_law(rows)


@pytest.mark.parametrize(
    ("change", "statement"),
    [
        ("held", "UPDATE inventory SET reserved = reserved + 1 WHERE book_id = %s"),
        ("sold", "UPDATE inventory SET quantity = quantity - 1 WHERE book_id = %s"),
        ("threshold", "UPDATE inventory SET low_stock_threshold = 9 WHERE book_id = %s"),
    ],
)
async def test_every_change_makes_a_count_stale(
    internal: httpx2.AsyncClient, admin: Headers, rows: Any, change: str, statement: str
) -> None:
    """Whoever makes it: service, worker, or somebody with SQL."""
    version = (await internal.get(f"{PATH}/{book(1)}", headers=admin)).json()["version"]
    rows.execute(statement, [book(1)])
    refused = await put(internal, admin, book(1), {"quantity": 50}, version)
    assert (refused.status_code, refused.json()["code"]) == (412, "stale_version"), change


async def test_a_stock_that_is_gone_or_was_never_kept(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    """A version of a stock that is not there makes none."""
    refused = await put(internal, admin, NEW, {"quantity": 7}, 3)
    assert (refused.status_code, refused.json()["code"], refused.json()["version"]) == (412, "stale_version", 0)
    assert (await internal.get(f"{PATH}/{NEW}", headers=admin)).status_code == 404
    assert written(rows) == (0, 0)


@pytest.mark.parametrize(
    ("if_match", "status", "code"),
    [
        (None, 428, "precondition_required"),
        (b"", 422, "validation_error"),
        (b"*", 422, "validation_error"),
        (b'"1", "2"', 422, "validation_error"),
        (b'W/"1"', 422, "validation_error"),
        (b'"-1"', 422, "validation_error"),
        (b'"\xe9"', 422, "validation_error"),
        (b'"12345678901"', 422, "validation_error"),
        (b"1", 200, None),
        (b' "1" ', 200, None),
    ],
)
async def test_versions_as_books_have_them(
    internal: httpx2.AsyncClient, admin: Headers, if_match: bytes | None, status: int, code: str | None
) -> None:
    headers = [(name.encode(), value.encode()) for name, value in admin.items()]
    if if_match is not None:
        headers.append((b"if-match", if_match))
    response = await internal.put(f"{PATH}/{book(1)}", json={"quantity": 50}, headers=headers)
    assert (response.status_code, response.json().get("code")) == (status, code)


async def test_never_below_what_is_reserved(
    internal: httpx2.AsyncClient, admin: Headers, ecom: Headers, rows: Any
) -> None:
    await hold(internal, ecom, 29, 2)
    before = written(rows)
    for method, path, body in (
        ("PUT", book(29), {"quantity": 1, "low_stock_threshold": 1}),
        ("POST", f"{book(29)}/adjust", {"delta": -2, "reason": "lost"}),
        ("POST", f"{book(29)}/adjust", {"delta": -MAX_STOCK, "reason": "lost"}),
    ):
        response = await internal.request(method, f"{PATH}/{path}", json=body, headers={**admin, "if-match": '"2"'})
        assert (response.status_code, response.json()["code"]) == (409, "below_reserved")
        assert (response.json()["quantity"], response.json()["reserved"]) == (3, 2)
    assert written(rows) == before
    assert (await internal.get(f"{PATH}/{book(29)}", headers=admin)).json()["low_stock_threshold"] == 5
    exactly = await internal.post(f"{PATH}/{book(29)}/adjust", json={"delta": -1, "reason": "lost"}, headers=admin)
    assert (exactly.status_code, exactly.json()["available"]) == (200, 0)
    check_law(rows)


async def test_adjust(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    up = await internal.post(f"{PATH}/{book(30)}/adjust", json={"delta": 8, "reason": " delivery "}, headers=admin)
    assert (up.status_code, up.json()["quantity"], up.json()["stock_status"]) == (200, 8, "in_stock")
    down = await internal.post(f"{PATH}/{book(30)}/adjust", json={"delta": -8, "reason": "théft"}, headers=admin)
    assert (down.json()["quantity"], down.json()["stock_status"]) == (0, "out_of_stock")
    reasons = rows.execute("SELECT reason FROM stock_movements WHERE reason <> 'seed' ORDER BY id").fetchall()
    assert reasons == [("delivery",), ("théft",)]
    too_many = await internal.post(
        f"{PATH}/{book(1)}/adjust", json={"delta": MAX_STOCK, "reason": "typo"}, headers=admin
    )
    assert (too_many.status_code, too_many.json()["code"]) == (409, "above_maximum")
    missing = await internal.post(f"{PATH}/{NEW}/adjust", json={"delta": 1, "reason": "r"}, headers=admin)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    check_law(rows)


async def test_concurrent_adjustments_add_up(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    await put(internal, admin, book(1), {"quantity": 500})
    deltas = [(-1) ** number * number for number in range(1, 31)]
    answers = await asyncio.gather(
        *(
            internal.post(f"{PATH}/{book(1)}/adjust", json={"delta": delta, "reason": "count"}, headers=admin)
            for delta in deltas
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    final = (await internal.get(f"{PATH}/{book(1)}", headers=admin)).json()
    assert final["quantity"] == 500 + sum(deltas)
    check_law(rows)


GOOD: dict[str, dict[str, object]] = {"put": {"quantity": 1}, "post": {"delta": 1, "reason": "r"}}


@pytest.mark.parametrize(
    ("method", "change", "field"),
    [
        ("put", {"quantity": -1}, "quantity"),
        ("put", {"quantity": MAX_STOCK + 1}, "quantity"),
        ("put", {"quantity": 10**30}, "quantity"),
        ("put", {"quantity": "1"}, "quantity"),
        ("put", {"quantity": 1.0}, "quantity"),
        ("put", {"quantity": True}, "quantity"),
        ("put", {"quantity": None}, "quantity"),
        ("put", {"low_stock_threshold": -1}, "low_stock_threshold"),
        ("put", {"low_stock_threshold": "5"}, "low_stock_threshold"),
        ("put", {"reserved": 0}, "reserved"),
        ("post", {"delta": 0}, "delta"),
        ("post", {"delta": MAX_STOCK + 1}, "delta"),
        ("post", {"delta": -(10**30)}, "delta"),
        ("post", {"delta": 0.5}, "delta"),
        ("post", {"delta": None}, "delta"),
        ("post", {"reason": ""}, "reason"),
        ("post", {"reason": "  "}, "reason"),
        ("post", {"reason": "r" * 256}, "reason"),
        ("post", {"reason": "a\x00b"}, "reason"),
        ("post", {"reason": "a\nb"}, "reason"),
        ("post", {"reason": 7}, "reason"),
        ("post", {"order_id": order(1)}, "order_id"),
    ],
)
async def test_bad_input_changes_nothing(
    internal: httpx2.AsyncClient, admin: Headers, rows: Any, method: str, change: dict[str, object], field: str
) -> None:
    path = f"{PATH}/{book(1)}" + ("/adjust" if method == "post" else "")
    headers = {**admin, "if-match": '"1"'}
    response = await internal.request(method.upper(), path, json={**GOOD[method], **change}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert written(rows) == (0, 0)


async def test_movements(internal: httpx2.AsyncClient, headers: Any, ecom: Headers) -> None:
    """The whole life of a book's copies, newest first, with who did it."""
    admin = headers("admin", sub="30000000-0000-4000-8000-000000000001")
    await internal.post(f"{PATH}/{book(29)}/adjust", json={"delta": 4, "reason": "delivery"}, headers=admin)
    await hold(internal, ecom, 29, 2)
    await internal.delete(f"/internal/reservations/{order(1)}", headers=ecom)
    await put(internal, admin, book(29), {"quantity": 1})
    body = (await internal.get(f"{PATH}/{book(29)}/movements", headers=admin)).json()
    page = TypeAdapter(Page[Movement]).validate_python(body)
    assert (page.total, page.pages) == (5, 1)
    sub = "30000000-0000-4000-8000-000000000001"
    assert [(line.delta, line.reserved_delta, line.reason, str(line.order_id), line.actor) for line in page.items] == [
        (-6, 0, "set", "None", sub),
        (0, -2, "released", order(1), "ecom-service"),
        (0, 2, "reserved", order(1), "ecom-service"),
        (4, 0, "delivery", "None", sub),
        (3, 0, "seed", "None", "migration"),
    ]
    assert [line.created_at for line in page.items] == sorted((line.created_at for line in page.items), reverse=True)
    second = (await internal.get(f"{PATH}/{book(29)}/movements?page=2&size=2", headers=admin)).json()
    assert second["items"] == body["items"][2:4]
    assert (second["total"], second["pages"]) == (5, 3)
    beyond = (await internal.get(f"{PATH}/{book(29)}/movements?page=4&size=2", headers=admin)).json()
    assert (beyond["items"], beyond["total"]) == ([], 5)
