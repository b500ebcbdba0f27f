#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Keep a Keycloak realm as declared."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: keycloak_realm
short_description: Keep a Keycloak realm as declared
version_added: 0.1.0
description:
  - Compares a realm with its declaration over the admin REST API, field by field, and corrects what differs.
  - Each difference is returned as a line with the old and the new value; secrets are compared, never shown.
  - Fields that are not declared are left alone. Protocol mappers, client scopes and roles of a declared client are
    declared as a whole, because one more of them would change what tokens say.
  - Passwords and client secrets are read from Secrets by the module itself, so that they are never arguments.
options:
  url:
    description: Address of the server as this host reaches it. Proxies of the environment are not used.
    type: str
    required: true
  realm:
    description: Name of the realm.
    type: str
    required: true
  settings:
    description: Fields of the realm, named as in Keycloak's RealmRepresentation.
    type: dict
    default: {}
  roles:
    description: Realm roles, name to description.
    type: dict
    default: {}
  default_roles:
    description: Those of O(roles) that every new account gets.
    type: list
    elements: str
    default: []
  clients:
    description:
      - Clients - V(id), V(fields) as in ClientRepresentation, V(mappers), V(scope_roles) (roles that its tokens may
        carry), V(account_roles) (roles of its service account), V(secret) (key in O(client_secret)).
      - What is left out is not managed.
    type: list
    elements: dict
    default: []
  absent_clients:
    description: Clients that must not exist.
    type: list
    elements: str
    default: []
  users:
    description: Accounts - V(username), V(fields) as in UserRepresentation, V(roles), V(password) (key in O(user_secret)).
    type: list
    elements: dict
    default: []
  admin_settings:
    description: Fields of the realm C(master), in which administrators sign in.
    type: dict
    default: {}
  namespace:
    description: Namespace of the Secrets.
    type: str
    required: true
  admin_secret:
    description: Secret with V(username) and V(password) of the administrator.
    type: str
    required: true
  client_secret:
    description: Secret with the clients' secrets.
    type: str
  user_secret:
    description: Secret with the passwords of O(users).
    type: str
  recovery_job:
    description:
      - Manifest of a Job that runs C(kc.sh bootstrap-admin user) with the Secret C(keycloak-recovery). It is run when the
        server refuses the administrator's password, as it does after a rebuild around a kept database.
    type: dict
  timeout:
    description: Seconds to wait at most until the server answers.
    type: float
    default: 30.0
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: A realm with one client and one role
  bookstore.platform.keycloak_realm:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    url: http://127.0.0.1:32400
    realm: bookstore
    settings: {enabled: true, accessTokenLifespan: 300}
    roles: {customer: May buy}
    default_roles: [customer]
    clients:
      - id: ui-client
        fields: {publicClient: true, redirectUris: ["https://shop.example.test/callback"]}
        scope_roles: [customer]
    namespace: identity
    admin_secret: keycloak-admin
"""

RETURN = r"""
changes:
  description: What was (in check mode - would be) corrected, one line for each field.
  type: list
  elements: str
  returned: success
  sample: ["client ui-client: redirectUris: ['https://old/callback'] -> ['https://shop.example.test/callback']"]
drift:
  description: Those of RV(changes) that are about something of the realm that had been there, but otherwise.
  type: list
  elements: str
  returned: success
requests:
  description: Number of requests to the server.
  type: int
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import admin, api, compare, declared, reconcile
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import generated_secret
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError


def read_secret(cluster: Cluster, namespace: str, name: str | None) -> dict[str, str]:
    """Return the values of a Secret, none when no name is given or it does not exist."""
    return generated_secret.decode(cluster.get("Secret", namespace, name)) if name else {}


def run(p: dict[str, Any], check: bool) -> tuple[list[compare.Change], list[compare.Change], int]:
    """Bring the realm to its declaration; return all that differed, what of it is drift, and the number of requests."""
    cluster = Cluster.of(p)
    administrator = read_secret(cluster, p["namespace"], p["admin_secret"])
    for key in ("username", "password"):
        if key not in administrator:
            name = f"{p['namespace']}/{p['admin_secret']}"
            raise declared.DeclarationError(f"BK-156: Secret {name} has no value {key!r}; generated_secret makes it")
    wanted = declared.realm(
        {**p, "name": p["realm"]}, read_secret(cluster, p["namespace"], p["client_secret"]),
        read_secret(cluster, p["namespace"], p["user_secret"]), (str(p["client_secret"]), str(p["user_secret"])),
    )
    server = api.AdminApi(p["url"])
    admin.wait_until_answering(server, p["timeout"])
    found = admin.sign_in(server, cluster, administrator, p["recovery_job"], check)
    found += admin.settle(server, administrator, p["admin_settings"], check)
    reconciler = reconcile.Reconciler(server, wanted, check)
    found += reconciler.run()
    return found, reconciler.drift, server.requests


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "realm": {"type": "str", "required": True},
            "settings": {"type": "dict", "default": {}},
            "roles": {"type": "dict", "default": {}},
            "default_roles": {"type": "list", "elements": "str", "default": []},
            "clients": {"type": "list", "elements": "dict", "default": []},
            "absent_clients": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "dict", "default": []},
            "admin_settings": {"type": "dict", "default": {}},
            "namespace": {"type": "str", "required": True},
            # Names of Secrets, no values.
            "admin_secret": {"type": "str", "required": True, "no_log": False},
            "client_secret": {"type": "str", "no_log": False},
            "user_secret": {"type": "str", "no_log": False},
            "recovery_job": {"type": "dict"},
            "timeout": {"type": "float", "default": 30.0},
            **CONNECTION_SPEC,
        },
        supports_check_mode=True,
    )
    try:
        found, drift, requests = run(module.params, module.check_mode)
    except (ClusterError, api.KeycloakError, declared.DeclarationError) as error:
        module.fail_json(msg=failures.message(error))
    diff = {
        "before": "".join(f"{c.what}: {c.field}: {c.old!r}\n" for c in found if c.field),
        "after": "".join(f"{c.what}: {c.field}: {c.new!r}\n" for c in found if c.field),
    }
    module.exit_json(
        changed=bool(found), changes=[change.line() for change in found], drift=[change.line() for change in drift],
        requests=requests, diff=diff,
    )


if __name__ == "__main__":
    main()
