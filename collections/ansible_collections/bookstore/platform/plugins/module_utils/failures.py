"""The id of a failure, for errors whose own words have none."""

from __future__ import annotations

import re

ID = re.compile(r"\bBK-\d{3}\b")


def message(error: Exception) -> str:
    """Return an error's words with an id: its own, or BK-110 for what a module did not expect."""
    text = str(error)
    return text if ID.search(text) else f"BK-110: {type(error).__name__}: {text}"
