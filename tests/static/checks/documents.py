"""Documents: links lead somewhere, error ids exist, tables repeat the inventory truly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
ERROR_ID = re.compile(r"\bBK-\d{3}\b")


def _prose(text: str) -> str:
    """Return a document without its code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """Return the anchors that headings get: lower case, spaces to dashes, other signs dropped."""
    headings = re.findall(r"^#+\s+(.+?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).lower()) for heading in headings}


def broken_links(file: Path, root: Path) -> list[str]:
    """Return links of a document to files or headings that do not exist. Links to other sites are not followed."""
    text = file.read_text(encoding="utf-8")
    faults = []
    for match in LINK.finditer(_prose(text)):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (file.parent / path).resolve() if path else file
        name = file.relative_to(root)
        if not found.exists():
            faults.append(f"{name}: link {target}: no such file")
        elif anchor and found.suffix == ".md" and anchor not in anchors(found.read_text(encoding="utf-8")):
            faults.append(f"{name}: link {target}: no such heading")
    return faults


def error_faults(sources: Iterable[tuple[str, str]], documented: str) -> list[str]:
    """Return error ids that code uses but ``documented`` (docs/errors.md) does not list, and the reverse."""
    known = set(re.findall(r"^\| (BK-\d{3}) \|", documented, re.MULTILINE))
    used: dict[str, str] = {}
    for path, text in sources:
        for found in ERROR_ID.findall(text):
            used.setdefault(found, path)
    faults = [f"{path}: {found} is not in docs/errors.md" for found, path in sorted(used.items()) if found not in known]
    return faults + [f"docs/errors.md: {found} occurs nowhere in the code; remove it" for found in sorted(known - set(used))]


def address_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of addresses that README.md must hold, generated from bookstore_nodeports."""
    lines = ["| # | Address | Service | Serves |", "|---|---|---|---|"]
    for row in rows:
        scheme = "https" if row["name"] == "https" else "http"
        address, service = f"{scheme}://127.0.0.1:{row['node_port']}", f"{row['namespace']}/{row['service']}"
        lines.append(f"| {row['id']} | `{address}` | `{service}` | {row['serves']} |")
    return "\n".join(lines)
