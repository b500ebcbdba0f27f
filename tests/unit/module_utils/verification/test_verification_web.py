"""Checks of the gateway's answers, with a stand-in for the gateway; TLS against real sockets."""

from __future__ import annotations

import ssl
import time
from email.utils import formatdate
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.verification import web, web_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Answer, Context, Object, Web

HOSTS = {"api": "api.bookstore.test", "shop": "shop.bookstore.test"}
NOSNIFF = {"x-content-type-options": "nosniff"}
BOOKS = b'{"page": 1, "size": 12, "total": 30, "items": [1, 2]}'


class FakeWeb(Web):
    """Answers by path; an exception is raised."""

    def __init__(
        self, answers: dict[str, Any] | None = None, location: str = "https://{host}:30000{path}", days: float = 300
    ) -> None:
        self.answers = answers or {}
        self.location = location
        self.days = days
        self.reading = "alert protocol_version"
        self.sent: list[dict[str, str] | None] = []

    def https(
        self, host: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> Answer:
        self.sent.append(headers)
        answer = self.answers.get(path, Answer(404, {}, b""))
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Answer)
        return answer

    def http(self, host: str, path: str, port: int | None = None) -> Answer:
        return Answer(301, {"location": self.location.format(host=host, path=path)}, b"")

    def certificate(self, host: str) -> Object:
        end = time.gmtime(time.time() + self.days * 86400)
        return {"notAfter": time.strftime("%b %d %H:%M:%S %Y GMT", end)}

    def old_tls(self, host: str) -> str:
        return self.reading


def context(fake: Web, **params: Any) -> Context:
    defaults = {
        "hosts": HOSTS,
        "https_port": 30000,
        "certificate_days": 30,
        "routes": [],
        "unrouted": [],
        "headers": {},
    }
    patience = params.pop("patience", 0.0)
    return Context({**defaults, **params}, {}, fake, None, None, time.monotonic() + patience)


def route(**more: Any) -> Object:
    return {"id": "H2", "host": "api", "path": "/ecom/books", **more}


def test_routes() -> None:
    fake = FakeWeb({"/ecom/books": Answer(200, {}, BOOKS)})
    good = route(equals={"page": 1, "size": 12}, at_least={"total": 30}, lengths={"items": 2})
    assert web_checks.routes(context(fake, routes=[good])).status == "passed"
    gone = web_checks.routes(context(FakeWeb(), routes=[route()]))
    assert gone.faults == ["H2 GET api.bookstore.test/ecom/books: answered 404, expected 200"]
    refused = web_checks.routes(
        context(FakeWeb({"/ecom/books": ssl.SSLCertVerificationError("self-signed")}), routes=[route()])
    )
    assert "self-signed" in refused.faults[0]


@pytest.mark.parametrize(
    ("rules", "body", "fault"),
    [
        ({"equals": {"page": 2}}, BOOKS, "page is 1, expected 2"),
        ({"at_least": {"total": 31}}, BOOKS, "total is 30, expected at least 31"),
        ({"at_least": {"none": 1}}, BOOKS, "none is None, expected at least 1"),
        ({"lengths": {"items": 12}}, BOOKS, "items has 2 entries, expected 12"),
        ({"lengths": {"page": 1}}, BOOKS, "page has no list entries"),
        ({"equals": {"a": 1}}, b"<html>", "answered no JSON"),
        ({"equals": {"a": 1}}, b"[]", "answered a JSON list, expected an object"),
    ],
)
def test_wrong_answers(rules: Object, body: bytes, fault: str) -> None:
    assert any(fault in found for found in web_checks.answer_faults(route(**rules), Answer(200, {}, body)))


def test_request_headers_of_a_route_are_sent() -> None:
    fake = FakeWeb({"/ecom/books": Answer(200, {}, BOOKS)})
    web_checks.routes(context(fake, routes=[route(headers={"Origin": "https://shop.test"})]))
    assert fake.sent == [{"Origin": "https://shop.test"}]


