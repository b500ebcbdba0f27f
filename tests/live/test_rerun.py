"""A second bootstrap of a healthy platform changes nothing and restarts nothing (SPEC 10.4)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kubernetes
import pytest

ROOT = Path(__file__).parents[2]


def pods(core: kubernetes.client.CoreV1Api) -> dict[str, tuple[str, int]]:
    """Map each pod to its uid and its containers' restarts."""
    return {
        f"{pod.metadata.namespace}/{pod.metadata.name}":
            (pod.metadata.uid, sum(status.restart_count for status in pod.status.container_statuses or []))
        for pod in core.list_pod_for_all_namespaces().items
    }


@pytest.mark.timeout(600)
def test_second_bootstrap_changes_nothing(core: kubernetes.client.CoreV1Api) -> None:
    before = pods(core)
    done = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "bootstrap.yml"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    recap = re.findall(r"changed=(\d+).*failed=(\d+)", done.stdout)
    assert recap == [("0", "0")]
    assert pods(core) == before
