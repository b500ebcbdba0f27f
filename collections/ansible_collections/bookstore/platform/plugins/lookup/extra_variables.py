# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the variables that were given on the command line."""

from __future__ import annotations

DOCUMENTATION = r"""
name: extra_variables
short_description: Names of the variables that were given with -e
version_added: 0.1.0
description:
  - Returns the names of all variables of the options C(-e), however they were written (key=value, YAML, a file), and no values.
    Ansible itself accepts any name there, so a typo would be ignored.
options:
  _terms:
    description: None are needed.
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Show what was given
  ansible.builtin.debug:
    msg: "{{ query('bookstore.platform.extra_variables') }}"
"""

RETURN = r"""
_list:
  description: The names, sorted.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.vars import load_extra_vars


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **_: Any) -> list[str]:
        """Return the names."""
        return sorted(str(name) for name in load_extra_vars(self._loader))
