"""Kafka as the audit needs it: digests of the sources, and how far Flink has come. Every method blocks."""

from collections.abc import Mapping
from contextlib import ExitStack

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec

from bookstore_common import batches
from bookstore_common.audit import TOPIC
from bookstore_common.batches import BatchError
from bookstore_common.kafka import connect
from mv_refresher.audit.repository import TARGETS

_CLIENT = "mv-refresher-audit"
_EVENTS = TopicPartition(TOPIC, 0)
_FETCH_BYTES = 262_144
# Less than a pod is given to end: who is told to end may have to wait for this.
_TIMEOUT_MS = 5_000
_log = structlog.get_logger(__name__)


class Feed:
    """A connection; every method raises KafkaError or OSError if the broker does not answer.

    Without a consumer group: who starts reads the latest digest of each table and what comes then. An older one would
    tell nothing that a later one does not.
    """

    def __init__(self, servers: str) -> None:
        with ExitStack() as begun:
            self._consumer = connect(
                KafkaConsumer, bootstrap_servers=[servers], client_id=_CLIENT, group_id=None, enable_auto_commit=False,
                auto_offset_reset="latest", max_partition_fetch_bytes=_FETCH_BYTES, bootstrap_timeout_ms=_TIMEOUT_MS,
            )  # fmt: skip
            begun.callback(self._consumer.close)
            self._admin = connect(
                KafkaAdminClient, bootstrap_servers=[servers], client_id=_CLIENT, bootstrap_timeout_ms=_TIMEOUT_MS,
                request_timeout_ms=_TIMEOUT_MS,
            )  # fmt: skip
            begun.callback(self._admin.close)
            self._consumer.assign([_EVENTS])
            first, end = (self._offset(_EVENTS, spec) for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST))
            self._consumer.seek(_EVENTS, max(first, end - len(TARGETS)))
            begun.pop_all()

    def poll(self, timeout_ms: int) -> list[bytes | None]:
        """Values of the events that came; what the client cannot take apart is passed over."""
        try:
            found = batches.poll(self._consumer, timeout_ms)
        except BatchError:
            position = self._consumer.position(_EVENTS)
            _log.exception("audit_events_unreadable", offset=position)
            self._consumer.seek(_EVENTS, position + 1)
            return []
        return [record.value for records in found.values() for record in records]

    def ends(self, topics: Mapping[str, str]) -> dict[str, int]:
        """Consumer group to the present end of its topic."""
        return {group: self._offset(TopicPartition(topic, 0), OffsetSpec.LATEST) for group, topic in topics.items()}

    def _offset(self, partition: TopicPartition, spec: OffsetSpec) -> int:
        # The consumer's own end_offsets was seen to leave out partitions whose metadata it did not have yet.
        return int(self._admin.list_partition_offsets({partition: spec})[partition].offset)

    def behind(self, topics: Mapping[str, str], ends: Mapping[str, int]) -> dict[str, int]:
        """Consumer groups that have not committed up to ``ends`` yet, with the number of records that they lack."""
        partitions = {group: TopicPartition(topic, 0) for group, topic in topics.items()}
        offsets = self._admin.list_group_offsets({group: [part] for group, part in partitions.items()})
        missing = {}
        for group, part in partitions.items():
            committed = offsets.get(group, {}).get(part)
            lack = ends[group] - max(0, committed.offset if committed else 0)
            if lack > 0:
                missing[group] = lack
        return missing

    def close(self) -> None:
        """End the connections."""
        try:
            self._admin.close()
        finally:
            self._consumer.close()
