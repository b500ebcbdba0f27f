"""`tools/follow ORDER [--kubeconfig FILE]`: asks databases and logs, and prints the order's trail.

Exit status: 0 the order went all of its way; 3 it stopped, or is still under way; 4 a part could not be asked, so nobody can tell;
1 the order's id is none, nobody knows it, or there is no cluster to ask; 2 the arguments are wrong.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, path_of, whole
from operator_view import settings
from operator_view.follow import seen as evidence
from operator_view.follow import trail
from operator_view.follow.seen import Log, Seen

COMPLETE, FAILED, STOPPED, UNKNOWN = 0, 1, 3, 4
# Of each call; four rounds of calls follow each other.
SECONDS = 10.0
# Of each container: as the kubelet keeps them, a file has 10 MiB.
LOG_BYTES = 4 * 1024 * 1024
# How far back logs are read when ecom-db does not say when the order was placed.
BLIND = timedelta(hours=1)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EXAMPLE = "01234567-89ab-5cde-8f01-23456789abcd"
END = "--"
SERVICES = {
    "gateway": ("gateway", "gateway.networking.k8s.io/gateway-name=bookstore-gateway"),
    **{
        name: (namespace, f"app.kubernetes.io/name={name}")
        for name, namespace in (
            ("ecom-api", "ecom"), ("ecom-worker", "ecom"), ("inventory-api", "inventory"), ("inventory-worker", "inventory"),
            ("admin-api", "admin"),
        )
    },
}  # fmt: skip
# A statement that takes longer ends by itself, and none can write.
OPTIONS = f"-c default_transaction_read_only=on -c statement_timeout={int(SECONDS * 800)} -c timezone=UTC"


class FollowError(Exception):
    """What keeps the tool from following; the text has an id."""


def order_id(text: str) -> str:
    """The id as databases and logs write it; FollowError (BK-456) for anything else."""
    found = text.strip().lower()
    if not ID.fullmatch(found):
        raise FollowError(f"BK-456: ORDER={text[:60]!r} is no id of an order; write its UUID, as the shop shows it: {EXAMPLE}")
    return found


def query(cluster: Cluster, place: str, statement: str) -> str:
    """Run a statement in the database of a service, which cannot write."""
    command = ["env", f"PGOPTIONS={OPTIONS}", "psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={place}db",
               "--no-psqlrc", "-tAq", "--set=ON_ERROR_STOP=1", f"--command={statement}", f"--command=SELECT '{END}'"]  # fmt: skip
    return whole(cluster, place, f"{place}-db-0", "postgresql", command, SECONDS, END)


def _started(status: dict[str, Any], previous: bool) -> datetime | None:
    state: dict[str, Any] = status.get("lastState" if previous else "state") or {}
    text = (state.get("terminated") or state.get("running") or {}).get("startedAt")
    return evidence.moment(text) if text else None


def logs(cluster: Cluster, service: str, since: datetime) -> list[Log]:
    """What the containers of a service printed since; of one that was started again after that, also its last process."""
    namespace, selector = SERVICES[service]
    found = []
    for pod in cluster.objects("Pod", namespace, labelSelector=selector):
        container = pod["spec"]["containers"][0]["name"] if service != "gateway" else "istio-proxy"
        if service in {one["name"] for one in pod["spec"]["containers"]}:
            container = service
        status: dict[str, Any] = next((one for one in pod.get("status", {}).get("containerStatuses") or [] if one["name"] == container), {})
        begins = _started(status, previous=False)
        for previous in [False, *([True] if status.get("restartCount") and begins and begins > since else [])]:
            values = {"container": container, "previous": str(previous).lower(), "limitBytes": str(LOG_BYTES)}
            values["sinceTime"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            try:
                text = cluster.raw(f"{path_of('Pod', namespace, pod['metadata']['name'])}/log", query=values)
            except ClusterError as error:
                if error.status not in (400, 404):
                    raise
                continue  # not started yet, or the last process' log is gone
            found.append(Log(service, text, _started(status, previous), len(text.encode()) >= LOG_BYTES))
    if not found:
        raise ClusterError("no pod of it has a log")
    return found


def reason(error: Exception) -> str:
    """What PostgreSQL says, else the first line; not the statement."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line[line.index("ERROR:") :] for line in lines if "ERROR:" in line), lines[0])[:200]


