"""What runs in PgAdmin's pod and needs nothing of PgAdmin: files for libpq, locks that end, requests of other pages."""

from __future__ import annotations

import importlib.util
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[1] / "src"


def load(name: str) -> Any:
    """Return a module of the pod, which is no package."""
    spec = importlib.util.spec_from_file_location(name, SOURCES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


libpq_files, sign_in = load("libpq_files"), load("sign_in")


def mounted(folder: Path, **values: str) -> Path:
    """A mounted Secret of ecom-db."""
    (folder / "ecom-db").mkdir()
    for key, value in {"database": "ecomdb", "username": "ecom_ro", "password": "secret", **values}.items():
        (folder / "ecom-db" / key).write_text(value, "utf-8")
    return folder


def test_a_password_is_for_its_own_server_only_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    found = [libpq_files.read(mounted(tmp_path, password="a:b\\c"), "ecom-db", "ecom-db.ecom", 5432)]
    for _ in range(2):
        service_file = libpq_files.prepare(found, tmp_path)
    assert (tmp_path / "pgpass").read_text("utf-8") == "ecom-db.ecom:5432:ecomdb:ecom_ro:a\\:b\\\\c\n"
    assert stat.S_IMODE((tmp_path / "pgpass").stat().st_mode) == 0o600
    assert service_file.read_text("utf-8").splitlines() == [
        "[ecom-db]", "host=ecom-db.ecom", "port=5432", "dbname=ecomdb", "user=ecom_ro", f"passfile={tmp_path}/pgpass",
    ]  # fmt: skip


def test_a_secret_that_is_missing_or_not_one_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="BK-481: Secret ecom-db-ro is not mounted"):
        libpq_files.read(tmp_path, "ecom-db", "ecom-db.ecom", 5432)
    for wrong in ("", "two\nlines"):
        folder = tmp_path / f"case{len(wrong)}"
        folder.mkdir()
        with pytest.raises(SystemExit, match="BK-481: Secret ecom-db-ro: database, username and password must be one line each"):
            libpq_files.read(mounted(folder, password=wrong), "ecom-db", "ecom-db.ecom", 5432)


def test_a_lock_ends_by_itself_and_a_new_one_begins_anew() -> None:
    now = 0.0
    locks = sign_in.Locks(900, lambda: now)
    assert not locks.over(1, 4, 5)
    assert not locks.over(1, 5, 5)
    now = 899
    assert not locks.over(1, 5, 5)
    now = 900
    assert locks.over(1, 5, 5)
    assert not locks.over(1, 5, 5), "of the next five wrong passwords"
    assert not locks.over(1, 0, 5), "ended by a sign-in"
    now = 1800
    assert not locks.over(1, 5, 5), "counts from its own begin"


@pytest.mark.parametrize(("origin", "status"), [
    (None, "200 OK"), ("http://localhost:31111", "200 OK"), ("HTTP://LOCALHOST:31111", "200 OK"),
    ("http://localhost:32000", "403 Forbidden"), ("https://localhost:31111", "403 Forbidden"), ("null", "403 Forbidden"),
    ("", "403 Forbidden"), ("http://evil.test", "403 Forbidden"), ("http://localhost:31111.evil.test", "403 Forbidden"),
])  # fmt: skip
def test_a_page_of_another_origin_is_refused(origin: str | None, status: str) -> None:
    def inside(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"inside"]

    seen: list[str] = []
    environ = {"HTTP_HOST": "localhost:31111"} | ({} if origin is None else {"HTTP_ORIGIN": origin})
    b"".join(sign_in.OwnPages(inside)(environ, lambda given, _headers: seen.append(given)))
    assert seen == [status]
