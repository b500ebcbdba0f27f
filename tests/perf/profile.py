"""Where a service's processor time goes: the ecom-api under load, as a process of this machine beside its real peers.

``PYTHONPATH=apps/common/src python -m tests.perf.profile --target list --target checkout --requests 300``. PostgreSQL, Redis
and the other services are processes, too, as in the contract tests; only Keycloak is an imitation, and there is no mesh. Each
target is run twice: once plainly, for processor time per request, and once under cProfile, for shares by package. cProfile
makes small functions look dearer than they are, so shares are for comparing, not for adding up. It judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import pstats
import signal
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from bookstore_common.testing.postgres import running_postgres
from bookstore_common.testing.redis import running_redis
from bookstore_common.testing.tokens import Issuer

from tests.contract.stack import SESSION, SHOP, Stack, running
from tests.live.signin import SHIPPING
from tests.live.tls import plain_client
from tests.live.waiting import until

from .machine import REPORTS, facts, sentence, table

BOOK = "00000000-0000-0000-0000-000000000001"
WARM_UP = 20
ROWS = 12
# Between these two signals, so that neither imports nor the warm-up count. The file appears when it is complete.
STARTER = """
import cProfile, os, runpy, signal
profile = cProfile.Profile()
def end(*_):
    profile.disable()
    profile.dump_stats({path!r} + ".part")
    os.rename({path!r} + ".part", {path!r})
signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
signal.signal(signal.SIGUSR2, end)
runpy.run_module("ecom", run_name="__main__", alter_sys=True)
"""
Send = Callable[[httpx2.Client, dict[str, str]], httpx2.Response]


def _cart(client: httpx2.Client, headers: dict[str, str]) -> httpx2.Response:
    return client.post("/ecom/cart/items", json={"book_id": BOOK, "quantity": 1}, headers=headers)


def _checkout(client: httpx2.Client, headers: dict[str, str]) -> httpx2.Response:
    """An order of one book; what fills the cart is part of it."""
    total = _cart(client, headers).json()["total"]
    body = {"shipping": SHIPPING, "expected_total": total}
    return client.post("/ecom/checkout", json=body, headers={**headers, "Idempotency-Key": str(uuid.uuid4())})


TARGETS: dict[str, Send] = {
    "list": lambda client, _: client.get("/ecom/books", headers={"Cache-Control": "no-cache"}),
    "search": lambda client, _: client.get("/ecom/books/search?q=the"),
    "cart": lambda client, headers: client.get("/ecom/cart", headers=headers),
    "checkout": _checkout,
}


def spent(pid: int) -> float:
    """Processor seconds of a process, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(stack: Stack, send: Send, requests: int, profile: Path | None = None) -> float:
    """Send requests one after the other; returns the service's processor time per request in ms."""
    pid = stack.pids["ecom"]
    headers = {**stack.issuer.headers(sid=SESSION), "X-CSRF-Token": stack.csrf(), "Origin": SHOP}
    with plain_client(base_url=stack.urls["ecom", "public"], timeout=60) as client:
        _stock_up(client, stack)
        for number in range(WARM_UP + requests):
            if number == WARM_UP:
                before = spent(pid)
                if profile:
                    os.kill(pid, signal.SIGUSR1)
            answer = send(client, headers)
            if not answer.is_success:
                raise SystemExit(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
        if profile:
            os.kill(pid, signal.SIGUSR2)
            client.get("/ecom/health")  # the handler runs when the process has something to do
            until(profile.exists, "the profile", 30)
    return (spent(pid) - before) / requests * 1000


def _stock_up(client: httpx2.Client, stack: Stack) -> None:
    """More copies than are ordered."""
    address = f"{stack.urls['inventory', 'internal']}/internal/admin/stock/{BOOK}"
    headers = stack.issuer.headers(roles=["admin"])
    counted = client.get(address, headers=headers).raise_for_status()
    if_match = {"if-match": counted.headers["etag"]}
    client.put(address, json={"quantity": 1_000_000}, headers={**headers, **if_match}).raise_for_status()


def package(path: str) -> str:
    """What a profiled file belongs to: a distribution, one of our domains, or Python itself."""
    if path.startswith(("~", "<")):
        return "(built in)"
    parts = Path(path).parts
    for folder in ("site-packages", "src"):
        if folder in parts:
            inside = parts[len(parts) - parts[::-1].index(folder) :]
            return "/".join(inside[:2]).removesuffix(".py") if folder == "src" else inside[0].removesuffix(".py")
    return "(standard library)"


def shares(profile: Path) -> list[tuple[str, float]]:
    """Own time by package as a percentage; what is built in counts for who calls it. Waiting for events is left out."""
    seconds: Counter[str] = Counter()
    entries: dict[Any, Any] = pstats.Stats(str(profile)).stats  # type: ignore[attr-defined] # not in the stubs
    for (path, _line, name), (_calls, _own_calls, own, _all, callers) in entries.items():
        if "poll" in name or "run_forever" in name or "run_until_complete" in name:
            continue
        if package(path) == "(built in)" and callers:
            for (caller, _, _), (_, _, part, _) in callers.items():
                seconds[package(caller)] += part
        else:
            seconds[package(path)] += own
    whole = sum(seconds.values())
    return [(name, round(part / whole * 100, 1)) for name, part in seconds.most_common(ROWS)]


def measure(target: str, requests: int) -> dict[str, Any]:
    """One target, plainly and profiled."""
    issuer = Issuer()
    try:
        with tempfile.TemporaryDirectory() as place, running_postgres() as postgres, running_redis() as redis:
            folder = Path(place)
            with running(postgres, redis, issuer, folder) as stack:
                cpu_ms = load(stack, TARGETS[target], requests)
            redis.flush()
            profile = folder / "ecom.prof"
            with running(postgres, redis, issuer, folder, {"ecom": ("-c", STARTER.format(path=str(profile)))}) as stack:
                load(stack, TARGETS[target], requests, profile)
            return {"target": target, "requests": requests, "cpu_ms": round(cpu_ms, 2), "shares": shares(profile)}
    finally:
        issuer.server.stop()


def main() -> int:
    """Measure, print, and keep the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.perf.profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    found = facts()
    print(sentence(found))
    results = [measure(target, arguments.requests) for target in arguments.target or ["list", "checkout"]]
    for result in results:
        print(f"\n{result['target']}: {result['cpu_ms']} ms of processor time per request")
        print(table(("package", "own time %"), result["shares"]))
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / "perf-profile.json"
    report.write_text(json.dumps({"machine": found, "results": results}, indent=1), "utf-8")
    print(f"\n{report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
