"""What the audit asks of Kafka, against stand-ins for the client; the real broker comes in the live tests."""

import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import CorruptRecordError, KafkaError

from mv_refresher.audit import feed

TOPICS = {"flink-a": "cdc.a", "flink-b": "cdc.b"}


class Consumer:
    """Remembers where it was told to begin."""

    def __init__(self, **_settings: Any) -> None:
        self.begin: int | None = None
        self.closed = False

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [TopicPartition("cdc.audit", 0)]

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self.begin = offset

    def poll(self, _timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        return {TopicPartition("cdc.audit", 0): [SimpleNamespace(value=b"1"), SimpleNamespace(value=None)]}

    def close(self) -> None:
        self.closed = True


class Admin:
    """A broker of two topics and the events; ``committed`` by consumer group."""

    first, end = 3, 20
    committed: dict[str, int] = {}  # noqa: RUF012 # set by each test

    def __init__(self, **_settings: Any) -> None:
        pass

    def list_partition_offsets(self, specs: dict[TopicPartition, OffsetSpec]) -> dict[TopicPartition, Any]:
        ends = {"cdc.audit": self.end, "cdc.a": 7, "cdc.b": 0}
        return {
            part: SimpleNamespace(offset=self.first if spec == OffsetSpec.EARLIEST else ends[part.topic])
            for part, spec in specs.items()
        }

    def list_group_offsets(self, groups: dict[str, list[TopicPartition]]) -> dict[str, dict[TopicPartition, Any]]:
        return {
            group: {part: SimpleNamespace(offset=self.committed[group]) for part in parts}
            for group, parts in groups.items()
            if group in self.committed
        }

    def close(self) -> None:
        raise OSError("gone")


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> feed.Feed:
    monkeypatch.setattr(feed, "KafkaConsumer", Consumer)
    monkeypatch.setattr(feed, "KafkaAdminClient", Admin)
    return feed.Feed("broker:9092")


@pytest.mark.parametrize(("first", "end", "begin"), [(3, 20, 16), (18, 20, 18), (0, 0, 0)])
def test_it_begins_with_the_last_digest_of_each_table(
    monkeypatch: pytest.MonkeyPatch, first: int, end: int, begin: int
) -> None:
    monkeypatch.setattr(Admin, "first", first)
    monkeypatch.setattr(Admin, "end", end)
    monkeypatch.setattr(feed, "KafkaConsumer", Consumer)
    monkeypatch.setattr(feed, "KafkaAdminClient", Admin)
    opened = feed.Feed("broker:9092")
    assert opened._consumer.begin == begin
    assert opened.poll(1) == [b"1", None]


def test_what_the_client_cannot_take_apart_is_passed_over(
    connected: feed.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [CorruptRecordError("no such codec"), zlib.error("no gzip"), KafkaError("away")]
    at = [5]
    poll = connected._consumer.poll

    def stuck(timeout_ms: int) -> Any:
        if faults:
            raise faults.pop(0)
        return poll(timeout_ms)

    monkeypatch.setattr(connected._consumer, "poll", stuck)
    monkeypatch.setattr(connected._consumer, "position", lambda _part: at[0], raising=False)
    monkeypatch.setattr(connected._consumer, "seek", lambda _part, offset: at.append(offset))
    assert [connected.poll(1), connected.poll(1), at] == [[], [], [5, 6, 6]]
    # No fault of a record.
    with pytest.raises(KafkaError, match="away"):
        connected.poll(1)
    assert connected.poll(1) == [b"1", None]


@pytest.mark.parametrize(
    ("committed", "missing"),
    [
        ({}, {"flink-a": 7}),  # never committed; nothing is missing of an empty topic
        ({"flink-a": -1, "flink-b": -1}, {"flink-a": 7}),
        ({"flink-a": 5, "flink-b": 0}, {"flink-a": 2}),
        ({"flink-a": 7}, {}),
        ({"flink-a": 9}, {}),
    ],
)
def test_who_is_behind(
    connected: feed.Feed, monkeypatch: pytest.MonkeyPatch, committed: dict[str, int], missing: dict[str, int]
) -> None:
    monkeypatch.setattr(Admin, "committed", committed)
    ends = connected.ends(TOPICS)
    assert ends == {"flink-a": 7, "flink-b": 0}
    assert connected.behind(TOPICS, ends) == missing


def test_both_connections_are_closed_even_if_one_resists(connected: feed.Feed) -> None:
    with pytest.raises(OSError, match="gone"):
        connected.close()
    assert connected._consumer.closed
