# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filters that turn the list of routes into HTTPRoutes and into the gateway's role rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import routes


def route_manifests(
    rows: list[dict[str, Any]], hosts: dict[str, str], https_port: int, timeout: str, hsts: bool
) -> list[dict[str, Any]]:
    """Return the HTTPRoutes of a list of routes."""
    try:
        return routes.http_routes(rows, hosts, https_port, timeout, hsts)
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-117", error)) from error


def route_policies(rows: list[dict[str, Any]], hosts: dict[str, str], audience: str) -> list[dict[str, Any]]:
    """Return the AuthorizationPolicies of a list of routes."""
    try:
        return routes.role_policies(rows, hosts, audience)
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-117", error)) from error


def route_headers(host: str, hosts: dict[str, str], https_port: int, hsts: bool = False) -> dict[str, str]:
    """Return the response headers that every answer on a host carries."""
    return routes.response_headers(host, hosts, https_port, hsts)


class FilterModule:
    """The collection's filters about routes."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"route_manifests": route_manifests, "route_policies": route_policies, "route_headers": route_headers}
