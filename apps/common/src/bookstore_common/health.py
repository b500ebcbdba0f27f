"""Management listener: liveness, readiness and metrics (SPEC 5.1); and the health endpoint of public listeners."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import structlog
from fastapi import APIRouter, FastAPI, Response
from fastapi.params import Depends
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.middleware import Middleware

from bookstore_common import problem
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.metrics import Metrics
from bookstore_common.middleware import UnforeseenErrorMiddleware

# Returns when the dependency is usable, raises with a reason that an operator understands otherwise.
Check = Callable[[], Awaitable[None]]
_log = structlog.get_logger(__name__)


class CheckFailedError(Exception):
    """A dependency answers, but not as needed; the text says what is wrong."""


class NotReadyError(problem.ProblemError):
    status = 503
    code = "dependency_unavailable"


class Readiness:
    """Whether this process wants traffic. ``timeout`` in seconds bounds each check; checks run side by side.

    ``degrading`` are checks of what the service can do without, such as Redis (rate limits open, CSRF closed): a
    failure is reported as ``degraded`` and does not take the process out of rotation.
    """

    def __init__(
        self, checks: Mapping[str, Check], timeout: float, *, degrading: Mapping[str, Check] | None = None
    ) -> None:
        self._checks = checks
        self._degrading = degrading or {}
        self._timeout = timeout
        self._was_ready: bool | None = None
        self.draining = False

    async def examine(self) -> dict[str, dict[str, Any]]:
        """Run all checks; per check ``{"status": "ok"|"degraded"|"failed", "duration_ms": float, "detail": str}``."""
        results = await asyncio.gather(
            *(self._run(check, "failed") for check in self._checks.values()),
            *(self._run(check, "degraded") for check in self._degrading.values()),
        )
        return dict(zip([*self._checks, *self._degrading], results, strict=True))

    async def _run(self, check: Check, otherwise: str) -> dict[str, Any]:
        started = time.perf_counter()
        detail = ""
        try:
            async with asyncio.timeout(self._timeout):
                await check()
        except TimeoutError:
            detail = f"no answer within {self._timeout:g} s"
        except CheckFailedError as exc:
            detail = str(exc)
        except Exception as exc:  # whatever a driver raises means: not usable
            detail = f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}"
        result: dict[str, Any] = {"status": otherwise if detail else "ok"}
        result["duration_ms"] = round((time.perf_counter() - started) * 1000, 2)
        if detail:
            result["detail"] = detail
        return result

    async def answer(self) -> Response:
        """200 with the checks; raises a 503 problem that carries them."""
        self._refuse_if_draining()
        checks = await self.examine()
        self._refuse_if_draining()  # the end may have begun meanwhile
        failed = [name for name, result in checks.items() if result["status"] == "failed"]
        if self._was_ready is not (not failed):  # log the change, not each of the probes
            self._was_ready = not failed
            _log.warning("not_ready", checks=checks) if failed else _log.info("ready")
        if failed:
            raise NotReadyError(f"Not usable: {', '.join(failed)}.", checks=checks)
        return JSONBytes(dumps({"status": "ready", "checks": checks}), headers=PRIVATE)

    def _refuse_if_draining(self) -> None:
        if self.draining:
            raise problem.ShuttingDownError("The process is shutting down.", checks={})


def create_management_app(readiness: Readiness, metrics: Metrics) -> FastAPI:
    """Application of the management listener; its own requests are neither counted nor logged."""
    app = FastAPI(
        title="management", openapi_url=None, redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[Middleware(UnforeseenErrorMiddleware)],
    )  # fmt: skip
    problem.install(app)

    @app.get("/health/live")
    async def live() -> Response:
        # Only the event loop: a dependency that is down must not get the process killed.
        return JSONBytes(b'{"status":"ok"}')

    @app.get("/health/ready")
    async def ready() -> Response:
        return await readiness.answer()

    @app.get("/metrics")
    async def expose() -> Response:
        return Response(await metrics.expose(), media_type=CONTENT_TYPE_LATEST)

    return app


class Health(BaseModel):
    """The process answers; dependencies are the management port's business."""

    status: Literal["ok"] = "ok"


def health_router(dependencies: Sequence[Depends] = ()) -> APIRouter:
    """E-01, I-01 and A-01."""
    router = APIRouter(tags=["health"], dependencies=list(dependencies))

    @router.get("/health", operation_id="getHealth", summary="Is the service there?", response_model=Health)
    async def get_health() -> Response:
        return JSONBytes(b'{"status":"ok"}', headers=PRIVATE)

    return router
