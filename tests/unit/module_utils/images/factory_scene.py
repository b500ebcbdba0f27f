"""A factory with three images; the engine and the builders are stand-ins here, real in `make up`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, factory, ledger, recipes

RECIPES = """
artifacts:
  - {name: rootfs, builder: mmdebstrap, suite: trixie, include: []}
  - {name: binary, builder: go, module: module, packages: {tool: .}}
images:
  - {name: base, rootfs: rootfs, publish: false}
  - {name: app, context: app, base: base, uses: {binary/tool: tool}, upstream: "org/app:{app_version}"}
  - {name: foreign, upstream: "org/foreign:{app_version}"}
"""


class FakeEngine:
    """Remembers what it was asked to do."""

    def __init__(self) -> None:
        self.images: set[str] = set()
        self.registry: dict[tuple[str, str], str] = {}
        self.calls: list[str] = []
        self.reachable = False
        self.asked: list[str] = []

    def reference(self, name: str, tag: str) -> str:
        return f"local/{name}:{tag}"

    def has(self, reference: str) -> bool:
        return reference in self.images

    def published(self, name: str, tag: str) -> str | None:
        return self.registry.get((name, tag))

    def is_same(self, reference: str, name: str, digest: str) -> bool:
        return reference in self.images and digest == f"digest of {reference}"

    def _made(self, call: str, reference: str) -> None:
        self.calls.append(call)
        self.images.add(reference)

    def build(self, reference: str, folder: Path, files: dict[str, Path], base: str | None, log: Path) -> None:
        assert base in self.images
        assert all(path.exists() for path in files.values())
        self._made(f"build {folder.name}", reference)

    def import_rootfs(self, reference: str, tar: Path, log: Path) -> None:
        self._made("import", reference)

    def load(self, reference: str, archive: Path, log: Path) -> None:
        self._made(f"load {archive.name}", reference)

    def pull(self, upstream: str, reference: str, log: Path) -> None:
        self._made(f"pull {upstream}", reference)

    def publish(self, reference: str, name: str, tags: list[str], log: Path) -> str:
        assert reference in self.images
        self.calls.append(f"publish {name}")
        self.registry.update({(name, tag): f"digest of {reference}" for tag in tags})
        return f"digest of {reference}"

    def registry_answers(self, upstream: str, seconds: float) -> bool:
        self.asked.append(upstream)
        return self.reachable


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("images/app", "images/module", "archives"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "images/recipes.yml").write_text(RECIPES)
    (tmp_path / "images/app/Containerfile").write_text("FROM base\n")
    (tmp_path / "images/module/main.go").write_text("package main\n")
    return tmp_path


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the artifacts in the order in which they were built."""
    names: list[str] = []

    def build(artifact: recipes.Artifact, target: Path, context: builders.Context) -> None:
        names.append(artifact.name)
        (target / "tool").write_text("x")

    monkeypatch.setattr(builders, "BUILDERS", dict.fromkeys(recipes.BUILDERS, build))
    return names


Make = Callable[..., factory.Factory]


@pytest.fixture
def make(project: Path) -> Make:
    def create(engine: FakeEngine, source: str = "packages", archives: Path | None = None, jobs: int = 2, **more: Any) -> factory.Factory:
        context = builders.Context(cache.Cache(project / "cache"), project, project / "logs", {"go": "1", "app": "2.0"})
        return factory.Factory(recipes.load([project / "images/recipes.yml"]), context, engine,  # type: ignore[arg-type]
                               source=source, archives=archives, jobs=jobs, progress_file=project / "progress.json",
                               ledger=ledger.Ledger(project / "state/ledger.json"), **more)

    return create
