#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Keep Secrets with generated values, and copies of them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: generated_secret
short_description: Keep Secrets with generated values, and copies of them
version_added: 0.1.0
description:
  - Values are generated in memory when they are missing, never changed otherwise, and never returned.
  - Describe one Secret with O(namespace), O(name) and O(keys), or several with O(secrets); one call for several is
    faster than a loop, and nothing is written before all of them are known to be valid.
options:
  namespace:
    description: Namespace of the Secret.
    type: str
  name:
    description: Name of the Secret.
    type: str
  keys:
    description: Names of the values.
    type: list
    elements: str
  rotate:
    description: Names of values to make anew.
    type: list
    elements: str
    default: []
  copies:
    description: Secrets that hold some of the values, each only what its namespace uses.
    type: list
    elements: dict
    default: []
    suboptions: &copy
      namespace:
        description: Namespace of the copy.
        type: str
        required: true
      name:
        description: Name of the copy.
        type: str
        required: true
      keys:
        description: Name in the copy to name in the Secret.
        type: dict
        default: {}
      constants:
        description: Further values that are no secret, such as a user name.
        type: dict
        default: {}
  secrets:
    description: Several Secrets, instead of one.
    type: list
    elements: dict
    suboptions:
      namespace:
        description: Namespace of the Secret.
        type: str
        required: true
      name:
        description: Name of the Secret.
        type: str
        required: true
      keys:
        description: Names of the values.
        type: list
        elements: str
        required: true
      rotate:
        description: Names of values to make anew.
        type: list
        elements: str
        default: []
      copies:
        description: Secrets that hold some of the values, each only what its namespace uses.
        type: list
        elements: dict
        default: []
        suboptions: *copy
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Passwords of two roles, one of which the service uses
  bookstore.platform.generated_secret:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    namespace: ecom
    name: ecom-db-roles
    keys: [owner, app]
    copies:
      - {namespace: ecom, name: ecom-db-app, keys: {password: app}, constants: {username: ecom_app}}

- name: Two Secrets in one call
  bookstore.platform.generated_secret:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    secrets:
      - {namespace: ecom, name: ecom-db-roles, keys: [owner, app]}
      - {namespace: inventory, name: inventory-db-roles, keys: [owner, app]}
"""

RETURN = r"""
updated:
  description: Secrets that were created or changed, as namespace/name.
  type: list
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import generated_secret
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError


def ensure(cluster: Cluster, namespace: str, name: str, values: dict[str, str], check: bool) -> bool:
    """Create or replace one Secret; tell whether it had to be."""
    current = cluster.get("Secret", namespace, name)
    if current is not None and generated_secret.decode(current) == values:
        return False
    if not check:
        body = generated_secret.manifest(namespace, name, values)
        path = f"/api/v1/namespaces/{namespace}/secrets"
        try:
            if current is None:
                cluster.raw(path, "POST", body)
            else:
                cluster.raw(f"{path}/{name}", "PUT", body)
        except ClusterError as error:
            # Shown to the operator: what the server quotes of the request must hold no value.
            raise ClusterError(generated_secret.masked(str(error), values), error.status) from None
    return True


def run(cluster: Cluster, p: dict[str, Any], check: bool) -> list[str]:
    """Bring the Secrets and their copies to the wanted state; return what changed, as ``namespace/name``."""
    wanted: list[tuple[str, str, dict[str, str]]] = []
    for secret in p.get("secrets") or [p]:
        current = generated_secret.decode(cluster.get("Secret", secret["namespace"], secret["name"]))
        values = generated_secret.complete(current, secret["keys"], secret["rotate"])
        wanted.append((secret["namespace"], secret["name"], values))
        for entry in secret["copies"]:
            copy = generated_secret.Copy(**entry)
            wanted.append((copy.namespace, copy.name, generated_secret.copied(values, copy)))
    generated_secret.refuse_duplicates([f"{namespace}/{name}" for namespace, name, _ in wanted])
    return [f"{namespace}/{name}" for namespace, name, content in wanted if ensure(cluster, namespace, name, content, check)]


COPY_SPEC: dict[str, dict[str, Any]] = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "keys": {"type": "dict", "default": {}, "no_log": False},
    "constants": {"type": "dict", "default": {}},
}


def secret_spec(required: bool) -> dict[str, dict[str, Any]]:
    """Return the options that describe one Secret."""
    return {
        "namespace": {"type": "str", "required": required},
        "name": {"type": "str", "required": required},
        "keys": {"type": "list", "elements": "str", "required": required, "no_log": False},
        "rotate": {"type": "list", "elements": "str", "default": []},
        "copies": {"type": "list", "elements": "dict", "default": [], "options": COPY_SPEC},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **secret_spec(required=False),
            # Names only: nothing in it is a value.
            "secrets": {"type": "list", "elements": "dict", "options": secret_spec(required=True), "no_log": False},
            **CONNECTION_SPEC,
        },
        required_together=[("namespace", "name", "keys")],
        required_one_of=[("name", "secrets")],
        mutually_exclusive=[("name", "secrets"), ("namespace", "secrets"), ("keys", "secrets")],
        supports_check_mode=True,
    )
    try:
        updated = run(Cluster.of(module.params), module.params, module.check_mode)
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=bool(updated), updated=updated)


if __name__ == "__main__":
    main()
