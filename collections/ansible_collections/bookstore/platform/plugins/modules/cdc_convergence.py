#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Wait until changes of the source databases are in analytics and its views."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cdc_convergence
short_description: Wait until changes of the source databases are in analytics and its views
version_added: 0.1.0
description:
  - Asks databases and broker through the API server, each second, within a bound. When a change does not arrive, it tells
    the last stage that it reached, and what the next one showed. A part that does not answer is waited for, too, and named.
options:
  mode:
    description:
      - V(probe) inserts, changes and deletes one row in each captured table and follows each change; the rows (user
        cdc-probe, ids starting with ffffffff) are removed in every case and count in no view, so nothing is changed.
      - V(proven) tells whether V(probe) kept in O(proof) that changes arrive, and whether all that they went through is the same since.
      - V(row) waits until analytics shows the row O(key) of O(source) as it is now; gone if it is gone.
      - V(lag) waits until everything committed now was published and read, and is in the views; a busy shop may go on meanwhile.
      - V(view) waits until the view O(key), or every view, shows what is in the tables now.
      - V(reconcile) removes the rows of analytics whose source row is gone, which a new snapshot of a Debezium Server
        cannot report. A deletion that is on its way gets up to 10 s to arrive, and is no change of this module then.
      - V(reread) compares every row of analytics with its source, and brings those back that differ although their changes had
        time to arrive. A row of the source is written again unchanged, so that Debezium publishes it again; what the source has
        no more is removed. Entries of C(quarantined_records) whose rows are equal are resolved. O(source) and O(key) narrow it.
    type: str
    required: true
    choices: [probe, proven, row, lag, view, reconcile, reread]
  source:
    description: A captured table - needed by V(row); V(probe), V(reconcile) and V(reread) take all without it.
    type: str
    choices: [books, orders, order_items, inventory]
  key:
    description: Id of the row for V(row) and V(reread), name of the view for V(view).
    type: str
  timeout:
    description:
      - Seconds to wait at most, in V(probe) for each of the three changes; in V(reconcile) and V(reread), to work at most.
      - In V(lag) and V(reread), a backlog that is worked off may take longer; the time counts from the last step that was seen.
    type: int
    default: 30
  report_only:
    description: V(reread) - return what could not be brought back instead of failing; C(verify) names it as long as it lasts.
    type: bool
    default: false
  proof:
    description: File in which V(probe) keeps that changes arrived, for V(proven). Both need O(flink_port) with it.
    type: path
  proof_hours:
    description: For how many hours V(proven) takes over what was proven; 0 for never.
    type: float
    default: 0.0
  flink_port:
    description: The host's port of Flink's REST API, which names the jobs.
    type: int
  call_timeout:
    description: Bound of each call into a pod, in seconds.
    type: int
    default: 30
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Insert, update and delete arrive
  bookstore.platform.cdc_convergence:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    mode: probe

- name: Bring back a row whose record could not be applied
  bookstore.platform.cdc_convergence:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    mode: reread
    source: books
    key: 2f1b6d9e-0000-4000-8000-0000000000b1

- name: After a new snapshot
  bookstore.platform.cdc_convergence:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    mode: reconcile
"""

RETURN = r"""
converged:
  description: Whether all arrived.
  type: bool
  returned: always
elapsed_s:
  description: Seconds of the slowest change, until it was in all views.
  type: float
  returned: always
stage_reached:
  description: The last stage that was reached - wal, kafka, flink, table or view; empty when the source did not answer.
  type: str
  returned: always
hints:
  description: What the stage after it showed; empty when all arrived.
  type: dict
  returned: always
operations:
  description: Seconds by operation and table.
  type: dict
  returned: with O(mode=probe)
proven:
  description: Whether the proof counts; RV(report_lines) says then of when it is.
  type: bool
  returned: with O(mode=proven)
report_lines:
  description: A line for the output.
  type: list
  elements: str
  returned: with O(mode=proven)
lag:
  description: Bytes behind each slot, records before each job, dirty views.
  type: dict
  returned: with O(mode=lag)
removed:
  description: Rows that were removed by table; in check mode, would be.
  type: dict
  returned: with O(mode=reconcile) or O(mode=reread)
