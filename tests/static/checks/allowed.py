"""Named exceptions from the rules: tests/static/allowed.yml, one entry each, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import yaml

FILE = Path(__file__).parents[1] / "allowed.yml"


@dataclass
class Allowed:
    """``entries``: the file's rows {rule, path, contains, reason}. Remembers which ones were of use."""

    entries: list[dict[str, str]]
    used: set[int] = field(default_factory=set)

    def covers(self, rule: str, path: str, text: str) -> bool:
        """Tell whether an entry allows ``text`` (a line, or a fault) of ``path`` to break ``rule``."""
        found = False
        for index, entry in enumerate(self.entries):
            if entry["rule"] == rule and fnmatch(path, entry["path"]) and entry.get("contains", "") in text:
                self.used.add(index)
                found = True
        return found

    def unused(self, rules: set[str]) -> list[str]:
        """Return the entries of ``rules`` that nothing needed: they would hide the next fault."""
        return [
            f"allowed.yml: rule {entry['rule']}, path {entry['path']}: nothing needs this entry; remove it"
            for index, entry in enumerate(self.entries)
            if entry["rule"] in rules and index not in self.used
        ]


def load() -> Allowed:
    """Read the file; ValueError when an entry lacks its rule, path or reason."""
    entries: list[dict[str, str]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for entry in entries:
        missing = {"rule", "path", "reason"} - set(entry)
        if missing:
            raise ValueError(f"allowed.yml: entry {entry}: {sorted(missing)[0]} is missing")
    return Allowed(entries)
