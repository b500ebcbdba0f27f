"""Taking workloads of the platform away and bringing them back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object, path_of

from .waiting import until

SERVICES = (("ecom", "ecom-api"), ("inventory", "inventory-api"), ("admin", "admin-api"))


class Workloads:
    """Deployments and StatefulSets by (kind, namespace, name); their pods carry ``app.kubernetes.io/name``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pods(self, namespace: str, name: str) -> list[Object]:
        """The pods that are there, ending ones included."""
        return self._cluster.objects("Pod", namespace, labelSelector=f"app.kubernetes.io/name={name}")

    def ready(self, namespace: str, name: str) -> list[str]:
        """Names of the pods that take requests."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods(namespace, name)
            if "deletionTimestamp" not in pod["metadata"]
            and any(fact["type"] == "Ready" and fact["status"] == "True" for fact in pod["status"].get("conditions", []))
        ]

    def scale(self, kind: str, namespace: str, name: str, replicas: int) -> int:
        """Ask for so many pods; returns how many were asked for before."""
        path = f"{path_of(kind, namespace, name)}/scale"
        scale: Object = json.loads(self._cluster.raw(path))
        before = int(scale["spec"].get("replicas", 0))
        self._cluster.raw(path, "PUT", {**scale, "spec": {"replicas": replicas}})
        return before

    @contextmanager
    def without(self, kind: str, namespace: str, name: str) -> Iterator[None]:
        """No pod of this workload is there inside of the block; afterwards as many as before are ready."""
        before = self.scale(kind, namespace, name, 0)
        assert before > 0, f"{namespace}/{name} was already gone"
        try:
            until(lambda: not self.pods(namespace, name), f"the pods of {namespace}/{name} to end", 90)
            yield
        finally:
            self.scale(kind, namespace, name, before)
            until(lambda: len(self.ready(namespace, name)) == before, f"{namespace}/{name} to be ready", 180)

    def identities(self) -> dict[str, tuple[str, int]]:
        """uid and restarts of each pod of the Python services: equal before and after means nothing was restarted."""
        return {
            pod["metadata"]["name"]: (pod["metadata"]["uid"], sum(part["restartCount"] for part in pod["status"]["containerStatuses"]))
            for namespace, name in SERVICES
            for pod in self.pods(namespace, name)
        }
