"""Clients that hold on to the gateway: half a request, no request, another protocol, hundreds of slow ones; and headers that lie."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import pytest

from .conftest import API, PLACES, SHOP_ORIGIN
from .tls import Trust

ADDRESS = urlsplit(API)
# What role istio declares: 10 s for headers, 30 s for a request; and time for a busy machine.
HEADERS_S, REQUEST_S, IDLE_S, SLACK_S = 10, 30, 60, 15
HOST = f"Host: {ADDRESS.netloc}\r\n"
SLOW_CLIENTS = 500
# Envoy closes an idle connection and lets a browser open another: what is asked here is how soon it answers.
SHOPPER_ANSWERS_S = 5


@dataclass(frozen=True)
class Ending:
    """What a client got until the gateway closed its connection, and after how long."""

    answer: bytes
    seconds: float

    @property
    def status(self) -> int:
        """Status of the answer, 0 without one."""
        return int(self.answer.split(b" ", 2)[1]) if self.answer.startswith(b"HTTP/") else 0

    @property
    def code(self) -> str:
        """The code of the problem in the answer's body."""
        return str(json.loads(self.answer.split(b"\r\n\r\n", 1)[1])["code"])


async def held(trust: Trust, sent: str, patience: float) -> Ending:
    """Send this and nothing more; TimeoutError when the gateway neither answers nor closes in ``patience`` seconds."""
    reader, writer = await asyncio.open_connection(ADDRESS.hostname, ADDRESS.port, ssl=trust.context())
    began, answer = time.monotonic(), b""
    try:
        writer.write(sent.encode())
        async with asyncio.timeout(patience):
            # An answer with a length ends the wait too: the gateway may keep the connection for the next request.
            while chunk := await reader.read(65_536):
                answer += chunk
                if b"\r\n\r\n" in answer and b"connection: close" not in answer.lower():
                    break
        return Ending(answer, time.monotonic() - began)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (f"GET /ecom/books HTTP/1.1\r\n{HOST}X-Half: ", HEADERS_S),
        (f"POST /ecom/checkout HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{{", REQUEST_S),
        (f"POST /ecom/books HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nab", REQUEST_S),
    ],
    ids=["half a header", "half a body", "half a chunk"],
)
def test_half_a_request_ends_with_408(trust: Trust, sent: str, seconds: int) -> None:
    ending = asyncio.run(held(trust, sent, seconds + SLACK_S))
    assert (ending.status, ending.code) == (408, "request_timeout")
    assert ending.seconds >= seconds - 1


def test_a_connection_without_a_request_is_closed(trust: Trust) -> None:
    assert asyncio.run(held(trust, "", IDLE_S + SLACK_S)).answer == b""


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "tls/1.2", "anything"])
@pytest.mark.parametrize(
    ("path", "statuses"), [("/ecom/books", {200}), ("/ecom/cart", {401}), ("/nothing", {404})], ids=["open", "signed in", "unknown"]
)
def test_an_upgrade_is_ignored(trust: Trust, protocol: str, path: str, statuses: set[int]) -> None:
    """RFC 9110, 7.8: a server may ignore it; the answer is that of the plain request, at once."""
    headers = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"
    ending = asyncio.run(held(trust, f"GET {path} HTTP/1.1\r\n{HOST}{headers}\r\n", HEADERS_S))
    assert ending.status in statuses


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_tunnels_are_refused_at_once(trust: Trust, method: str) -> None:
    target = ADDRESS.netloc if method == "CONNECT" else "/ecom/books"
    ending = asyncio.run(held(trust, f"{method} {target} HTTP/1.1\r\n{HOST}\r\n", HEADERS_S))
    assert ending.status in {400, 403, 404, 405}


