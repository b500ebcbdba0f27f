# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Compares what is declared with what is live, field by field. Fields that are not declared do not exist here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Change:
    """A managed field that is not as declared; ``field`` is empty when the whole object is missing or superfluous."""

    what: str
    field: str
    old: Any
    new: Any

    def line(self) -> str:
        """Return the change as a person reads it: ``client ui-client: redirectUris: ['a'] -> ['b']``."""
        if not self.field:
            return f"{self.what}: {'created' if self.old is None else 'removed'}"
        return f"{self.what}: {self.field}: {self.old!r} -> {self.new!r}"


def same(old: Any, new: Any) -> bool:
    """Tell whether two values mean the same: lists are sets, an unset value is an empty one."""
    if isinstance(new, list):
        return sorted(map(str, old or [])) == sorted(map(str, new))
    if new in ("", None):
        return old in ("", None)
    return bool(old == new)


def changes(what: str, old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[Change]:
    """Return the declared fields of ``new`` that ``old`` has otherwise; nested objects are compared field by field."""
    found = []
    for key, value in new.items():
        field = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found += changes(what, old.get(key) or {}, value, f"{field}.")
        elif not same(old.get(key), value):
            found.append(Change(what, field, old.get(key), value))
    return found


def membership(what: str, field: str, old: Iterable[str], new: Iterable[str]) -> list[Change]:
    """Return the change that makes the set ``old`` the set ``new``, if they differ."""
    before, after = sorted(set(old)), sorted(set(new))
    return [] if before == after else [Change(what, field, before, after)]


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with the declared fields of ``new``: the server takes whole objects, and what it lacks it forgets."""
    result = dict(old)
    for key, value in new.items():
        result[key] = merged(old.get(key) or {}, value) if isinstance(value, Mapping) else value
    return result
