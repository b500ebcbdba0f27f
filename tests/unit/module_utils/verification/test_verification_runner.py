"""Reports, lines, ids, and the measuring of memory."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCluster

from ansible_collections.bookstore.platform.plugins.module_utils.kind import bootstrap_tokens
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.verification import runner
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Check,
    Context,
    Finding,
    Web,
    skipped,
    verdict,
)

CONTEXT = Context({}, {}, Web(), None, None)


def check(name: str, finding: Finding | Exception) -> Check:
    def function(_context: Context) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return Check(name, "BK-399", f"Title {name}", function, f"cure {name}")


def result(*checks: Check) -> dict[str, Any]:
    return runner.report(runner.run_checks(list(checks), CONTEXT), 0.0)


def test_ids_are_unique_and_in_range() -> None:
    params = {"optional_components": [{"name": "ztunnel", "reason": "r"}]}
    checks = runner.checks_for(params)
    assert len({c.id for c in checks}) == len(checks)
    known = ("BK-275", "BK-3", "BK-405", "BK-450", "BK-465", "BK-491")
    assert all(c.id.startswith("V-") and c.error.startswith(known) and c.hint for c in checks)
    assert checks[-1].id == "V-ZTUNNEL"


def test_lines_counts_and_explanation() -> None:
    found = result(
        check("V-A", verdict([], "fine", {"memory_mib": 5})),
        check("V-B", verdict(["x", "y"], "")),
        check("V-C", skipped("no image")),
    )
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 1}
    assert found["measurements"] == {"memory_mib": 5}
    assert found["lines"] == [
        "ok      V-A               Title V-A: fine",
        "FAILED  V-B               Title V-B: x (and 1 more)",
        "skipped V-C               Title V-C: no image",
        "1 passed, 1 failed, 1 skipped",
    ]
    assert runner.explain(found) == "1 of 3 checks failed:\nBK-399 V-B Title V-B:\n  x\n  y\n  FIX: cure V-B"


@pytest.mark.parametrize("error", [KeyError("spec"), StopIteration("spec"), RuntimeError("spec")])
def test_check_that_raises_has_failed_and_others_run(error: Exception) -> None:
    found = result(check("V-A", error), check("V-B", verdict([], "fine")))
    assert [c["status"] for c in found["checks"]] == ["failed", "passed"]
    assert f"the check itself failed: {type(error).__name__}: " in runner.explain(found)


def test_nothing_to_explain() -> None:
    assert runner.explain(result(check("V-A", verdict([], "fine")))) == ""


def test_long_lists_are_cut_in_output_but_not_in_the_report(tmp_path: Path) -> None:
    found = result(check("V-A", verdict([f"fault {i}" for i in range(12)], "")), check("V-B", verdict([], "x" * 300)))
    assert "... and 2 more, see the report" in runner.explain(found)
    assert len(found["lines"][1]) < 220
    runner.write_report(found, tmp_path / "reports" / "verify.json")
    written = json.loads((tmp_path / "reports" / "verify.json").read_text(encoding="utf-8"))
    assert len(written["checks"][0]["faults"]) == 12
    assert "lines" not in written
    assert [p.name for p in (tmp_path / "reports").iterdir()] == ["verify.json"]


@pytest.mark.parametrize(("text", "mib"), [("1.5GiB", 1536), ("300MiB ", 300), ("2048KiB", 2), ("12kB", 0), ("0B", 0)])
def test_sizes(text: str, mib: int) -> None:
    assert runner.to_mib(text) == mib


def test_memory_of_the_clusters_containers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if command[1] == "ps":
            out = "bookstore-worker\tbookstore\nbookstore-registry\t\nother-worker\tother\nweb\t\n"
        else:
            out = "bookstore-worker\t1GiB / 23GiB\nbookstore-registry\t12.4MiB / 23GiB\n"
        return subprocess.CompletedProcess(command, 0, out, "")

    monkeypatch.setattr(subprocess, "run", run)
    assert runner.node_memory("bookstore") == {"bookstore-worker": 1024, "bookstore-registry": 12}
    assert asked[1][-2:] == ["bookstore-worker", "bookstore-registry"]
    assert runner.node_memory("absent") == {}


@pytest.mark.parametrize(("attempts", "mib"), [(2, 512), (99, 0)])
def test_memory_without_figures_is_asked_again(monkeypatch: pytest.MonkeyPatch, attempts: int, mib: int) -> None:
    """Docker prints dashes for a container whose figures do not come within two seconds, as after a start."""
    asked: list[list[str]] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        if command[1] == "ps":
            return subprocess.CompletedProcess(command, 0, "a\tbookstore\nb\tbookstore\n", "")
        asked.append(command[5:])
        late = "512MiB / 8GiB" if len(asked) > attempts else "-- / --"
        return subprocess.CompletedProcess(command, 0, f"a\t1GiB / 8GiB\nb\t{late}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert runner.node_memory("bookstore") == {"a": 1024, "b": mib}
    assert asked[:2] == [["a", "b"], ["b"]]
    assert len(asked) == min(attempts + 1, runner.STATS_ATTEMPTS)


def test_a_size_without_a_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="docker reports the size '--'"):
        runner.to_mib("--")


def test_authority() -> None:
    secret = {
        "metadata": {"name": "tls", "namespace": "gateway"},
        "data": {"ca.crt": base64.b64encode(b"PEM").decode()},
    }
    assert runner.authority(FakeCluster({"Secret": [secret]}), "gateway", "tls") == "PEM"
    with pytest.raises(ClusterError, match="BK-308: Secret gateway/tls with key ca.crt does not exist"):
        runner.authority(FakeCluster(), "gateway", "tls")


def test_probe_image_comes_from_a_running_workload() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "ecom", "labels": {"app.kubernetes.io/name": "ecom-api"}},
        "spec": {
            "containers": [
                {"name": "istio-proxy", "image": "proxy"},
                {"name": "app", "image": "bookstore.local/ecom:1"},
            ]
        },
    }
    cluster = FakeCluster({"Pod": [pod]})
    assert mesh_run.workload_image(cluster, "ecom/ecom-api") == "bookstore.local/ecom:1"
    assert mesh_run.workload_image(cluster, "ecom/other") == ""
    assert mesh_run.workload_image(cluster, "") == ""


def test_of_bootstrap_tokens_only_the_metadata_is_kept() -> None:
    metadata = {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    token = {"metadata": metadata, "type": bootstrap_tokens.TYPE, "data": {"token-secret": "s"}}
    other = {"metadata": {"name": "bootstrap-token-note", "namespace": "kube-system"}, "type": "Opaque", "data": {}}
    assert runner.tokens_to_join(FakeCluster({"Secret": [token, other]})) == [{"metadata": metadata}]
