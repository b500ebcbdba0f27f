"""Structured logs: one JSON line per event on stdout, for our loggers and the libraries' alike (SPEC 5.1)."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, BinaryIO
from urllib.parse import quote, quote_plus

import orjson
import structlog

REDACTED = "[redacted]"
_SECRET_NAMES = ("password", "secret", "token", "authorization", "cookie", "credential")
# Shorter values would blank out ordinary words.
_MIN_SECRET_LENGTH = 6
_secrets: set[bytes] = set()


def hide_secret(value: str) -> None:
    """Replace ``value`` by ``[redacted]`` in every later log line, also where it stands inside a URL or a message."""
    if len(value) < _MIN_SECRET_LENGTH:
        return
    for form in (value, quote(value, safe=""), quote_plus(value)):
        _secrets.add(orjson.dumps(form)[1:-1])


def _redact_names(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if any(part in name.lower() for part in _SECRET_NAMES):
            event[name] = REDACTED
    return event


def _render_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    line = orjson.dumps(event, default=repr)
    for secret in _secrets:
        if secret in line:
            line = line.replace(secret, REDACTED.encode())
    return line.decode()


# Without local variables: they hold passwords and what people typed.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


class _LineLogger:
    """Writes one line per event; a line is one write, so lines of two threads never mix."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        self._stream.write(message.encode("utf-8", "replace") + b"\n")
        self._stream.flush()

    log = debug = info = warning = error = critical = exception = fatal = msg


def configure(level: str, log_format: str, service: str, stream: BinaryIO | None = None) -> None:
    """Send all logging, ours and the libraries', to ``stream`` (default stdout).

    ``level``: debug, info, warning or error; libraries are kept at warning unless level is debug.
    ``log_format``: json or console. ``service`` is added to every line.
    """
    output = stream or sys.stdout.buffer
    threshold = logging.getLevelNamesMapping()[level.upper()]

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _redact_names,
    ]
    last: list[structlog.typing.Processor] = (
        [_tracebacks, _render_json]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_args: _LineLogger(output),
        # A test configures more than once; loggers of modules must follow.
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.PositionalArgumentsFormatter()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = _BinaryHandler(output)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Only libraries log through the standard library; ours go straight through structlog.
    root.setLevel(threshold if level == "debug" else max(threshold, logging.WARNING))
    # kafka-python complains whenever the host gave it no time for a tenth of a second.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    logging.captureWarnings(True)


class _BinaryHandler(logging.Handler):
    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._line = _LineLogger(stream)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._line.msg(self.format(record))
        except Exception:  # logging's own contract: report on stderr, never break the caller
            self.handleError(record)
