"""What the guard decides: at the start from offset, slot and log, later from what Kafka still has (components/debezium-guard)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"
# Offset, whether it names the end of a transaction, whether in a snapshot, confirmed, lost, end of the log.
CASES = {
    "500 true false 500 false 900": "RESUME false",
    "500 false false 500 false 900": "REWIND false",
    "700 true false 500 false 900": "REWIND false",
    "900 true false 500 false 900": "REWIND false",
    "901 true false 500 false 900": "OFFSET_BEYOND_LOG true",
    "499 true false 500 false 900": "OFFSET_BEHIND true",
    "500 true true 500 false 900": "SNAPSHOT_UNFINISHED true",
    "- false false 500 false 900": "OFFSET_ABSENT true",
    "- false false - false 900": "FIRST true",
    "500 true false - false 900": "SLOT_ABSENT true",
    "500 true false 500 true 900": "SLOT_LOST true",
    "500 true false - true 900": "SLOT_LOST true",
    "500 true false 901 false 900": "SLOT_BEYOND_LOG true",
}


# What Kafka had of a partition: topic's id, start of its log, newest offset and its timestamp ("-": none). What it has: the same, with
# the end of the log before the record that is read from that offset on.
RECORDS = {
    # Nothing happened; more came; compaction removed the record as superseded; nothing was read in time.
    "A 0 7 100 A 0 8 7 100": "kept",
    "A 0 7 100 A 0 20 7 100": "kept",
    "A 0 7 100 A 0 20 9 250": "kept",
    "A 0 7 100 A 0 20 - -": "kept",
    # An older copy: it ends before the record, or another one took its place since.
    "A 0 7 100 A 0 7 - -": "it ends at 7, and offset 7 was there",
    "A 0 7 100 A 0 3 - -": "it ends at 3, and offset 7 was there",
    "A 0 7 100 A 0 20 7 250": "another record stands at offset 7",
    # An empty Kafka: no topic, or one that was made again, whatever was written to it since.
    "A 0 7 100 - - - - -": "the topic is gone",
    "A 0 7 100 B 0 0 - -": "the topic is another one of the same name",
    "A 0 7 100 B 0 20 7 100": "the topic is another one of the same name",
    "A 0 - - B 0 0 - -": "the topic is another one of the same name",
    # Fewer partitions; records deleted at the start of the log, which compaction does not do.
    "A 0 7 100 A - - - -": "the partition is gone",
    "A 0 7 100 A 8 8 - -": "it begins at 8 instead of 0",
    "A 0 7 100 A 5 20 7 100": "it begins at 5 instead of 0",
    "A 5 7 100 A 5 20 7 100": "kept",
    # A partition without a record loses none.
    "A 0 - - A 0 0 - -": "kept",
    "A 0 - - A 0 3 0 100": "kept",
    "A 0 - - - - - - -": "the topic is gone",
}


def printed(program: str, lines: list[str]) -> list[str]:
    """What a class without dependencies prints for the lines; java compiles a single source itself (JEP 330)."""
    run = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", str(SOURCES / f"{program}.java")]
    return subprocess.run(run, input="\n".join(lines), capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()


needs_java = pytest.mark.skipif(not shutil.which("javac"), reason="javac is not installed, so the guard's source cannot be run")


@needs_java
def test_verdicts() -> None:
    assert dict(zip(CASES, printed("Verdict", list(CASES)), strict=True)) == CASES


@needs_java
def test_what_kafka_lost() -> None:
    assert dict(zip(RECORDS, printed("Mark", list(RECORDS)), strict=True)) == RECORDS
