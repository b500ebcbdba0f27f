# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filter that tells pods when a Secret of theirs changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils import failures, services


def secret_fingerprints(rows: list[dict[str, Any]], common: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, str]:
    """Return service name to a hash of the values that it takes from Secrets."""
    try:
        return services.fingerprints(rows, common, found)
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-117", error)) from error


class FilterModule:
    """The collection's filters about services."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"secret_fingerprints": secret_fingerprints}
