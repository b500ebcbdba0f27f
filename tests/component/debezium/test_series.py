"""What broker and server tell Prometheus: by the agent in their own virtual machine, as the manifests start it."""

from __future__ import annotations

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from .. import series
from .pipeline import Debezium, Kafka, until

pytestmark = pytest.mark.timeout(900)
TOPIC, GROUP = "order.created", "a group"


def test_the_broker_tells_its_health_sizes_and_each_groups_lag(module_kafka: Kafka) -> None:
    producer = KafkaProducer(bootstrap_servers=[module_kafka.address])
    for number in range(10):
        producer.send(TOPIC, value=b"x" * 1000, partition=number % 2).get(timeout=30)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=[module_kafka.address], group_id=GROUP, enable_auto_commit=False)
    consumer.assign([TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)])
    consumer.commit({TopicPartition(TOPIC, 0): OffsetAndMetadata(4, "", -1), TopicPartition(TOPIC, 1): OffsetAndMetadata(5, "", -1)})

    def lag() -> float | None:
        return series.value(series.scrape(module_kafka.metrics), "kafka_consumergroup_lag_sum", consumergroup=GROUP, topic=TOPIC)

    until(lambda: lag() == 1, "the group's lag")
    consumer.commit({TopicPartition(TOPIC, 0): OffsetAndMetadata(5, "", -1)})
    until(lambda: lag() == 0, "the group to have caught up")
    consumer.close()
    samples = series.scrape(module_kafka.metrics)
    assert series.missing(samples, "kafka") == []
    assert series.value(samples, "kafka_server_replicamanager_underreplicatedpartitions") == 0
    assert series.value(samples, "kafka_controller_kafkacontroller_activecontrollercount") == 1
    assert series.value(samples, "kafka_log_log_logendoffset", topic=TOPIC, partition="0") == 5
    assert (series.value(samples, "kafka_log_log_size", topic=TOPIC, partition="0") or 0) > 5000
    assert series.value(samples, "kafka_server_brokertopicmetrics_topic_messagesin_total", topic=TOPIC) == 10
    # Topics and partitions are declared; nothing that a client makes up becomes a label.
    assert sum(map(len, samples.values())) < 1_000


def test_a_group_that_is_gone_has_no_lag_any_more(module_kafka: Kafka) -> None:
    def told() -> bool:
        return any(labels["consumergroup"] == "passing" for labels, _ in
                   series.scrape(module_kafka.metrics).get("kafka_consumergroup_lag_sum", []))  # fmt: skip

    consumer = KafkaConsumer(bootstrap_servers=[module_kafka.address], group_id="passing", enable_auto_commit=False)
    consumer.assign([TopicPartition(TOPIC, 0)])
    consumer.commit({TopicPartition(TOPIC, 0): OffsetAndMetadata(0, "", -1)})
    consumer.close()
    until(told, "the group's lag")
    admin = KafkaAdminClient(bootstrap_servers=[module_kafka.address])
    admin.delete_groups(["passing"])
    admin.close()
    until(lambda: not told(), "the group's lag to vanish")


def test_the_server_tells_how_far_it_is(debezium: Debezium) -> None:
    debezium.first_snapshot()
    samples = series.scraped(debezium.metrics)
    assert series.missing(samples, "debezium") == []
    assert series.value(samples, "debezium_metrics_Connected", context="streaming", name="cdc.ecom") == 1
    # The guard reads the rows beside the stream: the server itself takes no snapshot, and says so.
    assert series.value(samples, "debezium_metrics_SnapshotRunning", context="snapshot", name="cdc.ecom") == 0
    assert series.value(samples, "debezium_metrics_SnapshotCompleted", context="snapshot", name="cdc.ecom") == 0
    assert (series.value(samples, "debezium_metrics_MilliSecondsBehindSource", context="streaming") or 0) < 60_000
    assert sum(map(len, samples.values())) < 200
