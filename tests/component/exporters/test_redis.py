"""What the exporter beside Redis tells of it, with the access list that the pod's preparation writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from bookstore_common.testing.redis import RedisServer, running_redis

from .. import series
from ..debezium.pipeline import until
from .conftest import ROOT, Documents, Start, container

pytestmark = pytest.mark.timeout(300)
PASSWORDS = {"password": "of the applications", "operator": "of people", "probe": "of probes", "monitor": "of the exporter"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with the accounts of the platform."""
    # The first part of the script alone: what follows starts servers.
    script = (ROOT / "roles/redis/files/prepare.sh").read_text(encoding="utf-8").partition("# Starts a server")[0]
    for name, password in PASSWORDS.items():
        (tmp_path / name).write_text(password, encoding="utf-8")
    script = script.replace("/etc/redis-auth", str(tmp_path)).replace("/run/redis/users.acl", str(tmp_path / "users.acl"))
    subprocess.run(["sh", "-c", script], check=True, timeout=30)
    with running_redis() as server:
        client = server.connect()
        for line in (tmp_path / "users.acl").read_text(encoding="utf-8").splitlines():
            _, name, *rules = line.split()
            if name != "default":
                client.execute_command("ACL", "SETUSER", name, *rules)
        yield server


@pytest.fixture(scope="module")
def declared(rendered: Callable[[str, str], Documents]) -> dict[str, object]:
    return container(rendered("redis", "redis.yml.j2"), "redis")


def test_it_tells_memory_and_refusals(exporter: Start, server: RedisServer, declared: dict[str, object]) -> None:
    client = server.connect()
    client.config_set("maxmemory", "64mb")
    client.set("key", "value", ex=600)
    port = exporter("redis", declared, (6379, server.port), {"REDIS_PASSWORD": PASSWORDS["monitor"]})
    samples = series.scraped(port)
    assert series.value(samples, "redis_memory_max_bytes") == 64 * 2**20
    client.config_set("maxmemory", "1")
    with pytest.raises(redis.OutOfMemoryError):
        client.set("other", "value")
    samples = series.scrape(port)
    assert series.missing(samples, "redis") == []
    assert series.value(samples, "redis_up") == 1
    assert series.value(samples, "redis_exporter_last_scrape_error", err="") == 0
    assert series.value(samples, "redis_db_keys", db="db0") == 1
    assert series.value(samples, "redis_errors_total", err="OOM") == 1
    assert sum(map(len, samples.values())) < 400


def test_it_asks_for_nothing_that_its_account_may_not(exporter: Start, server: RedisServer, declared: dict[str, object]) -> None:
    client = server.connect()
    port = exporter("redis", declared, (6379, server.port), {"REDIS_PASSWORD": PASSWORDS["monitor"]})
    for _ in range(3):
        assert series.value(series.scraped(port), "redis_up") == 1
    assert client.acl_log() == []


def test_its_account_reads_no_key_and_no_setting(server: RedisServer) -> None:
    with redis.Redis(port=server.port, username="monitor", password=PASSWORDS["monitor"]) as monitor:
        assert monitor.info("memory")["used_memory"] > 0
        for command in ("GET key", "SET key value", "CONFIG GET *", "CLIENT LIST", "ACL LIST", "KEYS *", "MONITOR", "SHUTDOWN"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                monitor.execute_command(*command.split())


def test_it_says_that_the_server_is_away(exporter: Start, server: RedisServer, declared: dict[str, object]) -> None:
    port = exporter("redis", declared, (6379, server.port), {"REDIS_PASSWORD": PASSWORDS["monitor"]})
    assert series.value(series.scraped(port), "redis_up") == 1
    server.stop()
    until(lambda: series.value(series.scrape(port), "redis_up") == 0, "the server to be missed", 30)
