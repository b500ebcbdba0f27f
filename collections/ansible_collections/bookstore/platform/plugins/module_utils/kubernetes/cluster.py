# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""A small view of the API server: objects as plain dictionaries, events, logs, exec, node statistics."""

from __future__ import annotations

import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from . import kubeconfig as kubeconfigs

Object = dict[str, Any]

# The channels of an exec session, and the version of their protocol.
EXEC_PROTOCOL = "v4.channel.k8s.io"
STDOUT, STDERR, STATUS = 1, 2, 3

CONNECTION_SPEC: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "context": {"type": "str"},
    "request_timeout": {"type": "float", "default": 10.0},
}

# Kind to API prefix and plural. Written out, so that no discovery request is needed.
KINDS: dict[str, tuple[str, str, bool]] = {
    "Node": ("/api/v1", "nodes", False),
    "Namespace": ("/api/v1", "namespaces", False),
    "PersistentVolume": ("/api/v1", "persistentvolumes", False),
    "Pod": ("/api/v1", "pods", True),
    "Service": ("/api/v1", "services", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "Secret": ("/api/v1", "secrets", True),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "Event": ("/api/v1", "events", True),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "ReplicaSet": ("/apis/apps/v1", "replicasets", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "DaemonSet": ("/apis/apps/v1", "daemonsets", True),
    "Job": ("/apis/batch/v1", "jobs", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways", True),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes", True),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "ValidatingAdmissionPolicy": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies", False),
    "ValidatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", False,
    ),
    "AuthorizationPolicy": ("/apis/security.istio.io/v1", "authorizationpolicies", True),
    "RequestAuthentication": ("/apis/security.istio.io/v1", "requestauthentications", True),
    "PeerAuthentication": ("/apis/security.istio.io/v1", "peerauthentications", True),
    "DestinationRule": ("/apis/networking.istio.io/v1", "destinationrules", True),
    "VirtualService": ("/apis/networking.istio.io/v1", "virtualservices", True),
    "ServiceEntry": ("/apis/networking.istio.io/v1", "serviceentries", True),
    "WorkloadEntry": ("/apis/networking.istio.io/v1", "workloadentries", True),
    "Sidecar": ("/apis/networking.istio.io/v1", "sidecars", True),
    "EnvoyFilter": ("/apis/networking.istio.io/v1alpha3", "envoyfilters", True),
    "ProxyConfig": ("/apis/networking.istio.io/v1beta1", "proxyconfigs", True),
    "Telemetry": ("/apis/telemetry.istio.io/v1", "telemetries", True),
    "WasmPlugin": ("/apis/extensions.istio.io/v1alpha1", "wasmplugins", True),
    "TrafficExtension": ("/apis/extensions.istio.io/v1alpha1", "trafficextensions", True),
    "MutatingWebhookConfiguration": ("/apis/admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", False),
}


# How often a request is made again that the server, too busy for it, asks to repeat later.
BUSY = 10
# How often a command that printed nothing is run, see look().
LOOKS = 3


class ClusterError(Exception):
    """The API server could not be reached, or refused; ``status`` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def path_of(kind: str, namespace: str | None = None, name: str | None = None) -> str:
    """Return the API path of a collection or an object; ValueError for a kind that is not in KINDS."""
    if kind not in KINDS:
        raise ValueError(f"kind={kind} is not known; use one of {', '.join(sorted(KINDS))}")
    prefix, plural, namespaced = KINDS[kind]
    parts = [prefix]
    if namespaced and namespace:
        parts += ["namespaces", quote(namespace)]
    elif namespaced and name:
        raise ValueError(f"{kind} {name} needs a namespace")
    parts.append(plural)
    if name:
        parts.append(quote(name))
    return "/".join(parts)


class Cluster:
    """A connection. Methods raise ClusterError; a missing object is None, never an error."""

    def __init__(self, kubeconfig: str, context: str | None = None, request_timeout: float = 10.0) -> None:
        # Imported here, so that the pure parts of the collection do not need it.
        import urllib3

        if not Path(kubeconfig).is_file():
            raise ClusterError(f"BK-201: kubeconfig={kubeconfig} does not exist; `make up` writes it")
        try:
            self._connection = kubeconfigs.load(kubeconfig, context)
        except kubeconfigs.KubeconfigError as error:
            raise ClusterError(f"BK-201: kubeconfig={kubeconfig} cannot be used: {error}; `make up` writes it anew") from error
        self.kubeconfig, self.context = kubeconfig, context
        # A waiter polls; the library's own retries would only hide how long an outage lasts.
        self._pool = urllib3.PoolManager(maxsize=10, retries=False, ssl_context=self._connection.tls)
        self._timeout = request_timeout
        # 429 is no outage: the server is busy or just starting, has done nothing, and says when to come again.
        self._again = urllib3.Retry(
            total=BUSY, connect=False, read=False, redirect=False, other=False, allowed_methods=None, raise_on_status=False
        )

    @classmethod
    def of(cls, params: dict[str, Any]) -> Cluster:
        """Return the connection that a module's parameters (CONNECTION_SPEC) describe."""
        return cls(params["kubeconfig"], params.get("context"), params.get("request_timeout") or 10.0)

    def raw(
        self, path: str, method: str = "GET", body: Object | None = None, query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> str:  # fmt: skip
        """Return the text of an answer."""
        import urllib3

        url = f"{self._connection.server}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json, */*", "Content-Type": content_type, **self._authorization()}
        try:
            answer = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(total=self._timeout),
                retries=self._again,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"BK-202: the API server {self._connection.server} does not answer: {error}") from error
        text: str = answer.data.decode("utf-8", "replace")
        if answer.status == 401:
            raise ClusterError(
                f"BK-201: the API server {self._connection.server} does not know who asks (401: {_message(text)}): certificate or token of "
                f"kubeconfig={self.kubeconfig} has ended, or is another cluster's; `make up` writes it anew", 401,
            )  # fmt: skip
        if answer.status >= 400:
            raise ClusterError(
                f"BK-203: {method} {path} was refused with {answer.status}: {_message(text)}", answer.status
            )
        return text

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._connection.token}"} if self._connection.token else {}

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """Return one object, or None when it (or its kind) does not exist."""
        try:
            found: Object = json.loads(self.raw(path_of(kind, namespace, name)))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise
        return found

    def objects(self, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        """Return all objects of a kind, none when it is not installed. ``query``: labelSelector, fieldSelector."""
        try:
            answer: Object = json.loads(self.raw(path_of(kind, namespace), query=query or None))
        except ClusterError as error:
            if error.status == 404:
                return []
            raise
        items: list[Object] = answer.get("items") or []
        for item in items:
            item.setdefault("kind", kind)
        return items

    def create(self, kind: str, body: Object) -> Object:
        """Create an object and return it."""
        created: Object = json.loads(self.raw(path_of(kind, body["metadata"].get("namespace")), "POST", body))
        return created

    def delete(self, kind: str, namespace: str | None, name: str, grace_seconds: int | None = None) -> bool:
        """Delete an object; return whether it existed."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            self.raw(path_of(kind, namespace, name), "DELETE", query=query)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def events(self, namespace: str, name: str, limit: int = 5) -> list[str]:
        """Return the last events of the object ``name``, oldest first, as readable lines."""
        items = self.objects("Event", namespace, fieldSelector=f"involvedObject.name={name}")
        items.sort(key=event_time)
        return [f"{e.get('type', '')} {e.get('reason', '')}: {e.get('message', '')}".strip() for e in items[-limit:]]

    def logs(self, namespace: str, pod: str, container: str, lines: int = 10, previous: bool = False) -> list[str]:
        """Return the last log lines of a container; none when there is no log (yet)."""
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        try:
            return self.raw(f"{path_of('Pod', namespace, pod)}/log", query=query).splitlines()
        except ClusterError as error:
            if error.status in (400, 404):
                return []
            raise

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        """Run a command in a container and return its standard output; ClusterError when it fails or takes too long."""
        websocket: Any = import_module("websocket")  # carries no types

        words = [("command", word) for word in command]
        query = urlencode([*words, ("container", container), ("stdin", "false"), ("stdout", "true"), ("stderr", "true"), ("tty", "false")])
        address = "ws" + self._connection.server.removeprefix("http") + f"{path_of('Pod', namespace, pod)}/exec?{query}"
        deadline = time.monotonic() + timeout
        try:
            session = websocket.create_connection(
                address, timeout=timeout, subprotocols=[EXEC_PROTOCOL], sslopt={"context": self._connection.tls},
                header=self._authorization(), http_no_proxy=["*"], redirect_limit=0, skip_utf8_validation=True,
            )  # fmt: skip
            try:
                channels = _received(session, deadline)
            finally:
                session.shutdown()
        except websocket.WebSocketTimeoutException as error:
            raise ClusterError(f"BK-204: the command in {namespace}/{pod} took longer than {timeout:.0f} s") from error
        except websocket.WebSocketBadStatusException as error:
            reason = _message((error.resp_body or b"").decode("utf-8", "replace")) or str(error)
            raise ClusterError(f"BK-204: no command can be run in {namespace}/{pod}: {reason}", error.status_code) from error
        except (websocket.WebSocketException, OSError) as error:
            raise ClusterError(f"BK-204: no command can be run in {namespace}/{pod}: {error}") from error
        out, err = (channels.get(channel, b"").decode("utf-8", "replace") for channel in (STDOUT, STDERR))
        fault = exec_fault(channels.get(STATUS, b"").decode("utf-8", "replace"))
        if fault:
            raise ClusterError(f"BK-204: the command in {namespace}/{pod}: {fault}: {(err or out).strip()[-400:]}")
        return out

    def node_summary(self, node: str) -> Object:
        """Return the kubelet's statistics of a node (its /stats/summary)."""
        summary: Object = json.loads(self.raw(f"/api/v1/nodes/{quote(node)}/proxy/stats/summary"))
        return summary


def _received(session: Any, deadline: float) -> dict[int, bytes]:
    """Return what a command wrote into each channel until the server closed the connection."""
    websocket: Any = import_module("websocket")
    channels: dict[int, bytearray] = {}
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise websocket.WebSocketTimeoutException
        session.settimeout(left)
        try:
            code, data = session.recv_data()
        except websocket.WebSocketConnectionClosedException:
            break
        if code == websocket.ABNF.OPCODE_CLOSE:
            break
        if data:
            channels.setdefault(data[0], bytearray()).extend(data[1:])
    return {channel: bytes(content) for channel, content in channels.items()}


def look(cluster: Cluster, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
    """Run a command that changes nothing and always prints something, as Cluster.execute() does.

    On a machine whose processors are all busy the output of a command that succeeded was seen to get lost between its container and
    the API server; then it is run again. ClusterError when nothing came back LOOKS times.
    """
    for _ in range(LOOKS):
        out = cluster.execute(namespace, pod, container, command, timeout)
        if out.strip():
            return out
    raise ClusterError(f"BK-204: a command in {namespace}/{pod} succeeded {LOOKS} times and printed nothing: {command[0]}")


def whole(cluster: Cluster, namespace: str, pod: str, container: str, command: list[str], timeout: float, end: str) -> str:
    """Run a command that changes nothing and prints ``end`` as its last line, and return what it printed before.

    Output may get lost as look() tells, all or a part, and of what may be empty nothing else shows it. ClusterError when the end did
    not come back LOOKS times.
    """
    for _ in range(LOOKS):
        out, _, last = ("\n" + cluster.execute(namespace, pod, container, command, timeout)).rstrip().rpartition("\n")
        if last == end:
            return out.strip()
    raise ClusterError(f"BK-204: a command in {namespace}/{pod} succeeded {LOOKS} times and its output was not whole: {command[0]}")


def answer_of(text: str, where: str) -> Any:
    """Return what a tool in the pod ``where`` printed as its last line, in JSON; ClusterError when that was lost, all or a part."""
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise ClusterError(f"BK-204: a command in {where} succeeded and printed no answer: {text.strip()[-200:] or 'nothing'}") from error


def exec_fault(status: str) -> str:
    """Return how a command ended from the Status on the error channel of an exec session; empty when it succeeded."""
    try:
        found = json.loads(status)
    except ValueError:
        return "the connection ended before the command did"
    return "" if found.get("status") == "Success" else str(found.get("message", found))


def event_time(event: Object) -> str:
    """Return when an event last happened, comparable as text (RFC 3339)."""
    series: Object = event.get("series") or {}
    metadata: Object = event.get("metadata") or {}
    return str(
        event.get("lastTimestamp")
        or series.get("lastObservedTime")
        or event.get("eventTime")
        or metadata.get("creationTimestamp")
        or ""
    )


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text))[:500]
    except ValueError:
        return text[:500]
