"""If-Match with a book's version (SPEC 5.3, E-19): an edit names the version that it is an edit of."""

from typing import Annotated

from fastapi import Header

from bookstore_common.preconditions import version_in


async def edited_version(
    if_match: Annotated[
        str | None, Header(description="ETag or version of the book that was edited", examples=['"1"'])
    ] = None,
) -> int:
    """FastAPI dependency; raises a 428 problem without the header and a 422 problem if it is no single version."""
    return version_in(if_match, "book")
