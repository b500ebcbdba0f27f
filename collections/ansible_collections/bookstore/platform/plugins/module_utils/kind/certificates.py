# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""All certificates of the cluster: where they are, when they end, and which of them is due.

Kubernetes' own live for a year. Those of the mesh's proxies live for a day and are renewed at half of it, by a timer that
stands still while the host is suspended: after a long enough rest they have ended, and the proxies "run". Keys are never read:
only certificates leave a node.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

Object = dict[str, Any]

# One that lives longer is due when less than this is left.
RENEWAL = timedelta(days=30)
# One that lives no longer than this is renewed by its owner at half of its life.
SHORT = timedelta(days=7)
# Less than this part of a short life left means that its owner has missed the time.
OVERDUE = 0.4

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
CLIENT = re.compile(r"^\s*client-certificate-data:\s*(\S+)\s*$", re.MULTILINE)

KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
KUBELET_SERVER = "/var/lib/kubelet/pki/kubelet.crt"
# Authorities: nothing renews them in place, for everything that trusts them would have to learn the new one.
AUTHORITIES = frozenset({"/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/front-proxy-ca.crt", "/etc/kubernetes/pki/etcd/ca.crt"})

# Prints "<path> <certificates, base64>" for each file of a node that holds one.
READ_FILES = r"""
for file in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet.crt \
    /var/lib/kubelet/pki/kubelet-client-current.pem; do
  [ -f "$file" ] || continue
  printf '%s %s\n' "$file" "$(sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p' "$file" | base64 -w0)"
done
for file in /etc/kubernetes/*.conf; do
  [ -f "$file" ] || continue
  data=$(sed -n 's/^ *client-certificate-data: *//p' "$file")
  [ -z "$data" ] || printf '%s %s\n' "$file" "$data"
done
"""
# Prints "<process> <host name, which is the pod's> <Envoy's list of certificates, base64>" for each proxy of a node.
READ_PROXIES = r"""
for process in $(pgrep -x pilot-agent || [ $? = 1 ]); do
  name=$(nsenter --target "$process" --uts cat /proc/sys/kernel/hostname) || continue
  found=$(nsenter --target "$process" --net curl --silent --max-time 5 http://127.0.0.1:15000/certs | base64 -w0) || continue
  printf '%s %s %s\n' "$process" "$name" "$found"
done
"""


class CertificateError(Exception):
    """What should be a certificate is none."""


@dataclass(frozen=True)
class Certificate:
    """``place``: where it was found, in words for an operator. Of a proxy: its ``node``, and its agent's ``process`` there."""

    place: str
    begins: datetime
    ends: datetime
    node: str = ""
    process: int = 0

    def left(self, now: datetime) -> timedelta:
        """Return how long it is still valid; less than nothing when it has ended."""
        return self.ends - now

    @property
    def short_lived(self) -> bool:
        """Whether its owner has to renew it all the time."""
        return self.ends - self.begins <= SHORT

    def due(self, now: datetime, renewal: timedelta = RENEWAL) -> bool:
        """Whether it has to be renewed now: it ends soon, or its owner has missed the time."""
        if self.short_lived:
            return self.left(now) < OVERDUE * (self.ends - self.begins)
        return self.left(now) < renewal

    def describe(self, now: datetime) -> str:
        """Return in one line where it is and when it ends."""
        left, end = self.left(now), self.ends.strftime("%Y-%m-%d %H:%M UTC")
        if left <= timedelta():
            return f"{self.place} has ended on {end}"
        rest = f"{left.days} days" if left >= timedelta(days=2) else f"{left.total_seconds() / 3600:.1f} hours"
        late = ", though its owner renews it at half of its life" if self.short_lived and self.due(now) else ""
        return f"{self.place} ends in {rest}, on {end}{late}"


def parse(pem: str, place: str) -> Certificate:
    """Return the certificate of a text that ends first (a chain is as good as its first end)."""
    # Imported here, so that the pure parts of the collection do not need it.
    x509: Any = import_module("cryptography.x509")
    try:
        found = [x509.load_pem_x509_certificate(text.encode("ascii")) for text in PEM.findall(pem)]
    except ValueError as error:
        raise CertificateError(f"BK-256: {place} holds something that is no certificate: {error}") from error
    if not found:
        raise CertificateError(f"BK-256: {place} holds no certificate")
    first = min(found, key=lambda certificate: certificate.not_valid_after_utc)
    return Certificate(place, first.not_valid_before_utc, first.not_valid_after_utc)


def of_kubeconfig(text: str, place: str) -> Certificate:
    """Return the client certificate of a kubeconfig."""
    data = CLIENT.search(text)
    if data is None:
        raise CertificateError(f"BK-256: {place} holds no client certificate")
    return parse(_decoded(data[1], place), place)


def of_files(output: str, node: str) -> dict[str, Certificate]:
    """Return path to certificate from what READ_FILES printed on a node."""
    found = {}
    for line in output.splitlines():
        path, _, data = line.partition(" ")
        found[path] = parse(_decoded(data, f"{node}: {path}"), f"{node}: {path}")
    return found


def of_proxies(output: str, node: str) -> list[Certificate]:
    """Return the certificate of each proxy from what READ_PROXIES printed on a node.

    One that has none yet (it has just started) is left out; a proxy that does not answer is a fault of readiness, not of this.
    """
    found = []
    for line in output.splitlines():
        process, pod, data = line.split(" ", 2)
        own = []
        for chain, identity in _chains(_decoded(data, f"proxy of pod {pod}")):
            place = f"{node}: mesh certificate of pod {_namespace(identity)}/{pod}"
            own.append(Certificate(place, _time(chain["valid_from"]), _time(chain["expiration_time"]), node, int(process)))
        # One for each of its listeners and clusters; older ones are listed for as long as a connection made with them lasts.
        found += [max(own, key=lambda one: one.ends)] if own else []
    return found


def _chains(text: str) -> Iterator[tuple[Object, str]]:
    """Return what a proxy tells of its own certificate with its SPIFFE id; a gateway's certificates for browsers have none."""
    if not text.strip():
        return
    for entry in json.loads(text).get("certificates") or []:
        for chain in entry.get("cert_chain") or []:
            for name in chain.get("subject_alt_names") or []:
                if str(name.get("uri", "")).startswith("spiffe://"):
                    yield chain, name["uri"]


def _namespace(identity: str) -> str:
    """Return the namespace of spiffe://<trust domain>/ns/<namespace>/sa/<account>."""
    return f"{identity}/".split("/ns/", 1)[-1].split("/")[0]


def due(certificates: Iterable[Certificate], now: datetime, renewal: timedelta = RENEWAL) -> list[Certificate]:
    """Return those that have to be renewed, the first to end first."""
    return sorted((c for c in certificates if c.due(now, renewal)), key=lambda c: (c.ends, c.place))


def now() -> datetime:
    """Return the time of the wall, which goes on while the host is suspended."""
    return datetime.now(UTC)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _decoded(data: str, place: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except ValueError as error:
        raise CertificateError(f"BK-256: {place} cannot be read: {error}") from error
