"""The two sources and analytics, each with its own migrations, in one real PostgreSQL; and what runs SQL as playbooks do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from bookstore_common.testing.postgres import Postgres, running_postgres
from psycopg.types.json import set_json_loads

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError

from ..conftest import APPS

sys.path.append(str(APPS / "mv_refresher/tests"))
PACKAGES = {"ecom": "ecom", "inventory": "inventory", "analytics": "mv_refresher"}


def psql(connection: psycopg.Connection[Any], statement: str) -> str:
    """What psql -tAq prints: rows of the last statement, columns apart by |."""
    try:
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(statement.encode())
            while cursor.nextset():
                pass
            rows = cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise ClusterError(str(error)) from error
    return "\n".join("|".join("" if value is None else str(value) for value in row) for row in rows)


@dataclass
class Databases:
    """Connections of the superuser by place; ``after``: what happens when a statement was run (place, statement)."""

    connections: dict[str, psycopg.Connection[Any]]
    names: dict[str, str]
    after: Callable[[str, str], None] = lambda _place, _statement: None

    def sql(self, place: str, statement: str) -> str:
        """As cdc_tables.Sql."""
        answer = psql(self.connections[place], statement)
        self.after(place, statement)
        return answer


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        for place in PACKAGES:
            for role in ("owner", "app", "ro", "cdc"):
                server.create_role(f"{place}_{role}")
        server.create_role("superset_ro")
        yield server


@pytest.fixture(scope="session")
def templates(postgres: Postgres) -> dict[str, str]:
    """Migrated once; in processes of their own, as the services' models share names."""
    found = {}
    for place, package in PACKAGES.items():
        name = found[place] = postgres.create_database(f"{place}_owner")
        postgres.execute(f"ALTER SCHEMA public OWNER TO {place}_owner", name)
        path = os.pathsep.join(str(APPS / folder / "src") for folder in ("common", package))
        environment = {**os.environ, **postgres.environment(f"{place}_owner", name), "PYTHONPATH": path}
        subprocess.run([sys.executable, "-W", "ignore", "-m", f"{package}.migrate"], env=environment, check=True)
    return found


@pytest.fixture
def databases(postgres: Postgres, templates: dict[str, str]) -> Iterator[Databases]:
    names = {place: postgres.create_database(f"{place}_owner", template) for place, template in templates.items()}
    with ExitStack() as stack:
        connections = {}
        for place, name in names.items():
            connections[place] = stack.enter_context(postgres.connect(name))
            connections[place].autocommit = True
            # The services' times are in UTC, and so is the server's own zone; tools print with it.
            connections[place].execute("SET TimeZone = 'UTC'")
            # psql prints JSON as it is.
            set_json_loads(lambda text: text if isinstance(text, str) else text.decode(), connections[place])
        yield Databases(connections, names)
    for name in names.values():
        postgres.drop_database(name)
