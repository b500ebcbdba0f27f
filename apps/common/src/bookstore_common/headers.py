"""One rule for the headers that endpoints read and for those that are sent on: visible ASCII, bounded, once.

HTTP also allows bytes above 127 (RFC 9110, 5.5), which no header of this product needs and which a client library
refuses to send. Headers with a rule of their own are as strict: Authorization (401), Origin and X-CSRF-Token (403),
Idempotency-Key (422), X-Request-ID (replaced). If-None-Match is only compared, never sent on.
"""

import re

from starlette.datastructures import Headers

from bookstore_common.problem import FieldError, InvalidInputError

# What changes something may be read with; on other requests nobody looks at them.
READ_ONCE = ("content-type", "if-match", "if-unmodified-since")
# An entity tag has 34 characters, the longest media type some 50.
MAX_LENGTH = 255
# A token with all of its roles stays below 8 KiB (bookstore_common.tokens).
MAX_SENT_LENGTH = 16_384
_VISIBLE = re.compile(r"[\x20-\x7e\t]*")


def check_read(headers: Headers) -> None:
    """Raise InvalidInputError about the first header of READ_ONCE that breaks the rule."""
    for name in READ_ONCE:
        values = headers.getlist(name)
        if len(values) > 1:
            raise refused(name, f"must be sent once, not {len(values)} times")
        if values and (fault := _fault(values[0], MAX_LENGTH)):
            raise refused(name, fault)


def check_sent(name: str, value: str) -> None:
    """Raise InvalidInputError if ``value`` cannot be sent as the header ``name``."""
    if fault := _fault(value, MAX_SENT_LENGTH):
        raise refused(name, fault)


def refused(name: str, message: str) -> InvalidInputError:
    """The problem about one header."""
    return InvalidInputError(
        f"Invalid input: {name}.", errors=[FieldError(field=name, location="header", message=f"{name} {message}")]
    )


def _fault(value: str, most: int) -> str | None:
    if len(value) > most:
        return f"must hold at most {most} characters"
    return None if _VISIBLE.fullmatch(value) else "must hold visible ASCII characters only"
