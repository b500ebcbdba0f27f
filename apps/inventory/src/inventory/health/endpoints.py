"""I-01."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from bookstore_common.jsonbody import JSONBytes

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers; dependencies are the management port's business."""

    status: Literal["ok"] = "ok"


@router.get("/health", operation_id="getHealth", summary="Is the service there?", response_model=Health)
async def get_health() -> Response:
    return JSONBytes(b'{"status":"ok"}', headers={"cache-control": "no-store"})
