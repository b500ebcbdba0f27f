"""Idempotency keys on a real PostgreSQL: one of many, after a crash, after a day."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Annotated, cast

import httpx2
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fastapi import Depends
from pydantic import BaseModel

from bookstore_common.application import create_app
from bookstore_common.db import Base, Database
from bookstore_common.idempotency import (
    IdempotencyKeyReusedError,
    IdempotencyRecord,
    IdempotencyRepository,
    StoredResponse,
    create_idempotency_table,
    idempotency_key,
    request_hash,
)
from bookstore_common.metrics import Metrics
from bookstore_common.outbox import OutboxEvent, add_request_id, create_outbox_table
from bookstore_common.settings import DatabaseSettings, load_settings

pytestmark = pytest.mark.anyio


class Input(BaseModel):
    """Some input."""

    number: int
    text: str = ""


HASH = request_hash(Input(number=1))


@pytest.fixture
def migrated(database_environment: dict[str, str]) -> Iterator[sa.Connection]:
    """The tables as a migration makes them."""
    engine = sa.create_engine(load_settings(DatabaseSettings).database_url())
    with engine.connect() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            create_idempotency_table()
            create_outbox_table()
            add_request_id()
        connection.commit()
        yield connection
    engine.dispose()


@pytest.fixture
async def keys(migrated: sa.Connection, database: Database) -> Database:
    return database


def test_tables_are_as_mapped(migrated: sa.Connection) -> None:
    context = MigrationContext.configure(migrated, opts={"compare_type": True, "compare_server_default": True})
    tables = (IdempotencyRecord.__table__, OutboxEvent.__table__)
    expected = sa.MetaData(naming_convention=Base.metadata.naming_convention)
    for table in tables:
        cast(sa.Table, table).to_metadata(expected)
    assert compare_metadata(context, expected) == []


async def claim(database: Database, key: str = "k", content: str = HASH, user: str = "u") -> StoredResponse | None:
    """One request: answer from the store, or act and store."""
    async with database.transaction() as session:
        repository = IdempotencyRepository(session)
        stored = await repository.begin(user, key, content)
        if stored is None:
            await repository.complete(user, key, 201, {"id": str(uuid.uuid4())})
        return stored


async def test_replay(keys: Database) -> None:
    assert await claim(keys) is None
    first = await claim(keys)
    assert first is not None
    assert (first.status, set(first.body)) == (201, {"id"})
    assert await claim(keys) == first


async def test_another_input_is_refused(keys: Database) -> None:
    await claim(keys)
    stored = await claim(keys)
    with pytest.raises(IdempotencyKeyReusedError) as caught:
        await claim(keys, content=request_hash(Input(number=2)))
    assert (caught.value.status, caught.value.code) == (409, "idempotency_key_reused")
    assert await claim(keys) == stored


async def test_keys_belong_to_users(keys: Database) -> None:
    await claim(keys, user="u")
    assert await claim(keys, user="v", content=request_hash(Input(number=2))) is None


async def test_a_failure_leaves_nothing(keys: Database) -> None:
    async def fail() -> None:
        async with keys.transaction() as session:
            assert await IdempotencyRepository(session).begin("u", "k", HASH) is None
            raise RuntimeError("the business failed")

    with pytest.raises(RuntimeError):
        await fail()
    assert await claim(keys, content=request_hash(Input(number=2))) is None


async def test_claimed_and_never_completed(keys: Database) -> None:
    async with keys.transaction() as session:
        await IdempotencyRepository(session).begin("u", "k", HASH)
    assert await claim(keys) is None
    assert await claim(keys) is not None


async def test_one_of_many(keys: Database) -> None:
    """Double clicks: one acts, the others wait for it and get its answer."""
    acted = 0

    async def request() -> StoredResponse | None:
        nonlocal acted
        async with keys.transaction() as session:
            repository = IdempotencyRepository(session)
            stored = await repository.begin("u", "k", HASH)
            if stored is None:
                acted += 1
                await asyncio.sleep(0.1)  # the others arrive meanwhile
                await repository.complete("u", "k", 201, {"number": acted})
            return stored

    answers = await asyncio.gather(*(request() for _ in range(9)))
    assert acted == 1
    assert answers.count(None) == 1
    assert {answer.body["number"] for answer in answers if answer} == {1}


async def test_the_next_one_acts_if_the_first_fails(keys: Database) -> None:
    begun = asyncio.Event()

    async def failing() -> None:
        async with keys.transaction() as session:
            await IdempotencyRepository(session).begin("u", "k", HASH)
            begun.set()
            await asyncio.sleep(0.1)
            raise RuntimeError("crash")

    first = asyncio.create_task(failing())
    await begun.wait()
    second = asyncio.create_task(claim(keys))
    with pytest.raises(RuntimeError):
        await first
    assert await second is None


@pytest.mark.parametrize(("age", "counts"), [("23 hours 59 minutes", True), ("24 hours 1 minute", False)])
async def test_a_day(keys: Database, migrated: sa.Connection, age: str, counts: bool) -> None:
    await claim(keys)
    migrated.execute(sa.text("UPDATE idempotency_keys SET created_at = now() - CAST(:age AS interval)"), {"age": age})
    migrated.commit()
    other = request_hash(Input(number=2))
    if counts:
        with pytest.raises(IdempotencyKeyReusedError):
            await claim(keys, content=other)
    else:
        assert await claim(keys, content=other) is None
        assert await claim(keys, content=other) is not None


async def test_old_records_are_taken_over(keys: Database, migrated: sa.Connection) -> None:
    for key in ("a", "b", "c"):
        await claim(keys, key)
    migrated.execute(sa.text("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key <> 'c'"))
    migrated.commit()
    assert await claim(keys, "a", request_hash(Input(number=9))) is None


@pytest.mark.parametrize("status", [500, 503, 100])
async def test_server_errors_are_not_stored(keys: Database, status: int) -> None:
    async with keys.transaction() as session:
        repository = IdempotencyRepository(session)
        await repository.begin("u", "k", HASH)
        with pytest.raises(ValueError, match=str(status)):
            await repository.complete("u", "k", status, {})


async def test_complete_without_begin(keys: Database) -> None:
    async with keys.transaction() as session:
        with pytest.raises(LookupError):
            await IdempotencyRepository(session).complete("u", "k", 200, {})


def test_hash_is_of_the_meaning() -> None:
    assert request_hash(Input.model_validate({"text": "", "number": 1})) == HASH
    assert request_hash(Input(number=1, text=" ")) != HASH
    assert request_hash(Input(number=1), "checkout") != HASH
    assert len(HASH) == 64


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ([], False),
        ([b""], False),
        ([b"a b"], False),
        ([b"\xc3\xa4"], False),
        ([b"a\x7f"], False),
        ([b"x" * 256], False),
        ([b"a", b"b"], False),
        ([b"x" * 255], True),
        ([b"5b0f8c1e-6a5d-4a0e-9a53-0a4c6b1f1b1e"], True),
        ([b"~!@#,;="], True),
    ],
)
async def test_header(metrics: Metrics, offered: list[bytes], accepted: bool) -> None:
    app = create_app("test", listener="public", metrics=metrics)

    @app.post("/")
    async def act(key: Annotated[str, Depends(idempotency_key)]) -> str:
        return key

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api.test") as client:
        response = await client.post("/", headers=[(b"Idempotency-Key", value) for value in offered])
    if accepted:
        assert response.json() == offered[0].decode()
    else:
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    parameter = app.openapi()["paths"]["/"]["post"]["parameters"][0]
    assert (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
