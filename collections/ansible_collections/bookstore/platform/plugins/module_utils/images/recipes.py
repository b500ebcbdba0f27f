"""Recipe files: what can be built, from what, in which order.

Shape of a recipes.yml::

    artifacts:
      - {name: etcd, builder: go, module: etcd, packages: {etcd: .}}
      - {name: kubernetes, builder: go, module: components/node-network, packages: {kubernetes: .}}
    images:
      - {name: pilot, context: pilot, base: base, uses: {istio/pilot-discovery: pilot-discovery}}
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import RecipeError

BUILDERS = ("go", "go_module_files", "maven", "mmdebstrap", "node", "python_target", "python_wheel_files", "sources")


@dataclass(frozen=True)
class Artifact:
    """A folder of staged files. ``spec`` holds the builder's own options."""

    name: str
    builder: str
    folder: Path
    spec: dict[str, Any]

    def module(self, project: Path) -> Path:
        """Return the folder of the Go module: ``module`` is a folder beside the recipe, or with a slash one of the checkout."""
        module = str(self.spec["module"])
        return (project if "/" in module else self.folder) / module


@dataclass(frozen=True)
class Image:
    """A container image. ``context`` is None when it can only be pulled or loaded."""

    name: str
    folder: Path
    context: str | None = None
    rootfs: str | None = None
    base: str | None = None
    uses: dict[str, str] = field(default_factory=dict)
    upstream: str | None = None
    tags: tuple[str, ...] = ()
    publish: bool = True
    # With any other source something else brings it.
    only_source: str | None = None
    # The image of ours that does its work where no source offers it.
    stand_in: str | None = None

    @property
    def has_recipe(self) -> bool:
        """Whether it can be built from package registries."""
        return self.context is not None or self.rootfs is not None

    @property
    def artifact_names(self) -> list[str]:
        """The artifacts that the image copies, without the path inside them."""
        names = {source.split("/", 1)[0] for source in self.uses}
        if self.rootfs is not None:
            names.add(self.rootfs)
        return sorted(names)


@dataclass
class Catalogue:
    """All recipes of all roles, by name."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)

    def closure(self, names: list[str]) -> list[str]:
        """Return ``names`` and all that they need, each after its needs; unknown names are errors."""
        order: list[str] = []

        def visit(name: str) -> None:
            if name in order:
                return
            if name in self.images:
                image = self.images[name]
                for need in ([image.base] if image.base else []) + image.artifact_names:
                    visit(need)
            elif name not in self.artifacts:
                known = ", ".join(sorted([*self.images, *self.artifacts]))
                raise RecipeError(f"no recipe is named {name!r}; there are: {known}")
            order.append(name)

        for name in names:
            visit(name)
        return order


def find(patterns: list[str]) -> list[Path]:
    """Return the files that match, in the order of the patterns, each once; a pattern without a match is an error."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = glob.glob(pattern)
        if not matches:
            raise RecipeError(f"no recipe file matches {pattern}")
        found.update(dict.fromkeys(Path(match) for match in sorted(matches)))
    return list(found)


def load(files: list[Path]) -> Catalogue:
    """Read recipe files into one catalogue.

    Raises RecipeError for an unknown builder or key, or a name that occurs twice.
    """
    catalogue = Catalogue()
    for file in files:
        data = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        unknown = set(data) - {"artifacts", "images"}
        if unknown:
            raise RecipeError(f"{file}: unknown section {sorted(unknown)[0]!r}; use artifacts or images")
        for entry in data.get("artifacts") or []:
            spec = dict(entry)
            name, builder = spec.pop("name"), spec.pop("builder")
            if builder not in BUILDERS:
                raise RecipeError(f"{file}: artifact {name}: builder {builder!r} is not one of {', '.join(BUILDERS)}")
            _add(catalogue, file, name)
            catalogue.artifacts[name] = Artifact(name, builder, file.parent, spec)
        for entry in data.get("images") or []:
            fields = dict(entry)
            fields["tags"] = tuple(fields.get("tags") or ())
            name = str(fields["name"])
            try:
                image = Image(folder=file.parent, **fields)
            except TypeError as error:
                raise RecipeError(f"{file}: image {name}: {error}") from error
            _add(catalogue, file, name)
            catalogue.images[name] = image
    return catalogue


def _add(catalogue: Catalogue, file: Path, name: str) -> None:
    if name in catalogue.artifacts or name in catalogue.images:
        raise RecipeError(f"{file}: the name {name!r} is used twice; names of artifacts and images are shared")
