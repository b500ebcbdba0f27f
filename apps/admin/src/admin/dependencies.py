"""What the endpoints of all domains depend on."""

from typing import Annotated

from fastapi import Depends, Request

from admin.peers import Caller, Peers
from bookstore_common.access import signed_in
from bookstore_common.pagination import PageRequest, page_request
from bookstore_common.tokens import Principal

# One object: FastAPI runs a dependency once per request, and each call of signed_in makes another one.
_signed_in = signed_in("admin")

Admin = Annotated[Principal, Depends(_signed_in)]
Paging = Annotated[PageRequest, Depends(page_request)]


async def _peers(request: Request) -> Peers:
    peers: Peers = request.app.state.peers
    return peers


PeersDep = Annotated[Peers, Depends(_peers)]


async def _caller(admin: Admin, peers: PeersDep) -> Caller:
    """The administrator's own token goes on: the other services validate it again (SPEC 5.5)."""
    return peers.caller(admin.token)


CallerDep = Annotated[Caller, Depends(_caller)]
