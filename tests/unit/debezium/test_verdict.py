"""What the guard decides from offset, slot and log (roles/debezium/images/debezium/Verdict.java)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "roles/debezium/images/debezium/Verdict.java"
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


@pytest.mark.skipif(not shutil.which("javac"), reason="javac is not installed, so the guard's source cannot be run")
def test_verdicts(tmp_path: Path) -> None:
    subprocess.run(["javac", "-d", str(tmp_path), str(SOURCE)], check=True, timeout=120)
    run = ["java", "-cp", str(tmp_path), "Verdict"]
    answer = subprocess.run(run, input="\n".join(CASES), capture_output=True, text=True, check=True, timeout=120)
    assert dict(zip(CASES, answer.stdout.splitlines(), strict=True)) == CASES
