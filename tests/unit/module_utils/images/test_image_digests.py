"""What nodes run is named by the digest of what the factory pushed, whatever a tag in the registry says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import ledger

from . import factory_scene as scene
from .factory_scene import FakeEngine, Make

project, built, make = scene.project, scene.built, scene.make


def as_of_before_digests(project: Path) -> Path:
    """Turn the ledger into one of a platform that recorded sources only."""
    file = project / "state/ledger.json"
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), "packages")))
    return file


@pytest.mark.parametrize("source", ["packages", "registry", "archive"])
def test_every_published_image_is_named_by_digest(make: Make, built: list[str], project: Path, source: str) -> None:
    if source == "archive":
        (project / "archives/app.tar").write_bytes(b"archive")
    run = make(FakeEngine(), "packages" if source == "archive" else source, project / "archives")
    images = run.run(["app", "base"]).images
    assert images["app"] == f"local/app:{run.key('app')}@digest of local/app:{run.key('app')}"
    # No node pulls it.
    assert images["base"] == f"local/base:{run.key('base')}"


def test_a_tag_with_other_content_is_not_taken_for_ours(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    first = make(engine).run(["app"]).images["app"]
    (key,) = engine.registry
    engine.registry[key] = "digest of something else"
    engine.calls.clear()
    survey = make(engine).survey()
    assert survey.missing == ["app"]
    assert "app" not in survey.images
    assert survey.replaced == [first.partition("@")[0]]
    again = make(engine).run(["app"])
    assert (engine.calls, again.images["app"]) == (["publish app"], first)


def test_a_versions_tag_may_name_what_another_recipe_made(make: Make, built: list[str], project: Path) -> None:
    recipe = project / "images/recipes.yml"
    recipe.write_text(recipe.read_text().replace("{name: app,", '{name: app, tags: ["v{app}"],'))
    engine, source = FakeEngine(), project / "images/module/main.go"
    first = make(engine).run(["app"]).images["app"]
    before = source.read_text()
    source.write_text("package main // changed\n")
    make(engine).run(["app"])
    source.write_text(before)
    back = make(engine).survey()
    assert (back.missing, back.replaced) == (["app"], []), "its tag is given back to it, without a warning"
    engine.registry["app", "v2.0"] = "digest of something else"
    assert make(engine).survey().replaced == [first.partition("@")[0]]


def test_an_image_of_before_digests_gets_its_own_without_a_build(make: Make, built: list[str], project: Path) -> None:
    engine = FakeEngine()
    wanted = make(engine).run(["app"]).images["app"]
    file = as_of_before_digests(project)
    engine.calls.clear()
    built.clear()
    run = make(engine)
    found = run.survey()
    assert (found.images["app"], found.replaced, engine.calls, built) == (wanted, [], [], [])
    run.ledger.add(found.origins)
    reference, _, digest = wanted.partition("@")
    assert json.loads(file.read_text())[reference] == {"source": "packages", "digest": digest}


@pytest.mark.parametrize("engine_has_it", [True, False])
def test_what_anybody_could_have_pushed_before_is_not_believed(make: Make, built: list[str], project: Path, engine_has_it: bool) -> None:
    engine = FakeEngine()
    wanted = make(engine).run(["app"]).images["app"]
    as_of_before_digests(project)
    (key,) = engine.registry
    engine.registry[key] = "digest of something else"
    if not engine_has_it:
        engine.images.discard(wanted.partition("@")[0])
    engine.calls.clear()
    assert make(engine).run(["app"]).images["app"] == wanted
    assert engine.calls == ["publish app"] if engine_has_it else ["build app", "publish app"]


def test_images_that_only_pods_still_run_get_their_digests_too(make: Make, built: list[str], project: Path) -> None:
    engine = FakeEngine()
    older = make(engine).run(["app"]).images["app"]
    (project / "images/module/main.go").write_text("package main // changed\n")
    make(engine).run(["app"])
    as_of_before_digests(project)
    reference, _, digest = older.partition("@")
    assert make(engine).survey().origins[reference] == ledger.Entry("packages", digest)


@pytest.mark.parametrize(("reference", "repository"), [
    ("bookstore.local/ecom:1@sha256:ab", "bookstore.local/ecom"), ("bookstore.local/ecom:1", "bookstore.local/ecom"),
    ("127.0.0.1:36500/ecom", "127.0.0.1:36500/ecom"), ("127.0.0.1:36500/ecom:1", "127.0.0.1:36500/ecom"), ("ecom@sha256:ab", "ecom"),
])  # fmt: skip
def test_the_repository_of_a_reference(reference: str, repository: str) -> None:
    assert ledger.repository(reference) == repository


def test_ledger_keeps_the_images_of_earlier_runs(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path / "ledger.json")
    for name in ("a", "b"):
        book.add({f"local/{name}:1": ledger.Entry("packages", f"sha256:{name}")})
    # A run that only sees that it is there knows no digest.
    book.add({"local/a:1": ledger.Entry("packages")})
    known: dict[str, Any] = json.loads((tmp_path / "ledger.json").read_text())
    assert known == {f"local/{name}:1": {"source": "packages", "digest": f"sha256:{name}"} for name in ("a", "b")}
