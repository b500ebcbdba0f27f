"""Pages, entity tags and JSON."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from bookstore_common.conditional import etag_of, none_match, respond
from bookstore_common.jsonbody import dumps
from bookstore_common.pagination import PageRequest


@given(total=st.integers(0, 5000), size=st.integers(1, 100))
def test_pages_cover_everything_once(total: int, size: int) -> None:
    pages = PageRequest(1, size).body([], total)["pages"]
    covered: list[int] = []
    for number in range(1, pages + 1):
        page = PageRequest(number, size)
        covered += range(page.offset, min(page.offset + size, total))
    assert covered == list(range(total))


@given(st.binary(), st.binary())
def test_tags_are_strong(one: bytes, other: bytes) -> None:
    assert (etag_of(one) == etag_of(other)) == (one == other)
    assert etag_of(one).startswith('"')


@given(st.binary(), st.lists(st.binary()), st.booleans())
def test_tag_is_found_in_any_list(body: bytes, others: list[bytes], weak: bool) -> None:
    etag = etag_of(body)
    header = ", ".join([*(etag_of(other + b"x") for other in others), ("W/" if weak else "") + etag])
    assert none_match(header, etag)
    assert none_match("*", etag)


@given(st.one_of(st.none(), st.text()))
def test_garbage_never_matches(header: str | None) -> None:
    if header is None or header.strip() != "*":
        assert not none_match(header, etag_of(b"body"))


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_second_request_is_304() -> None:
    first = respond(request(), b"{}", cache_control="public, max-age=60")
    second = respond(request(if_none_match=first.headers["etag"]), b"{}", cache_control="public, max-age=60")
    assert (first.status_code, second.status_code) == (200, 304)
    assert second.body == b""
    # RFC 9110, 15.4.5: what a 200 would have said.
    assert second.headers["etag"] == first.headers["etag"]
    assert second.headers["cache-control"] == "public, max-age=60"


def test_json_forms() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    body = dumps({"id": uuid.UUID(int=7), "utc": moment.astimezone(UTC), "name": "Brontë"})
    assert orjson.loads(body) == {
        "id": "00000000-0000-0000-0000-000000000007",
        "utc": "2026-01-02T01:04:05Z",
        "name": "Brontë",
    }


def test_money_must_be_text_before() -> None:
    with pytest.raises(TypeError):
        dumps({"price": Decimal("1.50")})
