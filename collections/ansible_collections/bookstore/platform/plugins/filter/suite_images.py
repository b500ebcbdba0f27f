# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Filter about the images of Kubernetes' test suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.plugin_utils import suite_images


def suite_tags(listed: Sequence[str], repository: str, built: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags by which the suite, whose ``--list-images`` is ``listed``, asks for each of the images ``built``."""
    try:
        return suite_images.tags(listed, repository, built)
    except ValueError as error:
        raise AnsibleFilterError(failures.identified("BK-420", error)) from error


class FilterModule:
    """The collection's filters about the suite's images."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"suite_tags": suite_tags}
