"""The image factory: recipes, cache, order, sources; the engine and builders are stand-ins here, real in `make up`."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.images import (
    builders,
    cache,
    commands,
    factory,
    recipes,
)
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document, images

from . import factory_scene as scene
from .factory_scene import FakeEngine, Make

project, built, make = scene.project, scene.built, scene.make


def test_builds_needs_first_and_publishes(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    result = make(engine).run(["app"])
    assert sorted(built) == ["binary", "rootfs"]
    assert engine.calls == ["import", "build app", "publish app"]
    assert result.images["app"].startswith("local/app:")
    assert result.built == ["app", "base", "binary", "rootfs"]


def test_second_run_builds_nothing(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    first = make(engine).run(["app"])
    engine.calls.clear()
    built.clear()
    second = make(engine).run(["app"])
    assert (second.built, engine.calls, built) == ([], [], [])
    assert second.images["app"] == first.images["app"]


def test_changed_source_changes_the_reference(make: Make, built: list[str], project: Path) -> None:
    engine = FakeEngine()
    before = make(engine).run(["app"]).images["app"]
    (project / "images/module/main.go").write_text("package main // changed\n")
    after = make(engine).run(["app"])
    assert after.images["app"] != before
    assert "rootfs" not in after.built


def test_published_image_needs_no_build_even_when_the_engine_lost_it(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    make(engine).run(["app"])
    engine.images.clear()
    engine.calls.clear()
    assert make(engine).run(["app"]).built == []


def test_survey_tells_what_is_there_and_builds_nothing(make: Make, built: list[str], project: Path) -> None:
    engine = FakeEngine()
    nothing = make(engine).survey()
    assert (nothing.images, nothing.artifacts, engine.calls, built) == ({}, {}, [], [])
    assert {"app", "base", "binary", "rootfs"} <= set(nothing.missing)
    made = make(engine).run(["app"])
    engine.calls.clear()
    (project / "images/module/main.go").write_text("package main // changed\n")
    found = make(engine).survey()
    # The base is there and stays; the image and the binary in it have other inputs now.
    assert found.images["base"] == made.images["base"]
    assert "app" not in found.images
    assert {"app", "binary"} <= set(found.missing)
    assert not {"base", "rootfs"} & set(found.missing)
    assert engine.calls == []


def test_check_mode_builds_nothing(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    assert set(make(engine).run(["app"], check=True).built) == {"app", "base", "binary", "rootfs"}
    assert engine.calls == []
    assert built == []


def test_check_mode_tells_where_everything_is(make: Make, built: list[str], project: Path) -> None:
    """As a run does: the tasks after it name images and folders, and must find nothing to change."""
    engine = FakeEngine()
    made = make(engine).run(["app", "base", "binary"])
    engine.calls.clear()
    checked = make(engine).run(["app", "base", "binary"], check=True)
    assert (checked.built, checked.images, checked.artifacts) == ([], made.images, made.artifacts)
    assert engine.calls == []
    # What would be built has a name and a folder, which follow from its inputs, but no digest.
    (project / "images/module/main.go").write_text("package main // changed\n")
    changed = make(engine).run(["app", "base", "binary"], check=True)
    assert changed.built == ["app", "binary"]
    assert changed.images == {"base": made.images["base"]}
    assert set(changed.artifacts) == set(made.artifacts)
    assert changed.artifacts["binary"] != made.artifacts["binary"]


def test_check_mode_counts_no_part_of_what_is_there(make: Make, built: list[str]) -> None:
    """A base that was removed is missed by nobody as long as the image is published."""
    engine = FakeEngine()
    make(engine).run(["app"])
    engine.images.clear()
    assert make(engine).run(["app"], check=True).built == []


def test_archive_wins_over_every_source(make: Make, built: list[str], project: Path) -> None:
    (project / "archives/app.tar").write_bytes(b"archive")
    engine = FakeEngine()
    make(engine, source="registry", archives=project / "archives").run(["app"])
    assert engine.calls == ["load app.tar", "publish app"]
    assert built == []


def test_registry_pulls_the_pinned_upstream(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    make(engine, source="registry").run(["app"])
    assert engine.calls == ["pull org/app:2.0", "publish app"]


def test_image_without_source_is_skipped_with_the_remedy(make: Make, built: list[str]) -> None:
    result = make(FakeEngine()).run(["foreign", "app"])
    assert "foreign" not in result.images
    assert "app" in result.images
    assert "foreign.tar" in result.skipped["foreign"]
    assert "bookstore_image_archives" in result.skipped["foreign"]


def test_first_failure_stops_the_rest_and_leaves_no_entry(
    make: Make, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(artifact: recipes.Artifact, target: Path, context: builders.Context) -> None:
        (target / "half").write_text("x")
        raise FactoryError(f"{artifact.name}: no")

    monkeypatch.setattr(builders, "BUILDERS", dict.fromkeys(recipes.BUILDERS, fail))
    engine = FakeEngine()
    with pytest.raises(FactoryError, match="no"):
        make(engine, jobs=1).run(["app"])
    assert engine.calls == []
    assert list((project / "cache/artifacts").iterdir()) == []
    assert json.loads((project / "progress.json").read_text())["running"] == []


def test_cache_removes_what_a_killed_build_left(tmp_path: Path) -> None:
    store = cache.Cache(tmp_path)
    stale = tmp_path / "artifacts" / ".tool-building-old"
    stale.mkdir(parents=True)
    path, new = store.ensure("artifacts", "tool", "k", lambda target: (target / "f").write_text("x") and None)
    assert new
    assert (path / "f").is_file()
    assert not stale.exists()


def test_cache_builds_once_for_two_at_the_same_time(tmp_path: Path) -> None:
    store = cache.Cache(tmp_path)
    builds: list[int] = []
    entered = threading.Barrier(2, timeout=10)

    def work() -> None:
        entered.wait()
        store.ensure("artifacts", "tool", "k", lambda target: builds.append(1))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [1]


def test_command_failure_names_component_command_and_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(FactoryError) as caught:
        commands.run("coredns", ["sh", "-c", "echo reason; exit 3"], log)
    for part in ("coredns", "exit code 3", "reason", str(log)):
        assert part in str(caught.value)


def test_missing_client_is_named(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="no-such-client cannot be run"):
        commands.run("x", ["no-such-client"], tmp_path / "x.log")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("artifacts: [{name: a, builder: magic}]", "builder 'magic' is not one of"),
        ("artifacts: [{name: a, builder: go}, {name: a, builder: go}]", "used twice"),
        ("images: [{name: a, contxt: b}]", "contxt"),
        ("imges: []", "unknown section 'imges'"),
    ],
)
def test_bad_recipes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recipes.yml"
    file.write_text(text)
    with pytest.raises(FactoryError, match=message):
        recipes.load([file])


def test_unknown_name_lists_what_there_is(project: Path) -> None:
    with pytest.raises(FactoryError, match=r"no recipe is named 'nope'; there are: app, base"):
        recipes.load([project / "images/recipes.yml"]).closure(["nope"])


def test_patterns_without_a_match_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="no recipe file matches"):
        recipes.find([str(tmp_path / "*.yml")])


def test_what_only_packages_need_is_left_out_with_another_source(make: Make, built: list[str], project: Path) -> None:
    """With source registry Kubernetes is not compiled: kind's node image holds it."""
    recipe = project / "images/recipes.yml"
    extra = "{name: apiserver, only_source: packages, context: app, base: base, uses: {binary/tool: tool}}"
    recipe.write_text(f"{recipe.read_text()}  - {extra}\n")
    result = make(FakeEngine(), source="registry").run(["app", "apiserver"])
    assert list(result.images) == ["app"]
    assert built == []
    assert result.skipped == {}
    assert "apiserver" in make(FakeEngine()).run(["apiserver"]).images


