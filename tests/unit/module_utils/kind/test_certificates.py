"""When a certificate is due, and what is read of nodes and proxies: real certificates of short life, and a clock of our own."""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from authority import PRIVATE, certificate
from fakes import FakeClock

from ansible_collections.bookstore.platform.plugins.module_utils.kind import certificates, kind_cluster, node_certificates
from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import Certificate, CertificateError

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR, DAY, HOUR = timedelta(days=365), timedelta(days=1), timedelta(hours=1)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def held(life: timedelta) -> Certificate:
    return Certificate("somewhere", START, START + life)


@pytest.mark.parametrize(
    ("life", "passed", "due"),
    [
        # A year: within a month of its end, and after it.
        (YEAR, DAY, False), (YEAR, timedelta(days=334), False), (YEAR, timedelta(days=336), True), (YEAR, YEAR + HOUR, True),
        # A day: renewed at half of it, so never less than two fifths are left while the owner is awake.
        (DAY, timedelta(), False), (DAY, 12 * HOUR, False), (DAY, 14 * HOUR, False), (DAY, 15 * HOUR, True), (DAY, 2 * DAY, True),
        (timedelta(days=3650), timedelta(days=3000), False), (timedelta(days=3650), timedelta(days=3625), True),
    ],
)  # fmt: skip
def test_when_a_certificate_is_due(life: timedelta, passed: timedelta, due: bool) -> None:
    assert held(life).due(START + passed) is due
    assert bool(certificates.due([held(life)], START + passed)) is due


def test_the_window_can_be_chosen_for_long_lived_ones_only() -> None:
    assert held(YEAR).due(START + timedelta(days=300), timedelta(days=90))
    assert not held(DAY).due(START + HOUR, timedelta(days=90))


def test_it_says_where_and_when_in_words() -> None:
    assert held(YEAR).describe(START + timedelta(days=345)) == "somewhere ends in 20 days, on 2027-03-01 12:00 UTC"
    assert held(DAY).describe(START + HOUR) == "somewhere ends in 23.0 hours, on 2026-03-02 12:00 UTC"
    assert held(DAY).describe(START + 20 * HOUR) == (
        "somewhere ends in 4.0 hours, on 2026-03-02 12:00 UTC, though its owner renews it at half of its life"
    )
    assert held(DAY).describe(START + 2 * DAY) == "somewhere has ended on 2026-03-02 12:00 UTC"


def test_those_that_are_due_come_in_the_order_of_their_ends() -> None:
    found = [Certificate("late", START, START + 20 * DAY), Certificate("early", START, START + 10 * DAY), held(YEAR)]
    assert [one.place for one in certificates.due(found, START)] == ["early", "late"]


def test_a_chain_is_as_good_as_what_ends_first() -> None:
    pem = certificate(START, YEAR) + certificate(START, DAY) + certificate(START, 9 * YEAR)
    assert certificates.parse(pem, "chain") == Certificate("chain", START, START + DAY)


