"""CONTRIBUTING's example of a new component, followed: a copy of the repository with it renders, and keeps every proof."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table
from checks import allowed, coverage, inventory, rendering, roles, tables
from checks import manifests as policies

EXERCISE = Path(__file__).parent / "exercise"
FILES = sorted(str(path.relative_to(EXERCISE / "files")) for path in (EXERCISE / "files").rglob("*") if path.is_file())
COPIED = ("components/", "inventory/", "playbooks/", "roles/", "collections/", "flink/", "superset/", "docs/")
EDITS: list[dict[str, str]] = yaml.safe_load((EXERCISE / "edits.yml").read_text(encoding="utf-8"))
MOST_FILES, MOST_EDITED = 12, 5
CORRECT = "correct tests/static/exercise/edits.yml"
Documents = list[dict[str, Any]]


def _edit(text: str, edit: dict[str, str]) -> str:
    if "replace" in edit:
        assert text.count(edit["replace"]) == 1, f"{edit['file']} must have {edit['replace']!r} once: {CORRECT}"
        return text.replace(edit["replace"], edit["with"])
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines, 1) if line.startswith(edit["after"])]
    assert len(places) == 1, f"{edit['file']} must have a line {edit['after']!r} once: {CORRECT}"
    return "".join([*lines[: places[0]], edit["insert"], *lines[places[0] :]])


@pytest.fixture(scope="module")
def checkout(committed: dict[str, str], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository to which the example was added."""
    folder = tmp_path_factory.mktemp("exercise") / "bookstore"
    for name in committed:
        if name.startswith(COPIED) or "/" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((root / name).read_bytes())
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((EXERCISE / "files" / name).read_bytes())
    for edit in EDITS:
        path = folder / edit["file"]
        path.write_text(_edit(path.read_text(encoding="utf-8"), edit), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def declared(checkout: Path) -> inventory.Data:
    return inventory.load(checkout / "inventory/local/group_vars/all")


@pytest.fixture(scope="module")
def made(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """Its manifests."""
    scratch = tmp_path_factory.mktemp("exercise-rendered")
    rendering.render(checkout, scratch / "manifests", scratch)
    files = sorted((scratch / "manifests").glob("*.yml"))
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8")) if manifest]


def _faults(made: Documents, declared: inventory.Data) -> list[str]:
    edges = tables.edges(declared["bookstore_matrix"], declared["bookstore_workloads"], made)
    return [
        *coverage.authorization_covers(made, edges),
        *coverage.network_covers(made, edges),
        *tables.workloads_are_the_table(made, declared["bookstore_workloads"], replicas=1),
    ]


def test_it_is_as_small_as_it_is_told(committed: dict[str, str]) -> None:
    """CONTRIBUTING lists exactly what is added and what is changed."""
    section = committed["CONTRIBUTING.md"].split("\n## Adding a component\n")[1].split("\n## ")[0]
    assert len(FILES) <= MOST_FILES
    assert len({edit["file"] for edit in EDITS}) <= MOST_EDITED
    told = {line.split("`")[1] for line in section.splitlines() if line.startswith(("| `", "1. `", "- `"))}
    assert told == {*FILES, *(edit["file"] for edit in EDITS)}


def test_it_keeps_the_three_proofs(made: Documents, declared: inventory.Data) -> None:
    assert [m["kind"] for m in made if m["metadata"]["name"] == "greeter" and m["kind"] == "Deployment"]
    assert _faults(made, declared) == []


def test_each_proof_finds_what_is_wrong_with_it(made: Documents, declared: inventory.Data) -> None:
    changed = copy.deepcopy(made)
    deployment = next(m for m in changed if m["kind"] == "Deployment" and m["metadata"]["name"] == "greeter")
    deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = "greetings"
    faults = "\n".join(_faults(changed, declared))
    assert "AuthorizationPolicy storefront/greeter: no pod carries the labels" in faults
    assert "NetworkPolicy storefront/greeter-in: no pod carries the labels" in faults
    assert "Deployment storefront/greeter: label app.kubernetes.io/name greetings" in faults


def test_its_manifests_and_its_role_keep_the_rules(made: Documents, checkout: Path, allowances: allowed.Allowed) -> None:
    assert [fault for rule in policies.RULES.values() for fault in rule(made)] == []
    role = checkout / "roles/greeter"
    faults = [*roles.layout(role), *roles.spec_matches_defaults(role), *roles.defaults_are_used(role), *roles.uses_are_declared(role)]
    assert [fault for fault in faults if not allowances.covers("role-variable", "roles/greeter", fault)] == []


def test_it_stands_in_every_list_that_follows_from_the_tables(declared: inventory.Data) -> None:
    table = declared["bookstore_workloads"]
    assert {"kind": "Deployment", "namespace": "storefront", "name": "greeter"} in workload_table.expected(table)
    assert "storefront/greeter" in workload_table.exec_sources(table)
    assert workload_table.address(table, "greeter.http") == "greeter.storefront.svc.cluster.local:8000"


def test_an_edit_that_does_not_fit_is_named() -> None:
    with pytest.raises(AssertionError, match="x.yml must have a line 'b' once"):
        _edit("a\n", {"file": "x.yml", "after": "b", "insert": "c\n"})


def test_git_holds_the_example(root: Path) -> None:
    """A file that git ignores would be missing from a checkout."""
    listed = subprocess.run(["git", "check-ignore", *(f"tests/static/exercise/files/{name}" for name in FILES)], cwd=root,
                            capture_output=True, text=True, check=False)  # fmt: skip
    assert listed.stdout == ""
