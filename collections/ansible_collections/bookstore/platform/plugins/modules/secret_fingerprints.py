#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Take fingerprints of the Secrets that services use."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: secret_fingerprints
short_description: Take fingerprints of the Secrets that services use
version_added: 0.1.0
description:
  - Reads the Secrets and returns one hash for each service. Written into the annotation of a pod template, it lets pods start anew
    when a value of theirs changes. No value of a Secret leaves the module.
  - Changes nothing.
options:
  services:
    description: The services - name, namespace, and which Secrets they use (C(database), C(secrets), C(worker), C(migrates)).
    type: list
    elements: dict
    required: true
  common:
    description: Secrets that all services but workers use, as C(secrets) of a service.
    type: dict
    default: {}
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Take the fingerprint of what Flink uses
  bookstore.platform.secret_fingerprints:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    services: [{name: flink, namespace: analytics, worker: true, database: {name: analytics-db}}]
  register: __flink_secrets
"""

RETURN = r"""
fingerprints:
  description: Service name to a hash of 16 hexadecimal digits.
  type: dict
  returned: success
  sample: {flink: 0123456789abcdef}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import secret_fingerprints
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "dict", "required": True},
            # Names only: nothing in it is a value.
            "common": {"type": "dict", "default": {}, "no_log": False},
            **CONNECTION_SPEC,
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        cluster = Cluster.of(p)
        names = secret_fingerprints.used_secrets(p["services"], p["common"])
        found = [secret for secret in (cluster.get("Secret", *name) for name in names) if secret is not None]
        fingerprints = secret_fingerprints.fingerprints(p["services"], p["common"], found)
    except (ClusterError, ValueError, KeyError) as error:
        module.fail_json(msg=failures.identified("BK-117", error))
    module.exit_json(changed=False, fingerprints=fingerprints)


if __name__ == "__main__":
    main()
