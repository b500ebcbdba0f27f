"""A door answers to its own names only."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import doors

FILE = Path(__file__).parents[1] / "src/own_names.py"
Ask = Callable[[str | None], tuple[str, dict[str, str], bytes]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the middleware in front of an application that says ``inside``."""
    monkeypatch.setenv("DOOR_NAMES", ",".join(doors.names("analytics", ["superset"])))
    monkeypatch.setenv("POD_IP", "10.244.1.9")
    spec = importlib.util.spec_from_file_location("own_names", FILE)
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def inside(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"inside"]

    guarded = module.OwnNames(inside)

    def asked(host: str | None) -> tuple[str, dict[str, str], bytes]:
        seen: list[Any] = []
        environ = {"PATH_INFO": "/health"} if host is None else {"PATH_INFO": "/health", "HTTP_HOST": host}
        body = b"".join(guarded(environ, lambda status, headers: seen.extend((status, dict(headers)))))
        return seen[0], seen[1], body

    return asked


@pytest.mark.parametrize("host", [
    "localhost", "LOCALHOST:32000", "127.0.0.1:32000", "[::1]:32000", "superset:8088", "superset.analytics.svc.cluster.local:8088",
    "10.244.1.9:8088", "10.244.1.9",
])  # fmt: skip
def test_its_own_names_are_answered(ask: Ask, host: str) -> None:
    assert ask(host) == ("200 OK", {}, b"inside")


@pytest.mark.parametrize("host", [
    None, "", "evil.test", "evil.test:32000", "localhost.evil.test", "localhost@evil.test", "127.0.0.1.nip.io:32000", "192.0.2.7:8088",
    "localhost,evil.test", "localhost, localhost", "localhost.", "2130706433", "superset.other", "[::2]", "localhost:1:2", "local host",
])  # fmt: skip
def test_other_names_are_refused(ask: Ask, host: str | None) -> None:
    status, headers, body = ask(host)
    assert status.startswith("421 ")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert b"own names" in body
