#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Have the mesh's proxies renew certificates whose time they have slept over."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_certificates
short_description: Have the mesh's proxies renew certificates whose time they have slept over
version_added: 0.1.0
description:
  - A proxy renews its certificate, which lives for a day, at half of its life, by a timer that stands still while the host is
    suspended. A proxy with less than two fifths of that life left has missed the time.
  - Restarts the container of each such proxy in its pod, the containers beside it go on, and waits for its new certificate.
options:
  cluster_name:
    description: Name of the kind cluster.
    type: str
    required: true
  timeout:
    description: Bound of the wait for new certificates, in seconds.
    type: int
    default: 120
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Renew what was slept over
  bookstore.platform.mesh_certificates:
    cluster_name: bookstore
"""

RETURN = r"""
restarted:
  description: The proxies that were restarted, each with the end of its certificate.
  type: list
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.kind import certificates, node_certificates
from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import CertificateError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"cluster_name": {"type": "str", "required": True}, "timeout": {"type": "int", "default": 120}},
        supports_check_mode=True,
    )
    try:
        nodes = node_certificates.running_nodes(module.params["cluster_name"])
        found = node_certificates.overdue_proxies(nodes, certificates.now())
        if found and not module.check_mode:
            node_certificates.restart_proxies(nodes, found, module.params["timeout"])
    except (CertificateError, DockerError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=bool(found), restarted=[one.describe(certificates.now()) for one in found])


if __name__ == "__main__":
    main()
