"""The two sources as local HTTP servers that give recorded answers, and the real application before them."""

import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

from mesh_map.app import Service, create_service
from mesh_map.settings import Settings

RECORDED = Path(__file__).parent / "recorded"
Answer = Callable[[dict[str, str]], tuple[int, Any]]
TOKEN = "an-account-token"


@dataclass
class Source:
    """A source. ``answers``: path to what is answered; ``asked``: method, path, query, headers of each request."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                headers = {name.lower(): value for name, value in self.headers.items()}
                source.asked.append((self.command, parts.path, query, headers))
                answer = source.answers.get(parts.path)
                status, body = answer(query) if answer else (404, {"message": "not found"})
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Figures(Source):
    """A Prometheus. ``age``: of its newest figure, or None without any; the others are what it holds."""

    def __init__(self) -> None:
        super().__init__()
        recorded = json.loads((RECORDED / "prometheus.json").read_text())
        self.edges: list[dict[str, Any]] = recorded["edges"]
        self.fresh: list[dict[str, Any]] = recorded["freshness"]
        self.alerts: list[dict[str, Any]] = recorded["alerts"]
        self.ranges: list[dict[str, Any]] = recorded["workload"]
        self.age: float | None = 4.2
        self.answers = {
            "/api/v1/query": self._query,
            "/api/v1/query_range": self._range,
            "/api/v1/alerts": lambda _query: (200, {"status": "success", "data": {"alerts": self.alerts}}),
        }

    def _query(self, query: dict[str, str]) -> tuple[int, Any]:
        if query["query"].startswith("time()"):
            rows = [] if self.age is None else [{"metric": {}, "value": [0, str(self.age)]}]
        else:
            rows = self.edges if "edge:" in query["query"] else self.fresh
        return 200, {"status": "success", "data": {"resultType": "vector", "result": rows}}

    def _range(self, query: dict[str, str]) -> tuple[int, Any]:
        rows = []
        if "workload:" in query["query"]:
            start, step = float(query["start"]), int(query["step"])
            for row in self.ranges:
                values = [[start + at * step, value] for at, value in enumerate(row["values"]) if value is not None]
                rows.append({"metric": row["metric"], "values": values})
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": rows}}

    def queries(self) -> list[str]:
        return [query.get("query", "") for _, _, query, _ in self.asked]


class Cluster(Source):
    """An API server. ``objects``: kind to objects; ``summary``: what verify left, or None."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, list[dict[str, Any]]] = json.loads((RECORDED / "kubernetes.json").read_text())
        self.summary: str | None = (RECORDED / "summary.json").read_text()
        paths = {
            "Node": "/api/v1/nodes", "Pod": "/api/v1/pods", "Deployment": "/apis/apps/v1/deployments",
            "StatefulSet": "/apis/apps/v1/statefulsets", "DaemonSet": "/apis/apps/v1/daemonsets",
        }  # fmt: skip
        self.answers = {path: self._list(kind) for kind, path in paths.items()}
        self.answers["/api/v1/namespaces/observability/configmaps/verify-summary"] = self._summary

    def _list(self, kind: str) -> Answer:
        def answer(query: dict[str, str]) -> tuple[int, Any]:
            """In pages of three, whatever is asked for: nothing may be lost between them."""
            first = int(query.get("continue", "0"))
            items = self.objects.get(kind, [])
            more = {"continue": str(first + 3)} if len(items) > first + 3 else {}
            return 200, {"items": items[first : first + 3], "metadata": more}

        return answer

    def _summary(self, _query: dict[str, str]) -> tuple[int, Any]:
        return (404, {}) if self.summary is None else (200, {"data": {"summary": self.summary}})


def environment(figures: Source, cluster: Source, folder: Path) -> dict[str, str]:
    """Settings, with what the role mounts in ``folder``."""
    pages = folder / "pages"
    (pages / "assets").mkdir(parents=True, exist_ok=True)
    (pages / "index.html").write_text("<!doctype html><title>map</title>" + " " * 400)
    (pages / "assets" / "index-abc.js").write_text("export const map = 1;\n" * 50)
    (pages / "icon.svg").write_text("<svg/>")
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "declared.json").write_text((RECORDED / "declared.json").read_text())
    return {
        "PROMETHEUS_URL": figures.url, "KUBERNETES_URL": cluster.url,
        "OWN_NAMES": "localhost,mesh-map.observability.svc",
        "ACCOUNT_DIR": str(folder), "DECLARED_FILE": str(folder / "declared.json"), "PAGES_DIR": str(pages),
        "POD_IP": "10.1.2.3",
    }  # fmt: skip


def settings_of(variables: dict[str, str], **more: Any) -> Settings:
    # A look counts for no time: tests change what the sources say.
    values: dict[str, Any] = {name.lower(): value for name, value in variables.items()}
    return Settings(**values, **{"look_seconds": 1e-6, **more})


@asynccontextmanager
async def client_of(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the public application, over ASGI."""
    transport = httpx2.ASGITransport(app=service.public)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:32100") as client:
        yield client


def made(variables: dict[str, str], **more: Any) -> Service:
    return create_service(settings_of(variables, **more))
