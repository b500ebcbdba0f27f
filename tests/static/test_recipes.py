"""Image recipes: hadolint, and this product's own rules with a good and a bad example each."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import allowed, recipes

FIXTURES = Path(__file__).parent / "fixtures/recipes"


def _containerfiles(root: Path) -> list[Path]:
    return sorted(root.glob("roles/*/images/*/Containerfile"))


def test_hadolint_is_content(root: Path) -> None:
    files = [str(file.relative_to(root)) for file in _containerfiles(root)]
    assert files
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--config", ".hadolint.yaml", *files], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_recipes_keep_the_rules(root: Path, allowances: allowed.Allowed, no_faults: list[str]) -> None:
    for file in _containerfiles(root):
        path = str(file.relative_to(root))
        text = file.read_text(encoding="utf-8")
        for name, rule in recipes.RULES.items():
            no_faults += [f"{path}: {name}: {fault}" for fault in rule(text) if not allowances.covers(name, path, fault)]
    no_faults += allowances.unused(set(recipes.RULES))


@pytest.mark.parametrize("name", list(recipes.RULES))
def test_each_rule_finds_its_bad_example_and_passes_its_good_one(name: str) -> None:
    good = (FIXTURES / f"{name}.good.Containerfile").read_text(encoding="utf-8")
    bad = (FIXTURES / f"{name}.bad.Containerfile").read_text(encoding="utf-8")
    assert recipes.RULES[name](good) == []
    assert recipes.RULES[name](bad) != []


def test_every_recipe_is_listed_and_every_listed_one_exists(root: Path, no_faults: list[str]) -> None:
    for listing in sorted(root.glob("roles/*/images/recipes.yml")):
        content = yaml.safe_load(listing.read_text(encoding="utf-8"))
        named = {image["context"] for image in content.get("images") or [] if image.get("context")}
        found = {file.parent.name for file in listing.parent.glob("*/Containerfile")}
        no_faults += [f"{listing.relative_to(root)}: {name}: recipe and folder do not match" for name in sorted(named ^ found)]


def _named_folders(listing: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the files and folders of the checkout that the artifacts of a recipe file are made of."""
    named: list[str] = []
    for artifact in listing.get("artifacts") or []:
        named += [str(artifact[key]) for key in ("pages", "requirements") if key in artifact]
        named += list(artifact.get("sources") or {})
        named += [artifact["module"]] if "/" in artifact.get("module", "") else []
    return named


def test_every_folder_that_a_recipe_names_exists(root: Path, no_faults: list[str]) -> None:
    named = set()
    for listing in sorted(root.glob("roles/*/images/recipes.yml")):
        folders = _named_folders(yaml.safe_load(listing.read_text(encoding="utf-8")))
        named |= {folder for folder in folders if folder.startswith("components/")}
        no_faults += [f"{listing.relative_to(root)}: {folder} does not exist" for folder in folders if not (root / folder).exists()]
    assert {"components/node-network", "components/debezium-guard/src"} <= named


def _programs(paths: Iterable[str]) -> list[str]:
    """Return sources of programs among the files of roles. A module that only pins another one's program has no folder below it."""
    return [path for path in paths if re.match(r"roles/.*\.java$|roles/[^/]+/images/[^/]+/.*/[^/]*\.go$", path)]


def test_programs_are_in_components(committed: dict[str, str]) -> None:
    assert _programs(committed) == []
    assert _programs(["roles/a/images/a/A.java", "roles/a/images/a/b/main.go", "roles/a/images/a/tools.go"]) == [
        "roles/a/images/a/A.java", "roles/a/images/a/b/main.go",
    ]  # fmt: skip
