"""Each alert fires for real: a fault, the alert, the fault mended, the alert gone. alerts.yml says which, and why others do not.

The seconds are what the rule itself waits for; the slack for scrapes is in alarms.py.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from ..conftest import PLACES
from ..goods import Goods, Sql
from ..people import People
from ..signin import Hidden, SignInError, body_of, sign_in
from ..tls import Trust
from ..waiting import until
from ..workloads import Workloads
from .alarms import Alarms
from .breakage import Breakage

pytestmark = pytest.mark.timeout(2400)

# The alert asks for more than twenty within five minutes.
GUESSES = 30
VIEW = "mv_inventory_turnover"
# Inside of the service's own pod: the gateway would refuse these tokens before a service sees them.
FORGED = """
import urllib.error, urllib.request
for _ in range(80):
    request = urllib.request.Request("http://127.0.0.1:8000/ecom/cart", headers={"Authorization": "Bearer e30.e30.e30"})
    try:
        urllib.request.urlopen(request, timeout=5)
    except urllib.error.HTTPError as error:
        assert error.code == 401, error.code
    else:
        raise SystemExit("a forged token was taken")
"""
# A port of a peer whose other port the caller may reach: what no NetworkPolicy tells apart.
KNOCK = """
import socket
for _ in range(5):
    try:
        with socket.create_connection(("inventory-api.inventory.svc.cluster.local", 8000), 5) as peer:
            peer.settimeout(5)
            peer.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
            if peer.recv(1):
                raise SystemExit("a forbidden call was answered")
    except OSError:
        pass
