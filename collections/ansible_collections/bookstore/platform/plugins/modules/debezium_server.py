#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""See that the Debezium Servers stream, and have them repaired."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: debezium_server
short_description: See that the Debezium Servers stream, and have them repaired
version_added: 0.1.0
description:
  - Compares stored offset, replication slot and pod of each server. Each server's image starts with a guard that repairs
    what can go wrong between offset and slot; this module restarts a server that runs although its stored state is
    faulty, once, and waits until all stream and the guard has compared Kafka with the source after a new snapshot.
  - A server that cannot be had to stream fails the module, with the last lines of its log.
options:
  servers:
    description: The servers.
    type: list
    elements: dict
    required: true
    suboptions:
      source:
        description: Name of the source; pod, slot and topic of offsets follow from it.
        type: str
        required: true
      database:
        description: The source's instance - name, namespace, database.
        type: dict
        required: true
      tables:
        description: Not used; allowed, so that the list of the role can be given as it is.
        type: list
        elements: str
      exclude:
        description: Not used, as O(servers[].tables).
        type: list
        elements: str
      events:
        description: Not used, as O(servers[].tables).
        type: list
        elements: str
  state:
    description: V(streaming) repairs and waits, V(observed) only looks.
    type: str
    choices: [streaming, observed]
    default: streaming
  timeout:
    description: Seconds to wait at most until all stream, counted from the last step of a new snapshot that gets on.
    type: int
    default: 240
  call_timeout:
    description: Bound of each call into a pod, in seconds.
    type: int
    default: 60
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Both servers stream
  bookstore.platform.debezium_server:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    servers: "{{ debezium_servers }}"
"""

RETURN = r"""
restarted:
  description: Sources whose server was restarted; in check mode, would be.
  type: list
  returned: success
servers:
  description: State of each server - fault (empty when it streams), ready, restarts, slot, offset, end, its last snapshot
    and, while one is taken, how far it is.
  type: list
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.debezium_servers import RunningServers, ServerError, restore


def main() -> None:
    """Run the module."""
    server = {
        "source": {"type": "str", "required": True},
        "database": {"type": "dict", "required": True},
        "tables": {"type": "list", "elements": "str"},
        "exclude": {"type": "list", "elements": "str"},
        "events": {"type": "list", "elements": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "servers": {"type": "list", "elements": "dict", "required": True, "options": server},
            "state": {"type": "str", "choices": ["streaming", "observed"], "default": "streaming"},
            "timeout": {"type": "int", "default": 240},
            "call_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    p = module.params
    for one in p["servers"]:
        lacking = {"name", "namespace", "database"} - set(one["database"])
        if lacking:
            module.fail_json(msg=f"BK-176: servers: source={one['source']}: database lacks {', '.join(sorted(lacking))}")
    apply = p["state"] == "streaming" and not module.check_mode
    try:
        outcome = restore(RunningServers(Cluster.of(p), p["call_timeout"]), p["servers"], p["timeout"], apply=apply)
    except (ClusterError, ServerError) as error:
        module.fail_json(msg=failures.message(error))
    restarted = outcome.restarted if p["state"] == "streaming" else []
    module.exit_json(changed=bool(restarted), restarted=restarted, servers=[one.report() for one in outcome.after])


if __name__ == "__main__":
    main()
