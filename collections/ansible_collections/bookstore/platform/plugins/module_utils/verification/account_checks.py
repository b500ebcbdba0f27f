# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What service accounts may do, compared with the inventory's table of accounts."""

from __future__ import annotations

import json

from ansible_collections.bookstore.platform.plugins.module_utils.verification.cluster_checks import label
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Context,
    Finding,
    Object,
    verdict,
)

BINDINGS = ("RoleBinding", "ClusterRoleBinding")
ROLES = ("Role", "ClusterRole")
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
# Groups that every service account is in; kubeadm and kind bind these ClusterRoles to them.
_EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:serviceaccounts")
_DEFAULT_ROLES = frozenset(
    {"system:basic-user", "system:discovery", "system:public-info-viewer", "system:service-account-issuer-discovery"}
)


def accounts(context: Context) -> Finding:
    """Each account of the table has its rights and no others; no other account of the product's namespaces has any."""
    table = {row["account"]: row for row in context.params["accounts"]}
    ours = set(context.params["namespaces"])
    faults, found = [], dict[str, list[Object]]()
    for kind in BINDINGS:
        for binding in context.objects[kind]:
            for subject in binding.get("subjects") or []:
                name = _account(subject, binding)
                if name is None:
                    faults += _group_faults(kind, binding, subject, ours)
                elif name in table or name.partition("/")[0] in ours:
                    found.setdefault(name, []).extend(_rules(context, kind, binding))
    for name in sorted(found.keys() | table.keys()):
        row = table.get(name, {})
        wanted = [{**rule, "cluster": row.get("cluster", False)} for rule in row.get("rules", [])]
        if _canonical(found.get(name, [])) != _canonical(wanted):
            has = _words(found.get(name, [])) or "no rights"
            faults.append(f"account {name} has {has}; bookstore_accounts gives it {_words(wanted) or 'none'}")
    faults += [fault for row in table.values() if row.get("own") for fault in _policy_faults(context, row)]
    return verdict(faults, f"{len(table)} accounts with rights, as declared: {', '.join(sorted(table))}")


def policy_name(account: str) -> str:
    """Return the name of the admission policy that narrows an account's writing to names of its own."""
    return f"own-names.{account.replace('/', '.')}.bookstore.platform"


def _account(subject: Object, binding: Object) -> str | None:
    if subject["kind"] == "ServiceAccount":
        return f"{subject.get('namespace') or binding['metadata'].get('namespace', '')}/{subject['name']}"
    prefix = "system:serviceaccount:"
    if subject["kind"] == "User" and subject["name"].startswith(prefix):
        return str(subject["name"]).removeprefix(prefix).replace(":", "/")
    return None


def _group_faults(kind: str, binding: Object, subject: Object, ours: set[str]) -> list[str]:
    if subject["kind"] != "Group":
        return []
    group = subject["name"]
    of_ours = group.startswith("system:serviceaccounts:") and group.rpartition(":")[2] in ours
    wide = group in _EVERYBODY and binding["roleRef"]["name"] not in _DEFAULT_ROLES
    # cluster-info is how a joining node learns the authority; it is public by design.
    if wide and label(binding) == "kube-public/kubeadm:bootstrap-signer-clusterinfo":
        return []
    return [f"{kind} {label(binding)} gives {binding['roleRef']['name']} to the group {group}"] if of_ours or wide else []


def _rules(context: Context, kind: str, binding: Object) -> list[Object]:
    reference = binding["roleRef"]
    for role in context.objects[reference["kind"]]:
        same = reference["kind"] == "ClusterRole" or role["metadata"]["namespace"] == binding["metadata"]["namespace"]
        if same and role["metadata"]["name"] == reference["name"]:
            return [{**rule, "cluster": kind == "ClusterRoleBinding"} for rule in role.get("rules") or []]
    return []


def _canonical(rules: list[Object]) -> list[str]:
    """Rules as texts that do not depend on any order."""
    return sorted(
        json.dumps({key: sorted(value) if isinstance(value, list) else value for key, value in sorted(rule.items()) if value})
        for rule in rules
    )


def _words(rules: list[Object]) -> str:
    return "; ".join(
        f"{','.join(rule.get('verbs') or [])} of {','.join(rule.get('resources') or rule.get('nonResourceURLs') or [])}"
        f"{' everywhere' if rule.get('cluster') else ''}"
        for rule in rules
    )


def _policy_faults(context: Context, row: Object) -> list[str]:
    name, faults = policy_name(row["account"]), []
    policies = {p["metadata"]["name"]: p["spec"] for p in context.objects[POLICIES[0]]}
    bindings = [b["spec"] for b in context.objects[POLICIES[1]] if b["spec"].get("policyName") == name]
    if name not in policies:
        faults.append(f"ValidatingAdmissionPolicy {name} does not exist: {row['account']} may write any {row['own']['resource']}")
    elif row["own"]["names"] not in json.dumps(policies[name].get("validations"), ensure_ascii=False).replace("\\\\", "\\"):
        faults.append(f"ValidatingAdmissionPolicy {name} does not ask for names like {row['own']['names']}")
    elif policies[name].get("failurePolicy", "Fail") != "Fail":
        faults.append(f"ValidatingAdmissionPolicy {name} lets requests pass that it cannot judge (failurePolicy)")
    if not any("Deny" in (spec.get("validationActions") or []) for spec in bindings):
        faults.append(f"no ValidatingAdmissionPolicyBinding of {name} denies")
    return faults
