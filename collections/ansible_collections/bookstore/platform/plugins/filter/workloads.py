# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filters that derive from the table of workloads and the matrix what their readers need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table


def _told(function: Callable[..., Any], default: str) -> Callable[..., Any]:
    """Return the function as a filter: its ValueError becomes one of Ansible's, with an id."""

    def derive(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ValueError as error:
            raise AnsibleFilterError(failures.identified(default, error)) from error

    derive.__doc__ = function.__doc__
    return derive


class FilterModule:
    """The collection's filters about workloads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        of_table: dict[str, Callable[..., Any]] = {
            "workload_node_ports": workload_table.node_ports,
            "workload_volumes": workload_table.volumes,
            "workload_accounts": workload_table.accounts,
            "workload_metrics": workload_table.metrics,
            "workload_address": workload_table.address,
            "workload_topology": workload_table.topology,
            "workloads_expected": workload_table.expected,
            "workloads_optional": workload_table.optional,
            "workloads_with_python": workload_table.exec_sources,
            "node_ports_required": workload_table.required_node_ports,
            "node_port_requests": workload_table.node_port_requests,
        }
        derived = {name: _told(function, "BK-440") for name, function in of_table.items()}
        return {**derived, "matrix_edges": _told(workload_table.edges, "BK-117")}
