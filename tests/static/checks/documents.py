"""Documents: links lead somewhere; commands, files and error ids exist; tables repeat the inventory truly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"<img\s[^>]*?src=\"([^\"]+)\"")
COMMAND = re.compile(r"(?:^|`|\$ )make ([a-z0-9-]+)", re.MULTILINE)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
# A path from the root: what has a sign of a pattern (*, <, {) behind it is none.
FILE = re.compile(
    r"(?<![\w/.$~-])((?:apps|collections|components|docs|flink|inventory|molecule|playbooks|requirements|roles|superset|tests|tools)"
    r"/[\w./-]*\w)(?![\w/.-]*[*<{(])",
)
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
    targets = [one for match in LINK.finditer(_prose(text)) for one in match.groups() if one] + IMAGE.findall(_prose(text))
    for target in targets:
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


def unknown_commands(path: str, text: str, targets: set[str]) -> list[str]:
    """Return targets of make that a document's code names and the Makefile does not have."""
    return [f"{path}: make {name} does not exist" for name in sorted(set(COMMAND.findall(text)) - targets)]


def missing_files(path: str, text: str, files: Iterable[str]) -> list[str]:
    """Return files and folders that a document's code names, from the root or from its own folder, and that ``files`` do not have."""
    known = {str(one) for file in files for one in (Path(file), *Path(file).parents)}
    named = {name for code in CODE.findall(text) for name in FILE.findall(code)}
    missing = {name for name in named if name not in known and not any(str(parent / name) in known for parent in _homes(path))}
    return [f"{path}: {name} does not exist" for name in sorted(missing)]


def _homes(path: str) -> tuple[Path, ...]:
    """Return the folders that paths of a document may begin in, beside the root: its own, and the sources in it."""
    return Path(path).parent, Path(path).parent / "src"


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
