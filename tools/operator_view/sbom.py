"""`make sbom`: what each image holds, as CycloneDX documents in reports/sbom, and a table of them.

The factory writes a document with each image that it makes; here those that lack one get it, without being built again.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.images import (
    builders,
    cache,
    commands,
    engine,
    factory,
    ledger,
    recipes,
)
from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document, images, packages, recipe
from operator_view import settings

REPORTS = settings.ROOT / "reports" / "sbom"
INDEX = "index.md"
SUFFIX = ".cdx.json"
HEADINGS = ("image", "tag", "digest", *packages.ECOSYSTEMS.values(), "other", "unknown", "all")


@dataclass
class Written:
    """``documents``: image to its file. ``missing``: images of the recipes that are not there, to what to do about it."""

    documents: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def inventory(folder: Path = settings.GROUP_VARS) -> dict[str, Any]:
    """Return the variables that the factory needs, as written."""
    found: dict[str, Any] = {}
    for name in ("platform.yml", "network.yml", "versions.yml"):
        found.update(yaml.safe_load((folder / name).read_text(encoding="utf-8")))
    return found


def factories(known: settings.Settings, variables: dict[str, Any]) -> list[factory.Factory]:
    """Return a factory for each source; an image's reference tells which one made it."""
    context = builders.Context(
        cache=cache.Cache(known.cache), project=settings.ROOT, logs=known.state / "logs" / "images",
        versions={name: str(value) for name, value in variables["bookstore_versions"].items()},
    )
    archives = variables.get("bookstore_image_archives")
    push_address = f"127.0.0.1:{variables['bookstore_registry_port']}"
    own = engine.Engine(variables["bookstore_image_repository"], push_address, f"{known.cluster}-registry", known.cache)
    book = ledger.Ledger(known.state / "ledger.json")
    catalogue = recipes.load(recipes.find([f"{settings.ROOT}/roles/*/images/recipes.yml"]))
    return [
        factory.Factory(
            catalogue, context, own, source=source, archives=Path(archives) if archives else None, jobs=1, progress_file=None, ledger=book,
        )
        for source in ("packages", "registry")
    ]


def write_all(makers: list[factory.Factory], state: Path) -> Written:
    """Make sure that every image of the recipes that the engine holds has its document."""
    result = Written()
    for image in recipe.shipped(makers[0].catalogue):
        found = _reference(image, makers)
        if found is None:
            _former(image, makers, state, result)
            continue
        reference, key, entry = found
        about = images.subject(reference, entry.source, entry.digest)
        result.documents[image.name] = _ensure(about, image, key, makers[0], state)
    return result


def _ensure(about: document.Subject, image: recipes.Image, key: str, maker: factory.Factory, state: Path) -> Path:
    """Write one document, not while the factory works on the same image."""
    with maker.context.cache.lock(f"image-{image.name}"):
        return images.ensure(about, image, key, maker.catalogue, settings.ROOT, state / "sbom")


def write_nodes(maker: factory.Factory, state: Path, cluster: str, result: Written) -> None:
    """Make sure that the images of the nodes' containers have documents: nodes keep theirs until the cluster is made anew."""
    command = ["docker", "ps", "--filter", f"label=io.x-k8s.kind.cluster={cluster}", "--format", "{{.Image}}"]
    code, output = commands.capture(command)
    if code != 0:
        raise FactoryError(f"BK-411: the engine does not tell what the nodes run: {output}")
    for reference in sorted(set(output.split())):
        name, _, key = reference.partition("@")[0].rpartition("/")[2].partition(":")
        known = result.documents.get(name) == images.path(state / "sbom", name, key)
        if known or reference != maker.engine.reference(name, key) or name not in maker.catalogue.images:
            continue
        # The recipe of today tells nothing of it.
        about = images.subject(reference, "earlier recipe", None)
        result.documents[f"{name}-{key}"] = _ensure(about, maker.catalogue.images[name], key, maker, state)
        result.notes.append(f"nodes run {reference}, of an earlier recipe; -e rebuild=true makes them anew")


def _reference(image: recipes.Image, makers: list[factory.Factory]) -> tuple[str, str, ledger.Entry] | None:
    """Return reference, key and origin of an image that the engine holds: of today's recipes, or one that was brought as an archive."""
    known = makers[0].ledger.read()
    for maker in makers:
        if image.only_source in (None, maker.source):
            key = maker.key(image.name)
            reference = maker.engine.reference(image.name, key)
            if maker.engine.has(reference):
                return reference, key, known.get(reference, ledger.Entry(maker.source))
    for reference, entry in sorted(known.items()):
        key = reference.rpartition(":")[2]
        if entry.source == "archive" and reference == makers[0].engine.reference(image.name, key) and makers[0].engine.has(reference):
            return reference, key, entry
    return None


