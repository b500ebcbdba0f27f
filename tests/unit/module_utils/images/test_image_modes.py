"""Neither umask nor the modes of a checkout reach an image, and /tmp may be mounted without the right to run anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, engine, factory, recipes
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError

RECIPES = """
artifacts:
  - {name: program, builder: sources, sources: {src: .}}
  - {name: rootfs, builder: mmdebstrap, suite: trixie, include: []}
images:
  - {name: base, rootfs: rootfs, publish: false}
  - {name: app, context: app, base: base, uses: {program: program}}
"""
# Writes down what it is given. Root reads everything, so the modes are what counts.
DOCKER = """#!/bin/sh
for last; do :; done
cd "$last" && find . -mindepth 1 -printf '%m %P\\n' | sort >"$SEEN"
"""


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=["umask 022", "umask 027", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout, made under the umask of the moment."""
    for name, text in {"src/package/code.py": "1", "src/package/run": "#!", "app/Containerfile": "FROM x", "app/etc/settings": "a"}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    run = tmp_path / "src/package/run"
    run.chmod(run.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "recipes.yml").write_text(RECIPES)
    return tmp_path


def made(project: Path) -> factory.Factory:
    context = builders.Context(cache.Cache(project / "cache"), project, project / "logs", {})
    return factory.Factory(
        recipes.load([project / "recipes.yml"]), context, engine.Engine("local", "127.0.0.1:1", "shop-registry", project / "programs"),
        source="packages", archives=None, jobs=1, progress_file=None,
    )  # fmt: skip


EXPECTED = [
    "644 Containerfile", "644 etc/settings", "644 program/package/code.py", "755 etc", "755 program", "755 program/package",
    "755 program/package/run",
]  # fmt: skip


def context_modes(project: Path, monkeypatch: pytest.MonkeyPatch, artifact: Path) -> list[str]:
    (project / "docker").write_text(DOCKER)
    (project / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{project}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(project / "seen"))
    images = engine.Engine("local", "127.0.0.1:1", "shop-registry", project / "programs")
    images.build("app:1", project / "app", {"program": artifact}, None, project / "log")
    return (project / "seen").read_text().splitlines()


def test_an_image_is_made_of_files_with_normal_modes(umask: int, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(project)
    run._build_artifact(run.catalogue.artifacts["program"])
    assert context_modes(project, monkeypatch, run._artifact_path("program")) == EXPECTED


def test_an_artifact_of_before_is_not_linked_with_its_modes(umask: int, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert context_modes(project, monkeypatch, project / "src") == EXPECTED


def test_what_was_made_of_unreadable_files_before_is_made_again(project: Path) -> None:
    before = {name: made(project).key(name) for name in ("program", "app", "rootfs")}
    entry = made(project).context.cache.path("artifacts", "program", before["program"])
    (entry / "package").mkdir(parents=True)
    assert made(project).key("app") == before["app"]
    (entry / "package").chmod(0o700)
    after = {name: made(project).key(name) for name in before}
    assert after["program"] != before["program"]
    assert after["app"] != before["app"]
    assert after["rootfs"] == before["rootfs"]


def test_an_image_of_an_unreadable_checkout_is_made_again_and_others_stay(project: Path) -> None:
    before = made(project).key("app")
    (project / "app/etc/settings").chmod(0o640)
    assert made(project).key("app") != before
    (project / "app/etc/settings").chmod(0o644)
    assert made(project).key("app") == before


def test_that_a_file_may_be_run_decides_the_hash_and_no_other_mode_does(project: Path) -> None:
    before = cache.files_digest(project / "src")
    (project / "src/package/code.py").chmod(0o600)
    assert cache.files_digest(project / "src") == before
    (project / "src/package/code.py").chmod(0o700)
    assert cache.files_digest(project / "src") != before


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ({}, "/tmp"),
        ({"/tmp": os.ST_NOEXEC}, "/var/tmp"),
        ({"/tmp": os.ST_NOEXEC | os.ST_NODEV, "/var/tmp": os.ST_NOEXEC}, "own"),
    ],
)
def test_temporary_files_go_where_programs_may_run(tmp_path: Path, flags: dict[str, int], chosen: str) -> None:
    folder = builders.scratch_folder(tmp_path, lambda path: flags.get(str(path), 0))
    assert folder == (tmp_path / "tmp" if chosen == "own" else Path(chosen))


def test_a_cache_from_which_nothing_may_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=f"BK-298: bookstore_cache_dir={tmp_path} "):
        builders.scratch_folder(tmp_path, lambda path: os.ST_NOEXEC if path.is_relative_to(tmp_path) else 0)


def test_builders_give_their_programs_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "scratch_folder", lambda root: root / "elsewhere")
    context = builders.Context(cache.Cache(tmp_path), tmp_path, tmp_path, {})
    assert context.uv_env()["TMPDIR"] == f"{tmp_path}/elsewhere"
