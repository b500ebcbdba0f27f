"""The collection's packages: nothing lies beside them, and their imports run one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks import layers

ABSOLUTE = "from ansible_collections.bookstore.platform.plugins."


def test_packages_of_module_utils_import_one_way(root: Path) -> None:
    plugins = root / "collections/ansible_collections/bookstore/platform/plugins"
    graph = layers.imports(plugins)
    assert layers.loose_modules(plugins) == []
    assert layers.faults(graph) == []
    assert graph["keycloak"] >= {"base", "kubernetes"}


def tree(folder: Path, files: dict[str, str]) -> Path:
    """Write modules below module_utils, each package with its __init__.py."""
    for name, text in {"base/__init__.py": "", "mesh/__init__.py": "", "host/__init__.py": "", "base/waiter.py": "", **files}.items():
        file = folder / "module_utils" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def test_sound_packages_have_no_faults(tmp_path: Path) -> None:
    good = {"mesh/plan.py": "from ..base import waiter\nfrom . import run\n", "mesh/run.py": "import json\n"}
    plugins = tree(tmp_path, {**good, "host/lock.py": f"{ABSOLUTE}module_utils.mesh.plan import row\n"})
    graph = layers.imports(plugins)
    assert graph == {"base": set(), "mesh": {"base"}, "host": {"mesh"}}
    assert layers.faults(graph) + layers.loose_modules(plugins) == []


@pytest.mark.parametrize(("files", "fault"), [
    ({"base/waiter.py": f"{ABSOLUTE}module_utils.host.lock import LOCK\n"}, "base imports host"),
    ({"base/waiter.py": "from ..host import lock\n"}, "base imports host"),
    ({"mesh/plan.py": f"{ABSOLUTE}plugin_utils import table\n"}, "mesh imports plugin_utils"),
    ({"mesh/plan.py": "def late() -> None:\n    from .. import host\n", "host/lock.py": "from ..mesh.plan import row\n"},
     "mesh imports host: a circle"),
])  # fmt: skip
def test_imports_against_the_layers_are_found(tmp_path: Path, files: dict[str, str], fault: str) -> None:
    assert any(found.startswith(fault) for found in layers.faults(layers.imports(tree(tmp_path, files))))


def test_modules_outside_of_packages_are_found(tmp_path: Path) -> None:
    plugins = tree(tmp_path, {"alone.py": "", "odd/thing.py": ""})
    assert layers.loose_modules(plugins) == ["module_utils/alone.py is in no package", "module_utils/odd has no __init__.py"]
