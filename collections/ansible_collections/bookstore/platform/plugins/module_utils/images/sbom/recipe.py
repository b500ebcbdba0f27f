"""What the recipes know of an image's packages and the image itself does not tell."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FactoryError
from ..recipes import Artifact, Catalogue, Image
from . import npm, python
from .java import Coordinates
from .packages import Package


@dataclass
class Known:
    """``packages``: installed by locks. ``jars``: sha256 of locked archives. ``programs``: names of those that a wheel brought."""

    packages: list[Package] = field(default_factory=list)
    jars: dict[str, Coordinates] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)


def shipped(catalogue: Catalogue) -> list[Image]:
    """Return the images that run somewhere; all others are only the base of one of these, which holds the same packages."""
    bases = {image.base for image in catalogue.images.values()}
    return [image for image in catalogue.images.values() if image.publish or image.name not in bases]


def lineage(catalogue: Catalogue, image: Image) -> list[Image]:
    """Return an image and those that it was made upon."""
    found = [image]
    while found[-1].base is not None:
        found.append(catalogue.images[found[-1].base])
    return found


def known(catalogue: Catalogue, image: Image, project: Path) -> Known:
    """Return what the recipes say of an image that was built from packages."""
    result = Known(jars=locked_jars(catalogue))
    for ancestor in lineage(catalogue, image):
        for name in ancestor.artifact_names:
            _add(result, catalogue.artifacts[name], project)
    return result


def locked_jars(catalogue: Catalogue) -> dict[str, Coordinates]:
    """Return the coordinates of every file whose sha256 a recipe pins."""
    found: dict[str, Coordinates] = {}
    for artifact in catalogue.artifacts.values():
        if artifact.builder != "maven":
            continue
        if "lock" in artifact.spec:
            for line in _text(artifact.folder / artifact.spec["lock"]).splitlines():
                coordinates, _, sha256 = line.partition(" ")
                found[sha256.strip()] = _coordinates(coordinates)
        for entry in artifact.spec.get("files", []):
            found[entry["sha256"]] = _coordinates(entry["artifact"])
    return found


def _coordinates(text: str) -> Coordinates:
    group, name, version = text.split(":")[:3]
    return group, name, version


def _add(result: Known, artifact: Artifact, project: Path) -> None:
    spec = artifact.spec
    if artifact.builder == "python_target":
        result.packages += python.locked(_text(project / spec["requirements"]), spec["requirements"], str(spec["python"]))
    elif artifact.builder == "python_wheel_files":
        result.packages.append(python.pinned(spec["requirement"], f"recipe {artifact.name}"))
        result.programs |= {path.rpartition("/")[2] for path in spec["paths"]}
    elif artifact.builder == "node":
        lock = f"{spec['pages']}/package-lock.json"
        result.packages += npm.locked(_text(project / lock), lock)
    elif artifact.builder == "go_module_files":
        result.packages.append(_go_source(artifact, project))
    elif artifact.builder == "maven":
        result.packages += [_distribution(entry, artifact.name) for entry in spec.get("files", []) if entry.get("unpack")]


def _distribution(entry: dict[str, str], name: str) -> Package:
    """Return the archive of a whole distribution, of which the image holds what was inside."""
    group, artifact, version = _coordinates(entry["artifact"])
    kind = entry["artifact"].split(":")[3]
    return Package("maven", artifact, version, group, (("type", kind),), hashes=frozenset({("SHA-256", entry["sha256"])}),
                   places=frozenset({f"recipe {name}"}))


def _go_source(artifact: Artifact, project: Path) -> Package:
    """Return the Go module of which files were copied, in the version that go.mod requires."""
    module, source = artifact.module(project) / "go.mod", artifact.spec["source"]
    match = re.search(rf"^\s*(?:require\s+)?{re.escape(source)}\s+(v\S+)", _text(module), re.MULTILINE)
    if match is None:
        raise FactoryError(f"BK-410: {module} requires no {source}, of which recipe {artifact.name} copies files; add it")
    return Package("golang", source, match[1], places=frozenset({f"recipe {artifact.name}"}))


def claims(result: Known, path: str) -> bool:
    """Tell whether a program of an image is one that a wheel of its recipe brought."""
    return any(fnmatch.fnmatch(path.rpartition("/")[2], name) for name in result.programs)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FactoryError(f"BK-410: {path} cannot be read, and its recipe's packages are named there: {error}") from error
