"""Facts about host, engine and cluster. Each probe stands alone: it may fail or hang without hurting the others."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.images import ledger
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.readiness import State
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import data_plane, mesh_plan
from ansible_collections.bookstore.platform.plugins.module_utils.verification import web
from operator_view.settings import Settings

PROBE_SECONDS = 6.0
LEAST_DISK_GIB = 5
LEAST_MEMORY_GIB = 1


@dataclass(frozen=True)
class Fact:
    """``fix``: an error id and what to do, empty when all is well."""

    name: str
    value: str
    fix: str = ""


Probe = Callable[[Settings], Fact]


def ask(probe: Probe, settings: Settings, seconds: float = PROBE_SECONDS) -> Fact:
    """Return a probe's fact; a probe that fails or takes too long gives a fact that says so."""
    name = probe.__name__.replace("_", " ")
    answer: list[Fact] = []

    def run() -> None:
        try:
            answer.append(probe(settings))
        except Exception as error:
            answer.append(
                Fact(name, f"could not be asked: {type(error).__name__}: {first_line(error)}", _fix_of(error))
            )

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return (
        answer[0]
        if answer
        else Fact(name, f"no answer within {seconds:.0f} s", "BK-232: look at the load of this host")
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).splitlines() or [""])[0]


def _fix_of(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename == "docker":
        return "BK-230: no docker program; `make up` installs an engine"
    text = str(error)
    return f"{text[:6]}: see docs/errors.md" if text.startswith("BK-") else ""


def run(*command: str) -> str:
    """Return a program's output; subprocess.CalledProcessError when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
    return done.stdout.strip()


def connect(settings: Settings) -> Cluster:
    """Return the cluster with a short patience."""
    return Cluster(str(settings.kubeconfig), request_timeout=3.0)


# The host -------------------------------------------------------------------------------------------------------


def host(_settings: Settings) -> Fact:
    """Operating system, kernel, cores."""
    name = next(
        (
            line.split("=", 1)[1].strip('"')
            for line in _read("/etc/os-release").splitlines()
            if line.startswith("PRETTY_NAME=")
        ),
        "?",
    )
    return Fact("host", f"{name}, kernel {platform.release()}, {os.cpu_count()} cores, {platform.machine()}")


def python(_settings: Settings) -> Fact:
    """The interpreter and Ansible."""
    import ansible.release

    return Fact("python", f"{platform.python_version()} at {sys.prefix}, ansible-core {ansible.release.__version__}")


def memory(_settings: Settings) -> Fact:
    """Memory of the host."""
    values = {
        line.split(":")[0]: int(line.split()[1]) / 2**20 for line in _read("/proc/meminfo").splitlines() if "kB" in line
    }
    free, total = values["MemAvailable"], values["MemTotal"]
    fix = "" if free >= LEAST_MEMORY_GIB else "BK-231: end other programs, or give this host more memory"
    return Fact("memory", f"{free:.1f} of {total:.1f} GiB available", fix)


def disk(settings: Settings) -> Fact:
    """Disk space where the platform writes."""
    folder = next(path for path in (settings.cache, *settings.cache.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    free = usage.free / 2**30
    fix = (
        ""
        if free >= LEAST_DISK_GIB
        else f"BK-231: make room on the file system of {folder}; the cache may be deleted at any time"
    )
    return Fact("disk", f"{free:.1f} of {usage.total / 2**30:.1f} GiB free at {folder}", fix)


def inotify(_settings: Settings) -> Fact:
    """Kernel limits that three nodes need."""
    names = {"max_user_instances": 512, "max_user_watches": 524288}
    have = {name: int(_read(f"/proc/sys/fs/inotify/{name}")) for name in names}
    low = {name: least for name, least in names.items() if have[name] < least}
    fix = "BK-107: sysctl -w " + " ".join(f"fs.inotify.{n}={v}" for n, v in low.items()) if low else ""
    return Fact("inotify", ", ".join(f"{name} {value}" for name, value in have.items()), fix)


def names(settings: Settings) -> Fact:
    """The host names resolve to this host."""
    wrong = []
    for name in settings.hosts:
        try:
            if socket.gethostbyname(name) != "127.0.0.1":
                wrong.append(name)
        except OSError:
            wrong.append(name)
    fix = f"BK-208: add to /etc/hosts: 127.0.0.1 {' '.join(wrong)}" if wrong else ""
    return Fact("names", f"{len(settings.hosts) - len(wrong)} of {len(settings.hosts)} resolve to 127.0.0.1", fix)


# The engine -----------------------------------------------------------------------------------------------------


def engine(_settings: Settings) -> Fact:
    """The container engine."""
    try:
        version = run("docker", "version", "--format", "{{.Server.Version}}")
        runtime = run("docker", "info", "--format", "{{.DefaultRuntime}}, cgroup v{{.CgroupVersion}}, {{.Driver}}")
    except subprocess.CalledProcessError as error:
        return Fact(
            "engine",
            f"docker does not answer: {error.stderr.strip()[:120]}",
            "BK-230: `make up` starts it; or: dockerd's log",
        )
    return Fact("engine", f"docker {version}, runtime {runtime}")


def node_containers(settings: Settings) -> Fact:
    """The nodes' containers and their states."""
    mine = f"label=io.x-k8s.kind.cluster={settings.cluster}"
    text = run("docker", "ps", "--all", "--filter", mine, "--format", "{{.Names}} {{.State}}")
    states = dict(line.split() for line in text.splitlines())
    stopped = [name for name, state in states.items() if state != "running"]
    fix = ""
    if not states:
        fix = "BK-205: there is no cluster; run: make up"
    elif stopped:
        fix = f"BK-205: {', '.join(stopped)} not running; run: make recover"
    return Fact(
        "node containers", ", ".join(f"{name} {state}" for name, state in sorted(states.items())) or "none", fix
    )


# The cluster ----------------------------------------------------------------------------------------------------


def api_server(settings: Settings) -> Fact:
    """Whether the API server answers, and with what version."""
    version = json.loads(connect(settings).raw("/version"))
    return Fact("api server", f"answers, Kubernetes {version['gitVersion']}")


def nodes(settings: Settings) -> Fact:
    """Nodes and whether they are ready."""
    found = connect(settings).objects("Node")
    bad = [f"{n['metadata']['name']} ({v.reason})" for n in found if (v := readiness.node(n)).state is not State.READY]
    return Fact(
        "nodes",
        f"{len(found) - len(bad)} of {len(found)} ready",
        f"BK-206: {'; '.join(bad)}; run: make recover" if bad else "",
    )


def pods(settings: Settings) -> Fact:
    """Pods that are not ready, and restarts."""
    found = [
        p for p in connect(settings).objects("Pod") if mesh_plan.PROBE_LABEL not in (p["metadata"].get("labels") or {})
    ]
    bad = [
        f"{p['metadata']['namespace']}/{p['metadata']['name']} ({v.reason})"
        for p in found
        if (v := readiness.pod(p)).state is not State.READY
    ]
    restarts = sum(
        int(c.get("restartCount") or 0) for p in found for c in p.get("status", {}).get("containerStatuses") or []
    )
    fix = f"BK-207: {'; '.join(bad[:3])}{' ...' if len(bad) > 3 else ''}; run: make status" if bad else ""
    return Fact("pods", f"{len(found) - len(bad)} of {len(found)} ready, {restarts} restarts in all", fix)


def mesh(settings: Settings) -> Fact:
    """Mesh mode, what carries the traffic, and the image of istiod."""
    cluster = connect(settings)
    istiod = cluster.get("Deployment", "istio-system", "istiod")
    image = istiod["spec"]["template"]["spec"]["containers"][0]["image"] if istiod else "istiod is not deployed"
    found = data_plane.look(cluster.objects("Namespace"), cluster.objects("Pod"))
    return Fact("mesh", f"{found.describe()}; {image}", f"BK-491: {'; '.join(found.faults[:3])}; run: make up" if found.faults else "")


def gateway(settings: Settings) -> Fact:
    """Whether the gateway speaks TLS; `make verify` proves what it answers.

    The engine's proxy accepts connections even when nothing is behind it, so the connection alone tells nothing.
    """
    port = settings.https_port
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as sock:
            sock.sendall(web.client_hello(settings.api_host))
            reading = web.reading_of(sock.recv(7))
    except OSError as error:
        reading = f"no answer: {error}"
    if reading.startswith("alert"):
        return Fact("gateway", f"127.0.0.1:{port} speaks TLS and refuses 1.1")
    return Fact("gateway", f"127.0.0.1:{port}: {reading}", "BK-209: the gateway does not answer; run: make up")


# Earlier runs ---------------------------------------------------------------------------------------------------


def image_sources(settings: Settings) -> list[str]:
    """Return one text for each source of the images that were made here; what no recipe made is named."""
    path = settings.state / "ledger.json"
    made: dict[str, set[str]] = {}
    for reference, entry in ledger.Ledger(path).read().items():
        made.setdefault(entry.source, set()).add(ledger.repository(reference).rpartition("/")[2])
    return [
        f"{len(names)} images from {source}" + ("" if source == "packages" else f" ({', '.join(sorted(names))})")
        for source, names in sorted(made.items())
    ]


def images(settings: Settings) -> Fact:
    """Where the images came from."""
    path = settings.state / "ledger.json"
    if not path.is_file():
        return Fact("images", f"none made yet ({path} does not exist)")
    return Fact("images", ", ".join(image_sources(settings)) or "none made yet")


def bring_up(settings: Settings) -> Fact:
    """The last bring-up."""
    report = _report(settings, "bringup.json")
    if report is None:
        return Fact("last bring-up", "none")
    slow = sorted(report["phases"], key=lambda p: -p["seconds"])[:3]
    where = ", ".join(f"{p['name']} {p['seconds']:.0f} s" for p in slow)
    fix = "" if report["ok"] else "BK-233: it failed; run make up again and read its last lines"
    return Fact(
        "last bring-up", f"{report['started']}: {report['seconds']:.0f} s, changed {report['changed']} ({where})", fix
    )


def verification(settings: Settings) -> Fact:
    """The last verification."""
    report = _report(settings, "verify.json")
    if report is None:
        return Fact("last verify", "none", "")
    counts = report["counts"]
    bad = [f"{c['error']} {c['id']}" for c in report["checks"] if c["status"] == "failed"]
    text = f"{report['started']}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    return Fact("last verify", text, f"{', '.join(bad)}: see docs/errors.md" if bad else "")


def checkout(_settings: Settings) -> Fact:
    """Which version of the product this is."""
    here = Path(__file__).parent
    changed = run("git", "-C", str(here), "status", "--porcelain")
    commit = run("git", "-C", str(here), "rev-parse", "--short", "HEAD")
    return Fact("checkout", f"commit {commit}, {len(changed.splitlines())} files changed")


def _report(settings: Settings, name: str) -> dict[str, Any] | None:
    file = settings.state / "reports" / name
    if not file.is_file():
        return None
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


PROBES: tuple[Probe, ...] = (
    checkout, host, python, memory, disk, inotify, names, engine, node_containers, api_server, nodes, pods, mesh,
    gateway, images, bring_up, verification,
)  # fmt: skip