def test_route_that_appears_a_moment_later_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWeb()
    monkeypatch.setattr(
        web_checks.waiter.time, "sleep", lambda _: fake.answers.update({"/ecom/books": Answer(200, {}, b"")})
    )
    assert web_checks.routes(context(fake, routes=[route()], patience=5.0)).status == "passed"


def test_redirects() -> None:
    assert web_checks.redirects(context(FakeWeb())).status == "passed"
    wrong = web_checks.redirects(context(FakeWeb(location="https://{host}{path}")))
    assert len(wrong.faults) == 2
    assert "expected 301 to https://api.bookstore.test:30000/ecom/books?page=2" in wrong.faults[0]


def test_unrouted() -> None:
    params = {"unrouted": [{"host": "api", "path": "/metrics"}]}
    assert web_checks.unrouted(context(FakeWeb(), **params)).status == "passed"
    leak = web_checks.unrouted(context(FakeWeb({"/metrics": Answer(200, {}, b"")}), **params))
    assert leak.faults == ["GET api.bookstore.test/metrics: answered 200, expected 404"]


def test_headers() -> None:
    params = {
        "routes": [route()],
        "headers": {"all": {"X-Content-Type-Options": "nosniff"}, "shop": {"X-Frame-Options": "SAMEORIGIN"}},
    }
    good = FakeWeb({"/ecom/books": Answer(200, NOSNIFF, b"")})
    assert web_checks.headers(context(good, **params)).status == "passed"
    bad = FakeWeb({"/ecom/books": Answer(200, {"server": "envoy"}, b"")})
    faults = web_checks.headers(context(bad, **params)).faults
    assert any("X-Content-Type-Options is None, expected 'nosniff'" in fault for fault in faults)
    assert any("Server='envoy' is sent" in fault for fault in faults)


def test_certificate() -> None:
    assert web_checks.certificate(context(FakeWeb())).detail == "verified for 2 hosts, 300 days left"
    ends = web_checks.certificate(context(FakeWeb(days=29.6)))
    assert "the certificate ends in 30 days; it must be renewed above 30" in ends.faults[0]


@pytest.mark.parametrize(
    ("reading", "status"),
    [
        ("alert protocol_version", "passed"),
        ("connection reset", "passed"),
        ("accepted", "failed"),
        ("unexpected reply b'H'", "failed"),
    ],
)
def test_old_tls(reading: str, status: str) -> None:
    fake = FakeWeb()
    fake.reading = reading
    assert web_checks.old_tls(context(fake)).status == status


def test_refused_old_tls_proves_nothing_when_no_tls_works() -> None:
    class Silent(FakeWeb):
        def certificate(self, host: str) -> Object:
            raise ConnectionResetError("reset by peer")

    finding = web_checks.old_tls(context(Silent()))
    assert finding.faults == ["TLS 1.1 could not be tried, since TLS does not work at all: reset by peer"]


@pytest.mark.parametrize(
    ("data", "reading"),
    [
        (b"\x15\x03\x02\x00\x02\x02\x46", "alert protocol_version"),
        (b"\x15\x03\x02\x00\x02\x02\x28", "alert 40"),
        (b"\x16\x03\x02\x00\x31\x02\x00", "accepted"),
        (b"", "connection closed"),
        (b"HTTP/1.", "unexpected reply b'HTTP/1.'"),
    ],
)
def test_reading_of_a_tls_reply(data: bytes, reading: str) -> None:
    assert web.reading_of(data) == reading


def test_client_hello_is_understood_by_openssl() -> None:
    """OpenSSL parses the hand-written hello and refuses it for its version, not for its form."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    incoming.write(web.client_hello("api.bookstore.test"))
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL|unsupported protocol"):
        server.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    assert web.reading_of(outgoing.read()) == "alert protocol_version"


def test_certificate_times_are_read_as_openssl_writes_them() -> None:
    assert ssl.cert_time_to_seconds("Nov 23 00:00:00 2026 GMT") == pytest.approx(1795392000)
    assert formatdate(1795392000, usegmt=True) == "Mon, 23 Nov 2026 00:00:00 GMT"
