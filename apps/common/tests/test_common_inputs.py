"""Bad input: each gets the stated problem, none a 500."""

import contextlib
import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bookstore_common.inputs import Price
from inputs_testing import Input, client, refused, send

__all__ = ["client"]
pytestmark = pytest.mark.anyio


async def test_good(client: httpx2.AsyncClient) -> None:
    sent = {
        "name": "  Jane  ",
        "story": " one\n\ttwo ",
        "price": "12.9",
        "items": [{"book_id": str(uuid.UUID(int=1)), "quantity": 99}],
    }
    answer = (await client.post("/things", json=sent)).json()
    assert (answer["name"], answer["story"], answer["price"]) == ("Jane", "one\n\ttwo", "12.90")
    assert answer["items"] == sent["items"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"unknown": 1}, "unknown"),
        ({"items": [{"book_id": str(uuid.UUID(int=1)), "quantity": 1, "price": "0.01"}]}, "items.0.price"),
        ({"items": [{"book_id": "a\x00b", "quantity": 1}]}, "items.0.book_id"),
        ({"items": ["a\x00b"]}, "items.0"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "\x1b[2J"}, "name"),
        ({"name": "\x85"}, "name"),
        ({"name": "   "}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"name": ["x"]}, "name"),
        ({"city": "x" * 101}, "city"),
        ({"story": "a\x00b"}, "story"),
        ({"story": "a\rb"}, "story"),
        ({"story": "x" * 10_001}, "story"),
        ({"labels": {"a\x00": "b"}}, "labels"),
        ({"labels": {"a": "b\x00"}}, "labels"),
        *(({"quantity": value}, "quantity") for value in (0, -1, 100, 10**30, "1", 1.0, 1.5, True, None, [1])),
        *(({"stock": value}, "stock") for value in (-1, 1_000_001, "0", False)),
        *(({"delta": value}, "delta") for value in (2**31, -(2**31) - 1, 0.0)),
        *(
            ({"price": value}, "price")
            for value in (
                12.9, 12, "0", "0.00", "-1.00", "+1.00", "1.999", "1e3", "NaN", "Infinity", "1,000.00", "0x10", "",
                " ", "100000000.00", "9" * 400, "1.", ".5", "\u0661", None, True, "1_000",
            )
        ),
        *(({"total": value}, "total") for value in ("-0.01", "10000000000.00", "99999999999")),
        ({"items": [{"book_id": "1", "quantity": 1}]}, "items.0.book_id"),
        ({"items": {"0": 1}}, "items"),
        ([], "body"),
        ("text", "body"),
        (None, "body"),
        (5, "body"),
    ],
)  # fmt: skip
async def test_bad_fields(client: httpx2.AsyncClient, body: Any, field: str) -> None:
    problem = refused(
        await client.post("/things", content=json.dumps(body), headers={"content-type": "application/json"})
    )
    assert problem["errors"][0]["field"] == field
    assert problem["errors"][0]["location"] == "body"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{'a':1}",
        b'{"name":"x"} trailing',
        b'{"name":"\xff"}',
        b'{"name":"\\ud800"}',
        b'{"\\udfff":"x"}',
        b'{"quantity":NaN}',
        b'{"quantity":Infinity}',
        b'{"quantity":01}',
        b'{"name":"a\x00b"}',
        b"\xef\xbb\xbf{}",
        '{"name":"x"}'.encode("utf-16"),
        b'{"quantity":' + b"1" * 5000 + b"}",
        b'{"quantity":1e999}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"name":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b'{"name":"\\"',
        b'"\\',
    ],
    ids=lambda content: repr(content[:20]),
)
async def test_bad_json(client: httpx2.AsyncClient, content: bytes) -> None:
    refused(await send(client, content))


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain", "multipart/form-data", "", "json", "application/jsonp", "application/merge-patch+json",
        "application/*+json", "application/x+json", "application/json, text/plain", "application/json; charset=utf-16",
        "application/json; charset=utf-8; x=y", "application/json;x", "text/json", "application/json\xa0",
        " application/json x", "application/json; charset=\xe9",
    ],
)  # fmt: skip
async def test_other_kinds_of_body(client: httpx2.AsyncClient, kind: str) -> None:
    headers = [(b"content-type", kind.encode("latin-1"))]
    problem = refused(await client.post("/things", content=b'{"name":"x"}', headers=headers))
    assert [(error["field"], error["location"]) for error in problem["errors"]] == [("content-type", "header")]


async def test_form_is_no_json(client: httpx2.AsyncClient) -> None:
    refused(await send(client, b'{"name":"x"}', "application/x-www-form-urlencoded"))


