"""What must be true of a host before anything is created. Each fault carries its id and its remedy."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ..engine.docker import containers, docker, inspect

HOSTS_FILE = Path("/etc/hosts")


def unknown_variables(given: Iterable[str], known: Iterable[str], facts: Iterable[str]) -> list[str]:
    """Return a fault for each given bookstore_* variable that no inventory file declares (BK-111)."""
    names = set(known) | set(facts)
    faults = []
    for name in sorted(set(given) - names):
        close = get_close_matches(name, sorted(names), n=1)
        hint = f"did you mean {close[0]}?" if close else "inventory/local/group_vars/all lists them"
        faults.append(f"BK-111: no variable is named {name}; {hint}")
    return faults


def unknown_extra_variables(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a fault for each variable given with -e that nothing reads (BK-116); Ansible itself would ignore it."""
    names = set(known)
    faults = []
    for name in sorted(set(given) - names):
        if name.startswith("ansible_"):
            continue
        if name == "rotate":
            faults.append("BK-116: rotate: no playbook can change a Secret yet, because nothing would restart its consumers; leave it out")
            continue
        close = get_close_matches(name, sorted(names), n=1)
        hint = f"did you mean {close[0]}?" if close else "inventory/local/group_vars/all and roles/*/meta/argument_specs.yml list them"
        faults.append(f"BK-116: -e {name}: this playbook and its roles read no such variable; {hint}")
    return faults


def role_variables(roles: Path) -> set[str]:
    """Return the names of all options of all roles."""
    names: set[str] = set()
    for file in sorted(roles.glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"].values():
            names |= set(entry.get("options") or {})
    return names


def declared_variables(folder: Path) -> set[str]:
    """Return the top-level names of all YAML files of a folder."""
    names: set[str] = set()
    for file in sorted(folder.glob("*.yml")):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line[:1].isalpha() and ":" in line:
                names.add(line.split(":", 1)[0])
    return names


def broken_archives(folder: str) -> list[str]:
    """Return a fault for each archive of ``folder`` that is not a docker or OCI archive (BK-112)."""
    if not folder:
        return []
    path = Path(folder)
    if not path.is_dir():
        return [f"BK-112: bookstore_image_archives={folder} is not a folder; name one that holds <image>.tar files, or leave it empty"]
    faults = []
    for file in sorted(path.iterdir()):
        if file.suffixes[-1:] != [".tar"] and "".join(file.suffixes[-2:]) not in (".tar.gz",) and file.suffix != ".tgz":
            continue
        try:
            with tarfile.open(file) as archive:
                names = {name.removeprefix("./") for name in archive.getnames()}
            broken = not names & {"manifest.json", "index.json"} and "it holds neither manifest.json nor index.json"
        except (tarfile.TarError, OSError, EOFError) as error:
            broken = str(error)
        if broken:
            faults.append(f"BK-112: bookstore_image_archives: {file} is broken ({broken}); write it again with `docker save`, or remove it")
    return faults


def missing_packages(
    packages: Iterable[dict[str, object]], engine: bool, which: Callable[[str], str | None], root: bool
) -> list[str]:
    """Return the distribution packages whose program is not there and is needed; ``deferred`` ones do not wait for ``root``."""
    wanted: list[str] = []
    for entry in packages:
        if (engine and not entry["when_engine_answers"]) or (root and entry.get("deferred")):
            continue
        if which(str(entry["program"])) is None and entry["package"] not in wanted:
            wanted.append(str(entry["package"]))
    return wanted


def find_program(name: str) -> str | None:
    """Return the path of a program; administrators' folders count even when PATH lacks them."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")


def low_sysctls(wanted: dict[str, int], root: Path = Path("/proc/sys")) -> dict[str, int]:
    """Return the kernel settings that are below what is wanted."""
    low = {}
    for name, least in wanted.items():
        path = root / name.replace(".", "/")
        if path.is_file() and int(path.read_text().split()[0]) < least:
            low[name] = least
    return low


def raise_sysctls(low: dict[str, int], conf: Path, root: Path = Path("/proc/sys")) -> None:
    """Set kernel settings now and for later starts of the host."""
    for name, value in low.items():
        (root / name.replace(".", "/")).write_text(f"{value}\n", encoding="ascii")
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("".join(f"{name} = {value}\n" for name, value in sorted(low.items())), encoding="ascii")


def memory_fault(meminfo: str, minimum_mib: int, cluster_up: bool) -> list[str]:
    """Return a fault when too little memory is available (BK-103); a running cluster has taken its share."""
    fields = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in meminfo.splitlines() if ":" in line}
    available = fields["MemTotal" if cluster_up else "MemAvailable"]
    if available >= minimum_mib:
        return []
    return [f"BK-103: {available} MiB of memory are available, the platform needs {minimum_mib} MiB; "
            "stop other programs or use a larger host (host_minimum_memory_mib)"]


def disk_faults(paths: Iterable[str], minimum_gib: int) -> list[str]:
    """Return a fault for each file system with too little free space (BK-104)."""
    faults, seen = [], set()
    for name in paths:
        path = Path(name)
        while not path.exists():
            path = path.parent
        device = path.stat().st_dev
        free = shutil.disk_usage(path).free // 2**30
        if device not in seen and free < minimum_gib:
            faults.append(f"BK-104: {free} GiB are free for {name}, {minimum_gib} GiB are needed; "
                          "free some, or point bookstore_cache_dir and bookstore_data_dir to a larger disk")
        seen.add(device)
    return faults


def port_fault(port: int, owner: str) -> str:
    """Return the fault of a port that something else holds (BK-105)."""
    return (f"BK-105: port {port} on 127.0.0.1 is in use by {owner}; stop it, "
            "or change the port in workloads.yml or network.yml of inventory/local/group_vars/all")


def port_owner(port: int) -> str | None:
    """Return who listens on a TCP port of the loopback address, or None when it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return None
        except OSError:
            pass
    return _listening_process(port) or "another program"


def _listening_process(port: int) -> str | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for handle in (process / "fd").iterdir():
                if os.readlink(handle) in inodes:
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    return f"process {process.name} ({command[:120]})"
        except OSError:
            continue
    return None


def unresolved(hostnames: Iterable[str], resolve: Callable[[str], str] = socket.gethostbyname) -> list[str]:
    """Return the names that do not resolve to the loopback address."""
    wrong = []
    for name in hostnames:
        try:
            if resolve(name) != "127.0.0.1":
                wrong.append(name)
        except OSError:
            wrong.append(name)
    return wrong


def hosts_line(names: Iterable[str]) -> str:
    """Return the line of the hosts file for names of this host."""
    return f"127.0.0.1 {' '.join(names)}"


def _hosts_entries(text: str) -> list[tuple[int, str, list[str]]]:
    """Return number, address and names of each line of a hosts file."""
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        address, *names = line.split("#", 1)[0].split() or [""]
        if address:
            entries.append((number, address, names))
    return entries


def names_in_the_way(text: str, names: Iterable[str]) -> list[str]:
    """Return a fault for each line of the hosts file that gives one of these names another address (BK-297): the first line wins."""
    wanted, lines = set(names), text.splitlines()
    return [
        f"BK-297: line {number} of {HOSTS_FILE} ({lines[number - 1].strip()}) gives {', '.join(sorted(wanted & set(found)))} an address "
        "other than 127.0.0.1; remove the name from that line, then run again"
        for number, address, found in _hosts_entries(text)
        if wanted & set(found) and address not in ("127.0.0.1", "::1")
    ]


def with_names(text: str, names: Iterable[str]) -> str:
    """Return the hosts file's text with a line for those of the names that it does not have on this host's address yet."""
    there = {name for _, address, found in _hosts_entries(text) if address == "127.0.0.1" for name in found}
    missing = [name for name in names if name not in there]
    if not missing:
        return text
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}{hosts_line(missing)}\n"