@pytest.mark.parametrize("text", ["", "nothing", PRIVATE, "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_named(text: str) -> None:
    with pytest.raises(CertificateError, match="^BK-256: the place holds "):
        certificates.parse(text, "the place")


def kubeconfig(pem: str) -> str:
    return f"users:\n- name: x\n  user:\n    client-certificate-data: {b64(pem)}\n    client-key-data: {b64(PRIVATE)}\n"


def test_of_a_kubeconfig_the_client_certificate_counts() -> None:
    assert certificates.of_kubeconfig(kubeconfig(certificate(START, YEAR)), "k").ends == START + YEAR
    with pytest.raises(CertificateError, match="k holds no client certificate"):
        certificates.of_kubeconfig("users: []\n", "k")


# What runs on a node ----------------------------------------------------------------------------------------------------


class Node:
    """A node's files in a folder, in which its own scripts run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")

    def run(self, script: str, stdin: str = "", **programs: str) -> str:
        for folder in ("/etc/kubernetes", "/var/lib/kubelet"):
            script = script.replace(folder, f"{self.root}{folder}")
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        for name, text in programs.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
            (tools / name).chmod(0o755)
        done = subprocess.run(["sh", "-ec", script], input=stdin, capture_output=True, text=True, check=True,
                              env={"PATH": f"{tools}:/usr/bin:/bin"})  # fmt: skip
        return done.stdout.replace(str(self.root), "")


def test_a_nodes_certificates_are_read_without_their_keys(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.write("/etc/kubernetes/pki/apiserver.crt", certificate(START, YEAR))
    node.write("/etc/kubernetes/pki/apiserver.key", PRIVATE)
    node.write("/etc/kubernetes/pki/etcd/server.crt", certificate(START, 2 * YEAR))
    node.write(certificates.KUBELET_CLIENT, certificate(START, YEAR) + PRIVATE)
    node.write("/etc/kubernetes/admin.conf", kubeconfig(certificate(START, 3 * YEAR)))
    node.write("/etc/kubernetes/kubelet.conf", f"users:\n- user:\n    client-certificate: {certificates.KUBELET_CLIENT}\n")
    output = node.run(certificates.READ_FILES)
    assert b64(PRIVATE)[:40] not in output
    for line in output.splitlines():
        assert b"PRIVATE" not in base64.b64decode(line.split(" ")[1])
    found = certificates.of_files(output, "n")
    assert {path: one.ends for path, one in found.items()} == {
        "/etc/kubernetes/pki/apiserver.crt": START + YEAR, "/etc/kubernetes/pki/etcd/server.crt": START + 2 * YEAR,
        certificates.KUBELET_CLIENT: START + YEAR, "/etc/kubernetes/admin.conf": START + 3 * YEAR,
    }  # fmt: skip
    assert found["/etc/kubernetes/admin.conf"].place == "n: /etc/kubernetes/admin.conf"


def test_a_node_without_certificates_tells_none(tmp_path: Path) -> None:
    assert certificates.of_files(Node(tmp_path).run(certificates.READ_FILES), "n") == {}


def envoy(begins: datetime, life: timedelta, uri: str = "spiffe://cluster.local/ns/ecom/sa/ecom-api") -> str:
    """Return what Envoy's /certs tells of a gateway: a certificate for browsers, and the proxy's own."""
    def chain(names: list[dict[str, str]], ends: datetime) -> dict[str, Any]:
        return {"subject_alt_names": names, "valid_from": begins.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "expiration_time": ends.strftime("%Y-%m-%dT%H:%M:%SZ"), "days_until_expiration": "0"}  # fmt: skip

    return json.dumps({"certificates": [
        {"ca_cert": [], "cert_chain": [chain([{"dns": "shop.bookstore.test"}], begins + HOUR)]},
        {"ca_cert": [chain([], begins + 9 * YEAR)], "cert_chain": [chain([{"uri": uri}], begins + life)]},
        # What connections of before the last renewal still use.
        {"ca_cert": [], "cert_chain": [chain([{"uri": uri}], begins + life - 12 * HOUR)]},
    ]})  # fmt: skip


NSENTER = 'while [ "$1" != cat ] && [ "$1" != curl ]; do shift; done; if [ "$1" = cat ]; then echo ecom-api-1; else cat "$CERTS"; fi'


def test_the_proxies_of_a_node_tell_their_own_certificates(tmp_path: Path) -> None:
    (tmp_path / "certs").write_text(envoy(START, DAY))
    answers = {"pgrep": "echo 17; echo 23", "nsenter": f"CERTS={tmp_path}/certs\n{NSENTER}"}
    found = certificates.of_proxies(Node(tmp_path).run(certificates.READ_PROXIES, **answers), "n")
    place = "n: mesh certificate of pod ecom/ecom-api-1"
    assert found == [Certificate(place, START, START + DAY, "n", process) for process in (17, 23)]


def test_a_node_without_proxies_or_with_one_that_starts_is_fine(tmp_path: Path) -> None:
    node = Node(tmp_path)
    assert node.run(certificates.READ_PROXIES, pgrep="exit 1") == ""
    (tmp_path / "certs").write_text("")
    output = node.run(certificates.READ_PROXIES, pgrep="echo 17", nsenter=f"CERTS={tmp_path}/certs\n{NSENTER}")
    assert certificates.of_proxies(output, "n") == []


# Renewal ----------------------------------------------------------------------------------------------------------------


class Nodes:
    """Three nodes whose certificates end after the given lives; keeps what was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **lives: timedelta) -> None:
        self.done: list[str] = []
        self.stdin: dict[str, str] = {}
        self.lives = lives
        monkeypatch.setattr(node_certificates, "docker", self.docker)

    def docker(self, *args: str, stdin: str | None = None, **_: Any) -> str:
        node = args[2] if args[1] == "--interactive" else args[1]
        if args[-1] == certificates.READ_FILES:
            paths = {"kubelet": certificates.KUBELET_CLIENT, "serving": certificates.KUBELET_SERVER}
            if node == "c":
                paths |= {"apiserver": "/etc/kubernetes/pki/apiserver.crt", "authority": "/etc/kubernetes/pki/ca.crt"}
            return "".join(f"{path} {b64(certificate(START, self.life(node, key)))}\n" for key, path in paths.items())
        if "kubeconfig" in args:
            self.done.append(f"client certificate for {args[args.index('--client-name') + 1]} of {args[args.index('--org') + 1]}")
            return kubeconfig(certificate(START, YEAR, "new"))
        if stdin is not None:
            self.stdin[node] = stdin
            self.done.append(f"write {node}")
            return ""
        self.done.append(" ".join(args))
        return ""

    def life(self, node: str, key: str) -> timedelta:
        return self.lives.get(f"{node}_{key}", 10 * YEAR)


NOW = START + timedelta(days=340)
RENEW_ALL = ["exec c kubeadm certs renew all --config /kind/kubeadm.conf", "container restart c"]


def test_nothing_is_due_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch)
    assert node_certificates.renew("c", ["c", "w"], NOW) == []
    assert nodes.done == []


