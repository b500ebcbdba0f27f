"""Java archives of an image: which published artifact each is, and what was packed into it.

An archive tells its coordinates in several ways, and many tell only a part. Asked in this order: the sha256 of a lock file, the
descriptor that Maven packs into it, the name that Quarkus gives files (group.artifact-version), and the name of the file together with
the groups that the descriptors of the image's other archives name as their dependencies.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from defusedxml import ElementTree

from .packages import UNKNOWN, Package

PROPERTIES = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")
DESCRIPTOR = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.xml")
NOTICE = re.compile(r"META-INF/NOTICE(\.txt)?")
# How Apache's projects list what they packed into an archive: "- group:artifact:version".
BUNDLED = re.compile(r"^\s*-\s+([a-zA-Z][\w.-]*):([\w.-]+):(?:jar:)?(\d[\w.+-]*)(?:\s|$)")
VERSIONED = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.+-]*)")
# Classes that a build of Quarkus writes; it names the archives so.
GENERATED = frozenset({"generated-bytecode.jar", "transformed-bytecode.jar"})
# Classes of this project.
OWN = "bookstore/"
NAMESPACE = "{http://maven.apache.org/POM/4.0.0}"
DEEPEST = 3

Coordinates = tuple[str, str, str]


@dataclass
class Archive:
    """What one archive tells of itself. ``inner``: archives inside; ``ours``: it holds nothing, or only what the build made."""

    path: str
    sha256: str = ""
    sha1: str = ""
    poms: list[Coordinates] = field(default_factory=list)
    notice: list[Coordinates] = field(default_factory=list)
    depends: set[tuple[str, str]] = field(default_factory=set)
    manifest: dict[str, str] = field(default_factory=dict)
    inner: list[Archive] = field(default_factory=list)
    ours: bool = False
    broken: str = ""

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return self.path.rpartition("/")[2].removesuffix(".jar")


def read(path: str, data: bytes, depth: int = 0) -> Archive:
    """Read an archive; one that is none is returned with the reason, never left out."""
    archive = Archive(path, hashlib.sha256(data).hexdigest(), hashlib.sha1(data, usedforsecurity=False).hexdigest())
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            names = [name for name in opened.namelist() if not name.endswith("/")]
            for name in names:
                _read_entry(archive, name, opened, depth)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        archive.broken = str(error)
        return archive
    classes = [name for name in names if name.endswith(".class")]
    nothing = not archive.inner and all(name.startswith(OWN) for name in classes)
    archive.ours = not archive.poms and (nothing or path.rpartition("/")[2] in GENERATED)
    return archive


def _read_entry(archive: Archive, name: str, opened: zipfile.ZipFile, depth: int) -> None:
    if name == "META-INF/MANIFEST.MF":
        archive.manifest = _manifest(opened.read(name).decode("utf-8", "replace"))
    elif PROPERTIES.fullmatch(name):
        pairs = (line.partition("=") for line in opened.read(name).decode("latin-1").splitlines())
        found = {key.strip(): value.strip() for key, _, value in pairs}
        if all(found.get(key) for key in ("groupId", "artifactId", "version")):
            archive.poms.append((found["groupId"], found["artifactId"], found["version"]))
    elif DESCRIPTOR.fullmatch(name):
        archive.depends |= _dependencies(opened.read(name))
    elif NOTICE.fullmatch(name):
        lines = opened.read(name).decode("utf-8", "replace").splitlines()
        archive.notice += [(match[1], match[2], match[3]) for line in lines if (match := BUNDLED.match(line))]
    elif name.endswith(".jar") and depth < DEEPEST:
        archive.inner.append(read(f"{archive.path}!/{name}", opened.read(name), depth + 1))


def _manifest(text: str) -> dict[str, str]:
    """Return the main section of a manifest, whose lines are folded."""
    main = text.replace("\r\n", "\n").split("\n\n")[0].replace("\n ", "")
    return {name: value.strip() for name, found, value in (line.partition(": ") for line in main.splitlines()) if found}


def _dependencies(descriptor: bytes) -> set[tuple[str, str]]:
    """Return (artifact, group) of a descriptor's dependencies, as far as it names them without variables."""
    try:
        root = ElementTree.fromstring(descriptor)
    except ElementTree.ParseError:
        return set()
    found = set()
    for dependency in root.iter(f"{NAMESPACE}dependency"):
        group, name = dependency.findtext(f"{NAMESPACE}groupId", ""), dependency.findtext(f"{NAMESPACE}artifactId", "")
        if group and name and "$" not in group + name:
            found.add((name.strip(), group.strip()))
    return found


