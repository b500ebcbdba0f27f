"""From declared and found topics to the steps between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import kafka_topics as kafka

COMPACTED = {"name": "cdc.ecom.public.books", "partitions": 1, "cleanup": "compact", "flush": True, "retention_days": None}
EVENTS = {"name": "order.created", "partitions": 3, "cleanup": "delete", "flush": True, "retention_days": 7}


def found(topic: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {topic["name"]: {"partitions": topic["partitions"], "configs": kafka.configs(topic), "begin": 0, "end": 0, **changes}}


def test_what_is_missing_is_created_whole() -> None:
    steps = kafka.plan([COMPACTED, EVENTS], {})
    assert [(step["name"], step["partitions"]) for step in steps.create] == [("cdc.ecom.public.books", 1), ("order.created", 3)]
    assert steps.create[1]["configs"] == {"cleanup.policy": "delete", "retention.ms": "604800000", "flush.messages": "1"}
    assert steps.create[0]["configs"]["cleanup.policy"] == "compact"
    assert json.loads(steps.document()) == {"create": steps.create, "alter": [], "grow": []}


def test_what_is_as_declared_stays() -> None:
    steps = kafka.plan([COMPACTED, EVENTS], {**found(COMPACTED), **found(EVENTS)})
    assert not steps.changes
    assert steps.unknown == []


def test_configurations_that_nobody_manages_are_left_alone() -> None:
    configs = {**kafka.configs(EVENTS), "segment.bytes": "1048576"}
    assert not kafka.plan([EVENTS], found(EVENTS, configs=configs)).changes


def test_wrong_and_superfluous_configurations_are_corrected() -> None:
    configs = {"cleanup.policy": "compact", "retention.ms": "604800000", "min.cleanable.dirty.ratio": "0.5"}
    (step,) = kafka.plan([EVENTS], found(EVENTS, configs=configs)).alter
    assert step["configs"] == {"cleanup.policy": "delete", "flush.messages": "1", "min.cleanable.dirty.ratio": None}


def test_partitions_grow_and_never_shrink() -> None:
    assert kafka.plan([EVENTS], found(EVENTS, partitions=1)).grow == [{"name": "order.created", "partitions": 3}]
    with pytest.raises(kafka.TopicError, match="BK-171: topic order.created has 5 partitions and cannot shrink to partitions=3"):
        kafka.plan([EVENTS], found(EVENTS, partitions=5))


def test_unknown_topics_are_reported_and_kafkas_own_are_not() -> None:
    others = {"surprise": {"partitions": 1, "configs": {}}, "__consumer_offsets": {"partitions": 4, "configs": {}}}
    steps = kafka.plan([EVENTS], {**found(EVENTS), **others})
    assert (steps.unknown, steps.changes) == (["surprise"], False)


def test_retention_of_a_compacted_topic_is_refused() -> None:
    with pytest.raises(kafka.TopicError, match="BK-171: topic cdc.ecom.public.books: retention_days=3"):
        kafka.configs({**COMPACTED, "retention_days": 3})


def test_how_long_deletions_can_be_read_is_declared_for_compacted_topics_alone() -> None:
    kept = {**COMPACTED, "delete_retention_days": 7}
    assert kafka.configs(kept)["delete.retention.ms"] == "604800000"
    (step,) = kafka.plan([kept], found(COMPACTED)).alter
    assert step["configs"] == {"delete.retention.ms": "604800000"}
    assert not kafka.plan([kept], found(kept)).changes
    with pytest.raises(kafka.TopicError, match="BK-171: topic order.created: delete_retention_days=7"):
        kafka.configs({**EVENTS, "delete_retention_days": 7})


class Pod:
    """Stands in for the cluster; answers with what the tool would print."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked: list[list[str]] = []

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        assert (namespace, pod, container, timeout) == ("infra", "kafka-0", "kafka", 20)
        self.asked.append(command)
        return self.text


def test_the_tools_last_line_is_its_answer() -> None:
    pod = Pod('SLF4J: a warning\n{"topics": {}, "groups": {}}\n')
    assert kafka.Broker(pod, 20).describe() == {"topics": {}, "groups": {}}  # type: ignore[arg-type] # a part of a Cluster
    assert pod.asked[0][-2:] == ["KafkaOps", "describe"]


RECORD = {"partition": 0, "offset": 4, "key": "k", "value": "v"}


def test_a_key_is_asked_for_where_it_is_looked_up() -> None:
    pod = Pod(json.dumps({"records": [RECORD], "left_out": 0}))
    broker = kafka.Broker(pod, 20)  # type: ignore[arg-type] # a part of a Cluster
    assert broker.latest("cdc.ecom.public.books", "k") == RECORD
    assert broker.records("order.created") == [RECORD]
    assert [command[-3:] for command in pod.asked] == [["latest", "cdc.ecom.public.books", "k"], ["KafkaOps", "records", "order.created"]]
    assert kafka.Broker(Pod(json.dumps({"records": [], "left_out": 0})), 20).latest("t", "k") is None  # type: ignore[arg-type]


def test_an_answer_that_was_cut_is_not_taken_for_all() -> None:
    pod = Pod(json.dumps({"debezium.ecom.offsets": {"records": [RECORD], "left_out": 3}}))
    with pytest.raises(ClusterError, match=r"topic debezium.ecom.offsets holds more than is read at once \(3 records were left out\)"):
        kafka.Broker(pod, 20).newest(["debezium.ecom.offsets"])  # type: ignore[arg-type] # a part of a Cluster
