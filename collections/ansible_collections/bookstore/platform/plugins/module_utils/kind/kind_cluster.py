"""The kind cluster as a whole: create it, bring its nodes back, replace a lost worker.
A cluster counts as created only when its control plane carries a marker that is written after `kind create` ended well; what an
interrupted creation left behind is removed.
A worker counts as joined only when a Node of its name exists: it is deleted before the new container is made, and comes back
with the kubelet. Bootstrap tokens are deleted as soon as nodes have joined (bootstrap_tokens.py).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..base.waiter import wait_for
from ..engine.docker import DockerError, containers, docker, ensure_network, proxied, run_container, without_proxies
from . import bootstrap_tokens, certificates, cluster_settings, node_certificates
from .kind_workers import ROLE_LABEL, join_config, run_arguments
from .node_certificates import LABEL

MARKER = "/kind/bookstore-cluster"
# Where the images of this cluster come from: for as long as the cluster lives, whatever `auto` would say later.
SOURCE = "/kind/bookstore-image-source"
CERTS = "/etc/containerd/certs.d"


class KindClusterError(Exception):
    """The cluster cannot be brought to the wanted state."""


@dataclass
class Outcome:
    """What was done."""

    created: bool = False
    removed: bool = False
    started: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    configured: list[str] = field(default_factory=list)
    tokens_ended: list[str] = field(default_factory=list)
    cordoned: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    settings_differ: bool = False
    older: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.created or self.removed or bool(self.started or self.joined or self.configured or self.tokens_ended or self.renewed)


@dataclass
class KindCluster:
    """One kind cluster. ``config`` is kind's configuration as text, ``workers`` how many it must have.

    ``registry_hosts`` is containerd's hosts.toml for images of ``registry``; our own node image has it built in, kind's has not.
    """

    name: str
    kind: str
    image: str
    config: str
    workers: int
    subnet: str
    kubeconfig: Path
    log: Path
    source: str = "packages"
    registry: str = ""
    registry_hosts: str = ""

    def ensure(self, rebuild: bool, timeout: float, check: bool = False) -> Outcome:
        """Create, start or complete the cluster; a healthy one is left alone."""
        outcome = Outcome()
        nodes = containers(f"{LABEL}={self.name}")
        marker = self.marker(nodes)
        if nodes and (rebuild or marker is None):
            outcome.removed = True
            if not check:
                self.delete()
            nodes = {}
        if not nodes:
            outcome.created = True
            if not check:
                self.create(timeout)
                outcome.configured = self.configure(self.node_containers())
            return outcome
        outcome.settings_differ = cluster_settings.differ(marker, self.image, self.config, nodes[self.control_plane()])
        outcome.older = cluster_settings.older(nodes, self.image)
        stopped = [name for name, node in sorted(nodes.items()) if not node["State"]["Running"]]
        if check:
            asked = self.control_plane() not in stopped
            lost = self.lost_workers(nodes, self.node_names() if asked else None)
            outcome.tokens_ended = self.bootstrap_tokens() if asked else []
            outcome.renewed = self.renew_certificates([name for name in nodes if name not in stopped], check=True) if asked else []
        else:
            failures = self._start(stopped)
            # Before the API server is asked for anything: what has ended keeps it, or a kubelet, from working at all.
            outcome.renewed = self.renew_certificates([name for name in nodes if name not in failures])
            self.write_kubeconfig()
            self.wait_for_api(timeout)
            lost = self.lost_workers(nodes, self.node_names())
            for name in sorted(set(failures) - set(lost)):
                raise failures[name]
        outcome.started = [name for name in stopped if name not in lost]
        outcome.joined = lost
        if check:
            return outcome
        alive = {name: node for name, node in nodes.items() if name not in lost}
        if not lost:
            self._look(outcome, alive, timeout)
            return outcome
        self.wait_for_kubelets(alive, timeout)
        # Before a worker is replaced, too: a run that was killed while one joined left a token that still works.
        outcome.tokens_ended = self.end_bootstrap_tokens()
        for name in lost:
            self.join_worker(name, alive, timeout)
        outcome.cordoned = self.cordoned_nodes()
        outcome.configured = self.configure(self.node_containers())
        return outcome

    def _look(self, outcome: Outcome, nodes: dict[str, dict[str, Any]], timeout: float) -> None:
        """Do what a cluster with all of its nodes needs; each of it waits for a program in a node, and for none of the others."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            kubelets = pool.submit(self.wait_for_kubelets, nodes, timeout)
            tokens, cordoned = pool.submit(self.end_bootstrap_tokens), pool.submit(self.cordoned_nodes)
            configured = pool.submit(self.configure, self.node_containers())
            kubelets.result()
            outcome.tokens_ended, outcome.cordoned, outcome.configured = tokens.result(), cordoned.result(), configured.result()

    def bootstrap_tokens(self) -> list[str]:
        """Return the names of the Secrets of all bootstrap tokens, expired ones included."""
        return sorted(self.kubectl("get", "secrets", "--namespace=kube-system", f"--field-selector=type={bootstrap_tokens.TYPE}",
                                   "--output=jsonpath={.items[*].metadata.name}").split())

    def end_bootstrap_tokens(self) -> list[str]:
        """Delete all bootstrap tokens and return their Secrets' names; the API server refuses them from then on.

        What the controller manager signed with them in ConfigMap kube-public/cluster-info goes with them.
        """
        names = self.bootstrap_tokens()
        if names:
            self.kubectl("delete", "secret", "--namespace=kube-system", "--ignore-not-found", *names)
        return names

    def cordoned_nodes(self) -> list[str]:
        """Return the nodes that take no new pods because somebody said so (kubectl cordon, kubectl drain)."""
        return sorted(self.kubectl("get", "nodes", "--field-selector=spec.unschedulable=true",
                                   "--output=jsonpath={.items[*].metadata.name}").split())

    def _start(self, names: list[str]) -> dict[str, DockerError]:
        """Start stopped nodes; return what went wrong with workers, which matters only for those that had joined."""
        failures = {}
        for name in names:
            try:
                docker("container", "start", name)
            except DockerError as error:
                if name == self.control_plane():
                    raise
                failures[name] = error
        return failures

    def node_names(self) -> set[str]:
        """Return the names of the cluster's Node objects."""
        return set(self.kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.name}").split())

    def lost_workers(self, nodes: Iterable[str], joined: set[str] | None) -> list[str]:
        """Return the workers without a container, or without a Node (``joined``, None where that cannot be asked)."""
        there = set(nodes) if joined is None else set(nodes) & joined
        return sorted(set(self.worker_names()) - there)

    def proxied_nodes(self) -> list[str]:
        """Return the nodes that were made with a proxy, as this platform once did; they may not reach their registry."""
        return sorted(name for name, node in containers(f"{LABEL}={self.name}").items() if proxied(node))

    def fingerprint(self) -> str:
        """Return the hash of the settings that only a new cluster can take over."""
        return cluster_settings.fingerprint(self.image, self.config)

    def control_plane(self) -> str:
        """Return the control-plane container's name."""
        return f"{self.name}-control-plane"

    def worker_names(self) -> list[str]:
        """Return the workers' names, as kind gives them."""
        return [f"{self.name}-worker{number if number > 1 else ''}" for number in range(1, self.workers + 1)]

    def marker(self, nodes: dict[str, dict[str, Any]]) -> str | None:
        """Return the fingerprint that the finished creation left, or None."""
        return read_file(self.control_plane(), MARKER) if self.control_plane() in nodes else None

    def node_containers(self) -> list[str]:
        """Return the names of all node containers."""
        return [self.control_plane(), *self.worker_names()]

    def configure(self, nodes: Iterable[str]) -> list[str]:
        """Tell containerd in each node where images of the registry are, and return the nodes to which that was new.

        containerd reads the file at each pull, so nothing is restarted.
        """
        if not self.registry:
            return []
        path = f"{CERTS}/{self.registry}/hosts.toml"
        read = 'if [ -f "$0" ]; then cat "$0"; fi'
        wrong = [name for name in nodes if docker("exec", name, "sh", "-c", read, path) != self.registry_hosts]
        for name in wrong:
            docker("exec", "--interactive", name, "sh", "-c", 'mkdir -p "${0%/*}" && cat >"$0.new" && mv "$0.new" "$0"', path,
                   stdin=self.registry_hosts)
        return wrong

    def create(self, timeout: float) -> None:
        """Create the cluster; a failure is undone by kind itself and reported with its last lines."""
        ensure_network(self.name, self.subnet)
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        command = [self.kind, "create", "cluster", "--name", self.name, "--image", self.image, "--config", "-",
                   "--kubeconfig", str(self.kubeconfig), "--wait", "0s"]
        self._kind(command, timeout, bootstrap_tokens.in_kind_config(self.config, bootstrap_tokens.random_token()))
        self.end_bootstrap_tokens()
        # Static PVs need no provisioner, which kind's own node image brings; a default class without one would leave claims waiting.
        self.kubectl("delete", "storageclass", "standard", "--ignore-not-found")
        self.kubectl("delete", "namespace", "local-path-storage", "--ignore-not-found", "--wait=false")
        self.kubectl("apply", "-f", "-", stdin=json.dumps(self._created_config_map()))
        docker("exec", self.control_plane(), "sh", "-c", f"echo {self.source} > {SOURCE} && echo {self.fingerprint()} > {MARKER}")

    def _created_config_map(self) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bookstore-cluster", "namespace": "kube-system"},
                "data": {"fingerprint": self.fingerprint()}}

    def delete(self) -> None:
        """Remove the node containers; volumes on the host stay."""
        nodes = containers(f"{LABEL}={self.name}")
        if nodes:
            docker("container", "rm", "--force", "--volumes", *nodes)
        self.kubeconfig.unlink(missing_ok=True)

    def _kind(self, command: list[str], timeout: float, stdin: str) -> None:
        """Run kind, which inherits the cluster's lock: it may outlive this process."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with without_proxies() as variables, open(self.log, "a", encoding="utf-8") as output:
            env = {**variables, "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.name}
            try:
                code = subprocess.run(command, input=stdin, text=True, stdout=output, stderr=subprocess.STDOUT,
                                      env=env, timeout=timeout, check=False, close_fds=False).returncode
            except subprocess.TimeoutExpired:
                code = -1
        if code != 0:
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise KindClusterError(f"BK-252: `{' '.join(command[:4])}` ended with exit code {code} (log: {self.log}):\n{tail}")

    def renew_certificates(self, nodes: Iterable[str], check: bool = False) -> list[str]:
        """Renew the certificates of running nodes that end soon, and return which these were."""
        return node_certificates.renew(self.control_plane(), nodes, certificates.now(), check)

    def kubeconfig_is_good(self) -> bool:
        """Whether the kubeconfig is there and its certificate does not end soon."""
        if not self.kubeconfig.is_file():
            return False
        try:
            held = certificates.of_kubeconfig(self.kubeconfig.read_text(encoding="utf-8"), str(self.kubeconfig))
        except certificates.CertificateError:
            return False
        return not held.due(certificates.now())

    def write_kubeconfig(self) -> None:
        """Write the kubeconfig when it is missing or its certificate ends soon; the fixed port keeps it true across restarts."""
        if not self.kubeconfig_is_good():
            self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            self._kind([self.kind, "export", "kubeconfig", "--name", self.name, "--kubeconfig", str(self.kubeconfig)], 60, "")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl inside the control-plane container, with its administrator's rights."""
        interactive = ["--interactive"] if stdin is not None else []
        return docker("exec", *interactive, self.control_plane(), "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
                      *arguments, stdin=stdin)

    def wait_for_api(self, timeout: float) -> None:
        """Wait until the API server says that it is ready."""
        def state() -> str:
            try:
                return self.kubectl("get", "--raw=/readyz").strip()
            except DockerError as error:
                return str(error).splitlines()[-1]

        last = wait_for(state, lambda answer: answer == "ok", timeout=timeout)
        if not last.done:
            raise KindClusterError(
                f"BK-240: the API server of cluster {self.name} was not ready within {timeout:.0f} s ({last.value}); "
                "bootstrap.yml -e rebuild=true makes a new cluster and keeps the data"
            )

    def wait_for_kubelets(self, names: Iterable[str], timeout: float) -> None:
        """Wait until no pod's status is older than its node's start.

        After a power loss the API server shows what was true before it; who trusts that finds "ready" pods that are gone.
        """
        wanted = set(names)

        def stale() -> list[str]:
            nodes = {name: node["State"]["StartedAt"] for name, node in containers(f"{LABEL}={self.name}").items() if name in wanted}
            return stale_pods(json.loads(self.kubectl("get", "pods", "--all-namespaces", "--output=json"))["items"], nodes)

        last = wait_for(stale, lambda pods: not pods, timeout=timeout)
        if not last.done:
            raise KindClusterError(
                f"BK-243: {len(last.value)} pods still have the status of before their node's start after {timeout:.0f} s: "
                f"{', '.join(last.value[:5])}; see `make status`, then run bootstrap.yml -e rebuild=true, which keeps the data"
            )

    def join_worker(self, name: str, nodes: dict[str, dict[str, Any]], timeout: float) -> None:
        """Replace a worker that is lost by a new one made like its sibling, one of ``nodes``."""
        siblings = [node for node in nodes.values() if node["Config"]["Labels"].get(ROLE_LABEL) == "worker"]
        if not siblings:
            raise KindClusterError(
                f"BK-241: cluster {self.name} has lost all workers; run bootstrap.yml -e rebuild=true, which keeps the data"
            )
        with contextlib.suppress(DockerError):
            docker("container", "rm", "--force", "--volumes", name)
        self.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")
        self._force_delete_pods(name)
        run_container(*run_arguments(siblings[0], name, self.name))
        address = docker("container", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name).strip()
        sibling = siblings[0]["Name"].removeprefix("/")
        old_address = next(iter(siblings[0]["NetworkSettings"]["Networks"].values()))["IPAddress"]
        config = docker("exec", sibling, "cat", "/kind/kubeadm.conf")
        self._wait_for_systemd(name, timeout)
        token = bootstrap_tokens.random_token()
        docker("exec", "--interactive", name, "sh", "-c", "umask 077; cat > /kind/kubeadm.conf",
               stdin=bootstrap_tokens.in_kubeadm_config(join_config(config, sibling, name, old_address, address), token))
        try:
            self.kubectl("create", "-f", "-", stdin=json.dumps(bootstrap_tokens.secret(token, datetime.now(UTC))))
            docker("exec", name, "kubeadm", "join", "--config", "/kind/kubeadm.conf", "--skip-phases=preflight", "--v=1", timeout=timeout)
        finally:
            self.end_bootstrap_tokens()

    def _force_delete_pods(self, node: str) -> None:
        """Delete the pods of a node whose container is proven gone, so that stateful ones may start elsewhere."""
        self.kubectl("delete", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={node}", "--force", "--grace-period=0")

    def _wait_for_systemd(self, name: str, timeout: float) -> None:
        def started() -> bool:
            with contextlib.suppress(DockerError):
                docker("exec", name, "systemctl", "is-active", "containerd.service")
                return True
            return False

        if not wait_for(started, bool, timeout=timeout).done:
            raise KindClusterError(f"BK-242: node {name} did not start within {timeout:.0f} s; see `docker logs {name}`")


def read_file(container: str, path: str) -> str | None:
    """Return a file of a container, running or not; None when it is not there or empty."""
    try:
        return subprocess.run(
            ["sh", "-c", 'docker cp "$0:$1" - | tar -xO', container, path], capture_output=True, text=True, check=True
        ).stdout.strip() or None
    except subprocess.CalledProcessError:
        return None


def recorded_source(name: str) -> str | None:
    """Return the image source that a finished cluster was made with, None when there is no such cluster.

    Clusters of before this was recorded could only be made from packages.
    """
    control_plane = f"{name}-control-plane"
    if control_plane not in containers(f"{LABEL}={name}") or read_file(control_plane, MARKER) is None:
        return None
    return read_file(control_plane, SOURCE) or "packages"


def stale_pods(pods: list[dict[str, Any]], started: dict[str, str]) -> list[str]:
    """Return the pods that are said to run since before their node was started (RFC 3339 times, whole seconds)."""
    stale = []
    for pod in pods:
        node_start = started.get(pod["spec"].get("nodeName", ""))
        if node_start is None:
            continue
        running = [status["state"]["running"]["startedAt"] for status in pod["status"].get("containerStatuses", [])
                   if "running" in status.get("state", {})]
        if any(time_of_container[:19] < node_start[:19] for time_of_container in running):
            stale.append(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}")
    return stale
