# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filter that tells an operator where the platform is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.bookstore.platform.plugins.plugin_utils import addresses


def closing_lines(nodeports: list[dict[str, Any]], hosts: dict[str, str], https_port: int, ids: list[str]) -> list[str]:
    """Return every address of the deployed node ports, and the next command."""
    return addresses.closing(nodeports, hosts, https_port, ids)


class FilterModule:
    """The collection's filters about addresses."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"closing_lines": closing_lines}
