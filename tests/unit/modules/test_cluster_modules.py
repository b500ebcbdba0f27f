"""Documentation, action groups and error ids of the cluster modules agree with their code."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.doc_fragments.connection import ModuleDocFragment
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC
from ansible_collections.bookstore.platform.plugins.modules import (
    cdc_convergence,
    debezium_server,
    event_replay,
    keycloak_realm,
    mesh_probe,
    mesh_recovery,
    platform_verify,
    workload_ready,
)

ROOT = Path(__file__).parents[3]
COLLECTION = ROOT / "collections/ansible_collections/bookstore/platform"


class CaughtError(Exception):
    """Carries what a module was made with."""


def spec_of(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def catch(**arguments: Any) -> None:
        raise CaughtError(arguments)

    monkeypatch.setattr(module, "AnsibleModule", catch)
    with pytest.raises(CaughtError) as caught:
        module.main()
    arguments: dict[str, Any] = caught.value.args[0]
    return arguments


def compare(spec: dict[str, Any], documented: dict[str, Any], where: str) -> None:
    assert set(spec) == set(documented), where
    for name, option in spec.items():
        entry = documented[name]
        for key in ("type", "elements", "default"):
            assert option.get(key) == entry.get(key), f"{where}.{name}.{key}"
        assert option.get("required", False) == entry.get("required", False), f"{where}.{name}"
        assert sorted(option.get("choices", [])) == sorted(entry.get("choices", [])), f"{where}.{name}"
        assert entry["description"], f"{where}.{name}"
        compare(option.get("options", {}), entry.get("suboptions", {}), f"{where}.{name}")


@pytest.mark.parametrize(
    "module",
    [cdc_convergence, debezium_server, event_replay, keycloak_realm, workload_ready, mesh_probe, mesh_recovery, platform_verify],
    ids=lambda m: m.__name__.rsplit(".", 1)[-1],
)
def test_documentation_equals_the_argument_spec(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = spec_of(module, monkeypatch)
    documentation = yaml.safe_load(module.DOCUMENTATION)
    shared = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert documentation["extends_documentation_fragment"] == ["bookstore.platform.connection"]
    compare(arguments["argument_spec"], {**documentation["options"], **shared}, documentation["module"])
    assert arguments["supports_check_mode"]
    assert yaml.safe_load(module.EXAMPLES)
    assert yaml.safe_load(module.RETURN)


def test_fragment_equals_the_shared_spec() -> None:
    assert set(yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]) == set(CONNECTION_SPEC)


def test_kinds_are_documented() -> None:
    options = yaml.safe_load(workload_ready.DOCUMENTATION)["options"]["objects"]["suboptions"]
    assert options["kind"]["choices"] == sorted(readiness.PREDICATES)


def test_action_group_names_the_modules_with_a_connection() -> None:
    group = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]["cluster"]
    with_connection = [
        file.stem for file in (COLLECTION / "plugins/modules").glob("*.py") if "**CONNECTION_SPEC" in file.read_text("utf-8")
    ]
    assert sorted(group) == sorted(with_connection)


def test_every_error_id_is_documented() -> None:
    listed = set(re.findall(r"BK-[23]\d\d", (ROOT / "docs/errors.md").read_text(encoding="utf-8")))
    sources = [*COLLECTION.glob("plugins/**/*.py"), *(ROOT / "tools/operator_view").glob("*.py")]
    used = {found for file in sources for found in re.findall(r"BK-[23]\d\d", file.read_text(encoding="utf-8"))}
    assert used - listed == set()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"hosts": {"shop": "s"}, "routes": [], "unrouted": []}, "lacks the key api"),
        (
            {"hosts": {"api": "a"}, "routes": [{"host": "ap"}], "unrouted": []},
            "routes: host=ap is not a key of hosts; use one of api",
        ),
        ({"hosts": {"api": "a"}, "routes": [], "unrouted": [{"host": "api"}]}, ""),
    ],
)
def test_hosts_of_requests(params: dict[str, Any], words: str) -> None:
    fault = platform_verify.wrong_hosts(params)
    assert words in fault
    assert bool(words) is bool(fault)
