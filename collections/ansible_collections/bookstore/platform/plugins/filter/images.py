# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filters about images and their registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.images import node_registry
from ansible_collections.bookstore.platform.plugins.plugin_utils import image_references


def pinned_image(images: Mapping[str, str], name: str, repository: str = "bookstore.local", rendering: bool = False) -> str:
    """Return the image ``name`` of ``bookstore_images`` as ``name:tag@digest``; an error when it has no digest."""
    try:
        return image_references.pinned(images, name, repository, rendering)
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-404", error)) from error


def registry_address(subnet: str) -> str:
    """Return the address of the nodes' registry in the range of their network."""
    try:
        return node_registry.address(subnet)
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-402", error)) from error


class FilterModule:
    """The collection's filters about images."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"pinned_image": pinned_image, "registry_address": registry_address}
