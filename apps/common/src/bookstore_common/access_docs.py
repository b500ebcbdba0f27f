"""Writes into an OpenAPI document who may call each operation; generated tests read it there."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from bookstore_common.access import SAFE_METHODS, ForbiddenError, OriginMismatchError, Public, SignedIn
from bookstore_common.bodies import PayloadTooLargeError
from bookstore_common.csrf import CsrfInvalidError
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, ProblemError
from bookstore_common.problem import document as document_error
from bookstore_common.ratelimit import RateLimitedError
from bookstore_common.tokens import TokenCheckUnavailableError, UnauthenticatedError

SCHEME = "bearer"


def describe(document: dict[str, Any], routes: Sequence[BaseRoute], *, public: bool) -> dict[str, Any]:
    """Add to each operation, in place, and return ``document``.

    ``security`` bearer, ``x-roles`` (any of; [] means any signed-in user), ``x-clients``, ``x-csrf``; on the
    ``public`` listener ``x-rate-limit`` ``{name, per_minute}``; and the answers that access control and the limits of
    bodies give.
    """
    for context in iter_route_contexts(routes):
        dependant = getattr(context, "dependant", None)
        operations = document.get("paths", {}).get(context.path_format, {})
        for method in context.methods or ():
            operation = operations.get(method.lower())
            if operation is None:
                continue
            if method not in SAFE_METHODS:
                _add_errors(operation, PayloadTooLargeError, InvalidInputError)
            for rule in _rules(dependant) if isinstance(dependant, Dependant) else ():
                _describe(operation, rule, method, public)
                if isinstance(rule, SignedIn):
                    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
                    schemes[SCHEME] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return document


def _rules(dependant: Dependant) -> Iterator[SignedIn | Public]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, SignedIn | Public):
            yield inner.call
        yield from _rules(inner)


def _describe(operation: dict[str, Any], rule: SignedIn | Public, method: str, public: bool) -> None:
    if public:
        limit = rule.limit if isinstance(rule, Public) else rule.limit_of(method)
        operation["x-rate-limit"] = {"name": limit.label, "per_minute": limit.per_minute}
        # Also where nobody must sign in: a token that is sent must be valid.
        _add_errors(operation, RateLimitedError, UnauthenticatedError, TokenCheckUnavailableError)
    if isinstance(rule, Public):
        return
    operation["security"] = [{SCHEME: []}]
    operation["x-roles"] = list(rule.roles)
    if rule.clients:
        operation["x-clients"] = list(rule.clients)
    operation["x-csrf"] = public and method not in SAFE_METHODS
    _add_errors(operation, UnauthenticatedError, ForbiddenError, TokenCheckUnavailableError)
    if operation["x-csrf"]:
        # Without Redis no CSRF token can be checked.
        _add_errors(operation, CsrfInvalidError, OriginMismatchError, DependencyUnavailableError)


def _add_errors(operation: dict[str, Any], *errors: type[ProblemError]) -> None:
    for error in errors:
        document_error(operation.setdefault("responses", {}), str(error.status), error.code)
