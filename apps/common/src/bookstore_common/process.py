"""The process of a service or a worker: settings, logs, exit codes; and what a service with listeners shares."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from fastapi import FastAPI

from bookstore_common import logging
from bookstore_common.health import Readiness
from bookstore_common.metrics import Metrics
from bookstore_common.server import Listener, ListenError, run, serve
from bookstore_common.settings import ServerSettings, SettingsError, SettingsT, load_settings, secrets_of

_log = structlog.get_logger(__name__)


def run_process(
    service: str, settings_class: type[SettingsT], main: Callable[[SettingsT], Coroutine[Any, Any, None]]
) -> int:
    """Run ``main`` with the settings of the environment; returns the exit code.

    0: stopped on request; 1: failed; 2: bad settings, or a port that cannot be opened. No line of the log of
    ``service`` holds a secret of the settings.
    """
    try:
        settings = load_settings(settings_class)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logging.configure(settings.log_level, settings.log_format, service)
    for secret in secrets_of(settings):
        logging.hide_secret(secret)
    try:
        run(main(settings))
    except ListenError as error:
        _log.error("cannot_listen", reason=str(error))
        return 2
    except Exception:
        _log.exception("failed")
        return 1
    return 0


class Closable(Protocol):
    """What holds connections."""

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ServiceBase:
    """The applications of a service and what they share. ``resources`` are closed at the end, the last one first."""

    public: FastAPI
    internal: FastAPI | None = None
    management: FastAPI
    readiness: Readiness
    metrics: Metrics
    resources: tuple[Closable, ...]

    async def close(self) -> None:
        """Close every connection, also if closing one fails."""
        async with AsyncExitStack() as stack:
            for resource in self.resources:
                stack.push_async_callback(resource.close)


async def serve_applications(settings: ServerSettings, service: ServiceBase) -> None:
    """Serve a listener for each application of ``service`` until told to stop, then close its connections."""

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await service.close()

    listeners = [Listener("public", service.public, settings.public_port, "PUBLIC_PORT")]
    if service.internal is not None:
        listeners.append(Listener("internal", service.internal, settings.internal_port, "INTERNAL_PORT"))
    management = Listener("management", service.management, settings.management_port, "MANAGEMENT_PORT")
    await serve(settings, service.readiness, listeners, management, resources=resources())
