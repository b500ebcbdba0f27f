"""Logs of a test go to a stream of its own, and pytest's own handlers come back afterwards."""

import io
import json
import logging as stdlib
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from bookstore_common import logging


class LogStream(io.BytesIO):
    """What the code under test logged."""

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def log_stream() -> Iterator[LogStream]:
    """Every test logs as a service would, at level info."""
    root = stdlib.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = LogStream()
    logging.configure("info", "json", "test", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    stdlib.captureWarnings(False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
