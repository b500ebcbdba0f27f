"""Idempotency keys: the same key and input give the stored answer, a changed input is an error (SPEC 5.3, E-12/E-13).

The record is written in the business transaction, so an answer is stored exactly if what it tells of happened; server
errors roll both back and are never stored.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
import sqlalchemy as sa
from alembic import op
from fastapi import Header, Request
from pydantic import BaseModel
from sqlalchemy import DateTime, Index, String, func
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.db import Base, Session
from bookstore_common.problem import FieldError, InvalidInputError, ProblemError

HEADER = "Idempotency-Key"
# SPEC 5.3: keys live 24 h.
LIFETIME = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyKeyReusedError(ProblemError):
    """The key came before with another input."""

    status = 409
    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What the first request with this key was answered."""

    status: int
    body: dict[str, Any]


class IdempotencyRecord(Base):
    """One key of one user; ``response`` is ``{"status": int, "body": object}``."""

    __tablename__ = "idempotency_keys"
    # For the removal of records that no longer count.
    __table_args__ = (Index("idempotency_keys_created_at_idx", "created_at"),)

    user_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    response: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


async def idempotency_key(
    request: Request,
    _documented: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="1-255 visible ASCII characters; one per attempt, repeated with each retry of it (required)",
            examples=["5b0f8c1e-6a5d-4a0e-9a53-0a4c6b1f1b1e"],
        ),
    ] = None,
) -> str:
    """FastAPI dependency: the header's value; raises a 422 problem that names the header if it is missing or wrong."""
    offered = request.headers.getlist(HEADER)
    if not offered:
        message = "is required: send a new random value with each attempt, the same value with its retries"
    elif len(offered) > 1:
        message = f"must be sent once, not {len(offered)} times"
    elif not _KEY.fullmatch(offered[0]):
        message = "must hold 1-255 visible ASCII characters without spaces"
    else:
        return offered[0]
    raise InvalidInputError(
        f"Invalid input: {HEADER}.", errors=[FieldError(field=HEADER, location="header", message=f"{HEADER} {message}")]
    )


def request_hash(model: BaseModel, *context: str) -> str:
    """SHA-256 (64 hex digits) of the input as validated: order of fields and white space do not matter.

    ``context``: what else decides the answer, for example the operation's name, so that a key of one operation cannot
    be answered with the response of another.
    """
    canonical = orjson.dumps([*context, model.model_dump(mode="json")], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


class IdempotencyRepository:
    """Keys of one database, inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def begin(self, user_id: str, key: str, request_hash: str) -> StoredResponse | None:
        """Claim the key: None if this transaction is the one to act, else the answer that was stored.

        A second request with the same key waits here until the first transaction ends: after its commit it gets the
        stored answer, after its rollback it acts itself. Records older than 24 h do not count. Raises
        IdempotencyKeyReusedError if the key was used with another ``request_hash``.
        """
        claim = (
            insert(IdempotencyRecord)
            .values(user_id=user_id, key=key, request_hash=request_hash)
            .on_conflict_do_update(
                index_elements=["user_id", "key"],
                # Only what no longer counts is taken over; the row is locked in either case.
                set_={"request_hash": request_hash, "response": None, "created_at": func.now()},
                where=IdempotencyRecord.created_at < func.now() - LIFETIME,
            )
            .returning(IdempotencyRecord.key)
        )
        if (await self._session.execute(claim)).scalar_one_or_none() is not None:
            return None
        found = (
            await self._session.execute(
                sa.select(IdempotencyRecord.request_hash, IdempotencyRecord.response)
                .where(IdempotencyRecord.user_id == user_id, IdempotencyRecord.key == key)
                .with_for_update()
            )
        ).one_or_none()
        if found is None:  # removed between the two statements because of its age
            return await self.begin(user_id, key, request_hash)
        if found.request_hash != request_hash:
            raise IdempotencyKeyReusedError(
                f"This {HEADER} was already used with another input; use a new key for a new attempt."
            )
        if found.response is None:  # claimed and committed without an answer: nothing was promised
            return None
        return StoredResponse(found.response["status"], found.response["body"])

    async def complete(self, user_id: str, key: str, status: int, body: dict[str, Any]) -> None:
        """Store the answer: HTTP ``status`` and JSON ``body`` (text, numbers, lists and objects only).

        Raises LookupError if ``begin`` did not claim the key, ValueError for a server error, which must not be stored.
        """
        if not 200 <= status < 500:  # noqa: PLR2004 # HTTP's classes
            raise ValueError(f"status {status}: only answers that hold for a retry, too, may be stored")
        result = await self._session.execute(
            sa.update(IdempotencyRecord)
            .where(IdempotencyRecord.user_id == user_id, IdempotencyRecord.key == key)
            .values(response={"status": status, "body": body})
            .returning(IdempotencyRecord.key)
        )
        if result.scalar_one_or_none() is None:
            raise LookupError("no idempotency record; call begin() first")


def create_idempotency_table() -> None:
    """For a migration: the table as :class:`IdempotencyRecord` maps it, without grants."""
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("response", JSONB()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name="idempotency_keys_pkey"),
    )
    op.create_index("idempotency_keys_created_at_idx", "idempotency_keys", ["created_at"])