def test_no_recipe_of_kubernetes_is_needed_with_source_registry(project: Path) -> None:
    """The real recipes: neither the control plane's images nor what only they are made of."""
    roles = Path(__file__).parents[4] / "roles"
    catalogue = recipes.load(recipes.find([str(roles / "*/images/recipes.yml")]))
    versions = yaml.safe_load((roles.parent / "inventory/local/group_vars/all/versions.yml").read_text())["bookstore_versions"]
    context = builders.Context(cache.Cache(project / "cache"), roles.parent, project / "logs", {k: str(v) for k, v in versions.items()})
    made = factory.Factory(catalogue, context, FakeEngine(), source="registry", archives=None, jobs=1, progress_file=None)  # type: ignore[arg-type]
    order, _ = made.plan(list(catalogue.images))
    assert "node" in order
    assert not {"kubernetes", "etcd-binary", "coredns-binary", "kube-apiserver", "pause"} & set(order)


def test_the_ledger_tells_built_images_from_pulled_ones(make: Make, built: list[str], project: Path) -> None:
    """With source registry what has no upstream image is built all the same."""
    (project / "archives/foreign.tar").write_text("x")
    origins = make(FakeEngine(), source="registry", archives=project / "archives").run(["app", "base", "foreign"]).origins
    assert {reference.split(":")[0]: entry.source for reference, entry in origins.items()} == {
        "local/app": "registry", "local/base": "packages", "local/foreign": "archive",
    }  # fmt: skip


