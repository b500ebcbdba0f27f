"""Rules for requests that change something, before anything parses them: 413 for size, 422 for everything else.

A body is JSON or, for the one endpoint that takes it, a form; its Content-Type says so in one way.
"""

import re

import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bookstore_common.headers import check_read, refused
from bookstore_common.problem import FieldError, InvalidInputError, ProblemError

# SPEC 4.1; the gateway refuses more as well.
MAX_BODY_BYTES = 1024 * 1024
# An order's body is four levels deep; the largest one, a cart to merge, holds about 150 values.
MAX_JSON_DEPTH = 32
MAX_JSON_VALUES = 1000
# The one form there is, a logout token, has a single field.
MAX_FORM_FIELDS = 20
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# No application/*+json: a parser that took it would parse what these rules had not seen.
_TYPE = re.compile(
    r"application/(json|x-www-form-urlencoded)[ \t]*(?:;[ \t]*charset=(?:utf-8|\"utf-8\")[ \t]*)?;?", re.IGNORECASE
)
# Takes each byte once, whatever the body: possessive, and an unclosed string is taken to the body's end, where a
# failure would start anew at every quote inside of it.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(value for value in range(256) if value not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class PayloadTooLargeError(ProblemError):
    """The body is longer than any request of this product needs."""

    status = 413
    code = "payload_too_large"

    def __init__(self) -> None:
        super().__init__(f"The body is longer than {MAX_BODY_BYTES} bytes.")


class BodyRulesMiddleware:
    """Reads the body of requests that may change something, checks it, and hands it on in one piece."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            check_read(headers)
            body = await _read(receive, headers.get("content-length"))
            if body:
                _check(body, headers.get("content-type", ""))
        except ProblemError as error:
            await error.response()(scope, receive, send)
            return
        if body is None:  # the client went away
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)


def _check(body: bytes, kind: str) -> None:
    match = _TYPE.fullmatch(kind)
    if match is None:
        raise refused("content-type", 'must be "application/json" (with "; charset=utf-8", if anything)')
    if match[1].lower() == "json":
        check_json(body)
    elif body.count(b"&") >= MAX_FORM_FIELDS:
        raise _unusable(f"has more than {MAX_FORM_FIELDS} fields")


async def _read(receive: Receive, announced: str | None) -> bytes | None:
    if announced is not None and announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise PayloadTooLargeError
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLargeError
        if not message.get("more_body", False):
            return bytes(body)


def check_json(body: bytes) -> None:
    """Raise InvalidInputError unless ``body`` is UTF-8 JSON (RFC 8259) of at most 32 levels and 1000 values.

    Stricter than Python's parser, which takes NaN, lone surrogates and any depth until the stack ends. The work is
    proportional to the length: nobody has been asked yet who the sender is.
    """
    _check_size(body)
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise _unusable(f"is not JSON: {exc.msg} at position {exc.pos}") from None


def _check_size(body: bytes) -> None:
    """Depth and number of values, before a parser makes objects of them all."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= MAX_JSON_DEPTH and brackets + body.count(b",") < MAX_JSON_VALUES:  # nearly always
        return
    skeleton = _STRINGS.sub(b"", body)
    # One value, and one more with each comma and with each array or object that is not empty.
    if skeleton.count(b",") + skeleton.count(b"[") + skeleton.count(b"{") >= MAX_JSON_VALUES:
        raise _unusable(f"holds more than {MAX_JSON_VALUES} values")
    depth = 0
    for bracket in skeleton.translate(None, _NOT_BRACKETS):
        depth += _STEP[bracket]
        if depth > MAX_JSON_DEPTH:
            raise _unusable(f"is nested more than {MAX_JSON_DEPTH} levels deep")


def _unusable(fault: str) -> InvalidInputError:
    error = FieldError(field="body", location="body", message=f"The body {fault}")
    return InvalidInputError("Invalid input: body.", errors=[error])
