"""A shop with years of orders: what a page costs does not grow with the table (plans, buffers, bounds)."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from conftest import Environment, owner_connection
from ecom_testing import Caller, Connection, http, problem_of, running, settings_of
from sqlalchemy import event

from bookstore_common.pagination import MAX_REACH
from bookstore_common.testing.postgres import Postgres
from bookstore_common.testing.tokens import Issuer
from ecom.app import Service

pytestmark = pytest.mark.anyio
Statements = list[tuple[str, dict[str, Any]]]
ORDERS = "/internal/admin/orders"
SEARCH = "/ecom/books/search"
ROWS = 200_000
BOOKS = 20_000
# 8 kB each, one or a few for each of 10,000 index entries at most; pages and their lines add little.
MAX_BUFFERS = 11_000
BUYER = "11111111-1111-4111-8111-111111111111"
_ORDERS = """
INSERT INTO orders (id, user_id, status, total, shipping, created_at, updated_at)
SELECT gen_random_uuid(), CASE WHEN n %% 10 = 0 THEN %(buyer)s ELSE 'user-' || n %% 5000 END,
       (ARRAY['DELIVERED', 'DELIVERED', 'DELIVERED', 'SHIPPED', 'CONFIRMED'])[1 + n %% 5], 10, '{}',
       now() - n * interval '1 minute', now()
FROM generate_series(1, %(rows)s) AS n
"""
_ITEMS = """
INSERT INTO order_items (order_id, book_id, title_at_purchase, quantity, price_at_purchase)
SELECT id, (SELECT b.id FROM books b ORDER BY b.id LIMIT 1), 'A title', 2, 5 FROM orders
"""
# A frequent word in each title; the trigger's terms, written at once.
_BOOKS = """
INSERT INTO books (title, author, price, genre)
SELECT 'The story ' || n, 'Anon', 5, 'Fiction' FROM generate_series(1, %(books)s) AS n
"""
_TERMS = """
INSERT INTO book_search (book_id, phrase, terms)
SELECT id, lower(title), ('the:1A story:2A stori:2B thestory:1 n' || right(title, -10) || ':3A')::tsvector
FROM books WHERE author = 'Anon'
"""


@pytest.fixture(scope="module")
def large(roles: Postgres, template: str) -> Iterator[str]:
    """Database with many orders, a tenth of them of one customer."""
    name = roles.create_database("ecom_owner", template)
    with owner_connection(roles, name) as connection:
        connection.execute(_ORDERS, {"buyer": BUYER, "rows": ROWS})
        connection.execute(_ITEMS)
        connection.execute("ALTER TABLE books DISABLE TRIGGER books_search")
        connection.execute(_BOOKS, {"books": BOOKS})
        connection.execute(_TERMS)
        connection.execute("ALTER TABLE books ENABLE TRIGGER books_search")
        for table in ("orders", "order_items", "books", "book_search"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())
    yield name
    roles.drop_database(name)


@pytest.fixture
async def service(environment: Environment, large: str) -> AsyncIterator[Service]:
    async with running(settings_of(environment(large))) as built:
        yield built


@pytest.fixture
def statements(service: Service) -> Statements:
    """What the service reads, as it is sent."""
    seen: Statements = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, dict(parameters)))

    event.listen(service.database._reading.sync_engine, "before_cursor_execute", note)
    return seen


@pytest.fixture
def owner(roles: Postgres, large: str) -> Iterator[Connection]:
    with owner_connection(roles, large) as connection:
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def measured(owner: Connection, statements: Statements) -> tuple[list[dict[str, Any]], int]:
    """Nodes of all plans, and buffers touched."""
    found: list[dict[str, Any]] = []
    buffers = 0
    for statement, parameters in statements:
        row = owner.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}".encode(), parameters).fetchone()
        assert row is not None
        [answer] = row[0]
        found += nodes(answer["Plan"])
        buffers += answer["Plan"]["Shared Hit Blocks"] + answer["Plan"]["Shared Read Blocks"]
    return found, buffers


def check_orders(owner: Connection, statements: Statements) -> None:
    """Neither a scan nor a sort of the table, and no more buffers than the reach needs."""
    found, buffers = measured(owner, statements)
    assert not [node for node in found if node["Node Type"] == "Seq Scan"]
    assert max(node["Actual Rows"] for node in found) <= MAX_REACH + 1
    assert buffers < MAX_BUFFERS


@pytest.mark.parametrize(
    "query",
    ["", "?size=100&page=100", "?status=DELIVERED", "?status=CONFIRMED&page=800", f"?user_id={BUYER}&page=800"],
)
async def test_orders(service: Service, owner: Connection, statements: Statements, issuer: Issuer, query: str) -> None:
    """The deepest page, too."""
    async with http(service.internal) as client:
        body = (await Caller(client, issuer, "customer", "admin").get(ORDERS + query)).json()
    assert body["items"]
    assert body["total"] == MAX_REACH
    check_orders(owner, statements)


async def test_own_orders(service: Service, owner: Connection, statements: Statements, issuer: Issuer) -> None:
    async with http(service.public) as client:
        body = (await Caller(client, issuer, "customer", sub=BUYER).get("/ecom/orders?page=833")).json()
    assert (len(body["items"]), body["total"]) == (12, MAX_REACH)
    check_orders(owner, statements)


async def test_pages_behind_the_reach(service: Service, issuer: Issuer) -> None:
    """Refused with the bound; where the list ends before it, a page past the end is empty as ever."""
    async with http(service.internal) as client:
        admin = Caller(client, issuer, "customer", "admin")
        refused = await admin.get(f"{ORDERS}?page=5000")
        last = (await admin.get(f"{ORDERS}?page=834")).json()
        past = (await admin.get(f"{ORDERS}?user_id=user-1&page=5000")).json()
    assert problem_of(refused) == (422, "validation_error")
    [error] = refused.json()["errors"]
    assert (error["field"], error["location"]) == ("page", "query")
    assert "10000" in error["message"]
    assert (refused.json()["last_page"], last["pages"], len(last["items"])) == (834, 834, 12)
    assert past["items"] == []
    assert 0 < past["total"] < MAX_REACH


async def test_search_for_a_frequent_word(service: Service, owner: Connection, statements: Statements) -> None:
    """No work is the product of two tables, and pages on both sides of the ranked matches hold each match once."""
    seen: list[str] = []
    async with http(service.public) as client:
        first = (await client.get(SEARCH, params={"q": "the story"})).json()
        found, buffers = measured(owner, statements)
        for page in (20, 21, 22):  # the last ranked match is on page 21
            body = (await client.get(SEARCH, params={"q": "story", "size": 99, "page": page})).json()
            seen += [item["id"] for item in body["items"]]
    assert first["total"] >= BOOKS
    assert len(set(seen)) == len(seen) == 3 * 99
    assert sum(node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"] for node in found) < BOOKS
    assert buffers < 5 * BOOKS
