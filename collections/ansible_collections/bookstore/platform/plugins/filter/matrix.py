# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filter that turns the authorization matrix into policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.plugin_utils import matrix, workload_table


def matrix_policies(
    edges: list[dict[str, Any]], workloads: dict[str, dict[str, Any]], namespaces: list[dict[str, Any]], node_cidr: str, mesh_mode: str
) -> list[dict[str, Any]]:
    """Return the AuthorizationPolicies, PeerAuthentications, Sidecars and NetworkPolicies of the matrix' edges."""
    try:
        return matrix.policies(edges, matrix.Facts(**workload_table.facts(workloads)), namespaces, node_cidr, mesh_mode)
    except (KeyError, ValueError) as error:
        raise AnsibleFilterError(failures.identified("BK-117", error)) from error


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"matrix_policies": matrix_policies}