def packages(archives: Iterable[Archive], locked: Mapping[str, Coordinates]) -> list[Package]:
    """Return the packages of an image's archives. ``locked`` maps the sha256 of a lock file's jars to their coordinates."""
    known = list(_all(archives))
    groups: dict[str, set[str]] = {}
    for archive in known:
        for name, group in [*archive.depends, *((pom[1], pom[0]) for pom in (*archive.poms, *archive.notice))]:
            groups.setdefault(name, set()).add(group)
    for group, name, _ in locked.values():
        groups.setdefault(name, set()).add(group)
    return [package for archive in known for package in _of(archive, locked, groups)]


def _all(archives: Iterable[Archive]) -> Iterable[Archive]:
    for archive in archives:
        yield archive
        yield from _all(archive.inner)


def _of(archive: Archive, locked: Mapping[str, Coordinates], groups: Mapping[str, set[str]]) -> list[Package]:
    main = locked.get(archive.sha256) or _own_pom(archive) or _by_name(archive, groups)
    hashes = frozenset({("SHA-256", archive.sha256), ("SHA-1", archive.sha1)})
    found = []
    if main is not None:
        found.append(Package("maven", main[1], main[2], main[0], hashes=hashes, places=frozenset({archive.path})))
    elif not archive.ours:
        reason = archive.broken or "no coordinates"
        found.append(Package(UNKNOWN, archive.stem, "", hashes=hashes, notes=frozenset({("bookstore:unknown", reason)}),
                             places=frozenset({archive.path})))
    inside = frozenset({("bookstore:maven:bundled-in", archive.path.rpartition("/")[2])})
    for group, name, version in (*archive.poms, *archive.notice):
        if main is None or (group, name) != main[:2]:
            found.append(Package("maven", name, version, group, notes=inside, places=frozenset({archive.path})))
    return found


def _own_pom(archive: Archive) -> Coordinates | None:
    """Return the descriptor that describes the archive itself, and not something that was packed into it."""
    for pom in archive.poms:
        for name in (f"{pom[1]}-{pom[2]}", f"{pom[0]}.{pom[1]}-{pom[2]}"):
            # A classifier may follow.
            if archive.stem == name or archive.stem.startswith(f"{name}-"):
                return pom
            # Some projects add the language level to the version when they publish, after the descriptor was packed.
            if archive.stem.startswith(f"{name}."):
                return pom[0], pom[1], pom[2] + archive.stem.removeprefix(name)
    title = archive.manifest.get("Implementation-Title", ""), archive.manifest.get("Implementation-Version", "")
    if len(archive.poms) == 1 and (archive.poms[0][2] == title[1] or not VERSIONED.fullmatch(archive.stem)):
        return archive.poms[0]
    return None


def _by_name(archive: Archive, groups: Mapping[str, set[str]]) -> Coordinates | None:
    """Return coordinates by the file's name; None when no group can be told for certain."""
    name, version = _split(archive)
    vendor = archive.manifest.get("Implementation-Vendor-Id", "")
    if not version and vendor:
        # An archive inside of another, which is named without its version.
        version = archive.manifest.get("Implementation-Version", "")
    if not version:
        return None
    candidates = groups.get(name, set())
    symbolic = archive.manifest.get("Bundle-SymbolicName", "").partition(";")[0]
    if vendor and (vendor in candidates or not candidates):
        return vendor, name, version
    if len(candidates) == 1:
        return next(iter(candidates)), name, version
    if symbolic.endswith(f".{name}"):
        return symbolic.removesuffix(f".{name}"), name, version
    # Quarkus: the artifact begins behind the last dot that a letter follows.
    quarkus = re.fullmatch(r"((?:[a-z0-9_-]+\.)+?[a-z0-9_-]+)\.([a-zA-Z][^.]*(?:\.\d[^.]*)*)", name)
    if quarkus:
        return quarkus[1], quarkus[2], version
    # A sibling of archives whose group is known.
    module = archive.manifest.get("Automatic-Module-Name", "")
    siblings = [group for found in groups.values() for group in found if module.startswith(f"{group}.")]
    return (max(siblings, key=len), name, version) if siblings else None


def _split(archive: Archive) -> tuple[str, str]:
    """Return name and version of a file's name; the manifest tells where a version with dashes begins."""
    for key in ("Implementation-Version", "Bundle-Version"):
        version = archive.manifest.get(key, "").split(" ")[0]
        if version and archive.stem.endswith(f"-{version}"):
            return archive.stem.removesuffix(f"-{version}"), version
    match = VERSIONED.fullmatch(archive.stem)
    return (match["name"], match["version"]) if match else (archive.stem, "")
