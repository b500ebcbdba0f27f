"""A cache of folders by the hash of their inputs, safe against interruption and parallel runs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Part of every hash: raise it when a builder's output changes for the same inputs.
FORMAT = 1
READABLE = stat.S_IRGRP | stat.S_IROTH


def digest(value: Any) -> str:
    """Return a short stable hash (16 hex digits) of a JSON-like value."""
    text = json.dumps([FORMAT, value], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def files_digest(root: Path) -> dict[str, str]:
    """Map each file below ``root`` (or ``root`` itself) to the hash of its mode and content."""
    paths = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    result = {}
    for path in paths:
        # What cannot change the result: byte code, documents and tests.
        if "__pycache__" in path.parts or path.suffix in (".pyc", ".md") or path.name.endswith("_test.go"):
            continue
        # As in an image: see normal_mode.
        executable = path.stat().st_mode & stat.S_IXUSR
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        result[path.name if path == root else str(path.relative_to(root))] = f"{content}{'x' if executable else ''}"
    return result


def normal_mode(path: Path) -> int:
    """Return the mode that a file or folder of an image has, whatever umask or checkout it came from: only "may be run" counts."""
    mode = path.stat().st_mode
    return 0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644


def normalize_modes(root: Path) -> None:
    """Give everything below ``root`` its normal mode; an image's users are others than the one who builds it."""
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != (mode := normal_mode(path)):
                path.chmod(mode)


def unreadable(paths: Iterable[Path]) -> bool:
    """Tell whether other users cannot read any of these.

    Images that were made of such files before modes were made normal are not usable, so they need another name.
    """
    return any(not path.is_symlink() and path.stat().st_mode & READABLE != READABLE for path in paths)


class Cache:
    """Folders ``<root>/<kind>/<name>-<hash>``, each complete or absent."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, name: str, key: str) -> Path:
        """Return where an entry lives, whether it is there or not."""
        return self.root / kind / f"{name}-{key}"

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of one entry; another run that builds it is waited for."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        # Images may have names of several parts.
        with open(folder / name.replace("/", "-"), "w", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def ensure(self, kind: str, name: str, key: str, build: Callable[[Path], None]) -> tuple[Path, bool]:
        """Return the entry's folder and whether it was built now.

        ``build`` fills a temporary folder that is renamed when complete, so an interrupted
        build leaves no entry. Left-overs of killed builds are removed under the lock.
        """
        final = self.path(kind, name, key)
        if final.is_dir():
            return final, False
        with self.lock(f"{kind}-{name}"):
            if final.is_dir():
                return final, False
            final.parent.mkdir(parents=True, exist_ok=True)
            for stale in final.parent.glob(f".{name}-building-*"):
                shutil.rmtree(stale)
            temporary = Path(tempfile.mkdtemp(prefix=f".{name}-building-", dir=final.parent))
            try:
                build(temporary)
                normalize_modes(temporary)
                temporary.chmod(0o755)
                os.replace(temporary, final)
            finally:
                if temporary.exists():
                    shutil.rmtree(temporary)
        return final, True
