"""`tools/follow` against the real schemas of the three services: the statements that it sends into the pods, sent as they are."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres, running_postgres

from operator_view.follow import command, seen, trail
from operator_view.follow.seen import Seen

SERVICES = {
    "ecom": ("ecom", "EcomMigrationSettings", ()),
    "inventory": ("inventory", "InventoryMigrationSettings", ()),
    "analytics": ("mv_refresher", "RefresherMigrationSettings", ("superset_ro",)),
}
Databases = dict[str, psycopg.Connection[tuple[object, ...]]]
REQUEST = "0f1e2d3c-request"


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    """The databases as the services' migrations make them; connections that write."""
    with running_postgres() as server, pytest.MonkeyPatch.context() as patch:
        made: Databases = {}
        for place, (package, settings, more) in SERVICES.items():
            made[place] = server.connect(_migrated(server, place, package, settings, more, patch.setenv))
        yield made
        for connection in made.values():
            connection.close()


def _migrated(server: Postgres, place: str, package: str, settings: str, more: tuple[str, ...], setenv: Callable[[str, str], None]) -> str:
    owner = f"{place}_owner"
    for role in (owner, *(f"{place}_{kind}" for kind in ("app", "ro", "cdc")), *more):
        server.create_role(role)
    name = server.create_database(owner)
    server.execute(f"ALTER SCHEMA public OWNER TO {owner}", name)
    for variable, value in server.environment(owner, name).items():
        setenv(variable, value)
    folder = importlib.import_module(f"{package}.migrate").migrations_folder()
    kind = getattr(importlib.import_module(f"{package}.settings"), settings)
    migrate(Migrations(folder), load_settings(kind), "upgrade", "head")
    return name


