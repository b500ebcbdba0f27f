"""A second bootstrap of the running platform, once for every test that asks what it found."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_plan import PROBE_LABEL

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Rerun:
    """Output of the bootstrap, and the pods before and after it: each one's uid and its containers' restarts."""

    output: str
    before: dict[str, tuple[str, int]]
    after: dict[str, tuple[str, int]]


def pods(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """Map each pod to its uid and its containers' restarts; verify's own short-lived probes are left out."""
    found = {}
    for pod in cluster.objects("Pod"):
        metadata, status = pod["metadata"], pod.get("status") or {}
        if PROBE_LABEL not in (metadata.get("labels") or {}):
            restarts = sum(container["restartCount"] for container in status.get("containerStatuses") or [])
            found[f"{metadata['namespace']}/{metadata['name']}"] = (metadata["uid"], restarts)
    return found


def rerun(cluster: Cluster, *options: str) -> Rerun:
    """Run bootstrap.yml with further options, verify included; AssertionError with the end of its output if it fails."""
    before = pods(cluster)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "bootstrap.yml", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return Rerun(done.stdout, before, pods(cluster))
