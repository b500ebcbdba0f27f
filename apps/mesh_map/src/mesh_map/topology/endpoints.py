"""``GET /api/map``."""

from fastapi import APIRouter, Response

from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from mesh_map.topology.service import Topology


def router_of(topology: Topology) -> APIRouter:
    """The map's own path."""
    router = APIRouter()

    @router.get("/map", operation_id="getMap", summary="The map of now")
    async def get_map() -> Response:
        return JSONBytes(dumps(await topology.look()), headers=PRIVATE)

    return router
