"""What playbooks ask of the Flink cluster, run beside the JobManager. The answer is one line of JSON.

    describe      {jobs: [{id, name, state, hash, settings_hash, tasks, running, checkpoint, failure}],
                   retained: {name: {hash: path}}}
    apply PLAN    PLAN: {stop: [{id, name, savepoint}], submit: [{name, hash, settings_hash, sql, start}],
                  settings: {option: value}}; savepoint: whether to write one; start: "savepoint" of this call's stop,
                  newest "checkpoint" of the same hash if there is one, or "beginning";
                  answers {savepoints: {name: path}, submitted: {name: id}, restored: {name: path}, reread: [name]}

A job whose checkpoint or savepoint cannot be read starts from the beginning (it is in reread then): that is always right,
because its topic holds the latest row of each key.

The hashes of a job's SQL and settings travel in its job parameters, so they live exactly as long as the job: high
availability brings both back. Checkpoints lie below jobs/NAME/HASH, so that no job is ever given the state of another statement. Submission
is PyFlink's, in one process for all jobs, because its virtual machine starts slowly.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import Any

Object = dict[str, Any]

PORT = int(os.environ.get("FLINK_REST_PORT", "8082"))
STATE = Path(os.environ.get("FLINK_STATE", "/var/lib/flink"))
TIMEOUT_S = float(os.environ.get("FLINK_TIMEOUT", "60"))
POLL_S = 0.2
HASH = "bookstore.sql-hash"
SETTINGS_HASH = "bookstore.settings-hash"
# JobStatus.isGloballyTerminalState of Flink's sources.
ENDED = ("FAILED", "CANCELED", "FINISHED")
# Of a job that the JobManager is still reading in, and of a JobManager that is not the leader yet.
NOT_YET = (404, 503)


class RefusedError(RuntimeError):
    """The cluster did not do in time what it was asked for."""


def call(path: str, body: Object | None = None, method: str | None = None) -> Any:
    """Return the REST API's answer, None for an empty one; HTTPError when it refuses, URLError when it does not answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def job(overview: Object) -> Object:
    """Return what is known of a job of the overview; ``checkpoint``: end of its newest one, ms since the epoch."""
    path = f"/jobs/{overview['jid']}"
    found = {
        "id": overview["jid"], "name": overview["name"], "state": overview["state"], "hash": None, "settings_hash": None,
        "tasks": overview["tasks"]["total"], "running": overview["tasks"]["running"], "checkpoint": None, "failure": "",
    }  # fmt: skip
    if overview["state"] == "INITIALIZING":
        return found
    configuration = (call(f"{path}/config") or {}).get("execution-config") or {}
    parameters = configuration.get("user-config") or {}
    found["hash"], found["settings_hash"] = parameters.get(HASH), parameters.get(SETTINGS_HASH)
    completed = ((call(f"{path}/checkpoints") or {}).get("latest") or {}).get("completed") or {}
    found["checkpoint"] = completed.get("latest_ack_timestamp")
    exceptions = ((call(f"{path}/exceptions?maxExceptions=1") or {}).get("exceptionHistory") or {}).get("entries") or []
    found["failure"] = " ".join(cause(exceptions[0]["stacktrace"]).split())[:400] if exceptions else ""
    return found


