"""PgAdmin with the declared account and servers: sign-in, four databases without a typed password, and what a restart keeps."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator

import httpx2
import pytest
from bookstore_common.testing.postgres import Postgres

from tests.pgadmin_client import PgAdmin, RefusedError, form_token, sign_in

from .conftest import ACCOUNT, NAMES, Server


@pytest.fixture
def visitor(pgadmin: Server) -> Iterator[httpx2.Client]:
    """A browser that has not signed in."""
    with httpx2.Client(base_url=pgadmin.url, timeout=60) as client:
        yield client


@pytest.fixture
def person(pgadmin: Server, visitor: httpx2.Client) -> PgAdmin:
    """The account's session."""
    assert sign_in(visitor, ACCOUNT, pgadmin.passwords["admin"])
    return PgAdmin(visitor)


def test_nothing_is_shown_without_a_sign_in(visitor: httpx2.Client) -> None:
    for path in ("/browser/", "/browser/server_group/nodes/", "/preferences/", "/user_management/"):
        assert visitor.get(path).status_code in (302, 401, 404), path
    assert not sign_in(visitor, ACCOUNT, "not the password")
    assert not sign_in(visitor, "nobody@bookstore.test", "not the password")


@pytest.mark.parametrize("name", NAMES)
def test_each_server_answers_without_a_typed_password(person: PgAdmin, name: str) -> None:
    assert set(person.servers()) == set(NAMES)
    assert person.query(name, "SELECT name, current_user FROM known") == [[name.removesuffix("-db"), f"{name.removesuffix('-db')}_ro"]]
    with pytest.raises(RefusedError, match="permission denied"):
        person.query(name, "DELETE FROM known")


def test_what_was_changed_by_hand_is_put_back_and_the_rest_is_kept(pgadmin: Server, person: PgAdmin) -> None:
    person.change("ecom-db", {"host": "127.0.0.2", "comment": "mine"})
    person.remove("keycloak-db")
    person.ask("POST", f"/browser/server/obj/{person.group()}/", {
        "name": "own", "host": "127.0.0.1", "port": 1, "db": "postgres", "username": "me", "connect_now": False,
        "connection_params": [], "gid": person.group(),
    })  # fmt: skip
    with httpx2.Client(base_url=pgadmin.url, timeout=60) as client:
        assert sign_in(client, ACCOUNT, pgadmin.passwords["admin"])
        again = PgAdmin(client)
        assert set(again.servers()) == {*NAMES, "own"}
        assert again.query("ecom-db", "SELECT name FROM known") == [["ecom"]]
        again.remove("own")
    assert "server ecom-db: host differs: put back" in pgadmin.log()


def test_a_restart_keeps_what_a_person_set_and_takes_new_passwords(pgadmin: Server, database: Postgres) -> None:
    with httpx2.Client(base_url=pgadmin.url, timeout=60) as client:
        assert sign_in(client, ACCOUNT, pgadmin.passwords["admin"])
        before = PgAdmin(client)
        ids = {name: row["_id"] for name, row in before.servers().items()}
        with sqlite3.connect(pgadmin.folder / "data/pgadmin.db") as own:
            own.execute("INSERT OR REPLACE INTO user_preferences (pid, uid, value) VALUES (1, 1, 'kept')")
    pgadmin.stop()
    said = len(pgadmin.log())
    database.execute("ALTER ROLE ecom_ro PASSWORD 'another: one\\'")
    pgadmin.passwords |= {"ecom-db": "another: one\\", "admin": "a new password of the Secret"}
    pgadmin.start()
    with httpx2.Client(base_url=pgadmin.url, timeout=60) as client:
        assert not sign_in(client, ACCOUNT, "a password of the Secret")
        assert sign_in(client, ACCOUNT, pgadmin.passwords["admin"])
        after = PgAdmin(client)
        assert {name: row["_id"] for name, row in after.servers().items()} == ids
        assert after.query("ecom-db", "SELECT name FROM known") == [["ecom"]]
    with sqlite3.connect(pgadmin.folder / "data/pgadmin.db") as own:
        assert own.execute("SELECT value FROM user_preferences WHERE pid = 1 AND uid = 1").fetchone() == ("kept",)
    assert "put back" not in pgadmin.log()[said:]


def test_wrong_passwords_lock_the_account_until_the_time_is_over(pgadmin: Server) -> None:
    pgadmin.stop()
    pgadmin.lock_seconds = 5
    pgadmin.start()

    def tried(password: str) -> bool:
        with httpx2.Client(base_url=pgadmin.url, timeout=60) as client:
            return sign_in(client, ACCOUNT, password)

    for _ in range(6):
        assert not tried("not the password")
    assert not tried(pgadmin.passwords["admin"])
    # Bounded polling: it opens by itself.
    assert any(tried(pgadmin.passwords["admin"]) for _ in range(200))


def test_secrets_are_in_one_file_of_its_owner(pgadmin: Server) -> None:
    password_file = pgadmin.folder / "run/pgpass"
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    kept = b"".join((pgadmin.folder / name).read_bytes() for name in ("data/pgadmin.db", "run/pg_service.conf", "log"))
    for password in pgadmin.passwords.values():
        assert password.encode() not in kept


def test_it_answers_to_its_own_names_and_pages_only(pgadmin: Server, visitor: httpx2.Client) -> None:
    answer = visitor.get("/login")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert "http:" not in answer.headers["content-security-policy"]
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert visitor.get("/login", headers={"Host": "evil.test"}).status_code == 421
    assert visitor.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": "http://localhost:32000"}).status_code == 403
    assert visitor.get("/login", headers={"Origin": pgadmin.url}).status_code == 200
    assert form_token(visitor)
