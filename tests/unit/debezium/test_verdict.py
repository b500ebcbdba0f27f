"""What the guard decides: at the start from offset, slot and log, later from what Kafka still has (roles/debezium/images/debezium)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "roles/debezium/images/debezium"
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


# Offset and moment of a record that was there, the partition's end, offset and moment of what is read from that offset on.
RECORDS = {
    "7 100 8 7 100": "false",
    "7 100 20 7 100": "false",
    "7 100 7 -": "true",
    "7 100 3 -": "true",
    "7 100 20 7 250": "true",
    "7 100 20 9 250": "false",
    "7 100 20 -": "false",
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
def test_records_that_kafka_lost() -> None:
    assert dict(zip(RECORDS, printed("Mark", list(RECORDS)), strict=True)) == RECORDS
