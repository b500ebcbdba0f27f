"""A small API server over real HTTP that keeps objects and applies them as Kubernetes does: no write where nothing changes."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

KINDS = {
    "/api/v1": [("Namespace", "namespaces", False), ("ConfigMap", "configmaps", True), ("Secret", "secrets", True)],
    "/apis/apps/v1": [("Deployment", "deployments", True)],
    "/apis/networking.k8s.io/v1": [("NetworkPolicy", "networkpolicies", True)],
}


class ApiServer:
    """``objects``: path to object; ``refused``: path to status and message; ``calls``: method, path and query of every request."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0
        self.kinds = {group: list(kinds) for group, kinds in KINDS.items()}
        self._version = 0

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None) -> tuple[int, Any]:
        self.calls.append((method, path, query))
        if path in self.kinds:
            listed = [{"kind": kind, "name": plural, "namespaced": namespaced} for kind, plural, namespaced in self.kinds[path]]
            return 200, {"resources": [*listed, {"kind": "Scale", "name": "deployments/scale", "namespaced": True}]}
        if method == "GET" and path.rpartition("/")[2] in {plural for kinds in self.kinds.values() for _, plural, _ in kinds}:
            return 200, {"items": self._listed(path, query.get("labelSelector", ""))}
        if method == "GET":
            return (200, self.objects[path]) if path in self.objects else (404, {"message": "not found"})
        if path in self.refused:
            return self.refused[path][0], {"message": self.refused[path][1]}
        if method == "DELETE":
            return self._delete(path, body or {})
        namespace = path.partition("/namespaces/")[2].partition("/")[0]
        if "/namespaces/" in path and path.count("/") > 4 and f"/api/v1/namespaces/{namespace}" not in self.objects:
            return 404, {"message": f'namespaces "{namespace}" not found'}
        assert body is not None
        return self._apply(path, query, body)

    def _apply(self, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        before = self.objects.get(path)
        after = merged(before or {"status": {"phase": "new"}}, body)
        others = [entry for entry in after["metadata"].get("managedFields") or [] if entry["manager"] != query["fieldManager"]]
        if after != before:
            self._version += 1
            metadata = {"uid": f"uid-{self._version}", **after["metadata"]}
            metadata.update(resourceVersion=str(self._version), generation=self._version)
            applied = {"manager": query["fieldManager"], "operation": "Apply", "time": str(self._version)}
            after = {**after, "metadata": {**metadata, "managedFields": [*others, applied]}}
        if "dryRun" not in query:
            self.objects[path] = after
        return (200 if before else 201), after

    def _listed(self, path: str, label: str) -> list[dict[str, Any]]:
        """Of a collection of one namespace, or of all."""
        group, _, plural = path.partition("/namespaces/")[0].rpartition("/") if "/namespaces/" not in path else (path, "", "")
        found = [
            body for place, body in self.objects.items()
            if place.startswith(f"{group}/") and (not plural or place.rpartition("/")[0].rpartition("/")[2] == plural)
        ]  # fmt: skip
        return [body for body in found if not label or label in (body["metadata"].get("labels") or {})]

    def _delete(self, path: str, options: dict[str, Any]) -> tuple[int, Any]:
        if path not in self.objects:
            return 404, {"message": "not found"}
        wanted = options.get("preconditions", {}).get("uid")
        if wanted and wanted != self.objects[path]["metadata"]["uid"]:
            return 409, {"message": "the UID in the precondition is another one"}
        return 200, self.objects.pop(path)


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return ``old`` with the fields of ``new``."""
    result = dict(old)
    for key, value in new.items():
        result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


@contextmanager
def serving(folder: Path) -> Iterator[tuple[ApiServer, str]]:
    """A server, and the kubeconfig that leads to it."""
    api = ApiServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            api.connections += 1
            super().setup()

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            place = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(place.query).items()}
            if self.command == "PATCH" and self.headers["Content-Type"] != "application/apply-patch+yaml":
                status, found = 415, {"message": "not an apply"}
            else:
                status, found = api.answer(self.command, place.path, query, body)
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_PATCH(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Keep the tests' output clean."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        document = {
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
            "users": [{"name": "u", "user": {}}],
        }  # fmt: skip
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")
        yield api, str(kubeconfig)
        server.shutdown()
