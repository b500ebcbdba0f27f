# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The process of ansible-playbook."""

from __future__ import annotations

DOCUMENTATION = r"""
name: playbook_process
short_description: Number of the process of ansible-playbook
version_added: 0.1.0
description:
  - Returns the process that lives as long as the playbook. Each task runs in a child of it, where lookups of its arguments run, too.
options:
  _terms:
    description: None are needed.
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ lookup('bookstore.platform.playbook_process') }}"
"""

RETURN = r"""
_list:
  description: The number.
  type: list
  elements: int
"""

import multiprocessing
import os
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **_: Any) -> list[int]:
        """Return the number."""
        parent = multiprocessing.parent_process()
        return [os.getpid() if parent is None or parent.pid is None else parent.pid]
