"""Preflight: each fault names the variable or resource, its value and the remedy."""

from __future__ import annotations

import io
import socket
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.host import docker_engine
from ansible_collections.bookstore.platform.plugins.module_utils.host import host_preflight as preflight
from ansible_collections.bookstore.platform.plugins.modules import host_preflight


def test_typo_in_a_variable_suggests_the_right_one() -> None:
    faults = preflight.unknown_variables(["bookstore_image_sorce"], ["bookstore_image_source"], [])
    assert faults == ["BK-111: no variable is named bookstore_image_sorce; did you mean bookstore_image_source?"]


def test_declared_and_computed_variables_are_known() -> None:
    assert preflight.unknown_variables(["bookstore_a", "bookstore_images"], ["bookstore_a"], ["bookstore_images"]) == []


def test_declared_variables_are_top_level_keys(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("---\n# c: d\nbookstore_a: 1\nbookstore_b:\n  inner: 2\n")
    assert preflight.declared_variables(tmp_path) == {"bookstore_a", "bookstore_b"}


def archive(path: Path, member: str) -> None:
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo(member), io.BytesIO())


def test_archives(tmp_path: Path) -> None:
    archive(tmp_path / "good.tar", "manifest.json")
    archive(tmp_path / "oci.tar", "./index.json")
    archive(tmp_path / "other.tar", "readme")
    (tmp_path / "cut.tar").write_bytes(b"not an archive")
    (tmp_path / "notes.txt").write_text("ignored")
    faults = preflight.broken_archives(str(tmp_path))
    assert len(faults) == 2
    assert all(fault.startswith("BK-112: bookstore_image_archives: ") for fault in faults)
    assert "cut.tar" in faults[0]
    assert "other.tar" in faults[1]


def test_no_archives_and_a_missing_folder(tmp_path: Path) -> None:
    assert preflight.broken_archives("") == []
    assert "is not a folder" in preflight.broken_archives(str(tmp_path / "none"))[0]


@pytest.mark.parametrize(("engine", "expected"), [(False, ["docker.io"]), (True, [])])
def test_an_engine_that_answers_needs_no_package(engine: bool, expected: list[str]) -> None:
    packages = [{"program": "dockerd", "package": "docker.io", "when_engine_answers": False}]
    assert preflight.missing_packages(packages, engine, lambda _: None, True) == expected


def test_a_package_is_listed_once_and_only_when_its_program_is_missing() -> None:
    packages = [{"program": name, "package": "p", "when_engine_answers": True} for name in ("a", "b", "there")]
    assert preflight.missing_packages(packages, True, lambda name: "/bin/there" if name == "there" else None, True) == ["p"]


@pytest.mark.parametrize(("root", "expected"), [(False, ["maven"]), (True, [])])
def test_what_only_root_can_install_later_must_be_there_for_others(root: bool, expected: list[str]) -> None:
    """Without Maven another user would fail long after the cluster was made."""
    defaults = yaml.safe_load((Path(__file__).parents[4] / "roles/host/defaults/main.yml").read_text())["host_packages"]
    there = {"dockerd", "docker", "mmdebstrap", "update-ca-certificates", "gpg"}
    assert preflight.missing_packages(defaults, False, lambda name: name if name in there else None, root) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("databases_timout", "did you mean databases_timeout?"), ("rebild", "did you mean rebuild?"),
        ("rotate", "no playbook can change a Secret"), ("zzz", "argument_specs.yml list them"), ("scope", "read no such variable"),
    ],
)  # fmt: skip
def test_extra_variables_that_nothing_reads_are_refused(name: str, words: str) -> None:
    root = Path(__file__).parents[4]
    known = preflight.role_variables(root / "roles") | preflight.declared_variables(root / "inventory/local/group_vars/all")
    assert {"databases_timeout", "apps_rate_limit_factor", "rebuild", "bookstore_size"} <= known
    faults = preflight.unknown_extra_variables([name, "ansible_connection", "databases_timeout", "rebuild"], known)
    assert len(faults) == 1
    assert faults[0].startswith("BK-116: ")
    assert words in faults[0]


def test_low_sysctls_are_found_and_raised(tmp_path: Path) -> None:
    (tmp_path / "fs/inotify").mkdir(parents=True)
    setting = tmp_path / "fs/inotify/max_user_instances"
    setting.write_text("128\n")
    wanted = {"fs.inotify.max_user_instances": 512, "fs.absent": 1}
    low = preflight.low_sysctls(wanted, tmp_path)
    assert low == {"fs.inotify.max_user_instances": 512}
    preflight.raise_sysctls(low, tmp_path / "conf", tmp_path)
    assert preflight.low_sysctls(wanted, tmp_path) == {}
    assert (tmp_path / "conf").read_text() == "fs.inotify.max_user_instances = 512\n"


