"""One JSON line per event, never a secret."""

import logging as stdlib
import warnings
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bookstore_common import logging
from bookstore_common.context import accept_request_id
from bookstore_common.testing.logs import LogStream


def lines(stream: LogStream) -> list[dict[str, Any]]:
    return stream.events()


@pytest.fixture
def stream(log_stream: LogStream) -> LogStream:
    return log_stream


def test_our_line(stream: LogStream) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("x").info("sold", copies=2)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "sold", "copies": 2, "level": "info", "service": "test", "request_id": "r1"}


def test_library_lines_look_alike(stream: LogStream) -> None:
    stdlib.getLogger("sqlalchemy.pool").warning("lost %s", "connection")
    stdlib.getLogger("httpx2").info("chatter")
    (line,) = lines(stream)
    assert line["event"] == "lost connection"
    assert line["logger"] == "sqlalchemy.pool"
    assert line["level"] == "warning"


def test_python_warnings_are_lines(stream: LogStream) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stdlib.captureWarnings(False)
        logging.configure("info", "json", "test", stream)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        stdlib.captureWarnings(False)
    assert "DeprecationWarning: old" in lines(stream)[0]["event"]


def test_level_is_kept(stream: LogStream) -> None:
    logging.configure("warning", "json", "test", stream)
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("name", ["password", "DATABASE_PASSWORD", "access_token", "Authorization", "set-cookie"])
def test_secret_names_are_redacted(stream: LogStream, name: str) -> None:
    structlog.get_logger("x").info("event", **{name: "value"})
    assert lines(stream)[0][name] == "[redacted]"


@pytest.mark.parametrize("text", ["{}", "postgresql://u:{}@h/db", "cannot sign in with '{}'"])
def test_known_secrets_are_redacted_anywhere(stream: LogStream, text: str) -> None:
    secret = 'pa"ss\\wö/rd%'
    logging.hide_secret(secret)
    structlog.get_logger("x").info(text.format(secret))
    assert "ö/rd" not in stream.getvalue().decode()
    assert "[redacted]" in lines(stream)[0]["event"]


def test_tracebacks_hold_no_local_variables(stream: LogStream) -> None:
    def connect() -> None:
        kept_local = "very-" + "private"
        raise ValueError(len(kept_local))

    try:
        connect()
    except ValueError:
        structlog.get_logger("x").exception("failed")
        stdlib.getLogger("library").exception("failed there, too")
    ours, theirs = lines(stream)
    assert ours["exception"][0]["exc_type"] == theirs["exception"][0]["exc_type"] == "ValueError"
    assert b"very-private" not in stream.getvalue()


def test_console_is_for_people(stream: LogStream) -> None:
    logging.configure("info", "console", "test", stream)
    structlog.get_logger("x").info("sold", copies=2)
    assert b"sold" in stream.getvalue()
    assert not stream.getvalue().startswith(b"{")


@given(st.text())
def test_accepted_request_ids_are_safe_to_log(offered: str) -> None:
    accepted = accept_request_id(offered)
    assert 1 <= len(accepted) <= 128
    assert all(character.isascii() and (character.isalnum() or character in "._-") for character in accepted)
