"""tools/venv: what a killed run left is made anew, and a stamp says what the environment holds now. No registry is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# As the real ones do, `venv` puts bin/python there first, and pip brings uv. Each call is noted.
PYTHON = """#!/bin/bash
echo "python $*" >>"$CALLS"
case "$*" in
  *"-m venv"*)
    [[ $* != *--clear* ]] || rm -rf .venv
    mkdir -p .venv/bin
    cp "$INNER" .venv/bin/python
    chmod +x .venv/bin/python
    [[ -z ${KILLED:-} ]] || exit 1
    touch .venv/pip ;;
esac
"""
INNER = """#!/bin/bash
echo "inner $*" >>"$CALLS"
[[ -f .venv/pip ]] || exit 1
cp "$UV" .venv/bin/uv
[[ $2 != *package_index.py ]] || exec "${@:3}"
"""
UV = """#!/bin/bash
echo "uv $*" >>"$CALLS"
[[ -z ${UNREACHABLE:-} ]]
"""


class Checkout:
    """A checkout with two lock files, and stand-ins for python3 and uv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tools").mkdir()
        shutil.copy(ROOT / "tools/venv", folder / "tools/venv")
        (folder / "bin").mkdir()
        for name, text in (("python3", PYTHON), ("inner", INNER), ("uv", UV)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.lock("small", "A")
        self.lock("large", "A")

    def lock(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run(self, *locks: str, **environment: str) -> list[str]:
        """Return the calls of one run."""
        # Without tools/environment, whose Python would be the stand-in.
        calls = self.folder / "calls"
        calls.write_text("")
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "CALLS": str(calls), "UV": str(self.folder / "bin/uv"),
               "INNER": str(self.folder / "bin/inner"), "XDG_CACHE_HOME": str(self.folder),
               "BOOKSTORE_ENVIRONMENT": "declared"}  # fmt: skip
        done = subprocess.run(["tools/venv", *locks], cwd=self.folder, env={**env, **environment}, capture_output=True, text=True)
        self.ok, self.said = done.returncode == 0, done.stderr
        return calls.read_text().splitlines()

    def installs(self, *locks: str, **environment: str) -> bool:
        return any(call.startswith("uv ") for call in self.run(*locks, **environment))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_complete_environment_is_left_alone(checkout: Checkout) -> None:
    assert checkout.installs("small")
    assert checkout.ok
    assert not checkout.installs("small")


def test_an_environment_without_pip_is_made_anew(checkout: Checkout) -> None:
    """`python -m venv` puts bin/python there before pip; a kill in between must not last."""
    checkout.run("small", KILLED="yes")
    assert not checkout.ok
    assert (checkout.folder / ".venv/bin/python").exists()
    assert any("venv --clear" in call for call in checkout.run("small"))
    assert checkout.ok


def test_an_interrupted_installation_is_not_trusted(checkout: Checkout) -> None:
    checkout.run("small")
    checkout.lock("small", "B")
    checkout.run("small", UNREACHABLE="yes")
    assert not checkout.ok
    assert "BK-100" in checkout.said
    checkout.lock("small", "A")
    assert checkout.installs("small"), "the environment may hold some of B"


def test_a_lock_that_was_replaced_is_not_there_any_more(checkout: Checkout) -> None:
    checkout.run("small")
    checkout.lock("small", "B")
    assert checkout.installs("small")
    checkout.lock("small", "A")
    assert checkout.installs("small"), "the environment holds B"


def test_a_larger_set_satisfies_a_smaller_one(checkout: Checkout) -> None:
    assert checkout.installs("small", "large")
    assert not checkout.installs("small")
    assert not checkout.installs("small", "large")


def test_a_smaller_set_does_not_satisfy_a_larger_one(checkout: Checkout) -> None:
    checkout.run("small")
    assert checkout.installs("small", "large")


def test_a_stamp_of_an_older_checkout_is_kept_in_use_but_not_believed(checkout: Checkout) -> None:
    checkout.run("small")
    (checkout.folder / ".venv/.locks").write_text("0123456789abcdef\n")
    calls = checkout.run("small")
    assert any(call.startswith("uv ") for call in calls)
    assert not any("--clear" in call for call in calls), "others may be using it"
