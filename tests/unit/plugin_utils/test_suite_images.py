"""The tags of the test suite's images come from the suite itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils.suite_images import tags

ROOT = Path(__file__).parents[3]
REPOSITORY = "bookstore.local"


def test_each_image_gets_all_tags_that_the_suite_asks_for() -> None:
    listed = [
        "bookstore.local/conformance/httpd:2.4.39-4", "bookstore.local/conformance/httpd:2.4.38-4",
        "bookstore.local/conformance/agnhost:2.55", "bookstore.local/conformance/agnhost:2.55", "", "no image at all",
    ]  # fmt: skip
    assert tags(listed, REPOSITORY, ["conformance/agnhost", "conformance/httpd"]) == {
        "conformance/agnhost": ["2.55"], "conformance/httpd": ["2.4.38-4", "2.4.39-4"],
    }  # fmt: skip


def test_images_of_specs_that_are_not_run_are_left_out() -> None:
    listed = ["bookstore.local/conformance/agnhost:2.55", "bookstore.local/conformance/gpu:1"]
    assert set(tags(listed, REPOSITORY, ["conformance/agnhost"])) == {"conformance/agnhost"}


@pytest.mark.parametrize("line", [
    "elsewhere.local/conformance/agnhost:2.55", "conformance/agnhost:2.55", "bookstore.local/conformance/agnhost",
    "bookstore.local/conformance/agnhost-2:2.55",
])  # fmt: skip
def test_a_recipe_that_the_suite_does_not_ask_for_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="conformance/agnhost"):
        tags([line], REPOSITORY, ["conformance/agnhost"])


def test_the_suite_is_of_the_version_that_runs() -> None:
    """Its module, and the version that it takes itself for, are those of the nodes."""
    versions = yaml.safe_load((ROOT / "inventory/local/group_vars/all/versions.yml").read_text(encoding="utf-8"))["bookstore_versions"]
    recipes = (ROOT / "tests/conformance/images/recipes.yml").read_text(encoding="utf-8")
    module = (ROOT / "tests/conformance/images/suite/go.mod").read_text(encoding="utf-8")
    wanted = versions["kubernetes"].removeprefix("v")
    assert re.findall(r"version\.gitVersion=v(\S+)", recipes) == [wanted]
    assert re.findall(r"k8s\.io/kubernetes v(\S+)", module) == [wanted]