def look(cluster: Cluster, order: str) -> Seen:
    """Ask everybody. Who does not answer is away, and keeps nobody else from answering."""
    seen = Seen(order)

    def ask(part: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (ClusterError, ValueError, KeyError) as error:
            seen.away[part] = reason(error)
            return None

    def database(part: str, place: str, statement: str) -> None:
        ask(part, lambda: evidence.put(seen, part, query(cluster, place, statement)))

    # The first one decides what the others are asked for.
    cluster.raw("/version")
    database("ecom-db", "ecom", evidence.ecom(order))
    placed = evidence.moment(seen.order["created_at"]) if seen.order else None
    since = placed - timedelta(minutes=1) if placed else datetime.now(UTC) - BLIND
    with ThreadPoolExecutor(max_workers=4) as pool:
        consumed = evidence.inventory(order, [one.id for one in seen.events], placed)
        rest = [
            pool.submit(database, "inventory-db", "inventory", consumed),
            pool.submit(database, "analytics-db", "analytics", evidence.analytics(order)),
        ]
        asked = [pool.submit(ask, f"log of {service}", lambda name=service: logs(cluster, name, since)) for service in SERVICES]  # type: ignore[misc]
        for one in asked:
            seen.logs += one.result() or []
        for one in rest:
            one.result()
    rejected = [one.id for one in seen.caused if one.type == "inventory.rejected"]
    if rejected and "ecom-db" not in seen.away:
        database("ecom-db (consumed)", "ecom", evidence.consumed(rejected))
        if why := seen.away.pop("ecom-db (consumed)", ""):
            seen.away["ecom-db"] = why
    return seen


def report(seen: Seen) -> tuple[list[str], int]:
    """The text, and the exit status; FollowError (BK-456) when everybody was asked and nobody knows the order."""
    databases = [part for part in seen.away if part.endswith("-db")]
    if not seen.known and not databases:
        raise FollowError(f"BK-456: no order has the id {seen.order_id}, and neither Inventory nor analytics know it")
    ids = trail.request_ids(seen)
    out = [f"Order {seen.order_id}", *(f"Request {one}" for one in ids)]
    lines = sorted([*trail.rows(seen), *trail.logged(seen, ids)], key=lambda line: line.at)
    width = max((len(line.where) for line in lines), default=0)
    out += [f"{trail.clock(line.at)}  {line.where:<{width}}  {line.text}" for line in lines]
    out += [f"BK-457: {part} was not asked: {reason}" for part, reason in sorted(seen.away.items())]
    out += [f"note: {note}" for note in trail.log_notes(seen, ids)]
    way = trail.steps(seen)
    marks = {True: "done", False: "STOP", None: "?"}
    out += [f"{marks[step.done]:<5} {step.text}" for step in way]
    if stop := next((step for step in way if step.done is False), None):
        return [*out, f"BK-458: it stopped here: {stop.text}"], STOPPED
    if unknown := next((step for step in way if step.done is None), None):
        return [*out, f"Not known: {unknown.text}"], UNKNOWN
    return [*out, "Complete: nothing is missing"], COMPLETE


def main(arguments: Sequence[str] = ()) -> int:
    """Print the trail."""
    parser = argparse.ArgumentParser(prog="tools/follow", description="Follow one order through gateway, services, events and analytics.")
    parser.add_argument("order", metavar="ORDER", help="the order's id, a UUID")
    parser.add_argument("--kubeconfig", type=Path, help="another file than the one that `make up` wrote")
    given = parser.parse_args(arguments)
    try:
        order = order_id(given.order)
        file = given.kubeconfig or settings.load().kubeconfig
        text, status = report(look(Cluster(str(file), request_timeout=SECONDS), order))
    except (FollowError, ClusterError) as error:
        print(error)
        return FAILED
    print("\n".join(text))
    return status
