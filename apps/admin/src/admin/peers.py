"""Calls to the internal APIs of the other services, and what their failures mean to an administrator (SPEC 5.5).

| The other service | The administrator gets |
|---|---|
| refuses with 404, 409, 412, 422 or 428 as a problem | the same problem, with this request's id |
| rejects the token (401) or its role (403) | 401 ``unauthenticated`` or 403 ``forbidden`` |
| does not answer in time | 504 ``gateway_timeout`` |
| has as many calls of the route under way as may be | 503 ``dependency_unavailable`` with Retry-After |
| cannot be reached, fails (5xx), answers what its contract does not foresee | 502 ``bad_gateway`` |
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import structlog
from fastapi import Response
from pydantic import BaseModel, ConfigDict, ValidationError

from bookstore_common.outbound import OutboundClient, OutboundResponse, UpstreamBusyError, UpstreamTimeoutError
from bookstore_common.problem import (
    MEDIA_TYPE,
    DependencyUnavailableError,
    FieldError,
    ProblemError,
    render,
)

ModelT = TypeVar("ModelT", bound=BaseModel)
_PASSED_ON = frozenset(
    {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.PRECONDITION_FAILED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.PRECONDITION_REQUIRED,
    }
)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_log = structlog.get_logger(__name__)


class BadGatewayError(ProblemError):
    status = 502
    code = "bad_gateway"


class GatewayTimeoutError(ProblemError):
    status = 504
    code = "gateway_timeout"


# What an answer can do without when it is optional; everything else an administrator must be told.
Unanswered = (BadGatewayError, GatewayTimeoutError, UpstreamBusyError)


class RejectedError(ProblemError):
    """Another service refuses this administrator's token, for example because it expired on the way."""


class TokenRejectedError(RejectedError):
    status = 401
    code = "unauthenticated"


class RoleRejectedError(RejectedError):
    status = 403
    code = "forbidden"


class RefusedError(ProblemError):
    """Another service's own answer, passed on."""

    def __init__(self, status: int, problem: "_PeerProblem") -> None:
        super().__init__(problem.detail, errors=problem.errors, **problem.members())
        self.peer_status = status
        self.peer_code = problem.code

    def response(self) -> Response:
        return render(self.peer_status, self.peer_code, self.detail, errors=self.errors, members=self.members)


class _PeerProblem(BaseModel):
    """The members that are read; extension members are kept, the standard ones are written anew."""

    model_config = ConfigDict(extra="allow")

    code: str
    detail: str
    errors: list[FieldError] = []

    @classmethod
    def read(cls, response: OutboundResponse) -> "_PeerProblem | None":
        """None if the answer is not a problem, for example a proxy's page."""
        if response.headers.get("content-type", "").partition(";")[0].strip() != MEDIA_TYPE:
            return None
        try:
            problem = cls.model_validate_json(response.content)
        except ValidationError:
            return None
        return problem if _CODE.fullmatch(problem.code) else None

    def members(self) -> dict[str, Any]:
        """Extension members, for example ``version`` of a stale edit."""
        return {name: value for name, value in (self.model_extra or {}).items() if name not in _WRITTEN_ANEW}


