"""Where each image comes from: packages, archives, a container registry, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import sources

from . import factory_scene as scene
from .factory_scene import FakeEngine, Make

project, built, make = scene.project, scene.built, scene.make


@pytest.mark.parametrize("reachable", [True, False])
def test_auto_builds_what_has_a_recipe_whether_or_not_a_registry_answers(make: Make, built: list[str], reachable: bool) -> None:
    engine = FakeEngine()
    engine.reachable = reachable
    result = make(engine, source="auto").run(["app"])
    assert result.source == "packages"
    assert not [call for call in engine.calls if call.startswith("pull")]
    assert engine.asked == []


@pytest.mark.parametrize(("archive", "reachable", "source"), [
    (True, True, "archive"), (True, False, "archive"), (False, True, "registry"), (False, False, "absent"),
])  # fmt: skip
def test_auto_takes_what_has_no_recipe_from_archives_then_a_registry(
    make: Make, built: list[str], project: Path, archive: bool, reachable: bool, source: str
) -> None:
    if archive:
        (project / "archives/foreign.tar").write_bytes(b"x")
    engine = FakeEngine()
    engine.reachable = reachable
    run = make(engine, source="auto", archives=project / "archives")
    result = run.run(["foreign"])
    assert run.sources() == {"app": "packages", "base": "packages", "foreign": source}
    assert ("foreign" in result.skipped) == (source == "absent")
    assert {entry.source for entry in result.origins.values()} == ({source} if source != "absent" else set())
    # An archive makes the question needless; otherwise it is asked once.
    assert engine.asked == ([] if archive else ["org/foreign:2.0"])
    assert result.source == "packages"


def test_what_was_pulled_before_is_there_without_the_registry(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    engine.reachable = True
    make(engine, source="auto").run(["foreign"])
    engine.reachable, engine.asked = False, []
    assert make(engine, source="auto").run(["foreign"]).images.keys() == {"foreign"}
    # The engine lost it, the nodes' registry did not.
    engine.images.clear()
    assert make(engine, source="auto").run(["foreign"]).images.keys() == {"foreign"}
    assert engine.asked == []


@pytest.mark.parametrize("source", ["packages", "auto"])
def test_a_registry_is_not_asked_for_what_nobody_had_earlier_or_may_give(make: Make, built: list[str], source: str) -> None:
    engine = FakeEngine()
    engine.reachable = True
    assert "foreign" in make(engine, source=source, absent=["foreign"]).run(["foreign"]).skipped
    assert engine.asked == []


@pytest.mark.parametrize("source", ["registry", "auto"])
def test_an_own_registry_offers_images_under_upstream_names(make: Make, built: list[str], source: str) -> None:
    engine = FakeEngine()
    engine.reachable = True
    make(engine, source=source, upstream_registry="mirror.test:5000").run(["foreign"])
    assert "pull mirror.test:5000/org/foreign:2.0" in engine.calls


def test_one_line_for_each_source() -> None:
    told = {"app": "packages", "base": "packages", "x": "archive", "foreign": "absent", "other": "absent", "y": "registry"}
    assert sources.lines(told, {"foreign": "ours", "app": "never"}) == [
        "images built from packages: 2", "images from archives: x", "images from a container registry: y",
        "images absent: foreign (ours stands in), other",
    ]  # fmt: skip
