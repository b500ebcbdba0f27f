"""Errors as application/problem+json (RFC 9457, SPEC 5.1): one exception base, one rendering."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import exc as sa_exc
from starlette.exceptions import HTTPException
from starlette.types import HTTPExceptionHandler

from bookstore_common.context import request_id_var
from bookstore_common.db import contended, not_now
from bookstore_common.jsonbody import dumps

MEDIA_TYPE = "application/problem+json"
# Characters of a client's own text in an error.
_MAX_ECHO = 200
# Enough to correct a form; a hostile body could cause thousands of errors.
MAX_ERRORS = 20
_log = structlog.get_logger(__name__)


class FieldError(BaseModel):
    """One rejected input."""

    field: str = Field(description="Name of the parameter or JSON path of the body field", examples=["size"])
    location: str = Field(description="query, path, header or body", examples=["query"])
    message: str = Field(examples=["Input should be less than or equal to 100"])


class Problem(BaseModel):
    """RFC 9457 problem details with the members that SPEC 5.1 adds."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:bookstore:problem:not_found",
                "title": "Not Found",
                "status": 404,
                "detail": "No book has the id 00000000-0000-0000-0000-000000000099.",
                "code": "not_found",
                "request_id": "6f1c2b5e8d3a4c0f9b7e1a2d3c4b5f60",
                "errors": [],
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError]


class ProblemError(Exception):
    """Base of all errors that a client is told about; subclasses fix status and code."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """``members`` are extension members of the answer, for example ``checks``."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.members = members

    def response(self) -> Response:
        return render(
            self.status, self.code, self.detail, errors=self.errors, headers=self.headers, members=self.members
        )


class NotFoundError(ProblemError):
    status = 404
    code = "not_found"


class InvalidInputError(ProblemError):
    """A rule over several inputs is broken; single inputs are checked by their types."""

    status = 422
    code = "validation_error"


class DependencyUnavailableError(ProblemError):
    status = 503
    code = "dependency_unavailable"


class ShuttingDownError(ProblemError):
    status = 503
    code = "shutting_down"


def render(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """Build the answer; never cached, because an error says nothing about the next moment."""
    body = {
        "type": f"urn:bookstore:problem:{code}",
        "title": title_of(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id_var.get(),
        "errors": [error.model_dump() for error in errors],
        **(members or {}),
    }
    return Response(dumps(body), status, {"cache-control": "no-store", **(headers or {})}, MEDIA_TYPE)


def title_of(status: int) -> str:
    """The status's phrase by RFC 9110, whose name for 422 Python adopted only in 3.13."""
    return "Unprocessable Content" if status == HTTPStatus.UNPROCESSABLE_ENTITY else HTTPStatus(status).phrase


def responses(*errors: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` of an endpoint that may raise ``errors``."""
    described: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        document(described, error.status, error.code)
    return described


def document(described: dict[Any, dict[str, Any]], key: int | str, code: str) -> None:
    """Add an error to OpenAPI ``responses``, where a status's description names its codes, joined by ``or``."""
    found = described.setdefault(
        key, {"description": code, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    )
    if code not in found["description"].split(" or "):
        found["description"] += f" or {code}"


def internal_error() -> Response:
    """The answer to anything unforeseen: says nothing about the inside, carries the id under which it is logged."""
    return render(500, "internal_error", "The service failed; the request id finds the cause in its log.")


async def _on_problem(_request: Request, exc: ProblemError) -> Response:
    return exc.response()


async def _on_validation(_request: Request, exc: RequestValidationError) -> Response:
    found = exc.errors()
    errors = []
    for error in found[:MAX_ERRORS]:
        location, *path = map(str, error["loc"])
        field = _printable(".".join(path) or location)
        message = _printable(str(error["msg"]).removeprefix("Value error, "))
        errors.append(FieldError(field=field, location=_printable(location), message=message))
    names = ", ".join(dict.fromkeys(error.field for error in errors))
    more = f" and {len(found) - MAX_ERRORS} more" if len(found) > MAX_ERRORS else ""
    return InvalidInputError(f"Invalid input: {names}{more}.", errors=errors).response()


def _printable(text: str) -> str:
    """A client's field names come back in errors: cut, and without what JSON in UTF-8 cannot carry."""
    return text[:_MAX_ECHO].encode("utf-8", "replace").decode()


async def _on_http(request: Request, exc: HTTPException) -> Response:
    headers = dict(exc.headers or {})
    detail = exc.detail
    if exc.status_code == HTTPStatus.BAD_REQUEST:
        # The framework's answer to a body that its parsers choke on; our own code raises ProblemError.
        return InvalidInputError(
            "Invalid input: body.", errors=[FieldError(field="body", location="body", message="The body is unreadable")]
        ).response()
    if exc.status_code == HTTPStatus.NOT_FOUND:
        detail = "Nothing is served under this path."
    elif exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {part.strip() for part in headers.pop("allow", headers.pop("Allow", "")).split(",") if part.strip()}
        if "GET" in allowed:  # middleware answers HEAD wherever GET is answered
            allowed.add("HEAD")
        headers["allow"] = ", ".join(sorted(allowed))
        detail = f"{request.method} is not allowed here; allowed: {headers['allow']}."
    code = title_of(exc.status_code).lower().replace(" ", "_").replace("-", "_")
    return render(exc.status_code, code, detail, headers=headers)


async def _on_database(_request: Request, exc: Exception) -> Response:
    # Only the first line: the rest repeats the statement with its parameters.
    _log.warning("database_unavailable", error=type(exc).__name__, reason=str(exc).partition("\n")[0])
    return DependencyUnavailableError(
        "The database does not answer; try again.", headers={"retry-after": "1"}
    ).response()


async def _on_database_error(request: Request, exc: Exception) -> Response:
    """Its classes do not tell mistakes of ours from a database that takes nothing now; its codes do."""
    if not_now(exc) or contended(exc):
        return await _on_database(request, exc)
    raise exc


def install(app: FastAPI) -> None:
    """Render every error of ``app`` as a problem; unforeseen ones are caught by the middleware."""
    handlers: dict[type[Exception], Any] = {
        ProblemError: _on_problem,
        RequestValidationError: _on_validation,
        HTTPException: _on_http,
        # Cannot connect, connection lost, statement timeout; no free connection in the pool.
        sa_exc.OperationalError: _on_database,
        sa_exc.InterfaceError: _on_database,
        sa_exc.TimeoutError: _on_database,
        # Transaction that rested too long, no changes taken, schema of this release still being made.
        sa_exc.DBAPIError: _on_database_error,
    }
    for error, handler in handlers.items():
        http_handler: HTTPExceptionHandler = handler
        app.add_exception_handler(error, http_handler)