def test_recipes_come_in_the_order_of_the_patterns_each_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yml").write_text("")
    found = recipes.find([str(tmp_path / "b.yml"), str(tmp_path / "*.yml")])
    assert [file.name for file in found] == ["b.yml", "a.yml"]


def test_a_required_image_that_no_source_offers_is_refused_with_its_reason(make: Make, built: list[str]) -> None:
    engine = FakeEngine()
    with pytest.raises(FactoryError, match=r"BK-130: mode=ambient: image foreign cannot be built .* foreign\.tar"):
        make(engine, source="auto").require_images({"foreign": "BK-130: mode=ambient", "app": "always"})
    assert (engine.calls, built) == ([], [])


@pytest.mark.parametrize("offered", ["archive", "registry", "auto"])
def test_a_required_image_that_a_source_offers_is_let_through(make: Make, project: Path, offered: str) -> None:
    engine = FakeEngine()
    engine.reachable = offered == "auto"
    if offered == "archive":
        (project / "archives/foreign.tar").write_bytes(b"x")
    source = offered if offered != "archive" else "packages"
    make(engine, source, project / "archives").require_images({"foreign": "needed"})
    assert engine.calls == []


def test_each_image_that_is_made_gets_its_sbom(
    make: Make, built: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, str, str | None]] = []

    def subject(reference: str, origin: str, digest: str | None) -> document.Subject:
        return document.Subject(reference, "id", datetime(2026, 11, 28, tzinfo=UTC), origin, digest)

    def ensure(about: document.Subject, image: recipes.Image, key: str, *_: Any) -> None:
        assert about.reference == f"local/{image.name}:{key}"
        written.append((image.name, about.origin, about.digest))

    monkeypatch.setattr(images, "subject", subject)
    monkeypatch.setattr(images, "ensure", ensure)
    engine = FakeEngine()
    run = make(engine)
    run.sboms = project / "sbom"
    reference = run.run(["app"]).images["app"]
    # What is only a base has none: the other one holds the same packages.
    assert written == [("app", "packages", reference.partition("@")[2])]


def test_a_renewed_base_is_built_anew_with_all_that_stands_on_it(make: Make, built: list[str], project: Path) -> None:
    """Debian's updates change no recipe: the day does."""
    engine = FakeEngine()
    make(engine).run(["app"])
    recipes_file = project / "images/recipes.yml"
    recipes_file.write_text(scene.RECIPES.replace("suite: trixie,", "suite: trixie, renewed: 2026-11-28,"))
    built.clear()
    assert make(engine).run(["app"]).built == ["app", "base", "rootfs"]
    assert built == ["rootfs"]


