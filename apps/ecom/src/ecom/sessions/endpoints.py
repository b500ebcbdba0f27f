"""E-06 (public), the realm's keys for the gateway (public, not routed) and E-23 (internal)."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from bookstore_common import sessions
from bookstore_common.access import Limit, signed_in
from bookstore_common.csrf import CsrfStore
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, responses
from bookstore_common.redis import RedisClient
from bookstore_common.tokens import InvalidLogoutTokenError, Principal, TokenVerifier
from ecom.sessions.schemas import CsrfTokenBody

csrf_router = APIRouter(prefix="/csrf-token", tags=["sessions"])
keys_router = APIRouter(prefix="/token-keys", tags=["sessions"])
logout_router = APIRouter(prefix="/backchannel-logout", tags=["sessions"])


@csrf_router.get(
    "",
    operation_id="issueCsrfToken",
    summary="Get a CSRF token for this session",
    response_model=CsrfTokenBody,
    responses=responses(DependencyUnavailableError),
)
async def issue_csrf_token(
    request: Request, who: Annotated[Principal, Depends(signed_in("customer", "admin", limit=Limit.CSRF_TOKEN))]
) -> Response:
    store: CsrfStore = request.app.state.access.csrf
    issued = await store.issue(who)
    return JSONBytes(dumps({"token": issued.token, "expires_in": issued.expires_in}), headers=PRIVATE)


@keys_router.get("", include_in_schema=False)
async def token_keys(request: Request) -> Response:
    """Keys for the gateway, whose Envoy forgets them when Keycloak does not answer. This service keeps them.

    No route of the gateway leads here. The keys are public all the same.
    """
    verifier: TokenVerifier = request.app.state.verifier
    return JSONBytes(dumps({"keys": await verifier.published_keys()}), headers=PRIVATE)


@logout_router.post(
    "",
    operation_id="backchannelLogout",
    summary="End a session, or all of a user (OpenID Connect Back-Channel Logout 1.0)",
    description="Called by the identity provider. The access tokens issued until then, of the session or, if none is "
    "named, of the user, are refused from now on, everywhere.",
    responses=responses(InvalidLogoutTokenError, InvalidInputError, DependencyUnavailableError),
)
async def backchannel_logout(
    request: Request,
    logout_token: Annotated[
        str | None, Form(description="Signed by the identity provider", examples=["e30.e30.e30"])
    ] = None,
) -> Response:
    verifier: TokenVerifier = request.app.state.verifier
    redis: RedisClient = request.app.state.redis
    if logout_token is None:  # 400 as for every other fault (2.8), where FastAPI would answer 422
        raise InvalidLogoutTokenError("missing")
    ended = await verifier.verify_logout(logout_token)
    await sessions.revoke(redis, ended, token_life_seconds=verifier.token_life_seconds)
    return Response(status_code=HTTPStatus.OK, headers=PRIVATE)