reread:
  description: Rows that were written again in their source by table; in check mode, would be.
  type: dict
  returned: with O(mode=reread)
resolved:
  description: Entries of the quarantine that were resolved, by table.
  type: dict
  returned: with O(mode=reread)
remaining:
  description: What could not be brought back, and why, one line each.
  type: list
  elements: str
  returned: with O(mode=reread)
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.base.proof_store import Store
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_convergence as cdc
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_proof
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_probe import probe, row
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_reread import Reread, report
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import (
    TABLES,
    ConvergenceError,
    psql,
    reconcile,
    table_of,
)
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker


def run(p: dict[str, Any], check: bool) -> tuple[cdc.Result, dict[str, Any]]:
    """Do what ``mode`` says; the result, and what the module returns besides. In check mode nothing is written."""
    cluster = Cluster.of(p)
    sql = psql(cluster, p["call_timeout"])
    pipeline = cdc.Pipeline(sql, Broker(cluster, p["call_timeout"]))
    names = [p["source"]] if p["source"] else list(TABLES)
    mode, timeout = p["mode"], p["timeout"]
    store = Store(Path(p["proof"]), p["proof_hours"]) if p["proof"] else None
    if mode == "proven":
        kept = cdc_proof.recall(cluster, store, p["flink_port"]) if store else None
        return cdc.Result(True, 0.0, ""), {"proven": kept is not None, "report_lines": [cdc_proof.told(kept)] if kept else []}
    if mode == "probe":
        if check:
            result, lag = pipeline.settle(timeout)
            return result, {"operations": {}, "lag": lag}

        def follow() -> tuple[cdc.Result, dict[str, Any]]:
            result, operations = probe(pipeline, sql, timeout, names)
            return result, {"operations": operations}

        return cdc_proof.prove(cluster, store, p["flink_port"], follow) if store else follow()
    if mode == "row":
        return row(pipeline, sql, table_of(p["source"]), p["key"], timeout), {}
    if mode == "lag":
        result, lag = pipeline.settle(timeout)
        return result, {"lag": lag}
    if mode == "view":
        if p["key"] and not re.fullmatch("[a-z_]+", p["key"]):
            raise ConvergenceError(f"BK-251: key={p['key']} is no view; write a name such as mv_sales_over_time")
        return pipeline.refreshed([p["key"]] if p["key"] else [], timeout), {}
    if mode == "reread":
        outcome = Reread(sql, pipeline, [TABLES[name] for name in names], p["key"]).run(timeout, apply=not check)
        return cdc.Result(not outcome.remaining or p["report_only"], outcome.elapsed, "table", {}), report(outcome)
    removed, left, took = reconcile(sql, [TABLES[name] for name in names], timeout, apply=not check)
    hints = {"table": f"rows without a source are left: {left}"} if left else {}
    return cdc.Result(not left, took, "table", hints), {"removed": removed, "changed": any(removed.values())}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "mode": {"type": "str", "required": True, "choices": ["probe", "proven", "row", "lag", "view", "reconcile", "reread"]},
            "source": {"type": "str", "choices": list(TABLES)},
            "key": {"type": "str"},
            "timeout": {"type": "int", "default": 30},
            "report_only": {"type": "bool", "default": False},
            "proof": {"type": "path"},
            "proof_hours": {"type": "float", "default": 0.0},
            "flink_port": {"type": "int"},
            "call_timeout": {"type": "int", "default": 30},
        },
        required_if=[("mode", "row", ("source", "key")), ("mode", "proven", ("proof",))],
        required_by={"proof": ["flink_port"]},
        supports_check_mode=True,
    )
    try:
        result, others = run(module.params, module.check_mode)
    except (ClusterError, ConvergenceError) as error:
        module.fail_json(msg=failures.message(error))
    answer = {"changed": False, **result.report(), **others}
    if not result.converged and module.params["mode"] == "reread":
        module.fail_json(msg=f"BK-260: rows of analytics differ from their source: {'; '.join(answer['remaining'])}", **answer)
    if not result.converged:
        module.fail_json(msg=cdc.complaint(module.params["mode"], result, module.params["timeout"]), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