"""


@pytest.fixture
def alarms(cluster: Cluster, request: pytest.FixtureRequest) -> Alarms:
    """What Prometheus says."""
    return Alarms(cluster, request.node.name)


@pytest.fixture
def workloads(cluster: Cluster) -> Workloads:
    """Takes workloads away."""
    return Workloads(cluster)


def test_exporter_stopped(alarms: Alarms, breakage: Breakage) -> None:
    """As good as stopped: no packet between Prometheus and the target."""
    of = {"job": "mv-refresher"}
    alarms.quiet("TargetDown", of)
    with breakage.cut(("observability", "prometheus"), ("analytics", "mv-refresher")):
        alarms.fires("TargetDown", of, 120, time.monotonic())
    alarms.clears("TargetDown", of, 15)


def test_workload_away(alarms: Alarms, workloads: Workloads) -> None:
    of = {"namespace": "admin", "workload": "admin-api"}
    alarms.quiet("TargetVanished", of)
    with workloads.without("Deployment", "admin", "admin-api"):
        alarms.fires("TargetVanished", of, 120, time.monotonic())
    alarms.clears("TargetVanished", of, 15)


def test_server_stopped(alarms: Alarms, analytics_sql: Sql) -> None:
    """The server refuses its exporter alone: nobody else notices."""
    of = {"namespace": "analytics", "workload": "analytics-db"}
    alarms.quiet("ServerDown", of)
    analytics_sql("ALTER ROLE analytics_monitor NOLOGIN")
    try:
        analytics_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'analytics_monitor'")
        alarms.fires("ServerDown", of, 60, time.monotonic())
    finally:
        analytics_sql("ALTER ROLE analytics_monitor LOGIN")
    alarms.clears("ServerDown", of, 15)


def test_container_killed(alarms: Alarms, breakage: Breakage) -> None:
    of = {"namespace": "analytics", "workload": "mv-refresher", "container": "mv-refresher"}
    until(lambda: not alarms.firing("ContainerRestarts", of), "restarts of before to be forgotten", 720, pause=5)
    breakage.kill("analytics", "mv-refresher", "mv-refresher")
    alarms.fires("ContainerRestarts", of, 0, time.monotonic())
    alarms.clears("ContainerRestarts", of, 600)


def test_orders_without_inventory(alarms: Alarms, workloads: Workloads, people: People, goods: Goods) -> None:
    book, customer = goods.book(copies=50), people.customer()
    total = customer.add(book["id"])["total"]
    service = {"namespace": "ecom", "workload": "ecom-api"}
    edge = {"source_workload": "bookstore-gateway-istio", "destination_workload": "ecom-api"}
    alarms.quiet("ServiceErrors", service)
    alarms.quiet("EdgeErrors", edge)
    alarms.quiet("CheckoutsFail", {})
    statuses: set[int] = set()

    def buy() -> None:
        # Ten a minute are allowed; each round lasts three seconds and more.
        statuses.add(customer.checkout(str(uuid.uuid4()), total).status_code)

    with workloads.without("Deployment", "inventory", "inventory-api"):
        began = time.monotonic()
        alarms.fires("CheckoutsFail", {"result": "inventory_unavailable"}, 60, began, buy)
        alarms.fires("ServiceErrors", service, 120, began, buy)
        alarms.fires("EdgeErrors", edge, 120, began, buy)
    assert statuses <= {503, 429}, statuses
    alarms.clears("CheckoutsFail", {}, 300)
    alarms.clears("ServiceErrors", service, 300)
    alarms.clears("EdgeErrors", edge, 300)


def test_capture_away(alarms: Alarms, workloads: Workloads, goods: Goods) -> None:
    slot, worker = {"slot_name": "debezium_ecom_slot"}, {"namespace": "ecom"}
    alarms.quiet("SlotUnread", slot)
    alarms.quiet("OutboxNotPublished", worker)
    with workloads.without("Deployment", "infra", "debezium-ecom"):
        began = time.monotonic()
        # Its event waits in the outbox.
        goods.book(copies=1)
        alarms.fires("OutboxNotPublished", worker, 60, began)
        alarms.fires("SlotUnread", slot, 120, began)
    alarms.clears("SlotUnread", slot, 60)
    alarms.clears("OutboxNotPublished", worker, 60)


def test_streaming_away(alarms: Alarms, workloads: Workloads) -> None:
    alarms.quiet("StreamingJobMissing", {})
    with workloads.without("StatefulSet", "analytics", "flink-taskmanager"):
        alarms.fires("StreamingJobMissing", {}, 120, time.monotonic())
    alarms.clears("StreamingJobMissing", {}, 120)


def test_event_that_cannot_be_applied(alarms: Alarms, cluster: Cluster, inventory_sql: Sql, ecom_sql: Sql) -> None:
    broker = Broker(cluster, 60)
    of = {"namespace": "inventory", "workload": "inventory-worker"}
    alarms.quiet("DeadLetters", of)
    alarms.quiet("DeadLettersGrow", {"topic": "order.created.dlq"})
    event, began = str(uuid.uuid4()), time.monotonic()
    ecom_sql(
        "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload) VALUES"
        f" ('{event}', 'test', 'alert', 'order.created', '{json.dumps({'event_id': event, 'event_type': 'order.created'})}')"
    )
    try:
        alarms.fires("DeadLettersGrow", {"topic": "order.created.dlq"}, 0, began)
        alarms.fires("DeadLetters", of, 60, began)
    finally:
        # Dealt with, as `make replay` does when it is acknowledged.
        inventory_sql("UPDATE dead_letters SET resolved_at = now() WHERE resolved_at IS NULL")
        broker.call("purge", "order.created.dlq")
    alarms.clears("DeadLetters", of, 15)
    alarms.clears("DeadLettersGrow", {"topic": "order.created.dlq"}, 900)


def test_row_of_analytics_changed(alarms: Alarms, goods: Goods, analytics_sql: Sql) -> None:
    """Two audits running have to find it, five minutes apart; rows that changed a moment ago are not looked at."""
    alarms.quiet("AnalyticsDiffersFromItsSource", {"table": "books"})
    book = goods.book(copies=1)
    price = f"SELECT price FROM dim_books WHERE book_id = '{book['id']}'"
    until(lambda: analytics_sql(price) != "", "the book to be in analytics")
    right, began = analytics_sql(price), time.monotonic()
    analytics_sql(f"UPDATE dim_books SET price = price + 1 WHERE book_id = '{book['id']}'")
    try:
        alarms.fires("AnalyticsDiffersFromItsSource", {"table": "books"}, 900, began)
    finally:
        analytics_sql(f"UPDATE dim_books SET price = {right} WHERE book_id = '{book['id']}'")
    alarms.clears("AnalyticsDiffersFromItsSource", {"table": "books"}, 600)


def test_passwords_guessed(alarms: Alarms, trust: Trust) -> None:
    """Of accounts that do not exist: nobody is locked out."""
    of = {"realm": "bookstore", "error": "user_not_found"}
    alarms.quiet("SignInsFail", of)
    began = time.monotonic()

    def guess() -> None:
        with trust.client() as client, pytest.raises(SignInError):
            sign_in(client, PLACES, f"nobody-{secrets.token_hex(4)}", Hidden(secrets.token_urlsafe(12)))

    guess()
    # A series that begins with its first event shows no increase: the others come when that one was scraped.
    until(lambda: alarms.sees('keycloak_user_events_total{error="user_not_found"}'), "the first guess to be scraped", 60, pause=1)
    for _ in range(GUESSES):
        guess()
    alarms.fires("SignInsFail", of, 60, began)
    alarms.clears("SignInsFail", of, 300)


def test_forged_tokens(alarms: Alarms, cluster: Cluster, breakage: Breakage) -> None:
    of = {"namespace": "ecom", "workload": "ecom-api", "reason": "malformed"}
    alarms.quiet("TokensRefused", of)
    pod, began = breakage.pod("ecom", "ecom-api")["metadata"]["name"], time.monotonic()

    def forge() -> None:
        cluster.execute("ecom", pod, "ecom-api", ["python3", "-c", FORGED], 60)

    alarms.fires("TokensRefused", of, 60, began, forge)
    alarms.clears("TokensRefused", of, 300)


def test_redis_away(alarms: Alarms, workloads: Workloads, people: People) -> None:
    """Reading goes on: who has a token is let in, although nobody knows whether the session was ended."""
    of = {"namespace": "ecom", "workload": "ecom-api"}
    customer = people.customer()
    alarms.quiet("SessionsNotChecked", of)
    with workloads.without("StatefulSet", "infra", "redis"):
        alarms.fires("SessionsNotChecked", of, 120, time.monotonic(), lambda: body_of(customer.get("/ecom/orders")))
    alarms.clears("SessionsNotChecked", of, 300)


def test_caller_who_is_not_in_the_matrix(alarms: Alarms, cluster: Cluster, breakage: Breakage) -> None:
    if not cluster.objects("Pod", "istio-system", labelSelector="app=ztunnel"):
        pytest.skip("sidecar mode: a NetworkPolicy drops this packet before a proxy can refuse it")
    of = {"namespace": "inventory", "workload": "inventory-api"}
    alarms.quiet("MeshDenials", of)
    pod, began = breakage.pod("ecom", "ecom-api")["metadata"]["name"], time.monotonic()

    def knock() -> None:
        cluster.execute("ecom", pod, "ecom-api", ["python3", "-c", KNOCK], 90)

    alarms.fires("MeshDenials", of, 420, began, knock)
    alarms.clears("MeshDenials", of, 120)


@pytest.fixture
def refreshable(analytics_sql: Sql) -> Iterator[Callable[[bool], None]]:
    """Takes from a view the unique index without which it cannot be refreshed beside its readers, and gives it back."""
    unique = f"tablename = '{VIEW}' AND indexdef LIKE 'CREATE UNIQUE%'"
    found = analytics_sql(f"SELECT indexname || '|' || indexdef FROM pg_indexes WHERE {unique}")
    assert len(found.splitlines()) == 1, found
    name, _, definition = found.partition("|")

    def change(wanted: bool) -> None:
        there = analytics_sql(f"SELECT 1 FROM pg_indexes WHERE indexname = '{name}'") == "1"
        if wanted != there:
            analytics_sql(definition if wanted else f"DROP INDEX {name}")

    yield change
    change(True)


def test_view_locked(alarms: Alarms, refreshable: Callable[[bool], None], goods: Goods) -> None:
    """Readiness of mv-refresher tells it, too, and its pod is not started again for that."""
    alarms.quiet("ViewDirty", {"view": VIEW})
    refreshable(False)
    began = time.monotonic()
    goods.book(copies=3)
    alarms.fires("ViewDirty", {"view": VIEW}, 60, began)
    refreshable(True)
    alarms.clears("ViewDirty", {"view": VIEW}, 30)
