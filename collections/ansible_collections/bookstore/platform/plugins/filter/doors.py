# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filter that names what a host door answers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.plugin_utils import doors


def door_names(namespace: str, *services: str) -> list[str]:
    """Return the Host names that the door of these Services accepts."""
    try:
        return doors.names(namespace, list(services))
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-406", error)) from error


class FilterModule:
    """The collection's filter about doors."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"door_names": door_names}