MEMINFO = "MemTotal:       8388608 kB\nMemFree: 1 kB\nMemAvailable:   2097152 kB\n"


def test_memory_counts_what_is_available_unless_the_cluster_has_it() -> None:
    assert "BK-103: 2048 MiB" in preflight.memory_fault(MEMINFO, 4096, cluster_up=False)[0]
    assert preflight.memory_fault(MEMINFO, 4096, cluster_up=True) == []


def test_disk_names_the_folder_once_for_each_file_system(tmp_path: Path) -> None:
    faults = preflight.disk_faults([str(tmp_path / "a/b"), str(tmp_path)], minimum_gib=10**9)
    assert len(faults) == 1
    assert faults[0].startswith("BK-104: ")
    assert preflight.disk_faults([str(tmp_path)], minimum_gib=0) == []


def test_port_owner_is_this_process() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        owner = preflight.port_owner(listener.getsockname()[1])
    assert owner is not None
    assert owner.startswith("process ")
    assert preflight.port_fault(30000, owner).startswith("BK-105: port 30000 on 127.0.0.1 is in use by process ")


def test_free_port_has_no_owner() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert preflight.port_owner(port) is None


def container(name: str, running: bool, *ports: int) -> dict[str, Any]:
    return {"Name": f"/{name}", "State": {"Running": running}, "HostConfig": {"PortBindings": {
        f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for port in ports}}}


def test_ports_of_stopped_containers_are_not_held_by_us() -> None:
    own = [container("shop-control-plane", False, 30000), container("shop-registry", True, 36500)]
    assert preflight.held_ports(own) == {36500}
    faults = preflight.port_faults([30000, 36500], lambda: preflight.held_ports(own), lambda port: "nginx")
    assert len(faults) == 1
    assert "BK-105: port 30000 on 127.0.0.1 is in use by nginx" in faults[0]


def test_a_container_that_is_starting_is_no_fault() -> None:
    answers = [set[int](), {30000}]
    assert preflight.port_faults([30000], lambda: answers.pop(0), lambda port: "docker-proxy") == []


