"""Rules about the text of committed files, their named exceptions, and licences."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks import allowed, sources

FIXTURES = Path(__file__).parent / "fixtures/sources"
# Where the rules' own examples of bad text live, and the exceptions that quote it.
EXAMPLES = ("tests/static/fixtures/", "tests/static/allowed.yml")


def test_committed_files_keep_the_rules(committed: dict[str, str], allowances: allowed.Allowed, no_faults: list[str]) -> None:
    for path, text in committed.items():
        if path.startswith(EXAMPLES) or path.endswith(sources.GENERATED[:1]):
            continue
        no_faults += sources.faults_of_text(path, text, allowances.covers)
        no_faults += sources.length_fault(path, text, allowances.covers)
        if path.endswith(".py"):
            no_faults += sources.sleep_faults(path, text, allowances.covers)
    no_faults += allowances.unused({rule.name for rule in sources.RULES} | {"long-file"})


@pytest.mark.parametrize("rule", sorted({rule.name for rule in sources.RULES}))
def test_each_rule_finds_its_bad_example_and_passes_its_good_one(rule: str, no_faults: list[str]) -> None:
    def nothing(_rule: str, _path: str, _text: str) -> bool:
        return False

    good, bad = sorted(FIXTURES.glob(f"{rule}.good.*")), sorted(FIXTURES.glob(f"{rule}.bad.*"))
    assert good, f"{FIXTURES}: no {rule}.good.*"
    assert bad, f"{FIXTURES}: no {rule}.bad.*"
    for file in good:
        no_faults += sources.faults_of_text(file.name.removesuffix(".txt"), file.read_text(encoding="utf-8"), nothing)
    for file in bad:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found = sources.faults_of_text(file.name.removesuffix(".txt"), line, nothing)
            if not any(f": {rule}:" in fault for fault in found):
                no_faults.append(f"{file.name}:{number}: {rule} does not find: {line}")


def test_only_pauses_of_bounded_polls_may_sleep() -> None:
    def faults(code: str) -> list[str]:
        return sources.sleep_faults("a.py", code, lambda *_: False)

    poll = "while not done():\n    assert time.monotonic() < deadline\n    time.sleep(0.1)\n"
    assert faults(poll) == []
    assert faults("await asyncio.sleep(0)\n") == []
    assert faults("time.sleep(5)\n")
    assert faults("await asyncio.sleep(1)\n")
    assert faults("while not done():\n    time.sleep(0.1)\n"), "without a bound"
    assert faults("for _ in range(9):\n    time.sleep(1)\n"), "without an early end"


def test_a_long_file_is_found() -> None:
    assert sources.length_fault("a.py", "x\n" * (sources.MOST_LINES + 1), lambda *_: False)
    assert not sources.length_fault("a.py", "x\n" * sources.MOST_LINES, lambda *_: False)
    assert not sources.length_fault("go.sum", "x\n" * 9999, lambda *_: False)


def test_an_exception_that_nothing_needs_is_a_fault() -> None:
    allowances = allowed.Allowed([{"rule": "machine-path", "path": "a.py", "contains": "x", "reason": "r"}])
    assert not allowances.covers("machine-path", "b.py", "x")
    assert allowances.unused({"machine-path"})
    assert allowances.covers("machine-path", "a.py", "a x b")
    assert not allowances.unused({"machine-path"})


def test_the_licence_is_apache_2_and_named_alike(committed: dict[str, str]) -> None:
    assert "Apache License" in committed["LICENSE"]
    assert "Version 2.0, January 2004" in committed["LICENSE"]
    for path, text in committed.items():
        if path.endswith("galaxy.yml") or (path.startswith("roles/") and path.endswith("meta/main.yml")):
            assert "Apache-2.0" in text, f"{path}: license must be Apache-2.0"