async def test_body_of_no_kind(client: httpx2.AsyncClient) -> None:
    problem = refused(await client.post("/things", content=b'{"name":"x"}'))
    assert problem["errors"][0]["field"] == "content-type"


async def test_two_kinds_at_once(client: httpx2.AsyncClient) -> None:
    for kinds in (("application/json", "application/json"), ("text/plain", "application/json")):
        problem = refused(
            await client.post("/things", content=b"{}", headers=[("content-type", kind) for kind in kinds])
        )
        assert problem["errors"][0]["field"] == "content-type"


@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON; charset=utf-8", 'application/json;charset="UTF-8"']
)
async def test_json_is_checked(client: httpx2.AsyncClient, kind: str) -> None:
    assert (await send(client, b'{"name":"x"}', kind)).status_code == 200
    refused(await send(client, b"[" * 100_000, kind))


@pytest.mark.parametrize("value", [b'"\xe9"', b"\xc3\xa9", b'"1\x7f"', b'"' + b"1" * 300 + b'"', b'"\x00"'])
@pytest.mark.parametrize("name", ["If-Match", "If-Unmodified-Since", "Content-Type"])
async def test_headers_are_visible_ascii(client: httpx2.AsyncClient, name: str, value: bytes) -> None:
    headers = {b"content-type": b"application/json", name.lower().encode(): value}
    problem = refused(await client.post("/things", content=b"{}", headers=list(headers.items())))
    assert [(error["field"], error["location"]) for error in problem["errors"]] == [(name.lower(), "header")]


async def test_a_precondition_is_sent_once(client: httpx2.AsyncClient) -> None:
    sent = [("content-type", "application/json"), ("if-match", '"1"'), ("If-Match", '"2"')]
    problem = refused(await client.post("/things", content=b"{}", headers=sent))
    assert problem["errors"][0]["field"] == "if-match"


async def test_brackets_in_text_are_text(client: httpx2.AsyncClient) -> None:
    content = json.dumps({"story": '[{"' * 1000 + "\\"}).encode()
    assert (await send(client, content)).status_code == 200


async def test_client_that_leaves(client: httpx2.AsyncClient) -> None:
    app = client._transport.app  # type: ignore[attr-defined]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def note(message: Any) -> None:
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": "/things", "raw_path": b"/things", "query_string": b"",
             "headers": [(b"content-type", b"application/json")], "scheme": "http", "http_version": "1.1",
             "server": ("api.test", 80), "client": ("10.0.0.1", 1), "root_path": ""}  # fmt: skip
    await app(scope, receive, note)
    assert answers == []


async def test_forms(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/form", data={"field": "x"})).json() == "x"
    refused(await client.post("/form", content=b"--", headers={"content-type": "multipart/form-data"}))
    refused(
        await client.post("/form", content=b"%ff%fe=", headers={"content-type": "application/x-www-form-urlencoded"})
    )
    refused(
        await client.post("/form", content=b"--b\r\nbad", headers={"content-type": "multipart/form-data; boundary=b"})
    )


async def test_long_names_come_back_short(client: httpx2.AsyncClient) -> None:
    problem = refused(await client.post("/things", json={"x" * 100_000: 1}))
    assert len(json.dumps(problem)) < 2000


@pytest.mark.parametrize("q", ["%00", "%0A", "%20", "", "x" * 101, "a%1Fb"])
async def test_query_text(client: httpx2.AsyncClient, q: str) -> None:
    refused(await client.get(f"/search?q={q}"))


async def test_query_text_is_stripped(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/search?q=%20Jane%20")).json() == "Jane"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_whatever_comes_is_taken_or_refused(value: Any) -> None:
    with contextlib.suppress(ValidationError):
        Input.model_validate(value)


@given(st.decimals("0.01", "99999999.99", places=2))
def test_prices_survive(amount: Decimal) -> None:
    adapter = TypeAdapter(Price)
    assert adapter.validate_python(str(amount)) == amount
    assert adapter.dump_python(amount, mode="json") == f"{amount:.2f}"


@pytest.mark.parametrize("at", ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00.25z", "2026-01-31T13:00:00%2B01:00"])
async def test_moments(client: httpx2.AsyncClient, at: str) -> None:
    response = await client.get(f"/since?at={at}")
    assert response.status_code == 200
    assert datetime.fromisoformat(response.json()).astimezone(UTC).replace(microsecond=0).hour == 12


@pytest.mark.parametrize("at", ["0.5", "1700000000", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", ""])
async def test_what_is_no_moment(client: httpx2.AsyncClient, at: str) -> None:
    refused(await client.get(f"/since?at={at}"))
