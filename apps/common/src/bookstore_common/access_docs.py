"""Writes into an OpenAPI document who may call each operation; generated tests read it there."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from bookstore_common.access import SAFE_METHODS, ForbiddenError, Public, SignedIn
from bookstore_common.problem import MEDIA_TYPE, DependencyUnavailableError, Problem, ProblemError
from bookstore_common.ratelimit import RateLimitedError
from bookstore_common.tokens import UnauthenticatedError

SCHEME = "bearer"


def describe(document: dict[str, Any], routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Add to each operation, in place, and return ``document``.

    ``security`` bearer, ``x-roles`` (any of; [] means any signed-in user), ``x-clients``, ``x-rate-limit``
    ``{name, per_minute}``, ``x-csrf`` (on the public listener) and the answers that access control gives.
    """
    for context in iter_route_contexts(routes):
        dependant = getattr(context, "dependant", None)
        operations = document.get("paths", {}).get(context.path_format, {})
        for rule in _rules(dependant) if isinstance(dependant, Dependant) else ():
            for method in context.methods or ():
                if method.lower() in operations:
                    _describe(operations[method.lower()], rule, method)
                    if isinstance(rule, SignedIn):
                        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
                        schemes[SCHEME] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return document


def _rules(dependant: Dependant) -> Iterator[SignedIn | Public]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, SignedIn | Public):
            yield inner.call
        yield from _rules(inner)


def _describe(operation: dict[str, Any], rule: SignedIn | Public, method: str) -> None:
    limit = rule.limit if isinstance(rule, Public) else rule.limit_of(method)
    operation["x-rate-limit"] = {"name": limit.label, "per_minute": limit.per_minute}
    _add_response(operation, RateLimitedError)
    if isinstance(rule, Public):
        return
    operation["security"] = [{SCHEME: []}]
    operation["x-roles"] = list(rule.roles)
    if rule.clients:
        operation["x-clients"] = list(rule.clients)
    operation["x-csrf"] = method not in SAFE_METHODS
    errors: tuple[type[ProblemError], ...] = (UnauthenticatedError, ForbiddenError, DependencyUnavailableError)
    for error in errors:
        _add_response(operation, error)


def _add_response(operation: dict[str, Any], error: type[ProblemError]) -> None:
    operation.setdefault("responses", {}).setdefault(
        str(error.status),
        {"description": error.code, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}},
    )
