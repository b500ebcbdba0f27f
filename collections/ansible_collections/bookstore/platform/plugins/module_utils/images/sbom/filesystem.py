"""Reads an image's file system once, as a stream, and keeps what tells of packages."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass, field
from typing import IO

from . import debian, embedded, golang, java, npm, python

# A metadata file that is larger is none.
LARGEST_TEXT = 16 * 2**20
LIBRARY = re.compile(r".*\.so(\.[\d.]+)?")


@dataclass
class Contents:
    """``owned``: paths of the distribution's packages. ``programs``: executable files that are no shared library."""

    os_release: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    owned: set[str] = field(default_factory=set)
    python: dict[str, str] = field(default_factory=dict)
    npm: dict[str, str] = field(default_factory=dict)
    embedded: dict[str, str] = field(default_factory=dict)
    archives: list[java.Archive] = field(default_factory=list)
    programs: list[golang.Program] = field(default_factory=list)

    def foreign(self, path: str) -> bool:
        """Tell whether no package of the distribution owns a file."""
        return debian.plain(path) not in self.owned

    def foreign_programs(self) -> list[golang.Program]:
        """Return the programs that are neither a distribution's file nor a copy of one."""
        copies = {program.sha256 for program in self.programs if not self.foreign(program.path)}
        return [program for program in self.programs if self.foreign(program.path) and program.sha256 not in copies]


def read(stream: IO[bytes]) -> Contents:
    """Read the tar stream of a whole file system (`docker export`); tarfile.TarError when it is broken."""
    contents = Contents()
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            # A stream's members are all remembered otherwise.
            tar.members = []  # type: ignore[attr-defined]
            path = "/" + member.name.lstrip("./")
            if member.isfile() and member.size:
                handle = tar.extractfile(member)
                assert handle is not None
                _keep(contents, path, member, handle)
    return contents


def _keep(contents: Contents, path: str, member: tarfile.TarInfo, handle: IO[bytes]) -> None:
    if path.endswith(".jar"):
        contents.archives.append(java.read(path, handle.read()))
    elif member.size <= LARGEST_TEXT and _is_text(path):
        text = handle.read().decode("utf-8", "replace")
        if path in debian.OS_RELEASE:
            contents.os_release = debian.release(text)
        elif path == debian.STATUS or path.startswith(debian.STATUS_FOLDER):
            contents.statuses[path] = text
        elif path.startswith(debian.LISTS_FOLDER):
            contents.owned.update(debian.plain(line) for line in text.splitlines())
        elif path.endswith("/package.json"):
            contents.npm[path] = text
        elif embedded.DOCUMENT.fullmatch(path):
            contents.embedded[path] = text
        else:
            contents.python[path] = text
    elif member.mode & 0o111 and not LIBRARY.fullmatch(path):
        head = handle.read(golang.CHUNK)
        if head.startswith(golang.ELF):
            contents.programs.append(golang.read(path, handle.read, head))


def _is_text(path: str) -> bool:
    return (
        path in debian.OS_RELEASE
        or path == debian.STATUS
        or (path.startswith(debian.STATUS_FOLDER) and not path.endswith(".md5sums"))
        or (path.startswith(debian.LISTS_FOLDER) and path.endswith(".list"))
        or embedded.DOCUMENT.fullmatch(path) is not None
        or npm.MANIFEST.fullmatch(path) is not None
        or python.METADATA.fullmatch(path) is not None
    )
