"""Batches of records that kafka-python cannot take apart: damaged, or packed in a way that it does not know.

It raises out of ``poll`` then, without saying where, and does so again each time. :func:`step_over` finds the place,
partition by partition, and commits the first offset behind it that can be read.
"""

from collections.abc import Callable, Collection
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError, UnsupportedCodecError
from kafka.structs import OffsetAndMetadata

from bookstore_common.gaps import UNREADABLE, Gap, offsets


class BatchError(Exception):
    """The client cannot take a batch apart; its own error is the cause."""


# For a record that is there; a partition without one is not asked.
_POLL_MS = 5_000
Batches = dict[TopicPartition, list[Any]]


def poll(consumer: KafkaConsumer, timeout_ms: int, most: int | None = None) -> Batches:
    """Poll; raises BatchError, or KafkaError or OSError if the broker does not answer."""
    try:
        found: Batches = consumer.poll(timeout_ms, **({} if most is None else {"max_records": most}))
    except (CorruptRecordError, UnsupportedCodecError) as error:
        raise BatchError from error
    except (KafkaError, OSError):
        raise
    except Exception as error:
        # Of a decompressor, for example: the client lets everything through.
        raise BatchError from error
    return found


def step_over(consumer: KafkaConsumer, topics: Collection[str], note: Callable[[Gap], None]) -> None:
    """Look for what the group of ``consumer`` (subscribed to nothing) would read next, and cannot.

    ``note`` is told of each place before it is passed over. Raises KafkaError if the broker does not answer. Blocks.
    """
    parts = [
        TopicPartition(topic, number)
        for topic in sorted(topics)
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]
    consumer.assign(parts)
    begins, ends = offsets(consumer.beginning_offsets, parts), offsets(consumer.end_offsets, parts)
    for part in parts:
        committed = consumer.committed(part)
        begin = begins[part] if committed is None else max(committed, begins[part])
        if begin < ends[part]:
            consumer.assign([part])
            behind = _readable(consumer, part, begin, ends[part])
            if behind > begin:
                note(Gap(part, begin, behind, UNREADABLE))
                consumer.commit({part: OffsetAndMetadata(behind, "", -1)})


def _readable(consumer: KafkaConsumer, part: TopicPartition, begin: int, end: int) -> int:
    """The first offset from ``begin`` on at which something can be read; ``end`` if there is none."""
    for offset in range(begin, end):
        # Also takes away from the client what is left of a batch that it could not read.
        consumer.seek(part, offset)
        try:
            poll(consumer, _POLL_MS, 1)
        except BatchError:
            continue
        return offset
    return end