_WRITTEN_ANEW = frozenset({"type", "title", "status", "request_id", "instance"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request this is. ``deadline``: when its answer must be out, in the event loop's time."""

    token: str = field(repr=False)
    deadline: float

    def hurried(self, seconds: float) -> "Caller":
        """The same caller with less patience, for what the answer can do without."""
        return Caller(self.token, min(self.deadline, asyncio.get_running_loop().time() + seconds))


@dataclass(frozen=True, slots=True)
class Answer(Generic[ModelT]):
    """What a service answered: its body, and its ETag if it sent one."""

    body: ModelT
    etag: str | None


class Peer:
    """Another service's internal API; ``title`` is its name in errors."""

    def __init__(self, title: str, client: OutboundClient) -> None:
        self._title = title
        self._client = client

    async def get(
        self, caller: Caller, path: str, model: type[ModelT], params: Mapping[str, Any] | None = None
    ) -> Answer[ModelT]:
        """Read; ``params`` that are None are not sent."""
        response = await self._exchange(caller, "GET", path, params=params, idempotent=True)
        return self._read(response, model, HTTPStatus.OK)

    async def change(
        self,
        caller: Caller,
        method: str,
        path: str,
        model: type[ModelT],
        json: Mapping[str, Any],
        *,
        repeatable: bool,
        expected: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> Answer[ModelT]:
        """Change something. ``repeatable``: twice gives the same answer, so it may be tried again."""
        response = await self._exchange(caller, method, path, json=json, headers=headers, idempotent=repeatable)
        return self._read(response, model, expected)

    async def delete(self, caller: Caller, path: str) -> None:
        response = await self._exchange(caller, "DELETE", path, idempotent=True)
        if response.status != HTTPStatus.NO_CONTENT:
            raise self._unforeseen(response)

    async def _exchange(self, caller: Caller, method: str, path: str, **arguments: Any) -> OutboundResponse:
        """The answer, if it is no refusal and no failure."""
        try:
            async with asyncio.timeout_at(caller.deadline):
                response = await self._client.request(method, path, token=caller.token, **arguments)
        except (UpstreamTimeoutError, TimeoutError) as error:
            raise GatewayTimeoutError(self._sentence("does not answer in time", method)) from error
        except UpstreamBusyError:
            raise
        except DependencyUnavailableError as error:
            raise BadGatewayError(self._sentence("cannot be reached", method)) from error
        if response.status < HTTPStatus.BAD_REQUEST:
            return response
        raise self._failure(response, method)

    def _failure(self, response: OutboundResponse, method: str) -> ProblemError:
        if response.status in _PASSED_ON:
            problem = _PeerProblem.read(response)
            if problem is not None:
                return RefusedError(response.status, problem)
        _log.warning("peer_failed", peer=self._title, method=method, status=response.status)
        if response.status == HTTPStatus.UNAUTHORIZED:
            return TokenRejectedError(
                f"The {self._title} rejects the token; sign in again.", headers={"www-authenticate": "Bearer"}
            )
        if response.status == HTTPStatus.FORBIDDEN:
            return RoleRejectedError(f"The {self._title} does not let this account do that.")
        return BadGatewayError(self._sentence(f"fails (status {response.status})", method))

    def _read(self, response: OutboundResponse, model: type[ModelT], expected: int) -> Answer[ModelT]:
        if response.status != expected:
            raise self._unforeseen(response)
        try:
            body = model.model_validate_json(response.content)
        except ValidationError as error:
            # Names and kinds only: values may be somebody's address.
            wrong = [f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in error.errors(include_input=False)]
            raise self._unforeseen(response, "; ".join(wrong[:5])) from None
        return Answer(body, response.headers.get("etag"))

    def _unforeseen(self, response: OutboundResponse, reason: str = "") -> ProblemError:
        _log.error("peer_answer_unexpected", peer=self._title, status=response.status, reason=reason)
        return BadGatewayError(f"The {self._title} gave an answer that this service does not understand.")

    def _sentence(self, what: str, method: str) -> str:
        doubt = "" if method == "GET" else " The change may or may not have been made: look before trying again."
        return f"The {self._title} {what}.{doubt}"


@dataclass(frozen=True, slots=True)
class Peers:
    """The services behind this one, and how long to wait for them (seconds)."""

    ecom: Peer
    inventory: Peer
    patience_seconds: float
    optional_patience_seconds: float

    def caller(self, token: str) -> Caller:
        """The caller of a request that begins now."""
        return Caller(token, asyncio.get_running_loop().time() + self.patience_seconds)


@asynccontextmanager
async def side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure is raised as it is, so that it becomes its problem; the others are cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
