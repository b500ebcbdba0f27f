"""A-02."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from admin.answers import answer
from admin.dependencies import CallerDep, PeersDep
from admin.summary.clients import CatalogueCounts, StockCounts
from admin.summary.schemas import Summary
from admin.summary.service import SummaryService

router = APIRouter(prefix="/summary", tags=["summary"])


async def _service(caller: CallerDep, peers: PeersDep) -> SummaryService:
    # Any part may be missing, so none may keep the others waiting.
    hurried = caller.hurried(peers.optional_patience_seconds)
    return SummaryService(CatalogueCounts(peers.ecom, hurried), StockCounts(peers.inventory, hurried))


@router.get(
    "",
    operation_id="getSummary",
    summary="Show numbers for the start page",
    description="A number that could not be had is null, and `warnings` says why; 200 all the same.",
    response_model=Summary,
)
async def get_summary(summary: Annotated[SummaryService, Depends(_service)]) -> Response:
    return answer(await summary.summarise())