def cause(stacktrace: str) -> str:
    """Return the innermost cause of a stack trace."""
    lines = [line.strip() for line in stacktrace.splitlines()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return causes[-1] if causes else (lines or [""])[0]


def listing() -> list[Object]:
    """Return the jobs, newest first, as soon as there is a leader and it has read all of them."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            jobs = [job(one) for one in sorted(call("/jobs/overview")["jobs"], key=lambda one: -one["start-time"])]
            if all(one["state"] != "INITIALIZING" for one in jobs):
                return jobs
            seen = f"{[one['name'] for one in jobs if one['state'] == 'INITIALIZING']} INITIALIZING"
        except urllib.error.HTTPError as error:
            if error.code not in NOT_YET:
                raise
            seen = f"answered {error.code}: {error.read()[:200].decode(errors='replace')}"
        except urllib.error.URLError as error:
            seen = f"no answer: {error.reason}"
        if time.monotonic() > deadline:
            raise RefusedError(f"the JobManager was not ready within {TIMEOUT_S:.0f} s: {seen}")
        time.sleep(POLL_S)


def retained() -> dict[str, dict[str, str]]:
    """Return the newest complete checkpoint of each job and hash. One that was cut off by a hard stop may be empty."""
    newest: dict[tuple[str, str], tuple[float, str]] = {}
    for file in STATE.glob("jobs/*/*/*/chk-*/_metadata"):
        status = file.stat()
        if status.st_size:
            entry = (status.st_mtime, f"file://{file.parent}")
            key = (file.parts[-5], file.parts[-4])
            newest[key] = max(newest.get(key, entry), entry)
    found: dict[str, dict[str, str]] = {}
    for (name, digest), (_, path) in sorted(newest.items()):
        found.setdefault(name, {})[digest] = path
    return found


def ended(identity: str) -> str:
    """Wait until a job has ended; return its last state."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        state = str(call(f"/jobs/{identity}/status")["status"])
        if state in ENDED:
            return state
        if time.monotonic() > deadline:
            raise RefusedError(f"job {identity} did not end within {TIMEOUT_S:.0f} s: {state}")
        time.sleep(POLL_S)


def stop(identity: str, folder: str) -> str:
    """Stop a job with a savepoint below ``folder``; return its path."""
    trigger = call(f"/jobs/{identity}/stop", {"targetDirectory": folder, "drain": False})["request-id"]
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        status = call(f"/jobs/{identity}/savepoints/{trigger}")
        if status["status"]["id"] == "COMPLETED":
            operation = status["operation"]
            if "location" not in operation:
                raise RefusedError(f"no savepoint of job {identity}: {' '.join(str(operation.get('failure-cause')).split())[:400]}")
            ended(identity)
            return str(operation["location"])
        if time.monotonic() > deadline:
            raise RefusedError(f"no savepoint of job {identity} within {TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)


def cancel(identity: str) -> None:
    """End a job; its newest checkpoint is retained."""
    call(f"/jobs/{identity}?mode=cancel", method="PATCH")
    ended(identity)


def statements(sql: str) -> list[str]:
    """Return the statements of a file: they end with a semicolon at the end of a line; comments are whole lines.

    A statement set, EXECUTE STATEMENT SET BEGIN to END, is one statement.
    """
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    found: list[str] = []
    for part in ("\n".join(lines) + "\n").split(";\n"):
        statement = part.strip()
        if found and opens_set(found[-1]) and found[-1].splitlines()[-1].strip().upper() != "END":
            # Each statement inside of a set keeps its semicolon.
            found[-1] += f";\n{statement}"
        elif statement:
            found.append(statement)
    return found


def opens_set(statement: str) -> bool:
    """Return whether a statement is, or begins, a statement set."""
    return " ".join(statement.split()).upper().startswith("EXECUTE STATEMENT SET BEGIN ")


def submit(wanted: Object, common: dict[str, str], restore: str | None) -> str:
    """Submit a job in a table environment of its own, with the ``common`` settings and the state below ``restore``; return its id."""
    # Only in the image, and slow to import.
    flink, table = import_module("pyflink.common"), import_module("pyflink.table")
    settings = {
        **common,
        "execution.target": "remote",
        "rest.address": "127.0.0.1",
        "rest.port": str(PORT),
        # The client asks this JobManager, not the leader that the API server names.
        "high-availability.type": "none",
        "pipeline.name": wanted["name"],
        "pipeline.global-job-parameters": f"{HASH}:{wanted['hash']},{SETTINGS_HASH}:{wanted['settings_hash']}",
        "execution.checkpointing.dir": f"file://{STATE}/jobs/{wanted['name']}/{wanted['hash']}",
    }
    if restore:
        settings["execution.state-recovery.path"] = restore
        # The new job owns the old one's checkpoint and deletes it when it has better ones.
        settings["execution.state-recovery.claim-mode"] = "CLAIM"
    configuration = flink.Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    mode = table.EnvironmentSettings.new_instance().in_streaming_mode()
    environment = table.TableEnvironment.create(mode.with_configuration(configuration).build())
    try:
        clients = [environment.execute_sql(statement).get_job_client() for statement in statements(wanted["sql"])]
    except Exception as error:
        # PyFlink passes on what the virtual machine throws, as several classes and with several stack traces.
        raise RefusedError(f"job {wanted['name']} was not accepted: {cause(str(error))[:600]}") from error
    return next(str(client.get_job_id()) for client in clients if client is not None)


def submit_all(plan: list[Object], common: dict[str, str], restored: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Submit the jobs; return name to id, and the names of those whose state could not be read."""
    submitted, reread = {}, []
    for wanted in plan:
        name = wanted["name"]
        try:
            submitted[name] = submit(wanted, common, restored.get(name))
        except RefusedError as error:
            if name not in restored:
                raise
            print(f"{error}; {name} starts from the beginning", file=sys.stderr)
            submitted[name] = submit(wanted, common, None)
            reread.append(name)
    return submitted, reread


def sweep(active: set[str]) -> None:
    """Remove folders of ended jobs, except the newest of each name that could still be restored, and old savepoints."""
    for name in STATE.glob("jobs/*"):
        old = [folder for folder in name.glob("*/*") if folder.name not in active]
        usable = [folder for folder in old if any(file.stat().st_size for file in folder.glob("chk-*/_metadata"))]
        keep = max(usable, key=lambda folder: folder.stat().st_mtime, default=None)
        for folder in old:
            if folder != keep:
                shutil.rmtree(folder)
        for digest in name.glob("*"):
            if not any(digest.iterdir()):
                digest.rmdir()
    for name in STATE.glob("savepoints/*"):
        for folder in sorted(name.glob("*"), key=lambda one: one.stat().st_mtime)[:-1]:
            shutil.rmtree(folder)


def apply(plan: Object) -> Object:
    """Stop, then submit, then clean up."""
    savepoints = {}
    for one in plan["stop"]:
        if one["savepoint"]:
            savepoints[one["name"]] = stop(one["id"], f"file://{STATE}/savepoints/{one['name']}")
        else:
            cancel(one["id"])
    checkpoints = retained()
    restored = {}
    for one in plan["submit"]:
        name, start = one["name"], one["start"]
        if start == "savepoint":
            restored[name] = savepoints[name]
        elif start == "checkpoint" and one["hash"] in checkpoints.get(name, {}):
            restored[name] = checkpoints[name][one["hash"]]
    submitted, reread = submit_all(plan["submit"], plan["settings"], restored)
    sweep({one["jid"] for one in call("/jobs/overview")["jobs"] if one["state"] not in ENDED})
    return {"savepoints": savepoints, "submitted": submitted, "restored": restored, "reread": reread}


def main(arguments: list[str]) -> None:
    """Carry out one request."""
    match arguments:
        case ["describe"]:
            answer: Object = {"jobs": listing(), "retained": retained()}
        case ["apply", plan]:
            answer = apply(json.loads(plan))
        case _:
            sys.exit(str(__doc__))
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RefusedError as error:
        sys.exit(str(error))
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url} answered {error.code}: {' '.join(error.read().decode(errors='replace').split())[:400]}")
