"""One id from the gateway through services, outbox, Kafka header and worker, and `tools/follow`, which shows an order's way by it."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from operator_view.follow.command import logs

from .goods import Goods, Sql
from .people import People
from .signin import SHIPPING, Shopper, body_of
from .waiting import until

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
LOGS = ("gateway log", "ecom-api log", "inventory-api log", "inventory-worker log")


def follow(order: str) -> tuple[str, int]:
    """Run the tool as an operator does; its output and exit status."""
    done = subprocess.run([ROOT / "tools/follow", order], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""
    return done.stdout, done.returncode


def followed_until(order: str, status: int, *words: str) -> str:
    """Follow until the tool ends with ``status`` and names all of ``words``: logs and views come a little later than rows."""
    last = [("", -1)]

    def there() -> bool:
        last[0] = follow(order)
        return last[0][1] == status and all(word in last[0][0] for word in words)

    try:
        until(there, f"tools/follow to end with {status} and {words}", PATIENCE_SECONDS, 1)
    finally:
        print(last[0][0])
    return last[0][0]


def placed(customer: Shopper, goods: Goods) -> tuple[str, httpx2.Response]:
    """An order of one new book; its id and the answer."""
    book = goods.book(copies=3)
    answer = customer.checkout(str(uuid.uuid4()), customer.add(book["id"])["total"])
    order: str = body_of(answer)["id"]
    return order, answer


def test_an_order_is_followed_until_it_is_complete(people: People, goods: Goods, ecom_sql: Sql, inventory_sql: Sql) -> None:
    customer = people.customer()
    order, answer = placed(customer, goods)
    request = answer.headers["x-request-id"]
    text = followed_until(order, 0, *LOGS)
    assert text.splitlines()[-1] == "Complete: nothing is missing"
    dated = [line for line in text.splitlines() if re.match(r"\d{4}-\d\d-\d\d ", line)]
    assert dated == sorted(dated, key=lambda line: line[:23])
    # The same id everywhere: from the gateway's answer to the events that the worker caused.
    for where in LOGS:
        assert any(where in line and f"[{request}]" in line for line in dated), where
    assert any("event_consumed" in line and "topic=order.created" in line and "place=order.created/" in line for line in dated)
    assert ecom_sql(f"SELECT request_id FROM outbox_events WHERE aggregate_id = '{order}'") == request
    caused = f"SELECT DISTINCT request_id FROM outbox_events WHERE payload->>'order_id' = '{order}'"
    assert inventory_sql(caused) == request
    # Nothing of a person.
    personal = (SHIPPING["line1"], SHIPPING["name"], "@", "eyJ", ecom_sql(f"SELECT user_id FROM orders WHERE id = '{order}'"))
    assert not [word for word in personal if word and word in text]


def test_a_cancelled_order_shows_both_requests(people: People, goods: Goods) -> None:
    customer = people.customer()
    order, answer = placed(customer, goods)
    gone = customer.send("POST", f"/ecom/orders/{order}/cancel", {})
    body_of(gone)
    requests = {answer.headers["x-request-id"], gone.headers["x-request-id"]}
    assert len(requests) == 2
    text = followed_until(order, 0, "its reservation is RELEASED", *(f"Request {one}" for one in requests))
    assert "inventory-worker consumed order.cancelled" in text


def test_the_id_of_a_client_is_never_taken(api: httpx2.Client, people: People, goods: Goods, ecom_sql: Sql) -> None:
    """A client that could choose it could write into the trail of somebody else's order."""
    chosen = uuid.uuid4().hex
    answer = api.get("/ecom/health", headers={"X-Request-ID": chosen})
    assert answer.headers["x-request-id"] not in ("", chosen)
    order, made = placed(people.customer(), goods)
    assert made.headers["x-request-id"] == ecom_sql(f"SELECT request_id FROM outbox_events WHERE aggregate_id = '{order}'")


@pytest.mark.parametrize("order", ["nothing", str(uuid.uuid4())])
def test_a_malformed_or_unknown_id_is_an_error(order: str) -> None:
    text, status = follow(order)
    assert status == 1
    assert text.startswith("BK-456: ")
    assert len(text.splitlines()) == 1


def test_the_access_log_of_the_gateway_holds_no_query(api: httpx2.Client, cluster: Cluster) -> None:
    """What somebody searches for is nobody's business."""
    word = f"word{secrets.token_hex(8)}"
    answer = api.get("/ecom/books", params={"q": word})
    request = answer.headers["x-request-id"]
    since = datetime.now(UTC) - timedelta(minutes=2)

    def lines() -> list[str]:
        return [line for log in logs(cluster, "gateway", since) for line in log.text.splitlines() if request in line]

    until(lambda: bool(lines()), "the line of the request", PATIENCE_SECONDS)
    (line,) = lines()
    record = json.loads(line)
    assert (record["method"], record["path"], record["status"]) == ("GET", "/ecom/books", answer.status_code)
    assert word not in line
    assert set(record) == {"timestamp", "event", "service", "request_id", "method", "path", "status", "duration_ms", "flags"}
