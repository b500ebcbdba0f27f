"""A real Kafka broker in a container of the platform's own image, on the loopback address."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bookstore_common.testing.postgres import free_port
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

# Key and value as they stand in the topic.
Record = tuple[bytes | None, bytes | None]
PATIENCE_S = 90.0
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=LOCAL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=LOCAL://127.0.0.1:{port}
listener.security.protocol.map=LOCAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=LOCAL
log.dirs=/tmp/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
"""
START = """\
set -eu
java $OPTIONS kafka.tools.StorageTool format --cluster-id Ym9va3N0b3JlLWthZmthLQ --config /data/server.properties
exec java $OPTIONS kafka.Kafka /data/server.properties
"""


@contextmanager
def running_broker(image: str, folder: Path) -> Iterator[str]:
    """Run a broker whose data lives in memory; yields its address."""
    port = free_port()
    (folder / "server.properties").write_text(SETTINGS.format(port=port, controller=free_port()), encoding="utf-8")
    options = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
    command = ["docker", "run", "--detach", "--network=host", "--read-only", "--tmpfs=/tmp:mode=1777", f"--volume={folder}:/data:ro",
               # The folder is this user's alone.
               f"--user={os.getuid()}:{os.getgid()}", f"--env=OPTIONS={options}", image, "sh", "-c", START]  # fmt: skip
    container = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    try:
        address = f"127.0.0.1:{port}"
        _wait(address, container)
        yield address
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=True, timeout=60)


def _wait(address: str, container: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            KafkaAdminClient(bootstrap_servers=[address]).close()
        except KafkaError as error:
            if time.monotonic() > deadline:
                log = subprocess.run(["docker", "logs", "--tail=20", container], capture_output=True, text=True, check=False, timeout=20)
                raise AssertionError(f"the broker did not answer within {PATIENCE_S:.0f} s: {error}\n{log.stdout}{log.stderr}") from error
        else:
            return


def publish(address: str, topics: Mapping[str, Iterable[Record]]) -> None:
    """Make topics of one partition and write their records in order."""
    admin = KafkaAdminClient(bootstrap_servers=[address])
    producer = KafkaProducer(bootstrap_servers=[address], acks="all", linger_ms=5, max_in_flight_requests_per_connection=1)
    try:
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1} for name in topics})
        sent = [producer.send(name, value, key=key) for name, records in topics.items() for key, value in records]
        for one in sent:
            one.get(timeout=30)
    finally:
        producer.close()
        admin.close()


def publish_many(image: str, address: str, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Write records without tabs and line ends into ``topic``, some 100,000 a second: by Kafka's own console producer."""
    admin = KafkaAdminClient(bootstrap_servers=[address])
    try:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    finally:
        admin.close()
    tool = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "org.apache.kafka.tools.ConsoleProducer",
            f"--bootstrap-server={address}", f"--topic={topic}", "--property=parse.key=true", "--max-partition-memory-bytes=262144",
            "--request-timeout-ms=30000"]  # fmt: skip
    command = ["docker", "run", "--rm", "--interactive", "--network=host", "--read-only", "--tmpfs=/tmp:mode=1777", image, *tool]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as producer:
        assert producer.stdin
        assert producer.stdout
        for key, value in records:
            producer.stdin.write(key + b"\t" + value + b"\n")
        producer.stdin.close()
        said = producer.stdout.read()
    if producer.returncode or b"ERROR" in said:
        raise AssertionError(f"the records were not all written: {said[-2000:].decode(errors='replace')}")