@pytest.mark.parametrize("check", [True, False])
def test_the_control_planes_are_renewed_and_its_programs_started_again(monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    nodes = Nodes(monkeypatch, c_apiserver=YEAR)
    assert node_certificates.renew("c", ["c", "w"], NOW, check) == ["c: /etc/kubernetes/pki/apiserver.crt"]
    assert nodes.done == ([] if check else RENEW_ALL)


@pytest.mark.parametrize("life", [YEAR, timedelta(days=300)])
def test_a_kubelets_certificate_is_renewed_also_when_it_has_ended(monkeypatch: pytest.MonkeyPatch, life: timedelta) -> None:
    nodes = Nodes(monkeypatch, w_kubelet=life)
    assert node_certificates.renew("c", ["c", "w"], NOW) == [f"w: {certificates.KUBELET_CLIENT}"]
    assert nodes.done == ["client certificate for system:node:w of system:nodes", "write w"]
    assert "PRIVATE KEY" in nodes.stdin["w"]
    assert nodes.stdin["w"].startswith("-----BEGIN CERTIFICATE-----")


def test_all_together_restart_the_control_plane_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, c_apiserver=YEAR, c_kubelet=YEAR, c_serving=YEAR, w_kubelet=YEAR, w_serving=YEAR)
    assert len(node_certificates.renew("c", ["w", "c"], NOW)) == 5
    assert nodes.done.count("container restart c") == 1
    assert nodes.done[-1] == "container restart c"
    assert {"write c", "write w"} <= set(nodes.done)


def test_an_authority_is_left_to_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, c_authority=YEAR)
    assert node_certificates.renew("c", ["c"], NOW) == []
    assert nodes.done == []
    (due,) = certificates.due(node_certificates.read(["c"])["c"].values(), NOW)
    assert due.place == "c: /etc/kubernetes/pki/ca.crt"


def test_what_is_written_to_a_kubelet_keeps_its_link_and_its_mode(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.write("/var/lib/kubelet/pki/kubelet-client-2026.pem", "old")
    node.write(certificates.KUBELET_SERVER, "old")
    link = tmp_path / certificates.KUBELET_CLIENT.lstrip("/")
    link.symlink_to(tmp_path / "var/lib/kubelet/pki/kubelet-client-2026.pem")
    node.run(node_certificates.WRITE_KUBELET, stdin="new", systemctl='echo "$@"')
    assert link.is_symlink()
    assert link.read_text() == "new"
    assert link.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / certificates.KUBELET_SERVER.lstrip("/")).exists()


@pytest.mark.parametrize(("left", "written"), [(200 * DAY, False), (20 * DAY, True), (-DAY, True), (None, True)])
def test_the_hosts_kubeconfig_is_written_anew_when_it_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: timedelta | None, written: bool
) -> None:
    file = tmp_path / "kubeconfig"
    if left is not None:
        file.write_text(kubeconfig(certificate(certificates.now() + left - YEAR, YEAR)), encoding="utf-8")
    cluster = kind_cluster.KindCluster("shop", "kind", "i", "c", 2, "", file, tmp_path / "log")
    asked: list[list[str]] = []
    monkeypatch.setattr(cluster, "_kind", lambda command, *_: asked.append(command))
    cluster.write_kubeconfig()
    assert bool(asked) is written


class Proxies:
    """Proxies whose certificate is a day old; those that are killed get a new one two reads later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: datetime, cured: bool = True) -> None:
        self.pods = {"a": (17, now - DAY), "b": (23, now - 2 * HOUR), "c": (31, now - 16 * HOUR)}
        self.killed: list[str] = []
        self.now, self.cured, self.reads = now, cured, 0
        monkeypatch.setattr(node_certificates, "docker", self.docker)
        monkeypatch.setattr(certificates, "now", lambda: now)

    def docker(self, *args: str, **_: Any) -> str:
        if args[-1] != certificates.READ_PROXIES:
            assert args[:2] == ("exec", "n")
            self.killed += args[6:]
            self.reads = 0
            return ""
        self.reads += 1
        if self.killed and self.cured and self.reads > 2:
            self.pods |= {pod: (99, self.now) for pod, (process, _) in self.pods.items() if str(process) in self.killed}
        return "".join(f"{process} {pod} {b64(envoy(begins, DAY))}\n" for pod, (process, begins) in self.pods.items())


def test_only_proxies_that_slept_over_the_time_are_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = Proxies(monkeypatch, START)
    overdue = node_certificates.overdue_proxies(["n"], START)
    assert [one.process for one in overdue] == [17, 31]
    node_certificates.restart_proxies(["n"], overdue, 60, FakeClock())
    assert proxies.killed == ["17", "31"]
    assert node_certificates.overdue_proxies(["n"], START) == []


def test_proxies_that_get_no_new_certificate_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Proxies(monkeypatch, START, cured=False)
    overdue = node_certificates.overdue_proxies(["n"], START)
    with pytest.raises(CertificateError, match="BK-257: 2 proxies have no new certificate after 60 s: n: mesh certificate of pod ecom/a"):
        node_certificates.restart_proxies(["n"], overdue, 60, FakeClock())
