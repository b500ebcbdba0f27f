"""Tells where images come from."""

from __future__ import annotations

from collections.abc import Mapping

# Where images come from, in the words of the report.
WORDS = {"packages": "built from packages", "archive": "from archives", "registry": "from a container registry", "absent": "absent"}


def lines(sources: Mapping[str, str], stand_ins: Mapping[str, str]) -> list[str]:
    """Return one line for each source that gives images. ``stand_ins``: image to the one of ours that does its work where it is absent."""
    lines = []
    for source, words in WORDS.items():
        names = sorted(name for name, found in sources.items() if found == source)
        if not names:
            continue
        told = [f"{name} ({stand_ins[name]} stands in)" if source == "absent" and name in stand_ins else name for name in names]
        lines.append(f"images {words}: {len(names)}" if source == "packages" else f"images {words}: {', '.join(told)}")
    return lines
