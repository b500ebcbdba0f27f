"""`make sbom` gives each image that is there its document, names those that are not, and keeps nothing of images that are gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, commands, factory, ledger, recipes
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document, images
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom.packages import Package
from operator_view import sbom

RECIPES = """
images:
  - {name: app, context: app}
  - {name: proxy, context: app, upstream: "org/proxy:1"}
  - {name: ztunnel, upstream: "org/ztunnel:1"}
  - {name: server, context: app, only_source: packages}
"""


class Engine:
    """Holds the images that it is told of. The registry is not asked: it may be away."""

    push_address = "127.0.0.1:36500"

    def __init__(self) -> None:
        self.images: set[str] = set()

    def reference(self, name: str, tag: str) -> str:
        return f"bookstore.local/{name}:{tag}"

    def has(self, reference: str) -> bool:
        return reference in self.images


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def makers(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[factory.Factory]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Containerfile").write_text("FROM scratch\n")
    (tmp_path / "recipes.yml").write_text(RECIPES)

    def subject(reference: str, origin: str, digest: str | None) -> document.Subject:
        return document.Subject(reference, "sha256:1", datetime(2026, 11, 28, tzinfo=UTC), origin, digest)

    monkeypatch.setattr(images, "subject", subject)
    found = [Package("npm", "react", "19.2.9"), Package("unknown", "mystery", "")]
    monkeypatch.setattr(images, "describe", lambda *_args, **_options: found)
    context = builders.Context(cache.Cache(tmp_path / "cache"), tmp_path, tmp_path / "logs", {"go": "1"})
    catalogue = recipes.load([tmp_path / "recipes.yml"])
    return [
        factory.Factory(
            catalogue, context, engine, source=source, archives=None, jobs=1, progress_file=None,  # type: ignore[arg-type]
            ledger=ledger.Ledger(tmp_path / "ledger.json"),
        )
        for source in ("packages", "registry")
    ]


def held(engine: Engine, maker: factory.Factory, *names: str) -> dict[str, str]:
    references = {name: engine.reference(name, maker.key(name)) for name in names}
    engine.images |= set(references.values())
    maker.ledger.add({reference: ledger.Entry(maker.source, f"sha256:{name}") for name, reference in references.items()})
    return references


def properties(file: Path) -> Any:
    return document.read(file.read_text(), str(file)).properties


def test_each_image_that_is_there_gets_its_document(makers: list[factory.Factory], engine: Engine, tmp_path: Path) -> None:
    references = held(engine, makers[0], "app", "server")
    pulled = held(engine, makers[1], "proxy")
    result = sbom.write_all(makers, tmp_path)
    told = {name: properties(file) for name, file in result.documents.items()}
    assert {name: (one["bookstore:image:reference"], one["bookstore:image:source"]) for name, one in told.items()} == {
        "app": (references["app"], "packages"), "server": (references["server"], "packages"), "proxy": (pulled["proxy"], "registry"),
    }  # fmt: skip
    assert told["app"]["bookstore:image:digest"] == "sha256:app"
    assert (result.missing, len(result.notes)) == ({}, 1)
    assert "ztunnel is not used here" in result.notes[0]


def test_an_image_that_is_not_there_is_named(makers: list[factory.Factory], engine: Engine, tmp_path: Path) -> None:
    held(engine, makers[0], "app")
    result = sbom.write_all(makers, tmp_path)
    assert sorted(result.missing) == ["proxy", "server"]
    key = makers[0].key("server")
    assert result.missing["server"].startswith("BK-411: image server: the engine holds none of today's recipe; run: make up; or")
    assert f"docker pull 127.0.0.1:36500/server:{key} && docker tag" in result.missing["server"]


def test_an_archive_is_found_by_the_ledger(makers: list[factory.Factory], engine: Engine, tmp_path: Path) -> None:
    engine.images.add("bookstore.local/ztunnel:abc")
    # One entry of before digests were kept.
    former = {"source": "archive", "digest": "sha256:1"}
    (tmp_path / "ledger.json").write_text(json.dumps({"bookstore.local/ztunnel:abc": "archive", "bookstore.local/ztunnel:old": former}))
    result = sbom.write_all(makers, tmp_path)
    assert properties(result.documents["ztunnel"])["bookstore:image:source"] == "archive"


def test_an_image_that_only_the_registry_has_keeps_its_document(makers: list[factory.Factory], engine: Engine, tmp_path: Path) -> None:
    held(engine, makers[0], "app", "server", "proxy")
    former = sbom.write_all(makers, tmp_path).documents
    engine.images.clear()
    result = sbom.write_all(makers, tmp_path)
    assert (result.documents, result.missing) == (former, {})
    sbom.remove_stale(tmp_path, result, makers[0].engine)
    assert sorted((tmp_path / "sbom").iterdir()) == sorted(former.values())


def test_what_nodes_run_of_an_earlier_recipe_has_a_document(
    makers: list[factory.Factory], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = held(engine, makers[0], "app", "server", "proxy")
    running = f"bookstore.local/server:old\n{references['server']}\nbookstore.local/server:old\nelse/where:1"
    monkeypatch.setattr(commands, "capture", lambda *_command, **_options: (0, running))
    result = sbom.write_all(makers, tmp_path)
    sbom.write_nodes(makers[0], tmp_path, "bookstore", result)
    assert sorted(result.documents) == ["app", "proxy", "server", "server-old"]
    assert properties(result.documents["server-old"])["bookstore:image:source"] == "earlier recipe"
    assert any("server:old, of an earlier recipe" in note for note in result.notes)


def test_reports_hold_the_images_of_today_and_a_table(makers: list[factory.Factory], engine: Engine, tmp_path: Path) -> None:
    held(engine, makers[0], "app", "server", "proxy")
    reports = tmp_path / "reports/sbom"
    result = sbom.write_all(makers, tmp_path)
    reports.mkdir(parents=True)
    (reports / "gone.cdx.json").write_text("{}")
    sbom.publish(result, reports)
    assert sorted(file.name for file in reports.iterdir()) == ["app.cdx.json", "index.md", "proxy.cdx.json", "server.cdx.json"]
    key = makers[0].key("app")
    assert f"| app | {key} | app | 0 | 0 | 1 | 0 | 0 | 0 | 0 | 1 | 2 |" in (reports / "index.md").read_text()
    lines = sbom.aligned(sbom.table([document.read(file.read_text(), "x") for file in result.documents.values()]))
    assert lines[0].split() == ["image", "tag", "digest", "Debian", "Python", "npm", "Maven", "Go", "Rust", "other", "unknown", "all"]
    assert lines[1].split() == ["app", key, "app", "0", "0", "1", "0", "0", "0", "0", "1", "2"]


def test_documents_go_with_their_images(makers: list[factory.Factory], engine: Engine, tmp_path: Path) -> None:
    held(engine, makers[0], "app", "server", "proxy")
    result = sbom.write_all(makers, tmp_path)
    former = tmp_path / "sbom/app-former.cdx.json"
    about = document.Subject("bookstore.local/app:former", "sha256:2", datetime(2026, 1, 1, tzinfo=UTC), "packages")
    former.write_text(document.write(about, []))
    (tmp_path / "sbom/broken.cdx.json").write_text("{")
    kept = tmp_path / "sbom/app-kept.cdx.json"
    kept.write_text(former.read_text().replace("app:former", "app:kept"))
    engine.images.add("bookstore.local/app:kept")
    sbom.remove_stale(tmp_path, result, makers[0].engine)
    assert sorted((tmp_path / "sbom").iterdir()) == sorted([*result.documents.values(), kept])


def test_the_factory_of_the_checkout_knows_every_image() -> None:
    """The recipes, the inventory and the locks of this checkout are readable as the command reads them."""
    known = sbom.settings.load()
    makers = sbom.factories(known, sbom.inventory())
    assert {"ecom", "keycloak", "node", "registry"} <= {image.name for image in sbom.recipe.shipped(makers[0].catalogue)}
    for image in sbom.recipe.shipped(makers[0].catalogue):
        sbom.recipe.known(makers[0].catalogue, image, sbom.settings.ROOT)
