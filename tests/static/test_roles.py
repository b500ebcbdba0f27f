"""Roles: layout, argument specs, defaults and their uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks import allowed, roles

ROLES = Path(__file__).parents[2] / "roles"


@pytest.mark.parametrize("name", roles.names(ROLES))
def test_role_is_complete_and_its_variables_agree(name: str, root: Path, allowances: allowed.Allowed, no_faults: list[str]) -> None:
    role = ROLES / name
    elsewhere = "\n".join(
        file.read_text(encoding="utf-8")
        for pattern in ("playbooks/*.yml", "roles/*/tasks/*.yml", "roles/*/templates/*")
        for file in root.glob(pattern)
        if name not in file.parts
    )
    no_faults += roles.layout(role)
    no_faults += roles.spec_matches_defaults(role)
    no_faults += roles.defaults_are_used(role, elsewhere)
    no_faults += [fault for fault in roles.uses_are_declared(role) if not allowances.covers("role-variable", f"roles/{name}", fault)]


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A sound role named demo."""
    folder = tmp_path / "demo"
    files = {
        "defaults/main.yml": "demo_size: 1\n",
        "meta/main.yml": "{}\n",
        "meta/argument_specs.yml": "argument_specs: {main: {options: {demo_size: {type: int, description: Size.}}}}\n",
        "tasks/main.yml": "- debug: {msg: '{{ demo_size }}'}\n  register: __demo_result\n- debug: {var: __demo_result}\n",
        "README.md": "# demo\n",
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def _all(role: Path) -> list[str]:
    return [*roles.layout(role), *roles.spec_matches_defaults(role), *roles.uses_are_declared(role), *roles.defaults_are_used(role)]


def test_a_sound_role_has_no_fault(role: Path) -> None:
    assert _all(role) == []


@pytest.mark.parametrize(
    ("path", "text", "fragment"),
    [
        ("defaults/main.yml", "demo_size: 1\ndemo_colour: red\n", "demo_colour is not in meta"),
        ("defaults/main.yml", "demo_size: 1\ndemo_colour: red\n", "demo_colour is used nowhere"),
        ("defaults/main.yml", "{}\n", "demo_size of entry point main needs a default"),
        ("tasks/main.yml", "- debug: {msg: '{{ demo_sise }} {{ demo_size }}'}\n", "demo_sise is neither"),
        ("tasks/main.yml", "- debug: {msg: '{{ __demo_lost }} {{ demo_size }}'}\n", "__demo_lost is never registered"),
        ("meta/argument_specs.yml", "argument_specs: {main: {options: {demo_size: {type: int}}}}\n", "needs type and description"),
        ("meta/argument_specs.yml", "argument_specs: {main: {options: {size: {type: int, description: S.}}}}\n", "must start with demo_"),
    ],
)
def test_each_rule_finds_a_broken_role(role: Path, path: str, text: str, fragment: str) -> None:
    (role / path).write_text(text, encoding="utf-8")
    assert any(fragment in fault for fault in _all(role)), _all(role)


def test_a_missing_file_is_found(role: Path) -> None:
    (role / "README.md").unlink()
    assert roles.layout(role)
