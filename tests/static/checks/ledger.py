"""The requirements ledger: each requirement of docs/specification.md has one entry in tests/requirements.yml, and its proofs exist.

An entry is ``R-001: {state: done | partial | open, proof: [...], note: "..."}``. A proof is a file of the checkout, or ``file::name``
with a test, function or class that the file defines. The end-to-end suites that the specification lists have as many tests as it asks for.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SPECIFICATION = "docs/specification.md"
LEDGER = "tests/requirements.yml"
STATES = ("done", "partial", "open")
KEYS = {"state", "proof", "note"}
ROW = re.compile(r"^\| (R-\d{3}) \| .* \| ([^|]*) \|$", re.MULTILINE)
CITED = re.compile(r"\bSPEC ([0-9]+(?:\.[0-9]+)?)|\b(R-\d{3})\b")
SUITE = re.compile(r"^\| (T-\d{2}) \| (\w+) \| (\d+) \|", re.MULTILINE)
PROMISED = re.compile(r"^The requirement is (\d+) tests", re.MULTILINE)
SECTION = re.compile(r"^#{2,3} ([0-9]+(?:\.[0-9]+)?) ", re.MULTILINE)


def specification_faults(text: str) -> list[str]:
    """Return requirements that are listed twice, are left out of the count, or name a section that is not there."""
    rows = ROW.findall(text)
    listed = [name for name, _ in rows]
    sections = set(SECTION.findall(text))
    faults = [f"{name}: listed {count} times in {SPECIFICATION}" for name, count in Counter(listed).items() if count > 1]
    wanted = {f"R-{number:03}" for number in range(1, len(set(listed)) + 1)}
    faults += [f"{name}: not in {SPECIFICATION}, whose last requirement is {max(listed)}" for name in sorted(wanted - set(listed))]
    for name, named in rows:
        numbers = re.findall(r"(?<![A-Z])\b[0-9]+(?:\.[0-9]+)?", re.sub(r"\b[A-Z]-?[0-9]+\b", "", named))
        if not numbers:
            faults.append(f"{name}: names no section")
        faults += [f"{name}: section {number} is not in {SPECIFICATION}" for number in numbers if number not in sections]
    return faults if rows else [f"{SPECIFICATION} lists no requirement"]


def faults(specification: str, ledger: str, root: Path) -> list[str]:
    """Return every disagreement between specification, ledger and the files that it names."""
    known = [name for name, _ in ROW.findall(specification)]
    written = Counter(re.findall(r"^(\S+):", ledger, re.MULTILINE))
    entries: dict[str, Any] = yaml.safe_load(ledger) or {}
    found = specification_faults(specification)
    found += [f"{name}: {count} entries in {LEDGER}" for name, count in written.items() if count > 1]
    found += [f"{name}: not in {LEDGER}" for name in known if name not in entries]
    found += [f"{name}: no such requirement in {SPECIFICATION}" for name in entries if name not in known]
    for name, entry in entries.items():
        found += [f"{name}: {fault}" for fault in _entry_faults(entry, root)]
    return found


def citation_faults(path: str, text: str, specification: str) -> list[str]:
    """Return sections ("SPEC 4.3") and requirements ("R-064") that a file cites and the specification does not have."""
    sections, names = set(SECTION.findall(specification)), {name for name, _ in ROW.findall(specification)}
    cited = {(section, name) for section, name in CITED.findall(text)}
    found = [f"{path}: SPEC {section} is not in {SPECIFICATION}" for section, _ in cited if section and section not in sections]
    return sorted(found + [f"{path}: {name} is not in {SPECIFICATION}" for _, name in cited if name and name not in names])


def suite_faults(specification: str, root: Path) -> list[str]:
    """Return end-to-end suites that lack tests, or are not those that the specification counts together."""
    suites, promised = SUITE.findall(specification), PROMISED.search(specification)
    found = []
    for number, name, wanted in suites:
        file = root / "tests/e2e" / f"test_{name}.py"
        have = named_tests(file) if file.is_file() else 0
        if have < int(wanted):
            found.append(f"{number}: tests/e2e/{file.name} has {have} of {wanted} tests")
    total = sum(int(wanted) for _, _, wanted in suites)
    if promised and total != int(promised.group(1)):
        found.append(f"{SPECIFICATION} asks for {promised.group(1)} end-to-end tests, and its suites have {total}")
    return found


def named_tests(file: Path) -> int:
    """Return how many tests a file has: each function once, and once for each value of a written list that it is repeated for."""
    return sum(
        _repeated(node) for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )  # fmt: skip


def _repeated(function: ast.FunctionDef) -> int:
    times = 1
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.parametrize":
            values = decorator.args[1]
            times *= len(values.elts) if isinstance(values, (ast.List, ast.Tuple)) else 1
    return times


def _entry_faults(entry: Any, root: Path) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "is no mapping; write {state: ..., proof: [...]}"
        return
    for key in sorted(set(entry) - KEYS):
        yield f"unknown key {key!r}; use {', '.join(sorted(KEYS))}"
    state, proofs = entry.get("state"), entry.get("proof") or []
    if state not in STATES:
        yield f"state is {state!r}; write {', '.join(STATES)}"
    if state == "done" and not proofs:
        yield "done without a proof; name a test or a file"
    if state == "partial" and not entry.get("note"):
        yield "partial without a note; say what is missing"
    for proof in proofs:
        path, _, name = str(proof).partition("::")
        if not (root / path).is_file():
            yield f"{path} does not exist"
        elif name and not defines(root / path, name):
            yield f"{path} defines no {name}"


def defines(file: Path, name: str) -> bool:
    """Tell whether a file defines a test, function or class; in files that are not Python's the name must occur as a word."""
    text = file.read_text(encoding="utf-8")
    last = name.split("[")[0].split("::")[-1]
    if file.suffix != ".py":
        return re.search(rf"\b{re.escape(last)}\b", text) is not None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and node.name == last for node in ast.walk(ast.parse(text)))


def summary(ledger: str) -> str:
    """Return how many requirements have which state."""
    entries: dict[str, Any] = yaml.safe_load(ledger) or {}
    states = Counter(entry.get("state") for entry in entries.values() if isinstance(entry, dict))
    return f"{len(entries)} requirements: " + ", ".join(f"{states[state]} {state}" for state in STATES)


def main(root: Path) -> int:
    """Print the faults and the counts; 1 when there is a fault."""
    ledger = (root / LEDGER).read_text(encoding="utf-8")
    specification = (root / SPECIFICATION).read_text(encoding="utf-8")
    found = faults(specification, ledger, root) + suite_faults(specification, root)
    for fault in found:
        print(fault)
    suites = [int(wanted) for *_, wanted in SUITE.findall(specification)]
    print(f"{summary(ledger)}; {sum(suites)} named end-to-end tests in {len(suites)} suites; {len(found)} faults")
    return 1 if found else 0
