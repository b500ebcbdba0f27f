"""The commands run what they say, and nothing is skipped without its reason on the screen."""

from __future__ import annotations

import re


def test_every_run_of_pytest_prints_why_it_skips(committed: dict[str, str], no_faults: list[str]) -> None:
    """tools/e2e belongs to the browser's tests."""
    for path, text in committed.items():
        if path.startswith("tools/") and path != "tools/e2e":
            runs = re.findall(r"\bpytest -q[^\n]*", text)
            no_faults += [f"{path}: {run}: add -rs" for run in runs if " -rs" not in run]


def test_the_agents_tests_are_run(committed: dict[str, str]) -> None:
    assert "tools/nodenet unit" in committed["tools/check"]
    assert "tools/nodenet proof" in committed["tools/test"]


def test_all_of_the_collection_and_the_operators_tools_are_typed(committed: dict[str, str]) -> None:
    assert "-p ansible_collections.bookstore.platform.plugins)" in committed["tools/check"]
    assert "-p operator_view" in committed["tools/check"]


def test_what_is_not_run_is_told(committed: dict[str, str], no_faults: list[str]) -> None:
    """An `exit 0` or a missing file that ends a step early says so."""
    for path in ("tools/check", "tools/nodenet", "tools/storefront"):
        before = ""
        for line in committed[path].splitlines():
            if re.search(r"\bexit 0\b", line) and "not run" not in line + before:
                no_faults.append(f"{path}: {line.strip()}: say what is not run, and why")
            before = line
    assert "requirements: not run" in committed["tools/check"]


def test_whatever_changes_the_platform_holds_the_lock(committed: dict[str, str]) -> None:
    """playbooks/recover.yml is the bring-up again; `verify`, `status` and `doctor` work beside a run."""
    for playbook in ("bootstrap", "teardown"):
        tasks = committed[f"playbooks/{playbook}.yml"].split("asks:\n", 1)[1]
        assert "tasks_from: lock" in tasks, playbook
        before = tasks.split("tasks_from: lock")[0]
        assert "bookstore.platform." not in before, f"{playbook}.yml does something before it holds the lock"
    assert "tools/locked molecule test" in committed["tools/molecule"]
    assert "tools/locked" in committed["Makefile"].split("\nfaults:")[1]
