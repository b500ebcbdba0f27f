"""The commands run what they say, and nothing is skipped without its reason on the screen."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_run_of_pytest_prints_why_it_skips(committed: dict[str, str], no_faults: list[str]) -> None:
    """tools/e2e belongs to the browser's tests."""
    for path, text in committed.items():
        if path.startswith("tools/") and path != "tools/e2e":
            runs = re.findall(r"\bpytest -q[^\n]*", text)
            no_faults += [f"{path}: {run}: add -rs" for run in runs if " -rs" not in run]


# In the place of every program that the tools start: notes its folder and its arguments, and fails when it is told to.
STUB = """\
#!/bin/bash
printf '%s\\t%s\\t%s\\t%s\\n' "${0##*/}" "$PWD" "$MYPYPATH" "$*" >>"$RECORD"
[[ "$FAILING" != "${0##*/}" ]]
"""
PROGRAMS = ("ansible-lint", "ansible-playbook", "mypy", "pytest", "python", "ruff", "shellcheck", "yamllint")
CHECKS = (
    "ansible-lint", "ansible-playbook", "mesh-map", "mypy", "nodenet", "pytest", "python", "ruff", "shellcheck", "storefront", "yamllint",
)  # fmt: skip
TESTS = ("check", "component-tests", "nodenet", "pytest", "e2e")
TYPED = (
    "collections/ansible_collections/bookstore/platform/plugins/", "tools/", "apps/", "tests/live/", "tests/e2e/", "tests/perf/",
    "tests/contract/", "tests/static/",
)  # fmt: skip
# Broken on purpose, for the checks to find.
UNTYPED = ("tests/static/fixtures/",)


@dataclass(frozen=True)
class Call:
    """A program that a tool started."""

    program: str
    folder: Path
    mypy_path: str
    arguments: list[str]


@dataclass(frozen=True)
class Checkout:
    """A checkout whose tools start stubs."""

    root: Path

    def run(self, tool: str, failing: str = "") -> tuple[int, list[Call], str]:
        """Run one of the tools; returns its exit code, what it started, and what it said."""
        record = self.root / "record"
        record.write_text("", encoding="utf-8")
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.root), "BOOKSTORE_ENVIRONMENT": "declared", "RECORD": str(record), "FAILING": failing,
        }  # fmt: skip
        command = [str(self.root / "tools" / tool)]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=120, check=False)
        rows = [line.split("\t") for line in record.read_text(encoding="utf-8").splitlines()]
        calls = [Call(program, Path(folder), path, arguments.split()) for program, folder, path, arguments in rows]
        return done.returncode, calls, done.stdout + done.stderr


@pytest.fixture
def checkout(committed: dict[str, str], tmp_path: Path) -> Callable[[str], Checkout]:
    """Makes a checkout in which one tool is the real one; the others are stubs."""

    def make(tool: str) -> Checkout:
        for name, text in committed.items():
            if name.endswith((".py", "/pyproject.toml")) or name.startswith("tools/"):
                file = tmp_path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text if name in (f"tools/{tool}",) or not name.startswith("tools/") or "/" in name[6:] else STUB, "utf-8")
                file.chmod(0o755)
        (tmp_path / ".venv/bin").mkdir(parents=True)
        for name in PROGRAMS:
            (tmp_path / ".venv/bin" / name).write_text(STUB, "utf-8")
            (tmp_path / ".venv/bin" / name).chmod(0o755)
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        subprocess.run(["git", "add", "tools"], cwd=tmp_path, check=True)
        return Checkout(tmp_path)

    return make


@pytest.mark.parametrize(
    ("tool", "parts", "success"), [("check", CHECKS, "make check: all passed"), ("test", TESTS, "make test: all passed")]
)
def test_every_part_is_run_and_its_failure_is_the_tools(
    checkout: Callable[[str], Checkout], tool: str, parts: tuple[str, ...], success: str
) -> None:
    here = checkout(tool)
    code, calls, said = here.run(tool)
    assert (code, success in said) == (0, True), said
    assert {call.program for call in calls} >= set(parts)
    for part in parts:
        code, _, said = here.run(tool, failing=part)
        assert (code != 0, success in said) == (True, False), f"{part} failed, and tools/{tool} ended with {code}: {said}"


def test_the_agents_tests_are_run(checkout: Callable[[str], Checkout], tmp_path: Path) -> None:
    here = checkout("check")
    assert [call.arguments for call in here.run("check")[1] if call.program == "nodenet"] == [["unit"]]
    (here.root / "tools/test").write_text((ROOT / "tools/test").read_text(encoding="utf-8"), encoding="utf-8")
    assert [call.arguments for call in here.run("test")[1] if call.program == "nodenet"][-1] == ["proof"]


def covered(call: Call, root: Path) -> list[str]:
    """Folders and files, as of the checkout's root, that a run of mypy looks at."""
    roots = [call.folder, *(call.folder / path for path in call.mypy_path.split(":") if path)]
    found: list[Path] = []
    arguments = iter(call.arguments)
    for argument in arguments:
        if argument == "-p":
            package = next(arguments).replace(".", "/")
            found += [base / package for base in roots if (base / package).is_dir()][:1]
        elif argument.startswith("-"):
            next(arguments) if argument == "--config-file" else None
        else:
            found.append(call.folder / argument)
    return [str(path.resolve().relative_to(root.resolve())) for path in found if path.exists()]


def test_all_python_is_typed(checkout: Callable[[str], Checkout], committed: dict[str, str]) -> None:
    here = checkout("check")
    places = [place for call in here.run("check")[1] if call.program == "mypy" for place in covered(call, here.root)]
    asked = [name for name in committed if name.endswith(".py") and name.startswith(TYPED) and not name.startswith(UNTYPED)]
    assert len(asked) > 300
    assert [name for name in asked if not any(name == place or name.startswith(f"{place}/") for place in places)] == []


def test_what_is_not_run_is_told(committed: dict[str, str], no_faults: list[str]) -> None:
    """An `exit 0` or a missing file that ends a step early says so."""
    for path in ("tools/check", "tools/nodenet", "tools/node-proxy", "tools/page"):
        before = ""
        for line in committed[path].splitlines():
            if re.search(r"\bexit 0\b", line) and "not run" not in line + before:
                no_faults.append(f"{path}: {line.strip()}: say what is not run, and why")
            before = line


def test_whatever_changes_the_platform_holds_the_lock(committed: dict[str, str]) -> None:
    """playbooks/recover.yml is the bring-up again; `verify`, `status` and `doctor` work beside a run."""
    for playbook in ("bootstrap", "teardown"):
        tasks = committed[f"playbooks/{playbook}.yml"].split("asks:\n", 1)[1]
        assert "tasks_from: lock" in tasks, playbook
        before = tasks.split("tasks_from: lock")[0]
        assert "bookstore.platform." not in before, f"{playbook}.yml does something before it holds the lock"
    assert "tools/locked molecule test" in committed["tools/molecule"]
    assert "tools/locked" in committed["Makefile"].split("\nfaults:")[1]
