"""What must be so before anything is built or run: nobody else works on the platform, and its nodes take pods."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.host import run_lock
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from operator_view.conformance import ConformanceError
from operator_view.settings import Settings


def require_alone(known: Settings, folder: Path = run_lock.FOLDER) -> None:
    """Keep other runs from the platform for as long as this process lives; ConformanceError (BK-295) names one that is at work."""
    try:
        run_lock.acquire(os.getpid(), run_lock.scopes(known.state, known.cluster), folder)
    except run_lock.LockError as error:
        raise ConformanceError(str(error)) from error


def require_platform(known: Settings, connect: Callable[[str], Any] = Cluster) -> None:
    """Raise ConformanceError (BK-427) unless the cluster answers and all its nodes take pods: the suite would wait for them."""
    try:
        nodes: list[dict[str, Any]] = connect(str(known.kubeconfig)).objects("Node")
    except ClusterError as error:
        raise ConformanceError(f"BK-427: no platform to judge: {error}; bring it up with `make up`") from error
    for node in nodes:
        verdict, name = readiness.node(node), node["metadata"]["name"]
        if reason := readiness.cordoned(node) or ("" if verdict == readiness.READY else verdict.reason):
            raise ConformanceError(f"BK-427: node {name} takes no pods: {reason}; `make recover` starts stopped nodes")