def test_tags_that_are_known_only_now_name_the_image_too(project: Path, make: Make, built: list[str]) -> None:
    """Also of an image whose name has parts, as Kubernetes' test suite has them; a new tag needs no build."""
    (project / "images/recipes.yml").write_text(scene.RECIPES.replace("name: app,", "name: suite/app,"))
    engine = FakeEngine()
    first = make(engine)
    first.run(["suite/app"])
    reference = engine.reference("suite/app", first.key("suite/app"))
    assert ("suite/app", "2.55") not in engine.registry
    second = make(engine)
    second.further_tags = {"suite/app": ["2.55", "2.56"]}
    calls = len(engine.calls)
    second.run(["suite/app"])
    assert engine.calls[calls:] == ["publish suite/app"]
    assert {engine.registry[("suite/app", tag)] for tag in ("2.55", "2.56")} == {f"digest of {reference}"}


def test_go_builds_programs_of_tests_too(make: Make, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(commands, "run", lambda name, call, log, **_: calls.append(call))
    monkeypatch.setattr(builders, "go_env", lambda context: {})
    spec = {"module": "module", "packages": {"tool": "./tool"}, "tests": {"e2e.test": "example.org/e2e"}}
    artifact = recipes.Artifact("suite", "go", project / "images", spec)
    builders.build_go(artifact, project / "out", make(FakeEngine()).context)
    tests = [call for call in calls if call[:3] == ["go", "test", "-c"]]
    assert [call[-2:] for call in tests] == [[str(project / "out/e2e.test"), "example.org/e2e"]]


@pytest.mark.parametrize("module", ["module", "components/tool"])
def test_a_module_is_beside_its_recipe_or_in_the_checkout(
    make: Make, monkeypatch: pytest.MonkeyPatch, project: Path, module: str
) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(commands, "run", lambda name, call, log, cwd, **_: folders.append(cwd))
    monkeypatch.setattr(builders, "go_env", lambda context: {})
    home = project / ("images/module" if module == "module" else module)
    home.mkdir(parents=True, exist_ok=True)
    (home / "main.go").write_text("package main\n")
    artifact = recipes.Artifact("tool", "go", project / "images", {"module": module, "packages": {"tool": "."}})
    context = make(FakeEngine()).context
    builders.build_go(artifact, project / "out", context)
    assert folders == [home]
    before = builders.inputs(artifact, context)
    (home / "main.go").write_text("package main // changed\n")
    assert builders.inputs(artifact, context) != before


def test_tags_choose_what_a_program_is_made_of(make: Make, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(commands, "run", lambda name, call, log, cwd, **_: calls.append(call))
    monkeypatch.setattr(builders, "go_env", lambda context: {})
    spec = {"module": "module", "packages": {"server": "example.org/cmd/server"}}
    for tags in ({}, {"tags": ["without_all", "with_one"]}):
        artifact = recipes.Artifact("server", "go", project / "images", {**spec, **tags})
        builders.build_go(artifact, project / "out", make(FakeEngine()).context)
    assert [[word for word in call if word.startswith("-tags")] for call in calls] == [[], ["-tags=without_all,with_one"]]


def test_only_the_named_files_of_a_module_decide(make: Make, project: Path) -> None:
    home = project / "components/proxy"
    (home / "proxy").mkdir(parents=True)
    for name in ("go.mod", "go.sum", "tools.go", "proxy/main.go"):
        (home / name).write_text(f"{name}\n")
    spec = {"module": "components/proxy", "packages": {"istioctl": "istio.io/istioctl"}}
    whole = recipes.Artifact("proxy", "go", project / "images", spec)
    few = recipes.Artifact("istio", "go", project / "images", {**spec, "files": ["go.mod", "go.sum", "tools.go"]})
    context = make(FakeEngine()).context
    before = {artifact.name: builders.inputs(artifact, context) for artifact in (whole, few)}
    (home / "proxy/main.go").write_text("changed\n")
    assert builders.inputs(few, context) == before["istio"]
    assert builders.inputs(whole, context) != before["proxy"]
    (home / "go.sum").write_text("changed\n")
    assert builders.inputs(few, context) != before["istio"]
    few.spec["files"].append("go.work")
    with pytest.raises(FactoryError, match=r"holds no file go\.work"):
        builders.inputs(few, context)
