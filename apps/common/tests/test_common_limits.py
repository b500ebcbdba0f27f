"""How much a body may hold, and how long anyone may be kept busy by it."""

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bookstore_common import bodies
from bookstore_common.bodies import MAX_BODY_BYTES, MAX_JSON_VALUES, check_json
from bookstore_common.problem import MAX_ERRORS, InvalidInputError
from inputs_testing import client, refused, send

__all__ = ["client"]
pytestmark = pytest.mark.anyio
LOW = 20
HALF = MAX_BODY_BYTES // 2 - 50


@pytest.mark.parametrize(
    "content",
    [
        b'{"name":"' + b'\\"' * HALF + b"[" * 40,
        b'{"name":"' + b"\\" * 2 * HALF + b"[" * 40,
        b'"' * 2 * HALF + b"[" * 40,
        b'"",' * (HALF // 2) + b"[" * 40,
        b"[" + b"[]," * (HALF // 2) + b"1]",
        b"[" + b"1," * HALF + b"1]",
        b'{"name":"' + b"x" * 2 * HALF + b'"}',
        b'{"name":"' + b"\xc2\x9f" * HALF + b'"}',
        b'{"labels":{"a":"' + b"\\n" * HALF + b'"}}',
    ],
    ids=["quotes", "backslashes", "strings", "commas", "arrays", "numbers", "text", "controls", "line breaks"],
)
async def test_no_body_holds_the_service_up(client: httpx2.AsyncClient, content: bytes) -> None:
    """Work grows with the length only: a minute and more for the first body, if it grew with the length's square."""
    assert len(content) <= MAX_BODY_BYTES
    before = time.process_time()
    refused(await send(client, content))
    assert time.process_time() - before < 5


async def test_as_many_values_as_a_request_needs(client: httpx2.AsyncClient) -> None:
    items = [{"book_id": str(uuid.UUID(int=number)), "quantity": 1} for number in range(200)]
    content = json.dumps({"items": items, "story": "[,{" * 3000}).encode()
    assert (await send(client, content)).status_code == 200
    problem = refused(await send(client, json.dumps({"items": items * 3}).encode()))
    assert problem["errors"][0]["message"] == f"The body holds more than {MAX_JSON_VALUES} values"


@given(
    st.recursive(
        st.none() | st.integers(0, 9) | st.text('a"\\[{,', max_size=5),
        lambda inner: (
            st.lists(inner, max_size=20) | st.dictionaries(st.text('a"\\]},', max_size=3), inner, max_size=20)
        ),
        max_leaves=2 * LOW,
    )
)
def test_values_are_counted_right(value: Any) -> None:
    """With a low limit, since it is arithmetic: too many is refused, and what is refused is nearly too many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "MAX_JSON_VALUES", LOW)
        patch.setattr(bodies, "MAX_JSON_DEPTH", LOW)
        values, containers = size_of(value)
        try:
            check_json(json.dumps(value).encode())
        except InvalidInputError:
            assert values + containers > LOW
        else:
            assert values <= LOW


def size_of(value: Any) -> tuple[int, int]:
    """How many values there are, and how many of them are empty arrays or objects, which count twice."""
    if not isinstance(value, dict | list):
        return 1, 0
    parts = [size_of(part) for part in (value.values() if isinstance(value, dict) else value)]
    return 1 + sum(part[0] for part in parts), sum(part[1] for part in parts) + (not parts)


async def test_only_the_first_errors_are_told(client: httpx2.AsyncClient) -> None:
    problem = refused(await send(client, json.dumps({f"unknown{number}": 1 for number in range(900)}).encode()))
    assert len(problem["errors"]) == MAX_ERRORS
    assert problem["detail"].startswith("Invalid input: unknown0, ")
    assert problem["detail"].endswith(", unknown19 and 880 more.")
    exactly = refused(await send(client, json.dumps({f"unknown{number}": 1 for number in range(20)}).encode()))
    assert (len(exactly["errors"]), exactly["detail"][-12:]) == (MAX_ERRORS, ", unknown19.")


async def test_forms_of_many_fields(client: httpx2.AsyncClient) -> None:
    refused(
        await client.post(
            "/form", content=b"field=x" + b"&a=" * 20, headers={"content-type": "application/x-www-form-urlencoded"}
        )
    )


async def test_too_long(client: httpx2.AsyncClient) -> None:
    padding = b" " * (MAX_BODY_BYTES - 2)
    assert (await send(client, b"{" + padding + b"}")).status_code == 200
    response = await client.post(
        "/things",
        content=b"{ " + padding + b"}",
        headers={"content-type": "application/json", "origin": "https://shop.bookstore.test:30000"},
    )
    refused(response, 413, "payload_too_large")
    assert response.headers["access-control-allow-origin"] == "https://shop.bookstore.test:30000"


async def test_too_long_without_saying_so(client: httpx2.AsyncClient) -> None:
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 65_536

    response = await client.post("/things", content=stream(), headers={"content-type": "application/json"})
    refused(response, 413, "payload_too_large")


async def test_lying_about_the_length(client: httpx2.AsyncClient) -> None:
    response = await client.post(
        "/things", content=b"{}", headers={"content-length": "99999999999", "content-type": "application/json"}
    )
    refused(response, 413, "payload_too_large")


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        check_json(body)
        json.loads(body)
