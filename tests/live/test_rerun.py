"""A second bootstrap of a healthy platform changes nothing and restarts nothing (SPEC 10.4)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.mesh_plan import PROBE_LABEL

ROOT = Path(__file__).parents[2]


def pods(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """Map each pod to its uid and its containers' restarts; verify's own short-lived probes are left out."""
    found = {}
    for pod in cluster.objects("Pod"):
        metadata, status = pod["metadata"], pod.get("status") or {}
        if PROBE_LABEL not in (metadata.get("labels") or {}):
            restarts = sum(container["restartCount"] for container in status.get("containerStatuses") or [])
            found[f"{metadata['namespace']}/{metadata['name']}"] = (metadata["uid"], restarts)
    return found


@pytest.mark.timeout(600)
def test_second_bootstrap_changes_nothing(cluster: Cluster) -> None:
    before = pods(cluster)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "bootstrap.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    # The standard recap, or the one line of our own output.
    recap = re.findall(r"changed=(\d+)", done.stdout)
    assert recap, done.stdout[-1000:]
    assert set(recap) == {"0"}, done.stdout[-3000:]
    assert pods(cluster) == before
