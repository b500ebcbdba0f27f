"""The ledger of all images that the factory made: where each came from, and its digest in the nodes' registry.

A JSON file that outlives the cache. An entry of before digests were recorded is the source alone, as text.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """``source``: archive, registry or packages. ``digest``: None for what no node pulls, and where it is not known yet."""

    source: str
    digest: str | None = None


def entry(value: Any) -> Entry:
    """Read one entry of the file, old or new."""
    return Entry(value) if isinstance(value, str) else Entry(value["source"], value.get("digest"))


def bare(reference: str) -> str:
    """Return an image reference without its digest: the ledger's key."""
    return reference.partition("@")[0]


def repository(reference: str) -> str:
    """Return an image reference without tag and digest."""
    name = bare(reference)
    before, colon, after = name.rpartition(":")
    return before if colon and "/" not in after else name


def digest(reference: str) -> str:
    """Return the digest of an image reference; empty when it has none."""
    return reference.partition("@")[2]


class Ledger:
    """The file; without a path it is empty and forgets."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def read(self) -> dict[str, Entry]:
        """Return all entries by reference."""
        if self.path is None or not self.path.is_file():
            return {}
        return {reference: entry(value) for reference, value in json.loads(self.path.read_text(encoding="utf-8")).items()}

    def add(self, entries: Mapping[str, Entry]) -> None:
        """Add or correct entries. A digest that is known is not lost to an entry without one."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The run in the background and the ones that wait for it end at any time.
        with open(self.path.with_name(f".{self.path.name}.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self.read()
            updated = {**known}
            for reference, new in entries.items():
                old = known.get(reference)
                updated[reference] = Entry(new.source, new.digest or (old.digest if old else None))
            if updated != known:
                temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
                document = {reference: {"source": one.source, **({"digest": one.digest} if one.digest else {})}
                            for reference, one in updated.items()}
                temporary.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
                os.replace(temporary, self.path)
