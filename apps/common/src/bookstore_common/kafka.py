"""Connections to Kafka that leave nothing behind when they cannot be made."""

from collections.abc import Callable
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

T = TypeVar("T")


def connect(kind: Callable[..., T], *arguments: Any, **settings: Any) -> T:
    """Make a KafkaConsumer, KafkaProducer or KafkaAdminClient; raises KafkaError or OSError without a broker.

    Their constructors start a thread with sockets of its own, and leave it running when the broker does not answer: who
    tries again and again would run out of descriptors.
    """
    begun: list[KafkaNetClient] = []

    def remembered(**options: Any) -> KafkaNetClient:
        client = KafkaNetClient(**options)
        begun.append(client)
        return client

    try:
        return kind(*arguments, kafka_client=remembered, **settings)
    except BaseException:
        for client in begun:
            client.close()
        raise
