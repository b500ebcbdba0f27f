"""One process of a service: exit codes, secrets, and the end of what it holds."""

import contextlib
from collections.abc import Callable

import pytest
import structlog
from fastapi import FastAPI

from bookstore_common.health import Readiness
from bookstore_common.metrics import Metrics
from bookstore_common.process import ServiceBase, run_process
from bookstore_common.server import ListenError
from bookstore_common.settings import BaseServiceSettings, DatabaseSettings
from bookstore_common.tokens import OidcSettings

SECRET = "hunter2-hunter2"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"HOST": "db.test", "NAME": "books", "USER": "app", "PASSWORD": SECRET}
    for name, value in variables.items():
        monkeypatch.setenv(f"DATABASE_{name}", value)


def ending_with(error: Exception | None) -> Callable[[], None]:
    def end() -> None:
        if error is not None:
            raise error

    return end


@pytest.mark.parametrize(
    ("error", "code", "event"),
    [
        (None, 0, None),
        (ListenError("PUBLIC_PORT=80: cannot listen"), 2, "cannot_listen"),
        (RuntimeError("listener-public ended by itself"), 1, "failed"),
    ],
)
def test_exit_code_tells_how_it_ended(
    environment: None, capsys: pytest.CaptureFixture[str], error: Exception | None, code: int, event: str | None
) -> None:
    end = ending_with(error)

    async def main(_settings: DatabaseSettings) -> None:
        end()

    assert run_process("shop", DatabaseSettings, main) == code
    lines = capsys.readouterr().out
    assert (f'"event":"{event}"' in lines) if event else not lines


def test_bad_settings_end_it_before_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_settings: BaseServiceSettings) -> None:
        raise AssertionError("began without settings")

    assert run_process("shop", DatabaseSettings, main) == 2
    assert "DATABASE_PASSWORD: not set" in capsys.readouterr().err


def test_no_secret_of_the_settings_is_logged(
    environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of none of its parents, and not those that may be left out."""

    class Settings(DatabaseSettings, OidcSettings):
        pass

    seal = "0123456789abcdef0123456789abcdef"
    variables = {
        "OIDC_ISSUER": "https://id.test/realms/shop",
        "OIDC_AUDIENCE": "shop-api",
        "OIDC_JWKS_URL": "http://id.test/keys",
        "OIDC_ALLOWED_CLIENTS": "ui-client",
        "OIDC_STORE_SEAL": seal,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    async def main(_settings: Settings) -> None:
        structlog.get_logger().info("told", text=f"{SECRET} {seal}")

    assert run_process("shop", Settings, main) == 0
    lines = capsys.readouterr().out
    assert '"text":"[redacted] [redacted]"' in lines


@pytest.mark.anyio
async def test_the_last_resource_is_closed_first_and_one_that_fails_spares_no_other() -> None:
    closed: list[str] = []

    class Resource:
        def __init__(self, name: str) -> None:
            self.name = name

        async def close(self) -> None:
            closed.append(self.name)
            if self.name == "redis":
                raise OSError("gone")

    service = ServiceBase(
        public=FastAPI(),
        management=FastAPI(),
        readiness=Readiness({}, 1),
        metrics=Metrics(),
        resources=(Resource("database"), Resource("redis"), Resource("peer")),
    )
    with contextlib.suppress(OSError):
        await service.close()
    assert closed == ["peer", "redis", "database"]
