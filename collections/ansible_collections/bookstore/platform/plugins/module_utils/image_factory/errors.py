"""The one error that the factory raises towards its users."""

from __future__ import annotations


class FactoryError(Exception):
    """A build that cannot go on; the message names the component, the cause and the log file."""

    def __init__(self, message: str, log: str | None = None) -> None:
        super().__init__(message if log is None else f"{message} (log: {log})")
        self.log = log
