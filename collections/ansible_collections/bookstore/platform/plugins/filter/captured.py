# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filters about the tables whose changes are published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.bookstore.platform.plugins.plugin_utils import captured


class FilterModule:
    """The collection's filters about captured tables."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"captured_slots": captured.slots, "copied_tables": captured.copied_tables}
