"""Wires the service together: one process, the page and its data on one listener, probes and metrics on the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from bookstore_common.application import create_app
from bookstore_common.health import Readiness, create_management_app, health_router
from bookstore_common.metrics import Metrics
from bookstore_common.server import Listener, serve
from mesh_map.door import OwnNamesMiddleware
from mesh_map.pages import Pages, pages_router
from mesh_map.settings import Settings
from mesh_map.sources import declared
from mesh_map.sources.kubernetes import Kubernetes
from mesh_map.sources.prometheus import Prometheus
from mesh_map.topology import endpoints as topology_endpoints
from mesh_map.topology.service import Topology
from mesh_map.workloads import endpoints as workloads_endpoints
from mesh_map.workloads.service import Signals


@dataclass(frozen=True, kw_only=True)
class Service:
    """The applications and what they share."""

    public: FastAPI
    management: FastAPI
    readiness: Readiness
    topology: Topology
    prometheus: Prometheus
    kubernetes: Kubernetes

    @asynccontextmanager
    async def running(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Watch until the end; raise what ended the watch by itself; close the connections."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.kubernetes.close)
            stack.push_async_callback(self.prometheus.close)
            task = await stack.enter_async_context(self.topology.watching())
            task.add_done_callback(lambda _task: stop.set())
            yield
            if task.done():
                task.result()


def create_service(settings: Settings) -> Service:
    """Build everything without connecting to anything."""
    metrics = Metrics()
    prometheus = Prometheus(settings.prometheus_url, metrics, settings.patience_seconds)
    kubernetes = Kubernetes(settings.kubernetes_url, settings.account_dir, settings.patience_seconds)
    topology = Topology(settings, declared.read(settings.declared_file), prometheus, kubernetes)
    # Without either source the page still tells that, so neither takes the map out of rotation.
    readiness = Readiness(
        {}, settings.readiness_timeout_seconds,
        degrading={"prometheus": topology.check_figures, "kubernetes": topology.check_cluster},
    )  # fmt: skip
    public = create_app("Mesh map", listener="public", metrics=metrics)
    public.user_middleware.insert(0, Middleware(OwnNamesMiddleware, names=settings.own_names, pod_ip=settings.pod_ip))
    data = APIRouter(prefix="/api")
    data.include_router(topology_endpoints.router_of(topology))
    data.include_router(workloads_endpoints.router_of(Signals(topology, prometheus)))
    for router in (health_router(), data, pages_router(Pages(settings.pages_dir))):
        public.include_router(router)
    return Service(
        public=public, management=create_management_app(readiness, metrics), readiness=readiness, topology=topology,
        prometheus=prometheus, kubernetes=kubernetes,
    )  # fmt: skip


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    service = create_service(settings)
    stop = asyncio.Event()
    listeners = [Listener("public", service.public, settings.public_port, "PUBLIC_PORT")]
    management = Listener("management", service.management, settings.management_port, "MANAGEMENT_PORT")
    await serve(settings, service.readiness, listeners, management, resources=service.running(stop), stop=stop)