def test_500_slow_clients_do_not_disturb_a_shopper(trust: Trust) -> None:
    """From one address: a third sends headers, a third a body of up to 1 MiB, a third nothing, all of them byte by byte."""
    body = f"POST /ecom/checkout HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n" + "x" * 100_000
    settings = trust.context()  # of the one event loop
    kinds = (f"GET /ecom/books HTTP/1.1\r\n{HOST}X-Slow: ", body, "")

    async def slow(number: int, opened: asyncio.Semaphore) -> Ending:
        async with opened:
            reader, writer = await asyncio.open_connection(ADDRESS.hostname, ADDRESS.port, ssl=settings)
        sent, began = kinds[number % 3], time.monotonic()
        try:
            writer.write(sent.encode())
            while not reader.at_eof():
                if sent:
                    writer.write(b"x")
                try:
                    async with asyncio.timeout(1):
                        if not await reader.read(65_536):
                            break
                except TimeoutError:
                    assert time.monotonic() - began < IDLE_S + SLACK_S, "the gateway keeps a slow client for ever"
        except ConnectionError:
            pass
        finally:
            writer.close()
        return Ending(b"", time.monotonic() - began)

    async def shop(crowd: asyncio.Future[list[Ending]]) -> list[float]:
        """What a shopper waits for each page, again and again while the slow ones are there."""
        waited = []
        async with httpx2.AsyncClient(base_url=API, verify=trust.context(), timeout=SHOPPER_ANSWERS_S, trust_env=False) as client:
            while not crowd.done():
                began = time.monotonic()
                (await client.get("/ecom/books")).raise_for_status()
                waited.append(time.monotonic() - began)
                await asyncio.wait([crowd], timeout=0.5)
        return waited

    async def together() -> tuple[list[Ending], list[float]]:
        opened = asyncio.Semaphore(50)
        crowd = asyncio.ensure_future(asyncio.gather(*(slow(number, opened) for number in range(SLOW_CLIENTS))))
        waited = await shop(crowd)
        return await crowd, waited

    endings, waited = asyncio.run(together())
    assert len(endings) == SLOW_CLIENTS
    # The shopper was there all the time, and each answer came before its timeout.
    assert len(waited) >= REQUEST_S / (SHOPPER_ANSWERS_S + 0.5)


FORWARDING = {
    "X-Forwarded-Port": "4711",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Server": "evil.test",
    "Forwarded": "for=203.0.113.7;host=evil.test;proto=http",
    "X-Original-URL": "/realms/master",
    "X-Rewrite-URL": "/realms/master",
    "X-HTTP-Method-Override": "DELETE",
}


@pytest.mark.parametrize("name", [*FORWARDING, "all"])
def test_forwarding_headers_of_clients_change_nothing(api: httpx2.Client, name: str) -> None:
    """At the three sites: what an answer is made of does not depend on them."""
    sent = FORWARDING if name == "all" else {name: FORWARDING[name]}
    for url in (f"{PLACES.issuer}/.well-known/openid-configuration", f"{SHOP_ORIGIN}/config.json", f"{API}/ecom/genres"):
        plain, lying = api.get(url), api.get(url, headers=sent)
        assert (lying.status_code, lying.content) == (plain.status_code, plain.content), url
    redirected = api.get(f"{PLACES.id}/realms/bookstore/account", headers=sent)
    assert "evil" not in redirected.headers.get("location", "")
    assert "4711" not in redirected.headers.get("location", "")


def test_the_shop_may_read_why_its_token_was_refused(api: httpx2.Client) -> None:
    answer = api.get("/ecom/cart", headers={"Authorization": "Bearer broken", "Origin": SHOP_ORIGIN})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, SHOP_ORIGIN)


def test_answers_do_not_name_what_is_behind_them(api: httpx2.Client) -> None:
    for url in (f"{API}/ecom/books", f"{SHOP_ORIGIN}/", f"{PLACES.issuer}/.well-known/openid-configuration"):
        told = api.get(url).headers
        assert {"x-envoy-decorator-operation", "x-envoy-upstream-service-time", "server", "x-powered-by"} & told.keys() == set(), url
    for port, path in ((32000, "/health"), (32200, "/overview"), (32300, "/q/health"), (32301, "/q/health")):
        assert "x-envoy-decorator-operation" not in api.get(f"http://127.0.0.1:{port}{path}").headers, port


def test_the_sign_in_page_keeps_its_referrer_policy(api: httpx2.Client) -> None:
    query = {"client_id": "ui-client", "response_type": "code", "redirect_uri": f"{SHOP_ORIGIN}/callback", "scope": "openid",
             "code_challenge": "x" * 43, "code_challenge_method": "S256"}  # fmt: skip
    page = api.get(f"{PLACES.issuer}/protocol/openid-connect/auth", params=query)
    assert (page.status_code, page.headers["referrer-policy"]) == (200, "no-referrer")
