"""Packages: what a killed installation left is repaired, and the operator's own policy survives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.host import debian_packages as packages

ROOT = Path(__file__).parents[4]
OWN = "#!/bin/sh\nexit 0\n"


class Host:
    """Commands are recorded with the policy that was in force."""

    def __init__(self, folder: Path) -> None:
        self.places = packages.Places(folder / "policy-rc.d", folder / "updates", folder / "lock")
        self.places.journal.mkdir()
        self.done: list[str] = []
        self.fail = ""
        self.known = {"docker.io"}

    def run(self, command: Sequence[str], log: Path) -> int:
        assert packages.MARK in self.places.policy.read_text("ascii"), "a service could start"
        assert self.places.policy.stat().st_mode & 0o111
        self.done.append(" ".join(word for word in command if "=" not in word and word != "-o"))
        if command[0] == "apt-cache":
            return 0 if command[-1] in self.known else 100
        return 100 if self.fail and self.fail in self.done[-1] else 0

    def install(self, *names: str) -> bool:
        return packages.install(names, self.places.policy.with_name("apt.log"), self.places, self.run)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_packages_are_installed_without_starting_services(host: Host) -> None:
    assert host.install("docker.io")
    assert host.done == ["apt-get update", "apt-get install --yes --no-install-recommends docker.io"]
    assert not host.places.policy.exists()


def test_of_alternatives_the_first_one_that_the_release_has_is_taken(host: Host) -> None:
    host.install("docker-cli|docker.io", "docker.io")
    assert host.done[-1] == "apt-get install --yes --no-install-recommends docker.io"
    host.known.add("docker-cli")
    host.install("docker-cli|docker.io", "docker.io")
    assert host.done[-1] == "apt-get install --yes --no-install-recommends docker-cli docker.io"


def test_nothing_missing_and_nothing_left_is_nothing_done(host: Host) -> None:
    assert not host.install()
    assert host.done == []


def test_an_interrupted_dpkg_is_completed_first(host: Host) -> None:
    (host.places.journal / "0001").touch()
    host.install("docker.io")
    assert host.done[0] == "dpkg --force-confold --configure -a"
    assert host.done[1] == "apt-get update"


def test_a_policy_that_a_killed_installation_left_is_removed(host: Host) -> None:
    host.places.policy.write_text(packages.TEXT)
    assert host.install()
    assert not host.places.policy.exists()
    assert host.done == []


@pytest.mark.parametrize("fail", ["", "update", "install"])
def test_the_operators_policy_is_kept(host: Host, fail: str) -> None:
    host.places.policy.write_text(OWN)
    host.fail = fail
    if fail:
        with pytest.raises(packages.PackagesError, match="BK-113: docker.io: `apt-get .*exit code 100"):
            host.install("docker.io")
    else:
        host.install("docker.io")
    assert host.places.policy.read_text() == OWN
    assert not host.places.saved.exists()


@pytest.mark.parametrize("ours", [True, False])
def test_the_operators_policy_comes_back_after_a_kill(host: Host, ours: bool) -> None:
    host.places.saved.write_text(OWN)
    if ours:
        host.places.policy.write_text(packages.TEXT)
    assert host.install("redis-server")
    assert host.places.policy.read_text() == OWN


def test_an_operators_policy_alone_is_no_left_over(host: Host) -> None:
    host.places.policy.write_text(OWN)
    assert not packages.left_over(host.places)


def test_it_runs_on_a_bare_python(tmp_path: Path) -> None:
    """As the scripts in tools/ call it, before there is a virtual environment."""
    name = packages.__name__
    done = subprocess.run([sys.executable, "-ISs", "-c", f"import sys; sys.path.append({str(ROOT / 'collections')!r}); import {name}"])
    assert done.returncode == 0


def test_nothing_else_calls_apt() -> None:
    """tools/e2e belongs to the browser's tests."""
    files = [file for folder in ("roles", "tools", "collections", "playbooks") for file in (ROOT / folder).rglob("*") if file.is_file()]
    calls = ("apt-get install", "apt-get update", "ansible.builtin.apt", '"install", "-y"')
    found = {
        str(file.relative_to(ROOT))
        for file in files
        if "images" not in file.parts and file.suffix not in (".pyc", ".md")
        for line in file.read_text("utf-8", errors="replace").splitlines()
        if any(call in line for call in calls) and not any(word in line for word in ("sudo apt-get", "run `apt-get", "(Debian"))
    }
    assert found - {"tools/e2e"} == set()