class World:
    """Writes what the services would, and looks at it as the tool does."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self.order, self.event = str(uuid.uuid4()), str(uuid.uuid4())
        (self.book,) = databases["ecom"].execute("SELECT id::text FROM books LIMIT 1").fetchone() or ("",)

    def place(self) -> None:
        """An order of two copies, with its event."""
        self.databases["ecom"].execute(
            "INSERT INTO orders (id, user_id, status, total, shipping)"
            " VALUES (%s, 'somebody', 'CONFIRMED', 20, '{\"street\": \"Secret\"}')",
            (self.order,),
        )
        self.databases["ecom"].execute(
            "INSERT INTO order_items (order_id, book_id, title_at_purchase, quantity, price_at_purchase) VALUES (%s, %s, 'T', 2, 10)",
            (self.order, self.book),
        )
        self.databases["ecom"].execute(
            "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, request_id)"
            " VALUES (%s, 'order', %s, 'order.created', '{}', %s)",
            (self.event, self.order, REQUEST),
        )

    def consume(self) -> None:
        """What inventory-worker leaves behind."""
        stock = self.databases["inventory"]
        stock.execute("INSERT INTO inventory (book_id, quantity) VALUES (%s, 5) ON CONFLICT DO NOTHING", (self.book,))
        stock.execute("INSERT INTO processed_events (event_id, topic) VALUES (%s, 'order.created')", (self.event,))
        stock.execute(
            "INSERT INTO reservations (order_id, book_id, quantity, status, expires_at) VALUES (%s, %s, 2, 'COMMITTED', now())",
            (self.order, self.book),
        )
        stock.execute(
            "INSERT INTO stock_movements (book_id, delta, reason, order_id, actor) VALUES (%s, -2, 'committed', %s, 'inventory-worker')",
            (self.book, self.order),
        )
        stock.execute(
            "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, request_id)"
            " VALUES (gen_random_uuid(), 'inventory', %s, 'inventory.updated', jsonb_build_object('order_id', %s::text), %s)",
            (self.book, self.order, REQUEST),
        )

    def copy(self) -> None:
        """What Flink and mv-refresher leave behind."""
        facts = self.databases["analytics"]
        facts.execute(
            "INSERT INTO fact_orders VALUES (%s, 'u', 'CONFIRMED', 20, 'USD', 20260101, now(), now(), clock_timestamp())", (self.order,)
        )
        facts.execute(
            "INSERT INTO fact_order_items VALUES (gen_random_uuid()::text, %s, %s, 2, 10, 20, clock_timestamp())", (self.order, self.book)
        )
        facts.execute("UPDATE mv_refresh_state SET last_refresh_at = clock_timestamp()")

    def look(self) -> Seen:
        found = Seen(self.order)
        self._ask(found, "ecom-db", "ecom", seen.ecom(self.order))
        placed = seen.moment(found.order["created_at"]) if found.order else None
        self._ask(found, "inventory-db", "inventory", seen.inventory(self.order, [one.id for one in found.events], placed))
        self._ask(found, "analytics-db", "analytics", seen.analytics(self.order))
        self._ask(found, "ecom-db (consumed)", "ecom", seen.consumed([one.id for one in found.caused]))
        return found

    def _ask(self, found: Seen, part: str, place: str, statement: str) -> None:
        (answer,) = self.databases[place].execute(f"SELECT ({statement})::text").fetchone() or ("",)  # type: ignore[call-overload]
        seen.put(found, part, str(answer))


@pytest.fixture
def world(databases: Databases) -> World:
    return World(databases)


def test_nobody_knows_an_order_that_there_is_not(world: World) -> None:
    with pytest.raises(command.FollowError, match="BK-456: no order has the id"):
        command.report(world.look())


def test_the_way_of_an_order_step_by_step(world: World) -> None:
    world.place()
    placed = world.look()
    text, status = command.report(placed)
    assert (status, trail.request_ids(placed)) == (command.STOPPED, [REQUEST])
    # Nobody reads the source's log here, as with a Debezium Server that was never started.
    assert "not yet published by debezium-ecom, so not consumed by inventory-worker" in text[-1]
    assert not [line for line in text if "Secret" in line or "somebody" in line]
    world.consume()
    text, status = command.report(world.look())
    assert (status, "fact_orders has no such order yet" in text[-1]) == (command.STOPPED, True)
    assert [line for line in text if "committed: book" in line and "shelf -2, reserved +0" in line]
    assert [line for line in text if "inventory.updated" in line and REQUEST in line]
    world.copy()
    text, status = command.report(world.look())
    assert (status, text[-1]) == (command.COMPLETE, "Complete: nothing is missing")


def test_a_row_of_before_the_column_has_no_request_and_a_way_all_the_same(world: World) -> None:
    world.place()
    world.databases["ecom"].execute("UPDATE outbox_events SET request_id = NULL WHERE id = %s", (world.event,))
    world.consume()
    world.databases["inventory"].execute("UPDATE outbox_events SET request_id = NULL WHERE payload->>'order_id' = %s", (world.order,))
    world.copy()
    text, status = command.report(world.look())
    assert status == command.COMPLETE
    assert any("no request id is known of this order" in line for line in text)


def test_what_a_customer_wrote_as_reason_is_not_shown(world: World) -> None:
    world.place()
    world.databases["ecom"].execute(
        "UPDATE orders SET status = 'CANCELLED', cancel_reason = 'my street is Main', updated_at = now() WHERE id = %s", (world.order,)
    )
    text, status = command.report(world.look())
    assert status == command.STOPPED
    assert not [line for line in text if "Main" in line]
    assert [line for line in text if "now CANCELLED (in words of their own)" in line]


def test_an_event_that_was_set_aside_is_where_it_stopped(world: World) -> None:
    world.place()
    world.databases["inventory"].execute(
        "INSERT INTO dead_letters (topic, partition, record_offset, event_id, reason) VALUES ('order.created', 0, %s, %s, 'DataError')",
        (uuid.UUID(world.event).int % 1_000_000, world.event),
    )
    text, status = command.report(world.look())
    assert status == command.STOPPED
    assert "inventory-worker set order.created" in text[-1]
    assert "DataError; `make replay` gives it again" in text[-1]
