"""One process, three listeners, and an orderly end (SPEC 5.1)."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from bookstore_common.health import Readiness
from bookstore_common.settings import ProcessSettings

_log = structlog.get_logger(__name__)
_BACKLOG = 2048


class ListenError(Exception):
    """A port cannot be opened; the text names the variable, its value and the remedy."""


@dataclass(frozen=True)
class Listener:
    """An application and where it listens; ``variable`` is the setting to blame when the port is taken."""

    name: str
    app: ASGIApp
    port: int
    variable: str


class _Server(uvicorn.Server):
    """Leaves signals to :func:`serve`, which knows all listeners."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _bind(listener: Listener, host: str) -> socket.socket:
    try:
        return socket.create_server(
            (host, listener.port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as exc:
        raise ListenError(
            f"{listener.variable}={listener.port}: cannot listen on {host}:{listener.port} ({exc.strerror}); "
            f"set {listener.variable} to a free port or LISTEN_HOST to an address of this machine"
        ) from exc


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


async def serve(
    settings: ProcessSettings,
    readiness: Readiness,
    listeners: Sequence[Listener],
    management: Listener,
    *,
    resources: AbstractAsyncContextManager[object] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT (or ``stop``), then end in order.

    Readiness turns 503 at once; after SHUTDOWN_LAME_DUCK_SECONDS, in which proxies take the process out of rotation,
    listeners stop accepting; running requests get SHUTDOWN_DRAIN_SECONDS; then ``resources`` are closed. A second
    signal skips the wait. Management answers until the end.

    Raises ListenError if a port cannot be opened, RuntimeError if a listener ends by itself.
    """
    stop = stop or asyncio.Event()
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(name: str) -> None:
        _log.info("signal", signal=name)
        (hurry if stop.is_set() else stop).set()

    sockets: dict[str, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        for listener in (*listeners, management):
            sockets[listener.name] = stack.enter_context(_bind(listener, settings.listen_host))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number.name)
            stack.callback(loop.remove_signal_handler, number)
        async with resources or _nothing():
            servers = {listener.name: _server(listener, settings) for listener in (*listeners, management)}
            tasks = {
                name: asyncio.create_task(server.serve([sockets[name]]), name=f"listener-{name}")
                for name, server in servers.items()
            }
            _log.info("started", ports={listener.name: listener.port for listener in (*listeners, management)})
            failed = await _until(stop, set(tasks.values()), None)
            readiness.draining = True
            if not failed:
                _log.info("draining", lame_duck_seconds=settings.shutdown_lame_duck_seconds)
                failed = await _until(hurry, set(tasks.values()), settings.shutdown_lame_duck_seconds)
            for group in ([listener.name for listener in listeners], [management.name]):
                for name in group:
                    servers[name].should_exit = True
                if group:  # a worker has no other listener than management
                    await asyncio.wait([tasks[name] for name in group])
            for task in tasks.values():
                if task in failed or task.exception() is not None:
                    # Before closing: what fails there would take the place of the cause.
                    _log.error("listener_ended", listener=task.get_name(), exc_info=task.exception())
        for task in tasks.values():
            if task in failed or task.exception() is not None:
                raise RuntimeError(f"{task.get_name()} ended by itself") from task.exception()
    _log.info("stopped")


def _server(listener: Listener, settings: ProcessSettings) -> _Server:
    return _Server(
        uvicorn.Config(
            listener.app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_drain_seconds,
        )
    )


async def _until(
    event: asyncio.Event, tasks: set[asyncio.Task[None]], timeout_seconds: float | None
) -> set[asyncio.Task[None]]:
    """Wait for the event or the time, and return listeners that ended meanwhile."""
    waiter = asyncio.create_task(event.wait())
    done, _pending = await asyncio.wait({waiter, *tasks}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    return {task for task in tasks if task in done}


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` on uvloop, which psycopg and uvicorn both support."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
