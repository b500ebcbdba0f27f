"""Superset as a person uses it: signed in by its form, each chart asked for its own query."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx2

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .declared import door
from .signin import Hidden
from .tls import plain_client

Row = dict[str, Any]
URL = f"http://127.0.0.1:{door('N3')}"


def administrator(cluster: Cluster) -> tuple[str, Hidden]:
    """Name and password from the Secret."""
    secret = cluster.get("Secret", "analytics", "superset-admin")
    assert secret is not None, "analytics/superset-admin does not exist; run make up"
    name, password = (base64.b64decode(secret["data"][key]).decode("utf-8") for key in ("username", "password"))
    return name, Hidden(password)


def sign_in(client: httpx2.Client, name: str, password: Hidden) -> str:
    """Send the sign-in form; returns where it leads."""
    page = client.get("/login/")
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert page.status_code == 200, page.status_code
    assert found, "the sign-in page holds no csrf_token"
    answer = client.post("/login/", data={"username": name, "password": password, "csrf_token": found.group(1)})
    assert answer.status_code == 302, answer.status_code
    return str(answer.headers["location"])


class Dashboards:
    """A signed-in session."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client
        token = client.get("/api/v1/security/csrf_token/").json()["result"]
        self.headers = {"X-CSRFToken": Hidden(token), "Referer": f"{client.base_url}/"}

    def every(self, resource: str) -> list[Row]:
        """All rows of a resource: chart, dashboard, dataset, database."""
        answer = self.client.get(f"/api/v1/{resource}/", params={"q": "(page_size:100)"})
        assert answer.status_code == 200, answer.text
        found: list[Row] = answer.json()["result"]
        return found

    def one(self, resource: str, field: str, name: str) -> Row:
        """A resource by name, with all its fields."""
        number = next(row["id"] for row in self.every(resource) if row[field] == name)
        found: Row = self.client.get(f"/api/v1/{resource}/{number}").json()["result"]
        return found

    def data(self, chart: str) -> list[Row]:
        """The rows of a chart's saved query, asked for as a dashboard does that refreshes itself."""
        context = json.loads(self.one("chart", "slice_name", chart)["query_context"])
        answer = self.client.post("/api/v1/chart/data", json={**context, "force": True}, headers=self.headers)
        assert answer.status_code == 200, f"{chart}: {answer.text[:500]}"
        result = answer.json()["result"][0]
        assert result["error"] is None, result["error"]
        assert not result["is_cached"]
        found: list[Row] = result["data"]
        return found

    def value(self, chart: str) -> Decimal | None:
        """The number of a chart that shows one."""
        rows = self.data(chart)
        assert [len(row) for row in rows] == [1], rows
        value = next(iter(rows[0].values()))
        return None if value is None else rounded(value)


@contextmanager
def signed_in(cluster: Cluster) -> Iterator[Dashboards]:
    """The administrator's session."""
    with plain_client(base_url=URL, timeout=60) as client:
        assert "login" not in sign_in(client, *administrator(cluster))
        yield Dashboards(client)


def rounded(value: Any) -> Decimal:
    """A number with two decimals, whether it was a float, a decimal or a text."""
    return Decimal(str(value)).quantize(Decimal("0.01"))
