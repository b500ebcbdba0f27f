"""What `make conformance` asks for before it works, and what it leaves in the cluster: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.host import run_lock
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from operator_view import settings
from operator_view.conformance import ConformanceError, command, leftovers, preflight, suite
from operator_view.conformance.selection import Options

PLATFORM = ["ecom", "gateway"]
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class Kubectl:
    """A cluster that holds namespaces with the suite's label and names outside of namespaces."""

    def __init__(self, labelled: list[str], outside: list[str], stuck: bool = False) -> None:
        self.labelled, self.outside, self.stuck = labelled, outside, stuck
        self.deleted: list[str] = []

    def __call__(self, *arguments: str) -> str:
        if arguments[:2] == ("get", "namespaces"):
            assert f"--selector={leftovers.LABEL}" in arguments
            return json.dumps({"items": [{"metadata": {"name": name}} for name in self.labelled]})
        if arguments[0] == "get":
            return "rolebinding/a" if "--namespace=kube-system" in arguments else "\n".join(self.outside)
        assert arguments[:2] == ("delete", "namespaces")
        names = [argument for argument in arguments[2:] if not argument.startswith("--")]
        self.deleted += names
        if not self.stuck:
            self.labelled = [name for name in self.labelled if name not in names]
        return ""


def test_the_suite_namespaces_are_ended_and_no_namespace_of_the_platform() -> None:
    kubectl = Kubectl(["dns-1", "ecom", "services-2"], [])
    assert leftovers.end(kubectl, PLATFORM, seconds=5) == ["dns-1", "services-2"]
    assert kubectl.deleted == ["dns-1", "services-2"]


def test_nothing_is_deleted_when_there_is_nothing() -> None:
    kubectl = Kubectl(["ecom"], [])
    assert leftovers.end(kubectl, PLATFORM, seconds=5) == []
    assert kubectl.deleted == []


def test_a_namespace_that_does_not_end_is_named() -> None:
    with pytest.raises(ConformanceError, match=r"BK-423: .*dns-1"):
        leftovers.end(Kubectl(["dns-1"], [], stuck=True), PLATFORM, seconds=0)


def test_what_lies_outside_of_namespaces_and_is_new_is_named() -> None:
    kubectl = Kubectl([], ["clusterrole/old"])
    before = leftovers.outside(kubectl)
    assert "--namespace=kube-system rolebinding/a" in before
    assert leftovers.left_behind(kubectl, before, seconds=0) == []
    kubectl.outside.append("clusterrole/new")
    assert leftovers.left_behind(kubectl, before, seconds=0) == ["clusterrole/new"]


def test_a_run_that_was_killed_is_remembered_until_one_ends(tmp_path: Path) -> None:
    memory = leftovers.Memory(tmp_path / "before.json")
    assert memory.earlier({"a", "b"}) == []
    memory.keep({"a"})
    assert memory.earlier({"a", "b"}) == ["b"]
    memory.forget()
    assert memory.earlier({"a", "b"}) == []
    memory.file.write_text('["a"', encoding="utf-8")
    assert memory.earlier({"a", "b"}) == []


def test_kubectl_failures_have_an_id_and_their_reason(tmp_path: Path) -> None:
    program = tmp_path / "kubectl"
    program.write_text("#!/bin/sh\necho >&2 the server is away; exit 1\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(ConformanceError, match=r"BK-423: `kubectl get nodes` failed: the server is away"):
        leftovers.Kubectl(program, tmp_path / "kubeconfig")("get", "nodes")
    program.write_text("#!/bin/sh\nexec tail -f /dev/null\n", encoding="utf-8")
    with pytest.raises(ConformanceError, match=r"BK-423: `kubectl get nodes` gave no answer"):
        leftovers.Kubectl(program, tmp_path / "kubeconfig", seconds=0.2)("get", "nodes")


def known(tmp_path: Path) -> settings.Settings:
    return replace(settings.load(), state=tmp_path, cluster=f"test-{tmp_path.name}")


def test_without_a_platform_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match=r"BK-427: no platform.*kubeconfig.*make up"):
        preflight.require_platform(known(tmp_path))


def test_nothing_is_built_beside_another_run_or_without_a_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []
    monkeypatch.setattr(command, "build", lambda folder, interruption: built.append(folder))
    ours = known(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        run_lock.acquire(other.pid, run_lock.scopes(ours.state, ours.cluster))
        with pytest.raises(ConformanceError, match="BK-295"):
            command.perform(Options(), ours, suite.Interruption())
        assert other.stdin is not None
        other.stdin.close()
    with pytest.raises(ConformanceError, match="BK-427"):
        command.perform(Options(), ours, suite.Interruption())
    assert built == []


def test_a_file_that_cannot_be_written_ends_the_run_with_an_id(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def perform(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "/x/reports")

    monkeypatch.setattr(command, "perform", perform)
    assert command.main([]) == command.FAILED
    assert "BK-429: [Errno 13] Permission denied: '/x/reports'" in capsys.readouterr().out


class Nodes:
    """A cluster that has these nodes."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.nodes = nodes

    def __call__(self, kubeconfig: str) -> Nodes:
        return self

    def objects(self, kind: str) -> list[dict[str, Any]]:
        if not self.nodes:
            raise ClusterError("BK-202: the API server does not answer")
        return list(self.nodes)


def node(name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec, "status": READY if status is None else status}


def test_nodes_that_take_no_pods_are_named_before_the_suite_waits_for_them(tmp_path: Path) -> None:
    preflight.require_platform(known(tmp_path), Nodes(node("a"), node("b")))
    with pytest.raises(ConformanceError, match=r"BK-427: node b .*kubectl uncordon b"):
        preflight.require_platform(known(tmp_path), Nodes(node("a"), node("b", unschedulable=True)))
    lost = {"conditions": [{"type": "Ready", "status": "Unknown", "message": "kubelet stopped"}]}
    with pytest.raises(ConformanceError, match=r"BK-427: node b .*kubelet stopped"):
        preflight.require_platform(known(tmp_path), Nodes(node("a"), node("b", lost)))
    with pytest.raises(ConformanceError, match=r"BK-427: .*BK-202"):
        preflight.require_platform(known(tmp_path), Nodes())


def test_it_does_not_work_beside_another_run(tmp_path: Path) -> None:
    ours, folder = known(tmp_path), tmp_path / "runs"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        run_lock.acquire(other.pid, run_lock.scopes(ours.state, ours.cluster), folder)
        with pytest.raises(ConformanceError, match=f"BK-295: .*process {other.pid}"):
            preflight.require_alone(ours, folder)
        assert other.stdin is not None
        other.stdin.close()
    preflight.require_alone(ours, folder)
    assert (folder / str(os.getpid())).is_file()
