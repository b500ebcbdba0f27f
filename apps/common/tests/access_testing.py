"""An application with every kind of access rule, and fixtures that call it."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel

from bookstore_common.access import AccessControl, Limit, public, signed_in
from bookstore_common.application import create_app
from bookstore_common.jsonbody import JSONBytes
from bookstore_common.metrics import Metrics
from bookstore_common.redis import RedisClient
from bookstore_common.testing.tokens import Issuer
from bookstore_common.tokens import Principal, TokenVerifier

SHOP = "https://shop.bookstore.test:30000"
Customer = Annotated[Principal, Depends(signed_in("customer"))]
Admin = Annotated[Principal, Depends(signed_in("admin"))]
Anyone = Annotated[Principal, Depends(signed_in(limit=Limit.CSRF_TOKEN))]
Service = Annotated[Principal, Depends(signed_in("service", clients=("ecom-service",)))]
Checkout = Annotated[Principal, Depends(signed_in("customer", limit=Limit.CHECKOUT))]


class Body(BaseModel):
    """Something to send."""

    number: int


def router() -> APIRouter:
    router = APIRouter(prefix="/area")

    @router.get("/public", dependencies=[Depends(public())])
    async def anyone() -> JSONBytes:
        return JSONBytes(b"{}")

    @router.get("/search", dependencies=[Depends(public(Limit.SEARCH))])
    async def search() -> dict[str, str]:
        return {}

    @router.get("/mine")
    async def mine(who: Customer) -> JSONBytes:
        return JSONBytes(f'{{"sub":"{who.sub}"}}'.encode())

    @router.post("/mine")
    async def change(who: Customer, body: Body) -> dict[str, int]:
        return {"number": body.number}

    @router.delete("/mine", status_code=204)
    async def remove(who: Customer) -> None:
        return None

    @router.get("/missing")
    async def missing(who: Customer) -> None:
        raise RuntimeError("the endpoint failed")

    @router.get("/admin")
    async def administered(who: Admin) -> dict[str, str]:
        return {}

    @router.put("/admin")
    async def administer(who: Admin) -> dict[str, str]:
        return {}

    @router.get("/any")
    async def any_role(who: Anyone) -> dict[str, str]:
        return {}

    @router.post("/service")
    async def serve(who: Service) -> dict[str, str]:
        return {}

    @router.post("/checkout")
    async def checkout(who: Checkout) -> dict[str, str]:
        return {}

    return router


def build(listener: str, metrics: Metrics, verifier: TokenVerifier, redis: RedisClient) -> FastAPI:
    outward = listener == "public"
    app = create_app("test", listener=listener, metrics=metrics, cors_origins=[SHOP] if outward else [])
    app.include_router(router())
    app.state.access = AccessControl(verifier, redis, [SHOP] if outward else [], metrics, csrf=outward)
    return app


@pytest.fixture
def app(metrics: Metrics, verifier: TokenVerifier, redis_client: RedisClient) -> FastAPI:
    return build("public", metrics, verifier, redis_client)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api.test") as client:
        yield client


@pytest.fixture
async def internal(
    app: FastAPI, metrics: Metrics, verifier: TokenVerifier, redis_client: RedisClient
) -> AsyncIterator[httpx2.AsyncClient]:
    """The other listener of the same process."""
    inner = build("internal", metrics, verifier, redis_client)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(inner), base_url="http://api.test") as client:
        yield client


async def csrf_token(app: FastAPI, issuer: Issuer, **claims: Any) -> str:
    access: AccessControl = app.state.access
    return (await access.csrf.issue(await access.verifier.verify(issuer.token(**claims)))).token


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def refused(response: httpx2.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


async def post(client: httpx2.AsyncClient, issuer: Issuer, headers: dict[str, str], **claims: Any) -> httpx2.Response:
    return await client.post("/area/mine", json={"number": 5}, headers={**issuer.headers(**claims), **headers})
