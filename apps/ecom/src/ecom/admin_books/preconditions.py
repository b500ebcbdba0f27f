"""If-Match with a book's version (SPEC 5.3, E-19): an edit names the version that it is an edit of."""

import re
from typing import Annotated

from fastapi import Header

from bookstore_common.problem import FieldError, InvalidInputError, ProblemError

# Quoted as RFC 9110 has it, or bare; nine digits fit into the column.
_VERSION = re.compile(r'"([0-9]{1,9})"|([0-9]{1,9})')


class PreconditionRequiredError(ProblemError):
    status = 428
    code = "precondition_required"


def etag_of(version: int) -> str:
    """The entity tag of a book's version, for example ``"3"``."""
    return f'"{version}"'


async def edited_version(
    if_match: Annotated[
        str | None, Header(description="ETag or version of the book that was edited", examples=['"1"'])
    ] = None,
) -> int:
    """FastAPI dependency; raises a 428 problem without the header and a 422 problem if it is no single version."""
    if if_match is None:
        raise PreconditionRequiredError("Send the version of the book that you edited as If-Match.")
    match = _VERSION.fullmatch(if_match.strip())
    if match is None:
        message = 'must be one version, for example "3"; neither * nor a list says which one was edited'
        raise InvalidInputError(
            "Invalid input: if-match.", errors=[FieldError(field="if-match", location="header", message=message)]
        )
    return int(match[1] or match[2])
