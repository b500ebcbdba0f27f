"""Three listeners start and end in order."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from structlog.testing import capture_logs

from bookstore_common import server
from bookstore_common.application import create_app
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.settings import ServerSettings
from bookstore_common.testing.postgres import free_port

pytestmark = pytest.mark.anyio
# For what a busy machine does late.
PATIENCE_SECONDS = 60.0


class Rig:
    """A service with one endpoint that waits until told to finish."""

    def __init__(self, lame_duck: float = 2, drain: int = 30) -> None:
        ports = [free_port() for _ in range(3)]
        self.settings = ServerSettings(
            listen_host="127.0.0.1",
            public_port=ports[0],
            internal_port=ports[1],
            management_port=ports[2],
            shutdown_lame_duck_seconds=lame_duck,
            shutdown_drain_seconds=drain,
            cors_allowed_origins=("https://shop.test",),
        )
        self.events: list[str] = []
        self.stop, self.running, self.finish = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.readiness = Readiness({}, 1)
        app = create_app("test", listener="public", metrics=Metrics())

        @app.get("/wait")
        async def wait() -> str:
            self.running.set()
            await self.finish.wait()
            self.events.append("answered")
            return "done"

        @app.get("/quick")
        async def quick() -> str:
            return "quick"

        self.listeners = [
            server.Listener("public", app, ports[0], "PUBLIC_PORT"),
            server.Listener("internal", app, ports[1], "INTERNAL_PORT"),
        ]
        management = create_management_app(self.readiness, Metrics())
        self.management = server.Listener("management", management, ports[2], "MANAGEMENT_PORT")

    @asynccontextmanager
    async def resources(self) -> AsyncIterator[None]:
        self.events.append("opened")
        yield
        self.events.append("closed")

    def start(self) -> "asyncio.Task[None]":
        return asyncio.create_task(
            server.serve(
                self.settings,
                self.readiness,
                self.listeners,
                self.management,
                resources=self.resources(),
                stop=self.stop,
            )
        )

    def url(self, listener: server.Listener, path: str) -> str:
        return f"http://127.0.0.1:{listener.port}{path}"


async def answering(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await client.get(url)
        except httpx2.ConnectError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)


async def test_orderly_end() -> None:
    rig = Rig()
    serving = rig.start()
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        for listener in rig.listeners:
            assert (await answering(client, rig.url(listener, "/quick"))).json() == "quick"
        assert (await answering(client, rig.url(rig.management, "/health/ready"))).status_code == 200
        in_flight = asyncio.create_task(client.get(rig.url(rig.listeners[0], "/wait")))
        await rig.running.wait()
        rig.stop.set()
        await asyncio.sleep(0)
        # At once not ready, but still serving: proxies need a moment to notice.
        refused = await client.get(rig.url(rig.management, "/health/ready"))
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        assert (await client.get(rig.url(rig.listeners[1], "/quick"))).status_code == 200
        # After the wait nothing new is accepted, while the running request goes on.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with httpx2.AsyncClient() as newcomer:
                    await newcomer.get(rig.url(rig.listeners[0], "/quick"))
            except httpx2.TransportError:
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert not in_flight.done()
        assert (await client.get(rig.url(rig.management, "/health/live"))).status_code == 200
        rig.finish.set()
        assert (await in_flight).json() == "done"
        await asyncio.wait_for(serving, PATIENCE_SECONDS)
    assert rig.events == ["opened", "answered", "closed"]


async def test_drain_is_bounded() -> None:
    rig = Rig(lame_duck=0, drain=1)
    serving = rig.start()
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        await answering(client, rig.url(rig.listeners[0], "/quick"))
        in_flight = asyncio.create_task(client.get(rig.url(rig.listeners[0], "/wait")))
        await rig.running.wait()
        started = time.monotonic()
        rig.stop.set()
        await asyncio.wait_for(serving, PATIENCE_SECONDS)
        assert time.monotonic() - started > 0.9  # and it ends, while the request would not
        response = await in_flight
        assert (response.status_code, response.json()["code"]) == (503, "shutting_down")
    assert rig.events == ["opened", "closed"]


async def test_signals_end_and_a_second_one_hurries() -> None:
    rig = Rig(lame_duck=60)
    serving = rig.start()
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        await answering(client, rig.url(rig.listeners[0], "/quick"))
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not rig.readiness.draining:  # a plain flag
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not serving.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, PATIENCE_SECONDS)


async def test_port_in_use_names_the_variable() -> None:
    rig = Rig()
    taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", rig.settings.internal_port)
    async with taken:
        with pytest.raises(server.ListenError) as caught:
            await rig.start()
    port = rig.settings.internal_port
    assert str(caught.value).startswith(f"INTERNAL_PORT={port}: cannot listen on 127.0.0.1:{port}")
    assert "free port" in str(caught.value)
    assert rig.events == []


async def test_listener_that_dies_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(lame_duck=60)

    async def die(self: object) -> None:
        raise OSError("lost the socket")

    monkeypatch.setattr(server._Server, "main_loop", die)
    with pytest.raises(RuntimeError, match="listener-public ended by itself"):
        await asyncio.wait_for(rig.start(), PATIENCE_SECONDS)
    assert rig.events == ["opened", "closed"]


async def test_cause_is_told_when_closing_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(lame_duck=60)

    async def die(self: object) -> None:
        raise OSError("lost the socket")

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        yield
        raise OSError("cannot close the pool")

    monkeypatch.setattr(server._Server, "main_loop", die)
    monkeypatch.setattr(rig, "resources", resources)
    with capture_logs() as lines, pytest.raises(OSError, match="cannot close the pool"):
        await asyncio.wait_for(rig.start(), PATIENCE_SECONDS)
    told = {line["listener"]: str(line["exc_info"]) for line in lines if line["event"] == "listener_ended"}
    assert told["listener-public"] == "lost the socket"