def add_names(file: Path, names: Iterable[str]) -> bool:
    """Write the names into the hosts file; tell whether anything was missing. In place: in a container the file is a mount."""
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    wanted = with_names(text, names)
    if wanted != text:
        with open(file, "a", encoding="utf-8", errors="surrogateescape") as handle:
            handle.write(wanted[len(text):])
    return wanted != text


def names_fault(names: list[str]) -> str:
    """Return the fault of names that do not resolve (BK-106)."""
    return (f"BK-106: {', '.join(names)} must resolve to 127.0.0.1; add this line to {HOSTS_FILE}, "
            f"or set bookstore_manage_hosts=true to have it written:\n{hosts_line(names)}")


def overlapping_network(cidr: str, networks: Iterable[dict[str, object]], own: str) -> list[str]:
    """Return a fault when another network of the engine overlaps the nodes' (BK-109)."""
    wanted = ipaddress.ip_network(cidr)
    for network in networks:
        ipam = network.get("IPAM")
        for config in (ipam.get("Config") or []) if isinstance(ipam, dict) else []:
            subnet = ipaddress.ip_network(config["Subnet"])
            if network["Name"] != own and subnet.version == wanted.version and subnet.overlaps(wanted):
                return [f"BK-109: bookstore_node_cidr={cidr} overlaps the network {network['Name']} ({subnet}) of the engine; "
                        "choose another range in inventory/local/group_vars/all/network.yml"]
    return []


def engine_networks() -> list[dict[str, object]]:
    """Return the engine's networks as it describes them."""
    found: list[dict[str, object]] = json.loads(docker("network", "inspect", *docker("network", "ls", "--format", "{{.Name}}").split()))
    return found


def own_nodes(cluster: str) -> list[dict[str, Any]]:
    """Return the descriptions of the cluster's node containers, running or not; kind's label tells them, not their names."""
    return list(containers(f"io.x-k8s.kind.cluster={cluster}").values())


def own_registry(cluster: str) -> list[dict[str, Any]]:
    """Return the description of the nodes' registry, if there is one."""
    name = f"{cluster}-registry"
    return inspect([name]) if name in docker("container", "ls", "--all", "--format", "{{.Names}}").split() else []


def held_ports(own: Iterable[dict[str, Any]]) -> set[int]:
    """Return the host ports that running ones of these containers hold; those of a stopped one may be somebody else's by now."""
    ports = set()
    for container in own:
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values() if container["State"]["Running"] else ():
            ports |= {int(binding["HostPort"]) for binding in bindings or [] if binding["HostPort"].isdigit()}
    return ports


def port_faults(
    ports: Iterable[int], held: Callable[[], set[int]], owner_of: Callable[[int], str | None] = port_owner
) -> list[str]:
    """Return a fault for each port that is in use, but not by our own containers."""
    ours = held()
    busy = {port: owner for port in ports if port not in ours and (owner := owner_of(port)) is not None}
    # Just after its own start the engine is starting them.
    ours = held() if busy else ours
    return [port_fault(port, owner) for port, owner in busy.items() if port not in ours]
