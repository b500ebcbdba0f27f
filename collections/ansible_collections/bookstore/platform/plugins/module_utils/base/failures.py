"""The id of a failure, for errors whose own words have none."""

from __future__ import annotations

import re

ID = re.compile(r"\bBK-\d{3}\b")
ID_PREFIX = re.compile(r"\bBK-\d{3}: ")


def message(error: Exception) -> str:
    """Return an error's words with an id: its own, or BK-110 for what a module did not expect."""
    return identified("BK-110", error, f"{type(error).__name__}: {error}")


def identified(default: str, error: Exception, text: str | None = None) -> str:
    """Return an error's words with one id: its own, or ``default`` (before ``text``, if that tells more)."""
    return str(error) if ID.search(str(error)) else f"{default}: {error if text is None else text}"


def without_id(error: Exception) -> str:
    """Return an error's words for a message that has an id itself."""
    return ID_PREFIX.sub("", str(error))
