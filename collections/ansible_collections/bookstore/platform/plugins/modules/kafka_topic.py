#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Bring Kafka's topics to their declaration."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kafka_topic
short_description: Bring Kafka's topics to their declaration
version_added: 0.1.0
description:
  - Creates missing topics, corrects their configuration and adds partitions. It never deletes a topic and never
    removes a partition; topics that nobody declared are reported.
  - Works through a tool inside of the broker's pod, one process for all topics.
options:
  topics:
    description: The topics.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the topic.
        type: str
        required: true
      partitions:
        description: Number of partitions.
        type: int
        required: true
      cleanup:
        description: What happens to old records.
        type: str
        required: true
        choices: [compact, delete]
      retention_days:
        description: Days that records are kept, with O(topics[].cleanup=delete).
        type: int
      delete_retention_days:
        description: Days for which deletions can be read, with O(topics[].cleanup=compact).
        type: int
      flush:
        description: Write each record to the disk before it is acknowledged.
        type: bool
        default: false
  timeout:
    description: Bound of each call, in seconds.
    type: int
    default: 60
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: One compacted topic
  bookstore.platform.kafka_topic:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    topics:
      - {name: cdc.ecom.public.books, partitions: 1, cleanup: compact, flush: true}
"""

RETURN = r"""
created:
  description: Topics that were created.
  type: list
  returned: success
corrected:
  description: Topics whose configuration or number of partitions was changed.
  type: list
  returned: success
unknown:
  description: Topics that exist although nobody declared them.
  type: list
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker, TopicError, plan


def main() -> None:
    """Run the module."""
    topic = {
        "name": {"type": "str", "required": True},
        "partitions": {"type": "int", "required": True},
        "cleanup": {"type": "str", "required": True, "choices": ["compact", "delete"]},
        "retention_days": {"type": "int"},
        "delete_retention_days": {"type": "int"},
        "flush": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_SPEC,
            "topics": {"type": "list", "elements": "dict", "required": True, "options": topic},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        broker = Broker(Cluster.of(module.params), module.params["timeout"])
        steps = plan(module.params["topics"], broker.describe()["topics"])
        if steps.changes and not module.check_mode:
            broker.call("apply", steps.document())
    except (ClusterError, TopicError) as error:
        module.fail_json(msg=failures.message(error))
    corrected = sorted({step["name"] for step in [*steps.alter, *steps.grow]})
    module.exit_json(
        changed=steps.changes, created=[step["name"] for step in steps.create], corrected=corrected, unknown=steps.unknown
    )


if __name__ == "__main__":
    main()
