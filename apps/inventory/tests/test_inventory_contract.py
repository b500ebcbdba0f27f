"""Generated requests against both OpenAPI documents: no 5xx, and no answer that the document does not state."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from inventory_testing import check_law, settings_of
from schemathesis.core.result import Ok
from starlette.testclient import TestClient

from bookstore_common.testing.tokens import Issuer
from inventory.app import create_service
from inventory.openapi import document

# Given to FastAPI's client as they are; everything else of schemathesis' request is for other transports.
REQUEST = ("method", "url", "params", "json", "data", "content")
CALLERS = {"service": "ecom-service", "admin": "ui-client"}


@pytest.mark.parametrize("listener", ["public", "internal"])
def test_generated_requests(
    environment: Callable[[str], dict[str, str]],
    fresh: str,
    issuer: Issuer,
    rows: Any,
    listener: Literal["public", "internal"],
) -> None:
    service = create_service(settings_of(environment(fresh)))
    schema = schemathesis.openapi.from_dict(json.loads(document(listener)))
    answers: Counter[tuple[str, int]] = Counter()
    with TestClient(getattr(service, listener), raise_server_exceptions=True) as client:
        for found in schema.get_all_operations():
            operation = found.ok() if isinstance(found, Ok) else None
            assert operation is not None
            _try(operation, client, issuer, answers)
        assert client.portal is not None
        client.portal.call(service.close)
    expected = {200, 404, 422} if listener == "public" else {200, 204, 404, 422}
    assert {status for _label, status in answers} >= expected
    # Whatever was generated and accepted, the law holds.
    check_law(rows)


def _try(operation: Any, client: TestClient, issuer: Issuer, answers: Counter[tuple[str, int]]) -> None:
    role = operation.definition.raw.get("x-roles", ["admin"])[0]
    token = issuer.headers(roles=(role,), azp=CALLERS[role], lifetime=3600)

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy())
    def generated(case: Any) -> None:
        request = case.as_transport_kwargs(base_url="http://inventory.test")
        headers = {**(request.get("headers") or {}), **token}
        wanted = {name: request[name] for name in REQUEST if name in request}
        response = client.request(**wanted, headers={name: str(value) for name, value in headers.items()})
        answers[operation.label, int(response.status_code)] += 1
        stated = {int(status) for status in operation.definition.raw["responses"]} - {500, 503}
        # Of the path alone: an id with a slash is another path.
        assert response.status_code in stated | {404, 405}, (operation.label, wanted, response.text)

    generated()
