# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Reads and renews the certificates of a kind cluster's nodes, from outside: it works when the API server's have ended, too."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable
from datetime import datetime

from ..base.waiter import Clock, wait_for
from ..engine.docker import containers, docker
from . import certificates
from .certificates import AUTHORITIES, KUBELET_CLIENT, KUBELET_SERVER, Certificate, CertificateError

LABEL = "io.x-k8s.kind.cluster"
KUBEADM_CONFIG = "/kind/kubeadm.conf"
KEY = re.compile(r"^\s*client-key-data:\s*(\S+)\s*$", re.MULTILINE)
# Writes what comes in as the kubelet's client certificate, takes its self-signed server certificate away, and starts it again,
# which makes a new one. The kubelet keeps the link up to date itself afterwards.
WRITE_KUBELET = r"""
umask 077
cd /var/lib/kubelet/pki
cat > kubelet-client-renewed.pem.new
mv kubelet-client-renewed.pem.new kubelet-client-renewed.pem
ln -sfn /var/lib/kubelet/pki/kubelet-client-renewed.pem kubelet-client-current.pem
rm -f kubelet.crt kubelet.key
systemctl restart --no-block kubelet.service
"""


def running_nodes(cluster: str) -> list[str]:
    """Return the names of a cluster's nodes that run."""
    return sorted(name for name, node in containers(f"{LABEL}={cluster}").items() if node["State"]["Running"])


def read(nodes: Iterable[str]) -> dict[str, dict[str, Certificate]]:
    """Return node to path to certificate; DockerError when a node does not run."""
    return {node: certificates.of_files(docker("exec", node, "sh", "-c", certificates.READ_FILES), node) for node in nodes}


def read_proxies(nodes: Iterable[str]) -> list[Certificate]:
    """Return the certificates of all proxies of the mesh."""
    found: list[Certificate] = []
    for node in nodes:
        found += certificates.of_proxies(docker("exec", node, "sh", "-c", certificates.READ_PROXIES), node)
    return found


def renew(control_plane: str, nodes: Iterable[str], now: datetime, check: bool = False) -> list[str]:
    """Renew what is due on running nodes, and return what that was; ``check`` only looks.

    Authorities are left: only a new cluster gets new ones. ``verify`` names them in time.
    """
    renewed: list[str] = []
    restart = False
    for node, found in sorted(read(nodes).items()):
        paths = [path for path, one in found.items() if path not in AUTHORITIES and one.due(now)]
        renewed += [f"{node}: {path}" for path in paths]
        if check or not paths:
            continue
        if {KUBELET_CLIENT, KUBELET_SERVER} & set(paths):
            renew_kubelet(control_plane, node)
        if set(paths) - {KUBELET_CLIENT, KUBELET_SERVER}:
            docker("exec", control_plane, "kubeadm", "certs", "renew", "all", "--config", KUBEADM_CONFIG)
            restart = True
    if restart:
        # Its programs read their certificates when they start; this is what a restart of the host does, too.
        docker("container", "restart", control_plane)
    return renewed


def renew_kubelet(control_plane: str, node: str) -> None:
    """Give a kubelet a new client certificate: one whose own has ended cannot ask for it any more."""
    config = docker("exec", control_plane, "kubeadm", "kubeconfig", "user", "--config", KUBEADM_CONFIG,
                    "--client-name", f"system:node:{node}", "--org", "system:nodes")
    certificate, key = certificates.CLIENT.search(config), KEY.search(config)
    if certificate is None or key is None:
        raise CertificateError(f"BK-255: kubeadm made no client certificate for {node}; look at /etc/kubernetes/pki in {control_plane}")
    pem = b"".join(base64.b64decode(found[1]) for found in (certificate, key)).decode("ascii")
    docker("exec", "--interactive", node, "sh", "-ec", WRITE_KUBELET, stdin=pem)


def overdue_proxies(nodes: Iterable[str], now: datetime) -> list[Certificate]:
    """Return the certificates of proxies that have ended or will, because their owners have missed the time."""
    return certificates.due(read_proxies(nodes), now)


def restart_proxies(nodes: list[str], overdue: list[Certificate], timeout: float, clock: Clock = time) -> None:
    """Restart the containers of proxies, and wait until each has a new certificate.

    The agent is their first process: it ends in good order, and the kubelet starts the container again. Nothing else in the pod
    is touched, and what it is connected to does not work any more as it is.
    """
    for node in sorted({one.node for one in overdue}):
        processes = sorted({str(one.process) for one in overdue if one.node == node})
        # One that has ended meanwhile has nothing left to renew.
        docker("exec", node, "sh", "-c", 'for process; do [ ! -d "/proc/$process" ] || kill -TERM "$process"; done', "sh", *processes)
    old = {one.place: one.ends for one in overdue}

    def late() -> list[str]:
        fresh = {one.place for one in read_proxies(nodes) if one.place in old and one.ends > old[one.place]}
        return sorted(set(old) - fresh)

    last = wait_for(late, lambda places: not places, timeout=timeout, interval=2, clock=clock)
    if not last.done:
        raise CertificateError(
            f"BK-257: {len(last.value)} proxies have no new certificate after {timeout:.0f} s: {', '.join(last.value[:5])}; "
            "look at the log of istio-system/istiod, then run `make up` again"
        )
