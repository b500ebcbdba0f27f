#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Give workers again the events that they never saw, or could not apply."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: event_replay
short_description: Give workers again the events that they never saw, or could not apply
version_added: 0.1.0
description:
  - An event stays in its producer's outbox for longer than in any topic. This module lets Debezium publish it again, by
    deleting and inserting its row in one statement, and waits until the worker has applied it. Workers know the ids of what
    they applied, so repeats are harmless.
  - Does nothing, and changes nothing, when no gap is open and no dead letter is asked for.
options:
  mode:
    description:
      - V(gaps) gives again what a worker missed because it was off for longer than topics keep events, or because the broker
        lost them, and closes the gaps in table C(consumer_gaps). Where the outbox does not reach back far enough, a gap is
        closed if orders, books and stock agree, and refused if not.
      - V(dead_letters) gives again what a worker set aside, as table C(dead_letters) has it, and empties the dead-letter
        topics when all of their letters are dealt with.
    type: str
    default: gaps
    choices: [gaps, dead_letters]
  acknowledge:
    description:
      - With O(mode=dead_letters), also remove letters that cannot be given again, because they are no events or the outbox has
        them no more.
      - With O(mode=gaps), also close gaps that the outbox does not reach although orders, books and stock differ, because
        somebody has dealt with the differences.
    type: bool
    default: false
  timeout:
    description: Seconds for a worker to apply what it was given, at most.
    type: int
    default: 120
  call_timeout:
    description: Bound of each call into a pod, in seconds.
    type: int
    default: 60
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Give workers what they never saw
  bookstore.platform.event_replay:
    kubeconfig: "{{ bookstore_kubeconfig }}"

- name: Give workers what they set aside, now that its cause is mended
  bookstore.platform.event_replay:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    mode: dead_letters
"""

RETURN = r"""
replayed:
  description: Number of events that were published again, by worker.
  type: dict
  returned: always
repaired:
  description: Number of gaps that were closed, by worker.
  type: dict
  returned: always
resolved:
  description: Number of dead letters that were dealt with, by worker.
  type: dict
  returned: always
emptied:
  description: Dead-letter topics that were emptied.
  type: list
  elements: str
  returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import event_replay
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import ConvergenceError, psql
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.event_replay import CONSUMERS, Outcome
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker


def run(p: dict[str, Any], check: bool) -> tuple[dict[str, Outcome], list[str], list[str]]:
    """Do what ``mode`` says; the outcome by worker, emptied topics, and what could not be done."""
    cluster = Cluster.of(p)
    sql = psql(cluster, p["call_timeout"])
    outcomes, emptied, left = {}, list[str](), list[str]()
    for consumer in CONSUMERS:
        if p["mode"] == "gaps":
            outcome = event_replay.repair(sql, consumer, p["timeout"], acknowledge=p["acknowledge"], apply=not check)
        else:
            outcome = event_replay.bring_back(sql, consumer, p["timeout"], acknowledge=p["acknowledge"], apply=not check)
            broker = Broker(cluster, p["call_timeout"])
            names, kept = event_replay.empty_topics(broker, sql, consumer, acknowledge=p["acknowledge"], apply=not check)
            emptied += names
            left += kept
        outcomes[consumer.place] = outcome
        left += outcome.left
    return outcomes, emptied, left


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "mode": {"type": "str", "default": "gaps", "choices": ["gaps", "dead_letters"]},
            "acknowledge": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 120},
            "call_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        outcomes, emptied, left = run(module.params, module.check_mode)
    except (ClusterError, ConvergenceError) as error:
        module.fail_json(msg=failures.message(error))
    answer = {
        "changed": bool(emptied) or any(outcome.changed for outcome in outcomes.values()),
        "replayed": {place: outcome.replayed for place, outcome in outcomes.items()},
        "repaired": {place: outcome.repaired for place, outcome in outcomes.items()},
        "resolved": {place: outcome.resolved for place, outcome in outcomes.items()},
        "emptied": emptied,
    }
    if left:
        module.fail_json(msg="\n".join(left), **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
