#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Bring Superset's connection, datasets, charts and dashboards to their declaration."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: superset_assets
short_description: Bring Superset's connection, datasets, charts and dashboards to their declaration
version_added: 0.1.0
description:
  - Compares the assets in a folder with those that Superset exports, field by field and by UUID, and imports the folder when
    anything is missing or other than declared. Afterwards it compares again.
  - Assets that nobody declared are reported and left alone.
  - Works through a tool inside of Superset's pod; no password leaves it.
options:
  path:
    description: Folder in Superset's own format, with C(metadata.yaml); a chart's query context is YAML there.
    type: path
    required: true
  timeout:
    description: Seconds to wait at most until a pod of Superset is ready.
    type: int
    default: 120
  call_timeout:
    description: Bound of each call to the tool, in seconds.
    type: int
    default: 120
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: The dashboards
  bookstore.platform.superset_assets:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    path: superset
"""

RETURN = r"""
differences:
  description: What was missing or other than declared, in words.
  type: list
  returned: success
unknown:
  description: Assets that exist although nobody declared them.
  type: list
  returned: success
hash:
  description: Hash of the declared content.
  type: str
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.superset.superset_assets import AssetError, AssetTool, load, reconcile


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "path": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 120},
            "call_timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        tool = AssetTool(Cluster.of(p), p["call_timeout"])
        found = reconcile(tool, load(Path(p["path"])), p["timeout"], apply=not module.check_mode)
    except (ClusterError, AssetError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=bool(found.differences), differences=found.differences, unknown=found.unknown, hash=found.hash)


if __name__ == "__main__":
    main()
