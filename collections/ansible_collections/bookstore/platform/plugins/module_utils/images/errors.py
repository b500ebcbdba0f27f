"""The one error that the factory raises towards its users."""

from __future__ import annotations

from ..base.failures import ID


class FactoryError(Exception):
    """A build that cannot go on; the message names the component, the cause and the log file, and gets an id if it has none."""

    DEFAULT = "BK-118"

    def __init__(self, message: str, log: str | None = None) -> None:
        known = message if ID.search(message) else f"{self.DEFAULT}: {message}"
        super().__init__(known if log is None else f"{known} (log: {log})")
        self.log = log


class RecipeError(FactoryError):
    """A recipe that cannot be read."""

    DEFAULT = "BK-119"
