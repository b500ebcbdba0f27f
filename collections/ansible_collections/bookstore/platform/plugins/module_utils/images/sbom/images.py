"""Describes images of the container engine: one SBOM for each, kept beside the ledger under the image's name and tag."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from ...base import environment
from .. import commands
from ..errors import FactoryError
from ..recipes import Catalogue, Image
from . import debian, document, embedded, filesystem, golang, java, npm, python, recipe
from .packages import UNKNOWN, Package, merged

# Containers that never run: the engine gives out a file system only of a container.
CONTAINER = "bookstore-sbom"
NEVER_RUN = "/never-run"


def path(folder: Path, image: str, key: str) -> Path:
    """Return where the SBOM of an image is kept."""
    return folder / f"{image}-{key}.cdx.json"


def subject(reference: str, origin: str, digest: str | None) -> document.Subject:
    """Return the facts of an image of the engine; FactoryError (BK-411) when it has none of this name."""
    code, output = commands.capture(["docker", "image", "inspect", reference])
    if code != 0:
        raise FactoryError(f"BK-411: {reference}: the engine has no such image: {output}; run: make up")
    facts = json.loads(output)[0]
    # Nanoseconds are more than a date holds.
    created = datetime.fromisoformat(facts["Created"][:19] + "+00:00")
    return document.Subject(reference, facts["Id"], created, origin, digest)


def ensure(about: document.Subject, image: Image, key: str, catalogue: Catalogue, project: Path, folder: Path) -> Path:
    """Write the SBOM of an image unless the one that is there is of this very image; returns its file."""
    target = path(folder, image.name, key)
    if not current(target, about):
        packages = describe(about.reference, image, catalogue, project, built=about.origin == "packages")
        text = document.write(about, packages)
        document.require_valid(text, about.reference)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, target)
    return target


def current(file: Path, about: document.Subject) -> bool:
    """Tell whether a file describes this image, in today's form."""
    try:
        properties = document.read(file.read_text(encoding="utf-8"), str(file)).properties
    except (FileNotFoundError, FactoryError):
        return False
    # A registry that could not be asked takes nothing back.
    return all(properties.get(name) == value for name, value in about.properties.items())


def describe(reference: str, image: Image, catalogue: Catalogue, project: Path, *, built: bool) -> list[Package]:
    """Return the packages of an image; ``built``: from its recipe here, so that the recipe's locks tell of it, too."""
    known = recipe.known(catalogue, image, project) if built else recipe.Known()
    with exported(reference, f"{CONTAINER}-{image.name}") as stream:
        try:
            contents = filesystem.read(stream)
        except tarfile.TarError as error:
            raise FactoryError(f"BK-411: {reference}: the engine did not give out its file system: {error}") from error
    return collected(contents, known)


def collected(contents: filesystem.Contents, known: recipe.Known) -> list[Package]:
    """Return all packages of what was read, each once."""
    found = list(known.packages)
    for place, status in contents.statuses.items():
        found += debian.packages(status, place, contents.os_release)
    for read, texts in ((python.installed, contents.python), (npm.installed, contents.npm), (embedded.packages, contents.embedded)):
        for place, text in texts.items():
            if contents.foreign(place):
                found += read(place, text)
    found += java.packages([archive for archive in contents.archives if contents.foreign(archive.path)], known.jars)
    # Programs inside of the folders of Python packages belong to those.
    folders = {place.rsplit("/", 2)[0] + "/" for place in contents.python if contents.foreign(place)}
    for program in contents.foreign_programs():
        if program.go:
            found += golang.packages(program)
        elif not recipe.claims(known, program.path) and not any(program.path.startswith(folder) for folder in folders):
            found.append(_unknown(program))
    # An archive that a Python package brought without coordinates of its own, as py4j does.
    brought = {f"{package.name}{dash}{package.version}" for package in found if package.kind == "pypi" for dash in ("", "-")}
    return merged(package for package in found if package.kind != UNKNOWN or package.name not in brought)


def _unknown(program: golang.Program) -> Package:
    name = program.path.rpartition("/")[2]
    return Package(UNKNOWN, name, "", hashes=frozenset({("SHA-256", program.sha256)}),
                   notes=frozenset({("bookstore:unknown", "a program of no package")}), places=frozenset({program.path}))


@contextmanager
def exported(reference: str, container: str) -> Iterator[IO[bytes]]:
    """Give the stream of an image's whole file system, of a container that is made for it and never runs."""
    # A killed run's.
    commands.capture(["docker", "rm", "--force", container])
    code, output = commands.capture(["docker", "create", "--name", container, "--network", "none", reference, NEVER_RUN])
    if code != 0:
        raise FactoryError(f"BK-411: {reference}: the engine made no container of it: {output}")
    with tempfile.TemporaryFile() as said:
        try:
            command = ["docker", "export", container]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=environment.clean(os.environ)) as client:
                assert client.stdout is not None
                yield client.stdout
                # The padding at its end.
                while client.stdout.read(golang.CHUNK):
                    pass
        finally:
            commands.capture(["docker", "rm", "--force", container])
        if client.returncode != 0:
            said.seek(0)
            text = said.read().decode("utf-8", "replace").strip()
            raise FactoryError(f"BK-411: {reference}: the engine did not give out its whole file system: {text}")
