"""If-Match with a row's version (RFC 9110, 13.1.1): a change names the version that it is a change of."""

import re

from bookstore_common.problem import FieldError, InvalidInputError, ProblemError

# Quoted as RFC 9110 has it, or bare; nine digits fit into the column.
_VERSION = re.compile(r'"([0-9]{1,9})"|([0-9]{1,9})')


class PreconditionRequiredError(ProblemError):
    status = 428
    code = "precondition_required"


class StaleVersionError(ProblemError):
    """Somebody else changed the thing; member ``version`` is the one it has now."""

    status = 412
    code = "stale_version"


def etag_of(version: int) -> str:
    """The entity tag of a version, for example ``"3"``."""
    return f'"{version}"'


def version_in(if_match: str | None, thing: str) -> int:
    """The version that ``if_match`` names; ``thing`` is what is changed, for example ``book``.

    Raises PreconditionRequiredError without the header, and InvalidInputError if it is no single version.
    """
    if if_match is None:
        raise PreconditionRequiredError(f"Send the version of the {thing} that you edited as If-Match.")
    match = _VERSION.fullmatch(if_match.strip())
    if match is None:
        message = 'must be one version, for example "3"; neither * nor a list says which one was edited'
        raise InvalidInputError(
            "Invalid input: if-match.", errors=[FieldError(field="if-match", location="header", message=message)]
        )
    return int(match[1] or match[2])
