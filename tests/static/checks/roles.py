"""Roles: argument specs, defaults and uses of their variables agree."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

# Pieces that a role may have; a file elsewhere would not be found by its readers.
REQUIRED = ("defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml", "README.md")
# Names of Prometheus' series begin like the role's variables.
SERIES = "files/metrics.yml"
# preflight checks, install declares and waits for nothing, ready waits, configure and repair change a running component.
PHASES = ("preflight", "install", "ready", "configure", "repair")


def names(roles: Path) -> list[str]:
    """Return the roles' names."""
    return sorted(folder.name for folder in roles.iterdir() if (folder / "tasks").is_dir())


def _yaml(path: Path) -> dict[str, object]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}


def defaults(role: Path) -> set[str]:
    """Return the names in defaults/main.yml."""
    return set(_yaml(role / "defaults/main.yml"))


def options(role: Path) -> dict[str, dict[str, dict[str, object]]]:
    """Return entry point to option name to option, of meta/argument_specs.yml."""
    specs = _yaml(role / "meta/argument_specs.yml").get("argument_specs") or {}
    return {entry: spec.get("options") or {} for entry, spec in specs.items()}  # type: ignore[attr-defined]


def layout(role: Path) -> list[str]:
    """Every role has its fixed files."""
    return [f"roles/{role.name}/{name} is missing" for name in REQUIRED if not (role / name).is_file()]


def spec_matches_defaults(role: Path) -> list[str]:
    """Optional options are exactly the defaults; required ones have none. Each is described."""
    known = defaults(role)
    faults, declared = [], set()
    for entry, found in options(role).items():
        declared |= set(found)
        for name, option in found.items():
            required = bool(option.get("required"))
            if required == (name in known):
                expected = "no default" if required else "a default"
                faults.append(f"roles/{role.name}: option {name} of entry point {entry} needs {expected} in defaults/main.yml")
            if not option.get("description") or not option.get("type"):
                faults.append(f"roles/{role.name}: option {name} of entry point {entry} needs type and description")
            # What is required and has no such name is the inventory's: a role may say of which type it must be.
            if not required and not name.startswith(f"{role.name}_"):
                faults.append(f"roles/{role.name}: option {name} must start with {role.name}_")
    return faults + [f"roles/{role.name}: default {name} is not in meta/argument_specs.yml" for name in sorted(known - declared)]


def _texts(role: Path) -> dict[str, str]:
    folders = ("tasks", "templates", "handlers", "vars", "files")
    return {
        str(file.relative_to(role)): file.read_text(encoding="utf-8")
        for folder in folders
        for file in sorted((role / folder).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def _words(text: str, prefix: str) -> set[str]:
    """Return variables with a prefix: inside expressions and as keys of vars or arguments, not in prose, tags or paths."""
    return set(re.findall(rf"(?<![\w./-])({re.escape(prefix)}\w+)\b(?!\.ya?ml)", text))


def uses_are_declared(role: Path) -> list[str]:
    """Every <role>_x in tasks and templates is an option; every __<role>_x is set somewhere in the role."""
    texts = _texts(role)
    known = defaults(role) | {name for found in options(role).values() for name in found}
    tags = {f"{role.name}_{phase}" for phase in PHASES}
    faults = []
    for path, text in texts.items():
        if path == SERIES:
            continue
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for name in sorted(_words("\n".join(lines), f"{role.name}_") - known - tags):
            if f"community.{role.name}" not in name:
                faults.append(f"roles/{role.name}/{path}: {name} is neither in defaults nor in the argument spec")
        for name in sorted(_words("\n".join(lines), f"__{role.name}_")):
            is_set = re.compile(rf"(?:register: {name}\b|^\s*-?\s*{name}:|set {name}\b)", re.MULTILINE)
            if not any(is_set.search(other) for other in texts.values()):
                faults.append(f"roles/{role.name}/{path}: {name} is never registered or set")
    return faults


def defaults_are_used(role: Path, others: str = "") -> list[str]:
    """Every default is used in the role, be it by another default, or in ``others`` (the text of other roles and playbooks)."""
    values = [str(value) for value in _yaml(role / "defaults/main.yml").values()]
    text = "\n".join([*_texts(role).values(), *values]) + others
    return [
        f"roles/{role.name}: default {name} is used nowhere; remove it"
        for name in sorted(defaults(role))
        if not re.search(rf"\b{re.escape(name)}\b", text)
    ]
