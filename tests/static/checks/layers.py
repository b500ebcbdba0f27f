"""Packages of module_utils: each module is in one, and their imports have no circle."""

from __future__ import annotations

import ast
from pathlib import Path

PLUGINS = "ansible_collections.bookstore.platform.plugins."
# Imported by all packages; imports none.
FOUNDATION = "base"


def loose_modules(plugins: Path) -> list[str]:
    """Modules of module_utils outside of packages, and packages that Ansible would not ship because __init__.py is missing."""
    folder = plugins / "module_utils"
    loose = [f"module_utils/{file.name} is in no package" for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
    packages = sorted({file.parent for file in folder.rglob("*.py")} - {folder})
    return loose + [f"{package.relative_to(plugins)} has no __init__.py" for package in packages if not (package / "__init__.py").is_file()]


def imports(plugins: Path) -> dict[str, set[str]]:
    """Which packages of module_utils each of them imports; ``plugin_utils`` is among them when something imports it."""
    found: dict[str, set[str]] = {}
    for file in sorted((plugins / "module_utils").glob("*/**/*.py")):
        parents = file.relative_to(plugins).parent.parts
        targets = found.setdefault(parents[1], set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                targets |= {_package(name) for name in _names(node, parents)} - {"", parents[1]}
    return found


def _names(node: ast.ImportFrom, parents: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Full names, from the folder of plugins on, of what a statement imports; none for other libraries."""
    module = tuple((node.module or "").split(".")) if node.module else ()
    if node.level:
        start = parents[: len(parents) - node.level + 1]
    elif node.module and node.module.startswith(PLUGINS):
        start, module = (), tuple(node.module.removeprefix(PLUGINS).split("."))
    else:
        return []
    return [(*start, *module, alias.name) for alias in node.names]


def _package(name: tuple[str, ...]) -> str:
    return name[1] if name[0] == "module_utils" else name[0]


def faults(graph: dict[str, set[str]]) -> list[str]:
    """Imports that run the wrong way: from the foundation, from what modules use to the controller's plugins, and in a circle."""
    found = [f"{FOUNDATION} imports {target}" for target in sorted(graph.get(FOUNDATION, set()))]
    found += [f"{package} imports plugin_utils" for package in sorted(graph) if "plugin_utils" in graph[package]]
    left = {package: set(targets) & set(graph) for package, targets in graph.items()}
    while free := {package for package, targets in left.items() if not targets}:
        left = {package: targets - free for package, targets in left.items() if package not in free}
    return found + [f"{package} imports {', '.join(sorted(left[package]))}: a circle, or leads to one" for package in sorted(left)]
