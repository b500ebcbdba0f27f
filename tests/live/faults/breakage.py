"""Breaking parts of the platform as a machine or a network would: from the node containers, not by asking politely."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object

from ..waiting import until

KILL = """
found=0
for one in /proc/[0-9]*/cgroup; do
  if grep -q "$1" "$one" 2>/dev/null; then one=${one#/proc/}; kill -9 "${one%/cgroup}" && found=1; fi
done
[ "$found" = 1 ]
"""


def on_node(node: str, *command: str) -> str:
    """Run a command in a node's container; CalledProcessError when it fails."""
    return subprocess.run(["docker", "exec", node, *command], check=True, capture_output=True, text=True, timeout=60).stdout


class Breakage:
    """Breaks pods by namespace and ``app.kubernetes.io/name``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pod(self, namespace: str, name: str) -> Object:
        """The one pod that is not ending."""
        pods = [
            pod for pod in self._cluster.objects("Pod", namespace, labelSelector=f"app.kubernetes.io/name={name}")
            if "deletionTimestamp" not in pod["metadata"] and "platform.bookstore/probe" not in pod["metadata"]["labels"]
        ]  # fmt: skip
        assert len(pods) == 1, f"{namespace}/{name} has {len(pods)} pods"
        return pods[0]

    def restarts(self, namespace: str, name: str, container: str) -> int:
        """How often a container was started again."""
        return next(int(c["restartCount"]) for c in self.pod(namespace, name)["status"]["containerStatuses"] if c["name"] == container)

    def kill(self, namespace: str, name: str, container: str) -> None:
        """kill -9 every process of a container; returns when the kubelet has started it again."""
        pod = self.pod(namespace, name)
        status = next(c for c in pod["status"]["containerStatuses"] if c["name"] == container)
        before = int(status["restartCount"])
        on_node(pod["spec"]["nodeName"], "sh", "-c", KILL, "sh", status["containerID"].rpartition("/")[2])
        until(lambda: self.restarts(namespace, name, container) > before, f"{namespace}/{name} to be started again", 120, pause=0.5)

    def is_ready(self, namespace: str, name: str) -> bool:
        """Whether the pod takes requests."""
        return any(fact["type"] == "Ready" and fact["status"] == "True" for fact in self.pod(namespace, name)["status"]["conditions"])

    @contextmanager
    def cut(self, source: tuple[str, str], target: tuple[str, str]) -> Iterator[None]:
        """No packet passes between two pods inside of the block, in either direction, on any node."""
        one, other = (self.pod(*which)["status"]["podIP"] for which in (source, target))
        nodes = sorted({self.pod(*which)["spec"]["nodeName"] for which in (source, target)})
        rules = [("-s", one, "-d", other, "-j", "DROP"), ("-s", other, "-d", one, "-j", "DROP")]
        for node in nodes:
            for rule in rules:
                on_node(node, "iptables", "-w", "10", "-I", "FORWARD", *rule)
        try:
            yield
        finally:
            for node in nodes:
                for rule in rules:
                    on_node(node, "iptables", "-w", "10", "-D", "FORWARD", *rule)
