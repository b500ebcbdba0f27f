"""The requirements ledger agrees with the specification and with the tests that it names; each fault is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from checks import ledger

SPECIFICATION = """\
## 4 Mesh
### 4.2 Routes
| ID | Requirement | Section |
|---|---|---|
| R-001 | Zero trust | 4 |
| R-002 | Routes | 4.2 H1 |
"""
LEDGER = """\
R-001: {state: done, proof: ["test_a.py::test_true", notes.txt, "notes.txt::word"]}
R-002: {state: partial, proof: [notes.txt], note: "no routes yet"}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "test_a.py").write_text("# test_gone\n\n\ndef test_true() -> None: ...\n", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("a word\n", encoding="utf-8")
    return tmp_path


def test_the_ledger_is_true(root: Path) -> None:
    done = subprocess.run([sys.executable, root / "tools/requirements"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("128 requirements: "), done.stdout
    assert "155 named end-to-end tests in 18 suites" in done.stdout


def test_the_specification_lists_each_requirement_once(committed: dict[str, str]) -> None:
    text = committed[ledger.SPECIFICATION]
    assert [name for name, _ in ledger.ROW.findall(text)] == [f"R-{number:03}" for number in range(1, 129)]
    assert ledger.specification_faults(text) == []


def test_a_true_ledger_has_no_faults(checkout: Path) -> None:
    assert ledger.faults(SPECIFICATION, LEDGER, checkout) == []
    assert ledger.summary(LEDGER) == "2 requirements: 1 done, 1 partial, 0 open"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("R-002:", "R-003:", "R-002: not in tests/requirements.yml"),
        ("R-002:", "R-003:", "R-003: no such requirement in docs/specification.md"),
        ("R-002:", "R-001:", "R-001: 2 entries in tests/requirements.yml"),
        ("state: done", "state: finished", "R-001: state is 'finished'; write done, partial, open"),
        (LEDGER[LEDGER.index("proof:") : LEDGER.index("}")], "proof: []", "R-001: done without a proof; name a test or a file"),
        (', note: "no routes yet"', "", "R-002: partial without a note; say what is missing"),
        ("note:", "remark:", "R-002: unknown key 'remark'; use note, proof, state"),
        ("test_a.py", "test_b.py", "R-001: test_b.py does not exist"),
        # A comment is no test.
        ("test_true", "test_gone", "R-001: test_a.py defines no test_gone"),
        ("notes.txt::word", "notes.txt::wor", "R-001: notes.txt defines no wor"),
        ("{state: partial", "[{state: partial", "R-002: is no mapping; write {state: ..., proof: [...]}"),
    ],
)
def test_a_false_ledger_is_found(checkout: Path, old: str, new: str, fault: str) -> None:
    changed = LEDGER.replace(old, new)
    if new.startswith("["):
        changed = changed.replace('yet"}', 'yet"}]')
    assert fault in ledger.faults(SPECIFICATION, changed, checkout)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("| R-001 |", "| R-002 |", "R-002: listed 2 times in docs/specification.md"),
        ("| R-001 |", "| R-004 |", "R-001: not in docs/specification.md, whose last requirement is R-004"),
        ("| 4.2 H1 |", "| 4.7 |", "R-002: section 4.7 is not in docs/specification.md"),
        ("| 4.2 H1 |", "| H1 |", "R-002: names no section"),
        ("| R-", "| X-", "docs/specification.md lists no requirement"),
    ],
)
def test_a_false_specification_is_found(old: str, new: str, fault: str) -> None:
    assert fault in ledger.specification_faults(SPECIFICATION.replace(old, new))


SUITES = """\
The requirement is 5 tests, all passing.
| # | Suite | Tests | Must cover |
|---|---|---|---|
| T-01 | catalogue | 4 | list |
| T-02 | search | 1 | title |
"""
TESTS = """\
@pytest.mark.parametrize("size", [1, 2])
def test_pages() -> None: ...
@pytest.mark.parametrize("state", STATES)
def test_states() -> None: ...
def test_list() -> None: ...
def helper() -> None: ...
"""


def test_named_tests_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "tests/e2e"
    folder.mkdir(parents=True)
    (folder / "test_catalogue.py").write_text(TESTS, encoding="utf-8")
    (folder / "test_search.py").write_text("def test_title() -> None: ...\n", encoding="utf-8")
    assert ledger.suite_faults(SUITES, tmp_path) == []
    more = SUITES.replace("| 4 |", "| 5 |").replace("search", "orders")
    assert ledger.suite_faults(more, tmp_path) == [
        "T-01: tests/e2e/test_catalogue.py has 4 of 5 tests", "T-02: tests/e2e/test_orders.py has 0 of 1 tests",
        "docs/specification.md asks for 5 end-to-end tests, and its suites have 6",
    ]  # fmt: skip


def test_what_files_cite_is_in_the_specification(committed: dict[str, str], no_faults: list[str]) -> None:
    specification = committed[ledger.SPECIFICATION]
    for path, text in committed.items():
        if path != "tests/static/test_ledger.py":
            no_faults += ledger.citation_faults(path, text, specification)


def test_a_citation_of_nothing_is_found() -> None:
    assert ledger.citation_faults("a.py", "# SPEC 4.2, SPEC 4 and R-001.", SPECIFICATION) == []
    assert ledger.citation_faults("a.py", "# SPEC 4.3, 4; R-003", SPECIFICATION) == [
        "a.py: R-003 is not in docs/specification.md", "a.py: SPEC 4.3 is not in docs/specification.md",
    ]  # fmt: skip
