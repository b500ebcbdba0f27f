"""A package of an image, whatever ecosystem it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from packageurl import PackageURL

# The ecosystems in the order of the tables; the type of a purl, and what people call it.
ECOSYSTEMS = {"deb": "Debian", "pypi": "Python", "npm": "npm", "maven": "Maven", "golang": "Go", "cargo": "Rust"}
# Packages of all other types, such as libraries that a wheel was linked with.
OTHER = "other"
# What was found but belongs to no known package.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Package:
    """``kind`` is the purl's type. ``places``: paths in the image, or the lock that names the package.

    ``hashes`` are of the package's own file; ``notes`` are name and value of the document's properties.
    """

    kind: str
    name: str
    version: str
    group: str = ""
    qualifiers: tuple[tuple[str, str], ...] = ()
    hashes: frozenset[tuple[str, str]] = frozenset()
    notes: frozenset[tuple[str, str]] = frozenset()
    places: frozenset[str] = frozenset()

    @property
    def purl(self) -> PackageURL:
        """The package's URL, which identifies it."""
        group, name = self.group, self.name
        if self.kind == "golang":
            group, _, name = name.rpartition("/")
        return PackageURL(self.kind, group or None, name, self.version, dict(self.qualifiers))

    def note(self, name: str) -> str:
        """Return the value of one property, or an empty text."""
        return next((value for key, value in self.notes if key == name), "")


def merged(packages: Iterable[Package]) -> list[Package]:
    """Return each package once, with all of its places, hashes and notes, in a stable order."""
    found: dict[str, Package] = {}
    for package in packages:
        key = package.purl.to_string()
        known = found.get(key)
        found[key] = package if known is None else replace(
            known, hashes=known.hashes | package.hashes, notes=known.notes | package.notes, places=known.places | package.places
        )
    order = [*ECOSYSTEMS, OTHER, UNKNOWN]
    return [found[key] for key in sorted(found, key=lambda key: (order.index(_column(found[key])), key))]


def counted(packages: Iterable[Package]) -> dict[str, int]:
    """Return how many packages there are of each ecosystem, of others, and of what is unknown."""
    counts = dict.fromkeys([*ECOSYSTEMS, OTHER, UNKNOWN], 0)
    for package in packages:
        counts[_column(package)] += 1
    return counts


def _column(package: Package) -> str:
    return package.kind if package.kind in (*ECOSYSTEMS, UNKNOWN) else OTHER
