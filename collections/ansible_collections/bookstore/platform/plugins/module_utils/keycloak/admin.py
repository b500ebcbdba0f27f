# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The administrator: an account with the password of its Secret, whatever state the server is in.

The server's first administrator is made from KC_BOOTSTRAP_ADMIN_*, counts as temporary, and is made in an empty database
only. So it has a name of its own (BOOTSTRAP) and the same password; it makes the lasting account and is deleted. When a
cluster is rebuilt around a kept database the server knows neither password: ``kc.sh bootstrap-admin``, its documented way
back in, then makes another temporary account. A Job runs it, with a name and a password that live for seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ..base.failures import without_id
from ..base.waiter import wait_for
from ..kubernetes import generated_secret, workloads
from ..kubernetes.cluster import Cluster, path_of
from .api import ADMIN_REALM, AdminApi, KeycloakError, SignInRefusedError
from .compare import HIDDEN, Change, changes, merged

Object = dict[str, Any]
BOOTSTRAP = "bootstrap-admin"
TEMPORARY = "is_temporary_admin"
RECOVERY_SECRET = "keycloak-recovery"
RECOVERY_SECONDS = 180.0


def wait_until_answering(api: AdminApi, timeout: float) -> None:
    """Wait until the server answers; a ready pod may be some moments ahead of the node port."""
    outcome = wait_for(api.answers, lambda fault: not fault, timeout=timeout, interval=0.3)
    if not outcome.done:
        raise KeycloakError(f"{outcome.value}, for {timeout:.0f} s; `make status` shows its pod")


def sign_in(api: AdminApi, cluster: Cluster, admin: Mapping[str, str], job: Object | None, check: bool) -> list[Change]:
    """Sign in as ``admin`` (username, password), which a temporary account makes or corrects if it has to.

    Without ``job``, and in check mode, a database that knows neither account nor password is an error (BK-155).
    """
    found = []
    try:
        api.sign_in(admin["username"], admin["password"])
        return []
    except SignInRefusedError as refused:
        try:
            api.sign_in(BOOTSTRAP, admin["password"])
        except SignInRefusedError:
            if job is None or check:
                raise SignInRefusedError(
                    f"BK-155: {refused}, whose password is in its Secret; run the role keycloak without check mode to set it anew"
                ) from refused
            temporary = {"username": f"recovery-{secrets.token_hex(4)}", "password": generated_secret.generate()}
            _run(cluster, job, temporary)
            api.sign_in(temporary["username"], temporary["password"])
    known = api.get(ADMIN_REALM, "users", username=admin["username"], exact="true")
    what = f"administrator {admin['username']}"
    found.append(Change(what, "password", HIDDEN, HIDDEN) if known else Change(what, "", None, admin["username"]))
    if not check:
        _set_password(api, admin, known)
        api.sign_in(admin["username"], admin["password"])
    return found


def _run(cluster: Cluster, job: Object, temporary: Mapping[str, str]) -> None:
    """Run the recovery Job with a Secret of its own, and remove both whatever happens."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    _remove(cluster, namespace, name)
    cluster.create("Secret", generated_secret.manifest(namespace, RECOVERY_SECRET, dict(temporary)))
    try:
        cluster.create("Job", job)
        wanted = workloads.parse([{"kind": "Job", "namespace": namespace, "name": name}])
        workloads.wait(cluster, wanted, timeout=RECOVERY_SECONDS, restart_limit=1)
    except workloads.NotReadyError as error:
        raise KeycloakError(f"BK-155: the administrator's password could not be set anew: {without_id(error)}") from error
    finally:
        _remove(cluster, namespace, name)


def _remove(cluster: Cluster, namespace: str, name: str) -> None:
    if cluster.get("Job", namespace, name) is not None:
        cluster.raw(path_of("Job", namespace, name), "DELETE", query={"propagationPolicy": "Background"})
    cluster.delete("Secret", namespace, RECOVERY_SECRET)


def _set_password(api: AdminApi, admin: Mapping[str, str], known: list[Object]) -> None:
    """Give the administrator its password; make the account when it is not ``known``."""
    password = {"type": "password", "value": admin["password"], "temporary": False}
    if known:
        api.put(ADMIN_REALM, "users", known[0]["id"], "reset-password", body=password)
        # Whoever guessed passwords may have locked the account, which then refuses the right one, too.
        api.delete(ADMIN_REALM, "attack-detection", "brute-force", "users", known[0]["id"])
        return
    api.post(ADMIN_REALM, "users", body={"username": admin["username"], "enabled": True, "credentials": [password]})
    made = api.get(ADMIN_REALM, "users", username=admin["username"], exact="true")
    role = api.get(ADMIN_REALM, "roles", "admin")
    api.post(ADMIN_REALM, "users", made[0]["id"], "role-mappings", "realm", body=[role])


def settle(api: AdminApi, admin: Mapping[str, str], settings: Mapping[str, Any], check: bool) -> list[Change]:
    """Remove temporary administrators and bring the administrators' realm to ``settings``."""
    found = []
    for user in api.get(ADMIN_REALM, "users", briefRepresentation="false", max="100") or []:
        if TEMPORARY in (user.get("attributes") or {}) and user["username"] != admin["username"]:
            found.append(Change(f"administrator {user['username']}", "", user["username"], None))
            if not check:
                api.delete(ADMIN_REALM, "users", user["id"])
    live = api.get(ADMIN_REALM) or {}
    differing = changes(f"realm {ADMIN_REALM}", live, settings)
    if differing and not check:
        api.put(ADMIN_REALM, body=merged(live, settings))
        # The issuer of tokens may just have changed.
        api.sign_in(admin["username"], admin["password"])
    return found + differing
