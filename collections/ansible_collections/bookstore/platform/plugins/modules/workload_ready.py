#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Wait until a list of cluster objects is ready."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: workload_ready
short_description: Wait until a list of cluster objects is ready
version_added: 0.1.0
description:
  - Waits for all objects side by side. One that cannot become ready - a failed job, an image that cannot be had, a container that
    keeps crashing, a pod that its namespace rejects - is waited for no longer than the others; the module fails at the end.
  - A failure shows the last events and log lines of what is not ready.
  - Changes nothing. In check mode it does not wait; objects that the run would create need not exist.
options:
  objects:
    description: The objects to wait for.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind of the object.
        type: str
        required: true
        choices:
          [DaemonSet, Deployment, Gateway, HTTPRoute, Job, Namespace, Node, PersistentVolumeClaim, Pod, StatefulSet]
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object. Needed for all kinds but Node and Namespace.
        type: str
  timeout:
    description: Seconds to wait at most for all of them.
    type: float
    default: 300.0
  interval:
    description: Seconds between two looks.
    type: float
    default: 0.5
  restart_limit:
    description: Restarts after which an object with a container in CrashLoopBackOff counts as one that cannot become ready.
    type: int
    default: 3
  progress_file:
    description: File in which the module tells which objects became ready and which it waits for, while it waits.
    type: path
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Wait for the database and the service
  bookstore.platform.workload_ready:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    timeout: 180
    objects:
      - {kind: StatefulSet, namespace: ecom, name: ecom-db}
      - {kind: Deployment, namespace: ecom, name: ecom-api}
"""

RETURN = r"""
elapsed:
  description: Seconds that the wait took.
  type: float
  returned: always, unless a parameter is wrong
objects:
  description: What was seen of each object last.
  type: list
  elements: dict
  returned: always, unless a parameter is wrong
  contains:
    kind:
      description: Kind of the object.
      type: str
    namespace:
      description: Its namespace, empty for kinds without one.
      type: str
    name:
      description: Its name.
      type: str
    state:
      description: ready, waiting or failed.
      type: str
    reason:
      description: What is missing or wrong; empty when ready.
      type: str
    ready_after:
      description: Seconds after which it was first seen ready.
      type: float
  sample: [{kind: Deployment, namespace: ecom, name: ecom-api, state: ready, reason: "", ready_after: 4.5}]
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness, workloads
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError


class Told:
    """Writes what a wait shows of itself into a file, when it is another than before."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: dict[str, Any] = {}

    def __call__(self, watch: workloads.Waiter) -> None:
        """Write it, whole or not at all."""
        shown = workloads.progress(watch)
        if shown == self._last:
            return
        self._last = shown
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(shown), encoding="utf-8")
        os.replace(temporary, self._file)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "objects": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "kind": {"type": "str", "required": True, "choices": sorted(readiness.PREDICATES)},
                    "name": {"type": "str", "required": True},
                    "namespace": {"type": "str"},
                },
            },
            "timeout": {"type": "float", "default": 300.0},
            "interval": {"type": "float", "default": 0.5},
            "restart_limit": {"type": "int", "default": 3},
            "progress_file": {"type": "path"},
            **CONNECTION_SPEC,
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        wanted = workloads.parse(p["objects"])
        if module.check_mode:
            module.exit_json(changed=False, elapsed=0.0, objects=workloads.unseen(wanted))
        details, elapsed = workloads.wait(
            Cluster.of(p), wanted, timeout=p["timeout"], restart_limit=p["restart_limit"], interval=p["interval"],
            tell=Told(Path(p["progress_file"])) if p["progress_file"] else lambda _: None,
        )  # fmt: skip
    except workloads.NotReadyError as error:
        module.fail_json(msg=failures.message(error), objects=error.details, elapsed=error.elapsed)
    except (ClusterError, ValueError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(changed=False, elapsed=elapsed, objects=details)


if __name__ == "__main__":
    main()
