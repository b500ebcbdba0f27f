#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Bring what source databases log and publish of their captured tables to its declaration."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cdc_source
short_description: Bring what source databases log and publish of their captured tables to its declaration
version_added: 0.1.0
description:
  - Each captured table has REPLICA IDENTITY FULL, and the source's publication, C(debezium_<source>_publication), has these tables
    and no other, without row filters and lists of columns, and publishes insert, update and delete. What differs is restored.
  - A publication that had left changes out costs a new snapshot, for events may be missing, too - the slot is dropped, and the
    guard of the Debezium Server does the rest.
  - What was changed while it differed may be missing in analytics - M(bookstore.platform.cdc_convergence) with mode V(reread)
    brings it back.
options:
  sources:
    description: The sources.
    type: list
    elements: dict
    required: true
    suboptions:
      source:
        description: Name of the source; its publication follows from it.
        type: str
        required: true
      database:
        description: The source's instance - name, namespace, database.
        type: dict
        required: true
      tables:
        description: Captured tables of schema public.
        type: list
        elements: str
        required: true
      exclude:
        description: Not used; allowed, so that the list of the role can be given as it is.
        type: list
        elements: str
      events:
        description: Not used; allowed, so that the list of the role can be given as it is.
        type: list
        elements: str
  call_timeout:
    description: Bound of each call into a pod, in seconds.
    type: int
    default: 30
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Sources log and publish as declared
  bookstore.platform.cdc_source:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    sources: "{{ bookstore_captured }}"
"""

RETURN = r"""
faults:
  description: What was not as declared, one line each; in check mode, is not.
  type: list
  elements: str
  returned: success
snapshots:
  description: Sources whose slot was dropped, so that their Debezium Server takes a new snapshot.
  type: list
  elements: str
  returned: success
tables:
  description: Tables of which changes may be missing in analytics for that.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_source import SourceError, psql, restore


def main() -> None:
    """Run the module."""
    source = {
        "source": {"type": "str", "required": True},
        "database": {"type": "dict", "required": True},
        "tables": {"type": "list", "elements": "str", "required": True},
        "exclude": {"type": "list", "elements": "str"},
        "events": {"type": "list", "elements": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "sources": {"type": "list", "elements": "dict", "required": True, "options": source},
            "call_timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    p = module.params
    for one in p["sources"]:
        lacking = {"name", "namespace", "database"} - set(one["database"])
        if lacking:
            module.fail_json(msg=f"BK-261: sources: source={one['source']}: database lacks {', '.join(sorted(lacking))}")
    try:
        outcome = restore(psql(Cluster.of(p), p["call_timeout"]), p["sources"], apply=not module.check_mode)
    except (ClusterError, SourceError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(
        changed=bool(outcome.faults), faults=[str(fault) for fault in outcome.faults], tables=outcome.tables, snapshots=outcome.snapshots,
    )  # fmt: skip


if __name__ == "__main__":
    main()
