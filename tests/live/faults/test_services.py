"""kill -9 of what customers wait for, under a steady stream of orders: no accepted order is lost, none is doubled."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ..people import People
from ..waiting import until
from ..workloads import SERVICES
from .breakage import Breakage
from .stream import Stream

pytestmark = pytest.mark.timeout(900)

# (namespace, name of the workload, container). That pods of services are replaced is in test_dependencies.
KEPT = [
    *((namespace, name, name) for namespace, name in SERVICES),
    ("ecom", "ecom-db", "postgresql"),
    ("inventory", "inventory-db", "postgresql"),
    ("infra", "redis", "redis"),
    ("identity", "keycloak", "keycloak"),
    ("identity", "keycloak-db", "postgresql"),
]


@pytest.mark.parametrize(("namespace", "name", "container"), KEPT, ids=[row[1] for row in KEPT])
def test_killed(
    breakage: Breakage, stream: Stream, people: People, converges: Callable[[float], None], namespace: str, name: str, container: str
) -> None:
    broken_at = time.monotonic()
    breakage.kill(namespace, name, container)
    until(lambda: breakage.is_ready(namespace, name), f"{namespace}/{name} to be ready", 240, pause=0.5)
    # Customers can order again, without anybody's help.
    stream.wait(9, seconds=180)
    # Who has a token does not notice that Keycloak lost its database; others do.
    until(people.keycloak_answers, "people to sign in", 240, pause=0.5)
    converges(broken_at)
