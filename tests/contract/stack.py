"""The three services as processes of this machine: real PostgreSQL, Redis and calls between them; only Keycloak is an imitation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookstore_common.testing.postgres import Postgres, free_port
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import CLIENTS, Issuer

APPS = Path(__file__).parents[2] / "apps"
SHOP = "https://shop.bookstore.test:30000"
START_SECONDS = 60.0
# One session for all requests, so that one CSRF token serves them.
SESSION = "schemathesis"
_LISTENERS = {"public": "PUBLIC_PORT", "internal": "INTERNAL_PORT", "management": "MANAGEMENT_PORT"}


@dataclass(frozen=True)
class Stack:
    """Where the services listen: ``urls["ecom", "public"]``; who signs tokens; each one's process id and database."""

    urls: dict[tuple[str, str], str]
    issuer: Issuer
    pids: dict[str, int]
    databases: dict[str, str]

    def headers(self, operation: dict[str, Any], sub: str, csrf: str) -> dict[str, str]:
        """What a caller with the role that an OpenAPI operation asks for sends."""
        roles = operation.get("x-roles", ["customer"])
        azp = operation.get("x-clients", ["ui-client"])[0]
        sent = self.issuer.headers(sub=sub, sid=SESSION, roles=roles, azp=azp)
        return {**sent, "X-CSRF-Token": csrf, "Origin": SHOP} if operation.get("x-csrf") else sent

    def csrf(self) -> str:
        """A CSRF token of :data:`SESSION`; the services share the store."""
        request = urllib.request.Request(f"{self.urls['ecom', 'public']}/ecom/csrf-token", headers=self.issuer.headers(sid=SESSION))
        with urllib.request.urlopen(request, timeout=10) as answer:
            token: str = json.loads(answer.read())["token"]
        return token


@contextmanager
def running(
    postgres: Postgres, redis: RedisServer, issuer: Issuer, logs: Path, options: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Stack]:
    """All services, over new databases with the seed data; ``options`` are a service's own for the interpreter."""
    issuer.answer_service_tokens()
    ports = {(service, name): free_port() for service in ("ecom", "inventory", "admin") for name in _LISTENERS}
    urls = {place: f"http://127.0.0.1:{port}" for place, port in ports.items()}
    common = {
        **redis.environment(), **issuer.environment(), "OIDC_ALLOWED_CLIENTS": ",".join(CLIENTS), "CORS_ALLOWED_ORIGINS": SHOP,
        "LISTEN_HOST": "127.0.0.1", "SHUTDOWN_LAME_DUCK_SECONDS": "0", "REDIS_TIMEOUT_SECONDS": "5", "LOG_LEVEL": "warning",
    }  # fmt: skip
    own = {
        "ecom": {
            **_database(postgres, "ecom"), **issuer.service_environment(), "INVENTORY_URL": urls["inventory", "internal"],
            "RATE_LIMIT_FACTOR": "1000",
        },
        "inventory": _database(postgres, "inventory"),
        "admin": {"ECOM_URL": urls["ecom", "internal"], "INVENTORY_URL": urls["inventory", "internal"]},
    }  # fmt: skip
    pids: dict[str, int] = {}
    with ExitStack() as stack:
        for service, variables in own.items():
            listen = {variable: str(ports[service, name]) for name, variable in _LISTENERS.items()}
            log = stack.enter_context((logs / f"{service}.log").open("wb"))
            command = [sys.executable, *(options or {}).get(service, ()), "-m", service]
            environment = _environment(service, {**common, **variables, **listen})
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(_end, process)
            pids[service] = process.pid
        for service in own:
            _wait(f"{urls[service, 'management']}/health/ready", logs / f"{service}.log")
        databases = {service: own[service]["DATABASE_NAME"] for service in ("ecom", "inventory")}
        yield Stack(urls, issuer, pids, databases)


def _environment(service: str, variables: dict[str, str]) -> dict[str, str]:
    sources = os.pathsep.join(str(APPS / name / "src") for name in ("common", service))
    return {**{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}, "PYTHONPATH": sources, **variables}


def _database(postgres: Postgres, service: str) -> dict[str, str]:
    """A migrated database; returns the variables of the service's role."""
    for role in ("owner", "app", "ro", "cdc"):
        if f"{service}_{role}" not in postgres.role_passwords:
            postgres.create_role(f"{service}_{role}")
    name = postgres.create_database(f"{service}_owner")
    environment = _environment(service, postgres.environment(f"{service}_owner", name))
    subprocess.run([sys.executable, "-m", f"{service}.migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return {**postgres.environment(f"{service}_app", name), "DATABASE_COMMAND_TIMEOUT_SECONDS": "30"}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=START_SECONDS)


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{url}: {error}\n{log.read_text()[-2000:]}") from error
            time.sleep(0.05)
