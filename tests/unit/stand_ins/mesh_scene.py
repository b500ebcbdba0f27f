"""A small platform: gateway, ecom-api, ecom-db, as the mesh planner sees it."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def pod(namespace: str, name: str, account: str, node: str, **labels: str) -> Object:
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": {"pod-template-hash": "1", **labels}},
        "spec": {
            "serviceAccountName": account, "nodeName": node,
            "containers": [{"name": "istio-proxy", "image": "proxy"}, {"name": "app", "image": "bookstore.local/x:1"}],
        },
        "status": {"phase": "Running", "podIP": "10.244.1.5"},
    }  # fmt: skip


def service(namespace: str, name: str, ports: dict[int, Any], cluster_ip: str = "10.96.0.9", **selector: str) -> Object:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "selector": selector, "clusterIP": cluster_ip,
            "ports": [{"port": p, "targetPort": t} for p, t in ports.items()],
        },
    }  # fmt: skip


NAME = "app.kubernetes.io/name"
PODS = [
    pod(
        "gateway",
        "gw-1",
        "bookstore-gateway-istio",
        "worker",
        **{"gateway.networking.k8s.io/gateway-name": "bookstore-gateway"},
    ),
    pod("ecom", "api-1", "ecom-api", "worker", **{NAME: "ecom-api"}),
    pod("ecom", "ecom-db-0", "ecom-db", "worker2", **{NAME: "ecom-db", "security.istio.io/tlsMode": "istio"}),
]
SERVICES = [
    service("ecom", "ecom-api", {8000: "http", 8001: "internal"}, **{NAME: "ecom-api"}),
    service("ecom", "ecom-db-headless", {5432: 5432}, cluster_ip="None", **{NAME: "ecom-db"}),
    service("ecom", "ecom-db", {5432: 5432}, **{NAME: "ecom-db"}),
]
GATEWAY = "gateway/bookstore-gateway-istio"
MATRIX = [
    {"namespace": "storefront", "workload": "storefront-web", "ports": [8080], "sources": [GATEWAY], "protocols": {"8080": "http"}},
    {"namespace": "ecom", "workload": "ecom-api", "ports": [8000], "sources": [GATEWAY], "protocols": {"8000": "http"}},
    {"namespace": "ecom", "workload": "ecom-api", "ports": [8001], "sources": ["admin/admin-api"], "protocols": {"8001": "http"}},
    {
        "namespace": "ecom", "workload": "ecom-db", "ports": [5432], "sources": ["ecom/ecom-api", "ecom/ecom-worker"],
        "protocols": {"5432": "postgres"},
    },
]  # fmt: skip
