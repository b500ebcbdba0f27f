"""Compacted topics with the platform's settings, whose times alone are shortened: superseded records go, and later deletions do."""

from __future__ import annotations

import json

import pytest
from kafka import KafkaProducer

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import configs

from .pipeline import Kafka, until

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)
TOPIC = "compaction.test"
DECLARED = {"name": TOPIC, "partitions": 1, "cleanup": "compact", "flush": True, "delete_retention_days": 7}
SHORT = {"max.compaction.lag.ms": "2000", "delete.retention.ms": "8000"}


def test_superseded_records_go_then_deletions(module_kafka: Kafka) -> None:
    settings = {**configs(DECLARED), **SHORT}
    assert settings.keys() == configs(DECLARED).keys()
    plan = {"create": [{"name": TOPIC, "partitions": 1, "configs": settings}], "alter": [], "grow": []}
    module_kafka.tool.call("apply", json.dumps(plan))
    producer = KafkaProducer(bootstrap_servers=[module_kafka.address])

    def put(key: bytes, value: bytes | None) -> None:
        producer.send(TOPIC, key=key, value=value, partition=0).get(30)

    for key, value in ((b"kept", b"old"), (b"kept", b"new"), (b"deleted", b"row"), (b"deleted", None)):
        put(key, value)

    def held() -> list[tuple[bytes, bytes | None]]:
        # A segment is closed with the next record, which is what always comes on the running platform.
        put(b"traffic", b"x")
        return [(one.key, one.value) for one in module_kafka.read(TOPIC) if one.key != b"traffic"]

    seen: list[list[tuple[bytes, bytes | None]]] = []
    until(lambda: seen.append(held()) or seen[-1] == [(b"kept", b"new")], "compaction to remove both")  # type: ignore[func-returns-value]
    # A reader that was not away for longer than the declared time saw the deletion without what it deleted.
    assert [(b"kept", b"new"), (b"deleted", None)] in seen
    producer.close()
