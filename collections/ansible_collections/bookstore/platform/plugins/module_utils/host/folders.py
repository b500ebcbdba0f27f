"""Removes folders of the platform, also what other users own in them and what its tools made read-only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..engine.docker import docker


class FolderError(Exception):
    """A folder cannot be removed; the message holds the remedy."""


def refuse_foreign(path: Path, kept: Sequence[Path]) -> None:
    """Raise FolderError for a folder that holds more than the platform's things: one of ``kept`` lies in it."""
    real = path.resolve()
    for other in (Path("/"), *kept):
        if other.resolve().is_relative_to(real):
            raise FolderError(f"BK-121: {path} is not removed, for {other} lies in it; give the platform a folder of its own")


def remove(path: Path, kept: Sequence[Path], image: str | None) -> bool:
    """Remove a folder; tell whether it was there. ``image``: what root in a container is made of, for what others own."""
    if not os.path.lexists(path):
        return False
    refuse_foreign(path, kept)
    try:
        _remove_tree(path)
    except PermissionError as error:
        if image is None:
            raise FolderError(
                f"BK-121: {path} holds what another user owns ({error.filename}), and no image of the platform is there "
                f"to remove it with; run: sudo rm -rf {path}"
            ) from error
        docker(
            "run", "--rm", "--network", "none", "--user", "0:0", "--entrypoint", "find", "--volume", f"{path}:/emptied",
            image, "/emptied", "-mindepth", "1", "-delete",
        )
        _remove_tree(path)
    return True


def _remove_tree(path: Path) -> None:
    """Like shutil.rmtree, but read-only folders of this user (Go's modules are such) are no obstacle."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    mode = path.stat().st_mode
    if mode & 0o700 != 0o700:
        path.chmod(mode | 0o700)
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        _remove_tree(path / name)
    path.rmdir()