def _former(image: recipes.Image, makers: list[factory.Factory], state: Path, result: Written) -> None:
    """Take the document that was written when the engine still held the image, which only the nodes' registry has now; or tell."""
    keys = [maker.key(image.name) for maker in makers if image.only_source in (None, maker.source)]
    for key in keys:
        file = images.path(state / "sbom", image.name, key)
        if file.is_file():
            result.documents[image.name] = file
            return
    if not image.context and not image.rootfs:
        result.notes.append(f"image {image.name} is not used here: only an archive or a container registry brings it")
        return
    own = makers[0].engine
    names = [f"{own.push_address}/{image.name}:{keys[0]}", own.reference(image.name, keys[0])]
    result.missing[image.name] = (
        f"BK-411: image {image.name}: the engine holds none of today's recipe; run: make up; or, where only the nodes' registry has it: "
        f"docker pull {names[0]} && docker tag {' '.join(names)}"
    )


def publish(result: Written, reports: Path = REPORTS) -> None:
    """Copy the documents to ``reports`` with an index, and take away those of images that are no more."""
    reports.mkdir(parents=True, exist_ok=True)
    wanted = {f"{name}{SUFFIX}": file for name, file in result.documents.items()}
    for stale in reports.glob(f"*{SUFFIX}"):
        if stale.name not in wanted:
            stale.unlink()
    for name, file in wanted.items():
        shutil.copyfile(file, reports / name)
    readings = [document.read(file.read_text(encoding="utf-8"), str(file)) for file in result.documents.values()]
    rows = table(readings)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|{'---|' * len(HEADINGS)}")
    (reports / INDEX).write_text("\n".join(["# Packages of each image", "", *lines, ""]), encoding="utf-8")


def table(readings: list[document.Reading]) -> list[tuple[str, ...]]:
    """Return the table of the documents, its heading first."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for reading in sorted(readings, key=lambda reading: reading.reference):
        repository, _, tag = reading.reference.partition("@")[0].rpartition(":")
        digest = reading.properties.get("bookstore:image:digest") or f"({reading.properties['bookstore:image:id']})"
        short = digest.replace("sha256:", "")[:12] + (")" if digest.startswith("(") else "")
        counts = packages.counted(reading.packages)
        rows.append((repository.rpartition("/")[2], tag, short, *(str(count) for count in counts.values()), str(sum(counts.values()))))
    return rows


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines of text; numbers stand at the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) if cell.isdigit() else cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def remove_stale(state: Path, result: Written, own: engine.Engine) -> None:
    """Remove the documents of images that the engine no longer holds."""
    kept = set(result.documents.values())
    for file in (state / "sbom").glob(f"*{SUFFIX}"):
        if file in kept:
            continue
        try:
            reading = document.read(file.read_text(encoding="utf-8"), str(file))
        except FactoryError:
            file.unlink()
            continue
        if not own.has(reading.reference):
            file.unlink()


def renew(known: settings.Settings, reports: Path = REPORTS) -> Written:
    """Make sure that ``reports`` holds the document of each image, and of no other."""
    makers = factories(known, inventory())
    result = write_all(makers, known.state)
    write_nodes(makers[0], known.state, known.cluster, result)
    publish(result, reports)
    remove_stale(known.state, result, makers[0].engine)
    return result


def main() -> int:
    """Write the documents and print the table; 0 when every image has its document, 1 when not."""
    os.umask(0o022)
    try:
        result = renew(settings.load())
        readings = [document.read(file.read_text(encoding="utf-8"), str(file)) for file in result.documents.values()]
    except (FactoryError, OSError) as error:
        print(error)
        return 1
    print("\n".join(aligned(table(readings))))
    unknown = [(reading.reference, package) for reading in readings for package in reading.packages if package.kind == packages.UNKNOWN]
    for reference, package in unknown:
        print(f"unknown: {reference}: {', '.join(sorted(package.places))}: {package.note('bookstore:unknown')}")
    print("\n".join([*result.notes, *result.missing.values(), f"{len(readings)} documents (CycloneDX 1.6) in {REPORTS}. Next: make audit"]))
    return 1 if result.missing or not readings else 0
