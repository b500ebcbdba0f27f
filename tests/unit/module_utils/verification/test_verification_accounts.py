"""The table of accounts against what a cluster holds: as declared, and each way in which it can be more, less, or unguarded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.verification import account_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import FAILED, PASSED, Context, Web
from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

INVENTORY = Path(__file__).parents[4] / "inventory/local/group_vars/all"
ACCOUNTS = workload_table.accounts(yaml.safe_load((INVENTORY / "workloads.yml").read_text())["bookstore_workloads"])
FLINK = next(row for row in ACCOUNTS if row["account"] == "analytics/flink")
NODE = next(row for row in ACCOUNTS if row["account"] == "kube-system/node-network")
# All that look at the whole cluster, the agent first.
EVERYWHERE = sorted((row for row in ACCOUNTS if row.get("cluster")), key=lambda row: row is not NODE)
Objects = dict[str, list[dict[str, Any]]]


def role(kind: str, name: str, rules: list[dict[str, Any]], namespace: str | None = None) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "rules": copy.deepcopy(rules)}


def binding(name: str, reference: tuple[str, str], subject: dict[str, Any], namespace: str | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
            "roleRef": {"kind": reference[0], "name": reference[1]}, "subjects": [subject]}  # fmt: skip


def account(name: str) -> dict[str, Any]:
    namespace, _, short = name.partition("/")
    return {"kind": "ServiceAccount", "namespace": namespace, "name": short}


def declared() -> Objects:
    """What a cluster holds on which everything is as the table says."""
    policy = account_checks.policy_name("analytics/flink")
    return {
        "Role": [role("Role", "flink", FLINK["rules"], "analytics")],
        "ClusterRole": [
            *(role("ClusterRole", row["account"].rpartition("/")[2], row["rules"]) for row in EVERYWHERE),
            role("ClusterRole", "view", [{"verbs": ["get"], "resources": ["secrets"]}]),
        ],
        "RoleBinding": [binding("flink", ("Role", "flink"), account("analytics/flink"), "analytics")],
        "ClusterRoleBinding": [
            *(binding(name, ("ClusterRole", name.rpartition("/")[2]), account(name)) for name in (row["account"] for row in EVERYWHERE)),
            binding("discovery", ("ClusterRole", "system:discovery"), {"kind": "Group", "name": "system:authenticated"}),
            binding("coredns", ("ClusterRole", "view"), account("kube-system/coredns")),
        ],
        "ValidatingAdmissionPolicy": [
            {"metadata": {"name": policy}, "spec": {"failurePolicy": "Fail", "validations": [
                {"expression": f"object.metadata.name.matches('{FLINK['own']['names']}')"}]}}
        ],
        "ValidatingAdmissionPolicyBinding": [{"metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]}}],
    }  # fmt: skip


def found(objects: Objects) -> tuple[str, str]:
    params = {"accounts": ACCOUNTS, "namespaces": ["analytics", "infra", "ecom"]}
    finding = account_checks.accounts(Context(params, objects, Web(), None, None))
    return finding.status, " ".join(finding.faults)


def test_a_cluster_as_declared_passes() -> None:
    assert found(declared()) == (PASSED, "")


def test_the_order_of_a_rule_does_not_matter() -> None:
    objects = declared()
    objects["Role"][0]["rules"][0]["verbs"].reverse()
    assert found(objects)[0] == PASSED


def more_verbs(objects: Objects) -> None:
    objects["ClusterRole"][0]["rules"][0]["verbs"].append("delete")


def fewer_rules(objects: Objects) -> None:
    objects["ClusterRole"][0]["rules"].pop()


def everywhere(objects: Objects) -> None:
    objects["ClusterRole"].append(role("ClusterRole", "flink", FLINK["rules"]))
    objects["RoleBinding"] = []
    objects["ClusterRoleBinding"].append(binding("flink", ("ClusterRole", "flink"), account("analytics/flink")))


def another_account(objects: Objects) -> None:
    objects["RoleBinding"].append(binding("x", ("ClusterRole", "view"), account("infra/kafka"), "ecom"))


def as_a_user(objects: Objects) -> None:
    objects["ClusterRoleBinding"].append(
        binding("x", ("ClusterRole", "view"), {"kind": "User", "name": "system:serviceaccount:infra:kafka"})
    )


def a_namespaces_group(objects: Objects) -> None:
    objects["ClusterRoleBinding"].append(binding("x", ("ClusterRole", "view"), {"kind": "Group", "name": "system:serviceaccounts:ecom"}))


def everybody(objects: Objects) -> None:
    objects["ClusterRoleBinding"].append(binding("x", ("ClusterRole", "view"), {"kind": "Group", "name": "system:authenticated"}))


def no_policy(objects: Objects) -> None:
    objects["ValidatingAdmissionPolicy"] = []


def another_pattern(objects: Objects) -> None:
    objects["ValidatingAdmissionPolicy"][0]["spec"]["validations"][0]["expression"] = "object.metadata.name.matches('.*')"


def lenient(objects: Objects) -> None:
    objects["ValidatingAdmissionPolicy"][0]["spec"]["failurePolicy"] = "Ignore"


def only_warns(objects: Objects) -> None:
    objects["ValidatingAdmissionPolicyBinding"][0]["spec"]["validationActions"] = ["Warn"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (more_verbs, "kube-system/node-network"), (fewer_rules, "kube-system/node-network"), (everywhere, "analytics/flink"),
        (another_account, "infra/kafka"), (as_a_user, "infra/kafka"), (a_namespaces_group, "system:serviceaccounts:ecom"),
        (everybody, "system:authenticated"), (no_policy, "does not exist"), (another_pattern, "does not ask"), (lenient, "failurePolicy"),
        (only_warns, "denies"),
    ],
)  # fmt: skip
def test_what_is_not_as_declared_is_named(change: Callable[[Objects], None], names: str) -> None:
    objects = declared()
    change(objects)
    status, faults = found(objects)
    assert status == FAILED
    assert names in faults
