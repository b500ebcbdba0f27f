"""``GET /api/workloads/{namespace}/{name}``."""

from fastapi import APIRouter, Response

from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.problem import NotFoundError, responses
from mesh_map.workloads.service import Signals


def router_of(signals: Signals) -> APIRouter:
    """The path of one workload."""
    router = APIRouter()

    @router.get(
        "/workloads/{namespace}/{name}", operation_id="getWorkload", summary="Golden signals of the last hour",
        responses=responses(NotFoundError),
    )  # fmt: skip
    async def get_workload(namespace: str, name: str) -> Response:
        return JSONBytes(dumps(await signals.of(namespace, name)), headers=PRIVATE)

    return router
