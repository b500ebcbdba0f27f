#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Bring Flink's SQL jobs to their declaration."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: flink_job
short_description: Bring Flink's SQL jobs to their declaration
version_added: 0.1.0
description:
  - Submits missing jobs, with the newest checkpoint of the very same statements if there is one. A job whose statements
    changed is stopped with a savepoint and submitted without state, so that they are applied to every row; one of which
    only O(settings) changed resumes from the savepoint. An equal one is left alone.
  - A job whose source took a new snapshot since the job was submitted counts as changed. Kafka may have come back with less
    than the job had read, and would then give out offsets for the second time that the job takes for read.
  - Waits until all tasks of all jobs run. Jobs that nobody declared are reported.
  - Works through a tool inside of the JobManager's pod, which submits with PyFlink, one process for all jobs.
options:
  jobs:
    description: Names of the jobs.
    type: list
    elements: str
    required: true
  sql_dir:
    description: Folder with a file C(<name>.sql) for each job; statements end with a semicolon at the end of a line.
    type: path
    required: true
  values:
    description: What C(${name}) in the SQL stands for.
    type: dict
    default: {}
  settings:
    description: Flink's configuration of all jobs; how they take checkpoints and restart, for example.
    type: dict
    default: {}
  fresh:
    description:
      - Jobs to start anew without their state, whether they changed or not; their topics are read from the beginning.
      - For use after the tables of the sink were restored - keyed state would hold back rows that it has seen.
      - A call that names any job is a change each time.
    type: list
    elements: str
    default: []
  snapshots:
    description:
      - When each source took its last new snapshot, as RV(bookstore.platform.debezium_server#module:servers) has it; empty for never.
      - Without it the broker is asked.
    type: dict
  rest_port:
    description: The host's port of Flink's REST API. Where it shows that all is as declared, the tool in the pod is not started.
    type: int
  timeout:
    description: Seconds to wait at most until all jobs run.
    type: int
    default: 240
  call_timeout:
    description: Bound of each call to the tool, in seconds; stopping and submitting all jobs included.
    type: int
    default: 150
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: One job
  bookstore.platform.flink_job:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    jobs: [cdc-dim-books]
    sql_dir: flink/sql
    settings: {execution.checkpointing.interval: 10 s}
"""

RETURN = r"""
submitted:
  description: Jobs that were missing.
  type: list
  returned: success
replaced:
  description: Jobs that ran with other statements or settings, or that O(fresh) names.
  type: list
  returned: success
unchanged:
  description: Jobs that already ran as declared.
  type: list
  returned: success
unknown:
  description: Jobs that run although nobody declared them.
  type: list
  returned: success
savepoints:
  description: Savepoints of replaced jobs, name to path.
  type: dict
  returned: success
reread:
  description: Jobs whose checkpoint could not be used; they read their topics from the beginning.
  type: list
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.flink_jobs import (
    Declaration,
    JobError,
    Tool,
    glance,
    noted,
    read,
    reconcile,
    snapshots,
)
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "jobs": {"type": "list", "elements": "str", "required": True},
            "sql_dir": {"type": "path", "required": True},
            "values": {"type": "dict", "default": {}},
            "settings": {"type": "dict", "default": {}},
            "fresh": {"type": "list", "elements": "str", "default": []},
            "snapshots": {"type": "dict"},
            "rest_port": {"type": "int"},
            "timeout": {"type": "int", "default": 240},
            "call_timeout": {"type": "int", "default": 150},
        },
        supports_check_mode=True,
    )
    p = module.params
    settings = {key: str(value) for key, value in p["settings"].items()}
    try:
        cluster = Cluster.of(p)
        declared = Declaration(Path(p["sql_dir"]), p["values"], settings)
        since = p["snapshots"] or noted(Broker(cluster, p["call_timeout"]))
        wanted = read(p["jobs"], declared, snapshots(since))
        tool = Tool(cluster, p["call_timeout"])
        steps, done = reconcile(
            tool, wanted, settings, p["fresh"], p["timeout"], apply=not module.check_mode,
            glanced=glance(p["rest_port"]) if p["rest_port"] else None,
        )  # fmt: skip
    except (ClusterError, JobError) as error:
        module.fail_json(msg=failures.message(error))
    module.exit_json(
        changed=steps.changes, submitted=steps.submitted, replaced=steps.replaced, unchanged=steps.unchanged, unknown=steps.unknown,
        savepoints=done["savepoints"], reread=done["reread"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
