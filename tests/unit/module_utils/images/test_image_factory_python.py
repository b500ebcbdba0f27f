"""Python packages for another interpreter; uv is a stand-in that writes down how it was called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, recipes
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> builders.Context:
    client = tmp_path / "uv"
    client.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n', encoding="utf-8")
    client.chmod(0o755)
    monkeypatch.setattr(builders, "uv", lambda: str(client))
    (tmp_path / "requirements.txt").write_text("one==1\n", encoding="utf-8")
    return builders.Context(cache.Cache(tmp_path / "cache"), tmp_path, tmp_path / "logs", {})


def arguments(context: builders.Context, **spec: Any) -> str:
    """Build, and return the client's arguments."""
    target = context.project / "target"
    target.mkdir()
    whole = {"python": "3.11", "requirements": "requirements.txt", "sources": {}, **spec}
    builders.build_python_target(recipes.Artifact("packages", "python_target", context.project, whole), target, context)
    return (context.project / "arguments").read_text(encoding="utf-8")


def test_only_wheels_of_the_wanted_python_are_installed_and_all_have_hashes(context: builders.Context) -> None:
    called = arguments(context)
    assert "--only-binary :all: --python-version 3.11" in called
    assert "--require-hashes" in called
    assert "--no-binary" not in called


def test_named_packages_come_from_source(context: builders.Context) -> None:
    called = arguments(context, from_source=["wtforms-json", "other"])
    assert "--only-binary :all: --no-binary wtforms-json --no-binary other" in called
    assert "--require-hashes" in called


def test_folders_that_are_left_out_are_neither_there_nor_decide(context: builders.Context) -> None:
    package = context.project / "src" / "library"
    (package / "testing").mkdir(parents=True)
    (package / "core.py").write_text("1\n", encoding="utf-8")
    helper = package / "testing" / "helper.py"
    helper.write_text("1\n", encoding="utf-8")
    spec = {"python": "3.11", "requirements": "requirements.txt", "sources": {"src": "."}, "without": ["library/testing"]}
    artifact = recipes.Artifact("packages", "python_target", context.project, spec)
    arguments(context, sources=spec["sources"], without=spec["without"])
    assert sorted(str(path.relative_to(context.project / "target")) for path in (context.project / "target").rglob("*")) == [
        "library", "library/core.py",
    ]  # fmt: skip
    before = cache.digest(builders.inputs(artifact, context))
    helper.write_text("2\n", encoding="utf-8")
    assert cache.digest(builders.inputs(artifact, context)) == before
    (package / "core.py").write_text("2\n", encoding="utf-8")
    assert cache.digest(builders.inputs(artifact, context)) != before


def test_a_folder_to_leave_out_that_is_not_there_is_named(context: builders.Context) -> None:
    with pytest.raises(FactoryError, match="packages: without: the sources hold no folder library/tests"):
        arguments(context, without=["library/tests"])


def test_what_comes_from_source_decides_about_the_artifact(context: builders.Context) -> None:
    spec = {"python": "3.11", "requirements": "requirements.txt", "sources": {}}
    plain = recipes.Artifact("packages", "python_target", context.project, spec)
    other = recipes.Artifact("packages", "python_target", context.project, {**spec, "from_source": ["one"]})
    assert cache.digest(builders.inputs(plain, context)) != cache.digest(builders.inputs(other, context))
