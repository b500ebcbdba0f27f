"""Texts of others, made fit to be shown: short, printable, without anybody's address."""

import re
from typing import Any

MOST_CHARACTERS = 300
# Generous on purpose: what looks like an address of a person is hidden.
_MAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+\.[^\s@<>\"'(),;:]+")
# Long runs without a space may be tokens or passwords; names of pods and views are shorter.
_SECRET = re.compile(r"(?i)\b(bearer|basic|password|passwd|secret|token|api[_-]?key)\b(\s*[:=]\s*|\s+)\S+")


def shown(value: Any) -> str:
    """The text as the map may show it. It stays text: the page never takes it for markup."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    text = _SECRET.sub(r"\1 (hidden)", _MAIL.sub("(hidden)", text))
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
