"""Every failure that an operator can meet carries an id, and none is censored that holds nothing secret."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine import docker
from ansible_collections.bookstore.platform.plugins.module_utils.images import commands, errors, recipes
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import secret_fingerprints

ROOT = Path(__file__).parents[4]


def test_an_id_is_added_only_where_there_is_none() -> None:
    assert failures.message(ValueError("BK-201: gone")) == "BK-201: gone"
    assert failures.message(OSError("full")) == "BK-110: OSError: full"


def test_a_message_has_one_id() -> None:
    assert failures.identified("BK-117", ValueError("BK-134: Secret x is gone")) == "BK-134: Secret x is gone"
    assert failures.identified("BK-117", ValueError("row 3")) == "BK-117: row 3"
    assert failures.without_id(errors.FactoryError("no wheel")) == "no wheel"


def test_fingerprints_keep_the_id_that_an_error_has() -> None:
    service = {"name": "shop-api", "namespace": "shop", "secrets": {"X": {"name": "gone", "key": "y"}}}
    with pytest.raises(ValueError, match="Secret shop/gone") as caught:
        secret_fingerprints.fingerprints([service], {}, [])
    assert re.findall(r"BK-\d{3}", failures.identified("BK-117", caught.value)) == ["BK-134"]


# What a module tells that other tests have seen to begin with an id: computed texts, by the expression that makes them.
COMPUTED = {
    ("mesh_probe.py", "'\\n'.join(lines + [mesh_plan.describe(edge) for edge in result['broken']])"),
    ("cdc_convergence.py", "cdc.complaint(module.params['mode'], result, module.params['timeout'])"),
    ("event_replay.py", "'\\n'.join(left)"),
    ("host_preflight.py", "'\\n'.join(faults)"),
    ("platform_verify.py", "problems"),
}


def bare(name: str, source: str) -> list[str]:
    """Calls of ``fail_json`` whose text need not begin with an id."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "fail_json":
            continue
        text = next((one.value for one in call.keywords if one.arg == "msg"), call.args[0] if call.args else None)
        first = text.values[0] if isinstance(text, ast.JoinedStr) else text
        literal = isinstance(first, ast.Constant) and re.match(r"BK-\d{3}: ", str(first.value))
        through = isinstance(text, ast.Call) and ast.unparse(text.func) in {"failures.message", "failures.identified"}
        if not (literal or through or (text is not None and (name, ast.unparse(text)) in COMPUTED)):
            found.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    return found


def test_every_module_tells_its_failures_with_an_id() -> None:
    files = list((ROOT / "collections/ansible_collections/bookstore/platform/plugins/modules").glob("*.py"))
    assert len(files) > 20
    assert [fault for file in files for fault in bare(file.name, file.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "call",
    [
        "msg=str(error)", "msg=f'{error}'", "msg='it failed'", "msg=repr(error)", "msg=error.args[0]", "msg=f'no id: {error}'", "'told'",
        "msg='\\n'.join(faults)", "rc=1",
    ],
)  # fmt: skip
def test_a_failure_without_an_id_is_found(call: str) -> None:
    assert bare("some.py", f"module.fail_json({call})")


@pytest.mark.parametrize(("program", "words"), [("exit 3", "BK-234: `docker ps` failed"), (None, "BK-230: there is no docker program")])
def test_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, words: str) -> None:
    if program:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if program else str(tmp_path))
    with pytest.raises(docker.DockerError, match=words):
        docker.docker("ps")


def test_a_silent_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("docker", 1)

    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(docker.DockerError, match="BK-234"):
        docker.docker("ps", timeout=1)


def test_builds_and_recipes(tmp_path: Path) -> None:
    with pytest.raises(errors.FactoryError, match="^BK-118: thing: `false` ended with exit code 1"):
        commands.run("thing", ["false"], tmp_path / "log")
    with pytest.raises(errors.FactoryError, match="^BK-118: thing: no-such-program cannot be run"):
        commands.run("thing", ["no-such-program"], tmp_path / "log")
    with pytest.raises(errors.FactoryError, match="^BK-119: no recipe file matches"):
        recipes.find([str(tmp_path / "*.yml")])
    assert str(errors.FactoryError("BK-151: thing")) == "BK-151: thing"


def test_secrets_are_generated_in_sight() -> None:
    """The module returns names only; censored, nobody would see why it failed."""

    def hidden(entry: object) -> bool:
        if isinstance(entry, list):
            return any(hidden(one) for one in entry)
        if isinstance(entry, dict):
            return ("bookstore.platform.generated_secret" in entry and "no_log" in entry) or any(hidden(one) for one in entry.values())
        return False

    files = [*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "playbooks").glob("*.yml")]
    assert [str(file.relative_to(ROOT)) for file in files if hidden(yaml.safe_load(file.read_text("utf-8")))] == []
