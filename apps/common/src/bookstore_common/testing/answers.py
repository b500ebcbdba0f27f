"""Compares a service's answers with what its OpenAPI documents say of them.

With ``pytest --answers`` (the whole suite of a service) every answer of an operation must be documented, by status and,
for problems, by code; and every documented one must have been given to some test. A conftest calls ``add_option`` and
``watch`` in the hooks of pytest. Each process notes what it saw; the one that started the others compares at the end.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import Message, Receive, Scope, Send

from bookstore_common.access import AccessControl
from bookstore_common.bodies import MAX_BODY_BYTES
from bookstore_common.middleware import RequestContextMiddleware
from bookstore_common.problem import MEDIA_TYPE
from bookstore_common.ratelimit import RateLimiter
from bookstore_common.redis import RedisClient
from bookstore_common.testing.tokens import Issuer

_FOLDER = "BOOKSTORE_ANSWERS"
_NOBODY = 1  # a port that nothing listens on
# Any operation may fail, or be cut off by a shutdown: that is no part of its contract.
_ALWAYS = {(500, "internal_error"), (503, "shutting_down")}
_OF_BODIES = ("payload_too_large", "validation_error")
_OF_ACCESS = (
    "unauthenticated",
    "forbidden",
    "origin_mismatch",
    "csrf_invalid",
    "rate_limited",
    "token_check_unavailable",
)
# Where access control needs Redis, or the operation its database.
_OF_DEPENDENCIES = ("dependency_unavailable",)
# OpenAPI documents by listener.
Documents = Mapping[str, Mapping[str, Any]]
# Status, and the code of a problem.
Answer = tuple[int, str]
# Listener, method, path, and the answer.
Seen = tuple[str, str, str, int, str]


@dataclass(frozen=True)
class Operation:
    """One operation of a document, and the answers that it promises."""

    listener: str
    method: str
    path: str
    name: str
    answers: frozenset[Answer]
    roles: tuple[str, ...]
    client: str
    guarded: bool
    query: str = ""

    @property
    def needs_no_body(self) -> bool:
        """Whether a request without a body gets as far as Redis or the database."""
        return self.method in {"GET", "DELETE"} or (self.listener == "public" and self.guarded)

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(code for _status, code in self.answers)

    def matches(self, path: str) -> bool:
        return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", self.path), path) is not None

    def address(self, value: str = "00000000-0000-4000-8000-0000000000aa") -> str:
        """The path with ``value`` for its parameters."""
        return "/".join(value if part.startswith("{") else part for part in self.path.split("/"))


def operations(documents: Documents) -> Iterator[Operation]:
    for listener, document in documents.items():
        for path, methods in document["paths"].items():
            for method, content in methods.items():
                yield Operation(
                    listener,
                    method.upper(),
                    path,
                    content["operationId"],
                    frozenset(_answers(content["responses"])),
                    tuple(content.get("x-roles", ["customer", "admin"])),
                    content.get("x-clients", ["ui-client"])[0],
                    "x-roles" in content or "x-rate-limit" in content,
                    _query([one["name"] for one in content.get("parameters", []) if one["in"] == "query"], path),
                )


def _query(names: list[str], path: str) -> str:
    """What an operation needs to have anything to look for."""
    if "book_ids" in names:
        return "?book_ids=00000000-0000-4000-8000-0000000000aa"
    return "?q=a" if path.endswith("/search") else ""


def _answers(responses: Mapping[str, Any]) -> Iterator[Answer]:
    for status, response in responses.items():
        codes = response["description"].split(" or ") if MEDIA_TYPE in response.get("content", {}) else [""]
        yield from ((int(status), code) for code in codes)


def differences(documents: Documents, seen: Iterable[Seen]) -> list[str]:
    """What was answered and not documented, and the other way round."""
    known = sorted(operations(documents), key=lambda operation: operation.path.count("{"))
    given: dict[str, set[Answer]] = {operation.name: set() for operation in known}
    for listener, method, path, status, code in seen:
        for operation in known:  # without parameters first: /books/search is no book
            if (listener, method) == (operation.listener, operation.method) and operation.matches(path):
                given[operation.name].add((status, code))
                break
    found = []
    for operation in known:
        answers = given[operation.name] - _ALWAYS
        found += [f"{operation.name}: answered, not documented: {_text(one)}" for one in answers - operation.answers]
        found += [f"{operation.name}: documented, seen by no test: {_text(one)}" for one in operation.answers - answers]
    return sorted(found)


def _text(answer: Answer) -> str:
    return f"{answer[0]} {answer[1]}".strip()


def add_option(parser: pytest.Parser) -> None:
    """For ``pytest_addoption``."""
    parser.addoption("--answers", action="store_true", help="compare all answers with the OpenAPI documents")


def watch(config: pytest.Config, documents: Callable[[], Documents]) -> None:
    """For ``pytest_configure``."""
    if config.getoption("--answers"):
        config.pluginmanager.register(_Watch(documents, starts_others=not hasattr(config, "workerinput")))


class _Watch:
    """Notes the answers of all applications of this process."""

    def __init__(self, documents: Callable[[], Documents], *, starts_others: bool) -> None:
        self._documents = documents
        self._seen: set[Seen] = set()
        self._differences: list[str] = []
        self._starts_others = starts_others
        if starts_others:  # before they are started
            os.environ[_FOLDER] = tempfile.mkdtemp(prefix="bookstore-answers-")
        self._folder = Path(os.environ[_FOLDER])
        self._whole = RequestContextMiddleware.__call__
        watch = self

        async def noting(self: RequestContextMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
            await watch.note(self, scope, receive, send)

        RequestContextMiddleware.__call__ = noting  # type: ignore[method-assign]

    async def note(self, middleware: RequestContextMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        status, kind, body = 0, "", b""

        async def send_noting(message: Message) -> None:
            nonlocal status, kind, body
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = next((value.decode() for name, value in message["headers"] if name == b"content-type"), "")
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")
            await send(message)

        await self._whole(middleware, scope, receive, send_noting)
        if status and scope["method"] != "HEAD":  # answered as GET, without a body
            code = json.loads(body)["code"] if kind == MEDIA_TYPE else ""
            self._seen.add((middleware._listener, scope["method"], scope["path"], status, code))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        (self._folder / f"{os.getpid()}.json").write_text(json.dumps(sorted(self._seen)))
        if not self._starts_others:
            return
        seen = {tuple(row) for file in self._folder.glob("*.json") for row in json.loads(file.read_text())}
        shutil.rmtree(self._folder)
        self._differences = differences(self._documents(), seen)
        if self._differences:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._differences:
            terminalreporter.section("answers and documents differ")
            for line in self._differences:
                terminalreporter.write_line(line)


def promised(documents: Documents, bodies: Mapping[str, object] | None = None) -> list[Any]:
    """Parameters of a test: each operation with each code of its document that :func:`provoke` can cause.

    ``bodies``: name of an operation to a body that it accepts, where it looks at the body before anything else.
    """
    return [
        pytest.param(operation, code, id=f"{operation.name}-{code}")
        for operation in operations(documents)
        for code in (
            *_OF_BODIES,
            *(_OF_ACCESS if operation.guarded else ()),
            *(_OF_DEPENDENCIES if operation.needs_no_body or operation.name in (bodies or {}) else ()),
        )
        if code in operation.codes
    ]


def _cut_off(app: Any) -> None:
    """Leave an application without Redis and database: nothing listens where it looks for them."""
    redis: RedisClient | None = getattr(app.state, "redis", None) or app.state.access._redis
    if redis is not None:
        redis.pool.connection_kwargs["port"] = _NOBODY
        redis.pool.reset()  # type: ignore[no-untyped-call]
    database = getattr(app.state, "database", None)
    if database is not None:
        database.engine, database._reading = (
            create_async_engine(engine.url.set(host="127.0.0.1", port=_NOBODY), poolclass=NullPool)
            for engine in (database.engine, database._reading)
        )


async def provoke(
    code: str, operation: Operation, app: Any, issuer: Issuer, bodies: Mapping[str, object] | None = None
) -> httpx2.Response:
    """The answer to a request that deserves ``code``: of access control, of the limits of bodies, of what is away."""
    headers = issuer.headers(roles=operation.roles, azp=operation.client)
    address, content = operation.address(), None
    if code == "unauthenticated":
        headers = {"authorization": "Bearer x.y.z"}
    elif code == "forbidden":
        headers = issuer.headers(roles=["nobody"], azp=operation.client)
    elif code == "origin_mismatch":
        headers["origin"] = "https://evil.test"
    elif code == "token_check_unavailable":  # the realm's keys cannot be had
        issuer.stop()
    elif code == "dependency_unavailable":
        headers["x-csrf-token"] = "A" * 43
        address += operation.query
        headers["if-match"] = '"1"'
        if operation.name in (bodies or {}):
            content = json.dumps((bodies or {})[operation.name]).encode()
        _cut_off(app)
    elif code == "payload_too_large":
        content = b" " * (MAX_BODY_BYTES + 1)
    elif code == "validation_error" and operation.method != "GET":
        content = b"{"
    elif code == "validation_error":
        address = f"{operation.address('x')}?page=0&q=&book_ids=x"
    if content is not None:
        headers["content-type"] = "application/json"
    if code == "rate_limited":
        access: AccessControl = app.state.access
        access._limiter = RateLimiter(access._redis, factor=0)  # one request a minute
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api.test") as client:
        if code == "rate_limited":
            await client.request(operation.method, address, headers=headers)
        return await client.request(operation.method, address, headers=headers, content=content)
