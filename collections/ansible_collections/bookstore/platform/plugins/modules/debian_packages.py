#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Install packages of the distribution."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: debian_packages
short_description: Install packages of the distribution, and repair an installation that was killed
version_added: 0.1.0
description:
  - No package starts a service meanwhile; a policy-rc.d of the operator is kept.
  - What a killed installation left (dpkg's journal, its policy-rc.d) is repaired first, also when there is nothing to install.
options:
  packages:
    description:
      - Packages that are missing. They are not looked up; name only what is to be installed.
      - Of C(a|b) the first that this release of the distribution has is taken.
    type: list
    elements: str
    default: []
  log:
    description: Log file of apt and dpkg.
    type: path
    required: true
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Install an engine
  bookstore.platform.debian_packages:
    packages: [docker.io]
    log: /var/log/bookstore-apt.log
"""

RETURN = r"""
log:
  description: The log file.
  type: str
  returned: success
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.host import debian_packages


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"packages": {"type": "list", "elements": "str", "default": []}, "log": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    p = module.params
    # What another user cannot repair is not that user's either: it does nothing here.
    changed = bool(p["packages"]) or (os.geteuid() == 0 and debian_packages.left_over(debian_packages.Places()))
    if changed and not module.check_mode:
        try:
            debian_packages.install(p["packages"], Path(p["log"]))
        except (debian_packages.PackagesError, OSError) as error:
            module.fail_json(msg=failures.message(error))
    module.exit_json(changed=changed, log=p["log"])


if __name__ == "__main__":
    main()
