# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What topics shall be, what they are, and the steps between; and the way to the broker's own tool."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, answer_of

Object = dict[str, Any]
DAY_MS = 86_400_000
# Made by Kafka itself.
INTERNAL = ("__consumer_offsets", "__transaction_state", "__share_group_state")
# Configurations that this module manages; others of a topic are left alone.
MANAGED = ("cleanup.policy", "flush.messages", "retention.ms", "delete.retention.ms", "max.compaction.lag.ms", "min.cleanable.dirty.ratio")
# A compacted topic keeps the latest record of each key; older ones may stay for an hour.
COMPACT = {"cleanup.policy": "compact", "max.compaction.lag.ms": "3600000", "min.cleanable.dirty.ratio": "0.3"}


class TopicError(ValueError):
    """A declaration that cannot be carried out."""


@dataclass
class Plan:
    """Steps for the broker's tool, and what was found that nobody declared."""

    create: list[Object] = field(default_factory=list)
    alter: list[Object] = field(default_factory=list)
    grow: list[Object] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.create or self.alter or self.grow)

    def document(self) -> str:
        """The steps as the tool reads them."""
        return json.dumps({"create": self.create, "alter": self.alter, "grow": self.grow}, sort_keys=True)


def configs(topic: Object) -> dict[str, str]:
    """Return Kafka's configuration of a declared topic: {name, cleanup, retention_days?, delete_retention_days?, flush?}."""
    if topic["cleanup"] == "compact":
        if topic.get("retention_days"):
            raise TopicError(f"BK-171: topic {topic['name']}: retention_days={topic['retention_days']} has no meaning with cleanup=compact")
        wanted = dict(COMPACT)
        if topic.get("delete_retention_days"):
            wanted["delete.retention.ms"] = str(int(topic["delete_retention_days"]) * DAY_MS)
    else:
        if topic.get("delete_retention_days"):
            raise TopicError(
                f"BK-171: topic {topic['name']}: delete_retention_days={topic['delete_retention_days']} has no meaning with cleanup=delete"
            )
        wanted = {"cleanup.policy": "delete"}
        if topic.get("retention_days"):
            wanted["retention.ms"] = str(int(topic["retention_days"]) * DAY_MS)
    if topic.get("flush"):
        wanted["flush.messages"] = "1"
    return wanted


def plan(wanted: list[Object], found: dict[str, Object]) -> Plan:
    """Return what has to be done. ``found``: name to {partitions, configs}. TopicError when partitions would have to shrink."""
    steps = Plan(unknown=sorted(set(found) - {topic["name"] for topic in wanted} - set(INTERNAL)))
    for topic in wanted:
        name, partitions, target = topic["name"], int(topic["partitions"]), configs(topic)
        there = found.get(name)
        if there is None:
            steps.create.append({"name": name, "partitions": partitions, "configs": target})
            continue
        if there["partitions"] > partitions:
            raise TopicError(
                f"BK-171: topic {name} has {there['partitions']} partitions and cannot shrink to partitions={partitions}; "
                f"write {there['partitions']}, or delete the topic if its records may be lost"
            )
        if there["partitions"] < partitions:
            steps.grow.append({"name": name, "partitions": partitions})
        now = {key: value for key, value in there["configs"].items() if key in MANAGED}
        if now != target:
            different = {key: value for key, value in target.items() if now.get(key) != value}
            steps.alter.append({"name": name, "configs": {**different, **{key: None for key in now if key not in target}}})
    return steps


class Broker:
    """The tool inside of the broker's pod; ClusterError when it fails."""

    COMMAND = ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx64m", "KafkaOps")

    def __init__(self, cluster: Cluster, timeout: float, namespace: str = "infra", pod: str = "kafka-0") -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._where = (namespace, pod, "kafka")

    def call(self, *arguments: str) -> Any:
        """Run the tool with ``arguments`` and return its answer."""
        text = self._cluster.execute(*self._where, [*self.COMMAND, *arguments], self._timeout)
        return answer_of(text, "/".join(self._where[:2]))

    def records(self, topic: str, key: str | None = None) -> list[Object]:
        """Return the newest records of a topic, or of one key: [{partition, offset, key, value}], as many as the tool returns."""
        found: list[Object] = self.call("records", topic, *([] if key is None else [key]))["records"]
        return found

    def latest(self, topic: str, key: str) -> Object | None:
        """Return the newest record of a key: {partition, offset, key, value}, whose value is None for a deletion; None without one."""
        found: list[Object] = self.call("latest", topic, key)["records"]
        return max(found, key=lambda one: int(one["offset"]), default=None)

    def newest(self, topics: list[str]) -> dict[str, list[Object]]:
        """Return the newest record of each key of topics that hold few, such as stored offsets; one start of the tool for all.

        ClusterError when the tool left some out: what is missing must not be taken for absent.
        """
        answers: Object = self.call("newest", *topics)
        for topic, answer in answers.items():
            if answer["left_out"]:
                raise ClusterError(
                    f"topic {topic} holds more than is read at once ({answer['left_out']} records were left out): who writes to it?"
                    " It is to hold a handful of keys"
                )
        return {topic: answer["records"] for topic, answer in answers.items()}

    def describe(self) -> Object:
        """Return {topics: {name: {partitions, configs, begin, end}}, groups: {group: {topic: lag}}}."""
        described: Object = self.call("describe")
        return described