def test_other_containers_whose_names_begin_alike_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container `shop-something` of somebody else; kind's label and the registry's exact name decide."""
    asked: list[str] = []
    monkeypatch.setattr(preflight, "containers", lambda label: asked.append(label) or {})
    monkeypatch.setattr(preflight, "docker", lambda *_: "shop-something\nmy-shop-registry\n")
    monkeypatch.setattr(preflight, "inspect", lambda names: [container(name, True, 30000) for name in names])
    assert preflight.own_nodes("shop") == []
    assert asked == ["io.x-k8s.kind.cluster=shop"]
    assert preflight.own_registry("shop") == []
    monkeypatch.setattr(preflight, "docker", lambda *_: "shop-registry\n")
    assert preflight.held_ports(preflight.own_registry("shop")) == {30000}


@pytest.mark.parametrize(("exists", "minimum"), [(True, 3), (False, 15)])
def test_a_platform_that_exists_needs_less_disk(monkeypatch: pytest.MonkeyPatch, exists: bool, minimum: int) -> None:
    """Else a host with 40 GiB could not be repaired."""
    seen: list[int] = []
    defaults = yaml.safe_load((Path(__file__).parents[4] / "roles/host/defaults/main.yml").read_text())
    fake = SimpleNamespace(check_mode=False, params={
        "cluster_name": "shop", "ports": [], "hostnames": [], "manage_hosts": False, "node_cidr": None, "minimum_memory_mib": 0,
        "minimum_disk_gib": defaults["host_minimum_disk_gib"], "disk_paths": ["/"],
        "minimum_disk_existing_gib": defaults["host_minimum_disk_existing_gib"],
    })  # fmt: skip
    monkeypatch.setattr(preflight, "own_nodes", lambda name: [container(name, False)] if exists else [])
    monkeypatch.setattr(preflight, "disk_faults", lambda paths, gib: seen.append(gib) or [])
    assert host_preflight.check_host(fake) == {"changed": False}  # type: ignore[arg-type]
    assert seen == [minimum]


def test_names() -> None:
    def resolve(name: str) -> str:
        if name == "unknown":
            raise OSError(name)
        return {"here": "127.0.0.1", "elsewhere": "192.0.2.1"}[name]

    wrong = preflight.unresolved(["here", "elsewhere", "unknown"], resolve)
    assert wrong == ["elsewhere", "unknown"]
    assert preflight.names_fault(wrong).endswith("127.0.0.1 elsewhere unknown")


HOSTS = "127.0.0.1 localhost\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1 a b\n"),
        (HOSTS, f"{HOSTS}127.0.0.1 a b\n"),
        ("127.0.0.1 localhost", f"{HOSTS}127.0.0.1 a b\n"),
        ("127.0.0.1 a # mine\n", "127.0.0.1 a # mine\n127.0.0.1 b\n"),
        ("# 127.0.0.1 a b\n", "# 127.0.0.1 a b\n127.0.0.1 a b\n"),
        ("127.0.0.1\tlocalhost b a\n", "127.0.0.1\tlocalhost b a\n"),
        ("# M\udcfcller\n", "# M\udcfcller\n127.0.0.1 a b\n"),
    ],
)
def test_names_are_added_on_a_line_of_their_own_and_once(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(before, encoding="utf-8", errors="surrogateescape")
    assert preflight.add_names(file, ["a", "b"]) == (before != after)
    assert file.read_text(encoding="utf-8", errors="surrogateescape") == after
    assert not preflight.add_names(file, ["a", "b"])


def test_a_line_that_is_in_the_way_is_named() -> None:
    text = f"{HOSTS}# 192.0.2.7 a\n192.0.2.7 other a # old server\n::1 a\n"
    faults = preflight.names_in_the_way(text, ["a", "b"])
    assert len(faults) == 1
    assert faults[0].startswith("BK-297: line 3 of /etc/hosts (192.0.2.7 other a # old server) gives a an address")
    assert preflight.names_in_the_way(HOSTS, ["a", "b"]) == []


class Written:
    """The resolver of a host that reads its hosts file, or (``blind``) does not."""

    def __init__(self, file: Path, blind: bool) -> None:
        self.file, self.blind = file, blind

    def unresolved(self, names: list[str]) -> list[str]:
        return [name for name in names if self.blind or f" {name}" not in self.file.read_text()]


@pytest.mark.parametrize(
    ("text", "options", "changed", "said"),
    [
        ("127.0.0.1 localhost", {}, True, ""),
        ("127.0.0.1 shop\n", {"blind": True}, False, "/etc/nsswitch.conf"),
        ("10.0.0.1 shop\n", {"blind": True}, False, "BK-297: line 1 of "),
        ("127.0.0.1 localhost\n", {"manage": False}, False, "BK-106: shop must resolve"),
        ("127.0.0.1 localhost\n", {"immutable": True}, False, "cannot be written: Operation not permitted"),
    ],
)
def test_names_are_made_to_resolve_or_the_cause_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, options: dict[str, bool], changed: bool, said: str
) -> None:
    file = tmp_path / "hosts"
    file.write_text(text)
    monkeypatch.setattr(preflight, "HOSTS_FILE", file)
    monkeypatch.setattr(preflight, "unresolved", Written(file, options.get("blind", False)).unresolved)
    if options.get("immutable"):
        def refuse(*_: object) -> bool:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(preflight, "add_names", refuse)
    module = SimpleNamespace(params={"hostnames": ["shop"], "manage_hosts": options.get("manage", True)}, check_mode=False)
    did, faults = host_preflight._names(module, False)
    assert did == changed
    assert said in "\n".join(faults)
    assert bool(faults) == bool(said)


def network(name: str, *subnets: str) -> dict[str, object]:
    return {"Name": name, "IPAM": {"Config": [{"Subnet": subnet} for subnet in subnets]}}


def test_overlapping_network() -> None:
    others = [network("bookstore", "172.30.0.0/16"), network("none"), network("v6", "fc00::/64"), network("x", "172.16.0.0/12")]
    faults = preflight.overlapping_network("172.30.0.0/16", others, own="bookstore")
    assert len(faults) == 1
    assert "overlaps the network x (172.16.0.0/12)" in faults[0]
    assert preflight.overlapping_network("10.9.0.0/16", others, own="bookstore") == []


@pytest.mark.parametrize(("bounds", "missing"), [("000001ffffffffff", False), ("000001fffeffffff", True)])
def test_capability(bounds: str, missing: bool) -> None:
    assert docker_engine.capability_missing(f"Name: x\nCapBnd:\t{bounds}\n") is missing


def test_daemon_is_bounded_only_where_it_must_be() -> None:
    assert docker_engine.daemon_command(None) == ["dockerd"]
    assert "--default-runtime=bounded" in docker_engine.daemon_command("/r")


def test_stale_pid_files_are_removed_and_live_ones_stay(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    for pid, comm in (("10", "dockerd"), ("11", "bash")):
        (proc / pid).mkdir(parents=True)
        (proc / pid / "comm").write_text(f"{comm}\n")
    live, other, gone = tmp_path / "docker.pid", tmp_path / "containerd.pid", tmp_path / "x.pid"
    live.write_text("10")
    other.write_text("11")
    gone.write_text("12")
    removed = docker_engine.remove_stale_pid_files([live, other, gone, tmp_path / "absent.pid"], proc)
    assert removed == [str(other), str(gone)]
    assert live.exists()
