# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filters about the tables whose changes are published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.plugin_utils import captured


def _told(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function as a filter: its ValueError becomes one of Ansible's, with an id."""

    def derive(rows: Any) -> Any:
        try:
            return function(rows)
        except ValueError as error:
            raise AnsibleFilterError(failures.identified("BK-261", error)) from error

    derive.__doc__ = function.__doc__
    return derive


class FilterModule:
    """The collection's filters about captured tables."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"captured_slots": _told(captured.slots), "copied_tables": _told(captured.copied_tables)}
