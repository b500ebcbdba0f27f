"""Go modules of a program, from the build information that Go's linker puts into it (package debug/buildinfo of its library)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from .packages import Package

ELF = b"\x7fELF"
MAGIC = b"\xff Go buildinf:"
ALIGNMENT = 16
# Pointer size and flags follow the magic; this flag: the texts stand behind the header itself, as since Go 1.18.
FLAGS_AT, INLINE, HEADER = 15, 2, 32
# The module list is framed, for programs that search for it.
FRAME = 16
CHUNK = 2**20
MOST = 8 * 2**20


@dataclass(frozen=True)
class Program:
    """A program of an image; ``go`` is its compiler's version and ``modules`` its module list, both empty when it is none of Go's."""

    path: str
    sha256: str
    go: str = ""
    modules: str = ""


def read(path: str, content: Callable[[int], bytes], head: bytes) -> Program:
    """Read a program in pieces; ``head`` is its begin, which was read already."""
    digest = hashlib.sha256()
    window, offset, chunk, found = b"", 0, head, ("", "")
    while chunk:
        digest.update(chunk)
        if not found[0]:
            window += chunk
            at = _search(window, offset)
            if at is None:
                # The magic may lie across two pieces.
                keep = min(len(window), HEADER)
                offset += len(window) - keep
                window = window[len(window) - keep:]
            else:
                offset += at
                window = window[at:]
                found = _texts(window) or ("", "")
                if not found[0] and len(window) > MOST:
                    window, offset = window[ALIGNMENT:], offset + ALIGNMENT
        chunk = content(CHUNK)
    return Program(path, digest.hexdigest(), *found)


def _search(window: bytes, offset: int) -> int | None:
    """Return where a header stands in ``window``, which is ``offset`` bytes behind the program's begin."""
    at = window.find(MAGIC)
    while at >= 0:
        # Programs that look for it have the magic among their texts, too.
        if (offset + at) % ALIGNMENT == 0 and len(window) > at + FLAGS_AT and window[at + FLAGS_AT] & INLINE:
            return at
        at = window.find(MAGIC, at + 1)
    return None


def _texts(data: bytes) -> tuple[str, str] | None:
    """Return the compiler's version and the module list that stand behind a header; None when they are not whole."""
    version, at = _text(data, HEADER)
    if version is None or not version.startswith((b"go", b"devel")):
        return None
    modules, _ = _text(data, at)
    if modules is None:
        return None
    return version.decode("utf-8", "replace"), modules[FRAME:-FRAME].decode("utf-8", "replace")


def _text(data: bytes, at: int) -> tuple[bytes | None, int]:
    """Return the text whose length stands at ``at`` as a varint, and what comes behind it."""
    length = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            end = at + length
            return (data[at:end] if end <= len(data) else None), end
    return None, at


def packages(program: Program) -> list[Package]:
    """Return the modules that a program was linked of, and Go's own library."""
    binary = os.path.basename(program.path)
    found = [_module("stdlib", program.go.split()[0].removeprefix("go"), "", program, binary)] if program.go else []
    lines = [line.split("\t") for line in program.modules.splitlines()]
    for number, fields in enumerate(lines):
        if fields[0] not in ("mod", "dep") or len(fields) < 3:
            continue
        after = lines[number + 1] if number + 1 < len(lines) else [""]
        _, name, version, *rest = after if after[0] == "=>" and len(after) > 2 else fields
        # The checkout's own module, which has no published version.
        if version in ("", "(devel)"):
            continue
        found.append(_module(name, version, rest[0] if rest else "", program, binary))
    return found


def _module(name: str, version: str, total: str, program: Program, binary: str) -> Package:
    notes = {("bookstore:go:binary", binary)}
    if total:
        # As in go.sum: a hash of the module's files, not of one file.
        notes.add(("bookstore:go:h1", total))
    return Package("golang", name, version, notes=frozenset(notes), places=frozenset({program.path}))
