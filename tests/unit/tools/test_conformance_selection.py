"""`make conformance` runs the groups that it is told, and never what disturbs a cluster that serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from operator_view.conformance import suite
from operator_view.conformance.selection import GROUPS, Options, parse

BUILT = suite.Built(Path("/built"), Path("/built/kubectl"), Path("/state/registries.yml"), Path("/state/kubeconfig"))


def test_without_options_all_groups_are_run() -> None:
    options = parse([])
    assert options.whole
    assert [group.name for group in options.groups] == ["network-policy", "network", "other"]


def test_groups_are_run_in_their_own_order_and_once() -> None:
    options = parse(["--group", "other", "--group", "network", "--group", "other"])
    assert [group.name for group in options.groups] == ["network", "other"]
    assert not options.whole


@pytest.mark.parametrize(("arguments", "says"), [
    (["--group", "nonsense"], "--group: invalid choice: 'nonsense'"),
    (["--procs", "0"], "--procs=0 must be from 1 to 16"),
    (["--procs", "17"], "--procs=17"),
    (["--procs", "many"], "--procs"),
    (["--focus", "a[b"], r"--focus='a[b' is no regular expression"),
    (["network"], "network"),
])  # fmt: skip
def test_wrong_options_end_with_an_id(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert "BK-421: " in printed
    assert says in printed


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_no_group_has_specs_that_need_the_cluster_for_themselves(group: object) -> None:
    label = getattr(group, "labels", "")
    assert label.split(" && ").count("!Serial") == 1
    assert label.split(" && ").count("!Disruptive") == 1
    assert "||" not in label


def test_ginkgo_is_told_what_to_run(tmp_path: Path) -> None:
    options = replace(parse(["--group", "network", "--focus", "a b", "--focus", "c", "--procs", "2"]), sctp=True)
    command = suite.command(BUILT, options.groups[0], options, tmp_path / "network.json")
    ours, theirs = command[: command.index("--")], command[command.index("--") + 1 :]
    assert ours[0] == "/built/ginkgo"
    assert ours[-1] == "/built/e2e.test"
    assert {"--procs=2", f"--label-filter={options.groups[0].labels}", "--focus=a b", "--focus=c"} <= set(ours)
    assert {f"--output-dir={tmp_path}", "--json-report=network.json"} <= set(ours)
    assert "--dry-run" not in ours
    assert "--kubeconfig=/state/kubeconfig" in theirs


def test_specs_of_sctp_are_left_out_where_the_kernel_has_none(tmp_path: Path) -> None:
    (chosen,) = [word for word in suite.command(BUILT, GROUPS[0], Options(sctp=False), tmp_path / "x.json") if "--label-filter" in word]
    assert chosen == f"--label-filter={GROUPS[0].labels} && !(Feature: containsAny SCTPConnectivity)"


def test_what_is_left_out_is_told_of_groups_that_have_it_only() -> None:
    assert Options(sctp=True).left_out == []
    assert len(Options(sctp=False).left_out) == 1
    without = Options(groups=GROUPS[1:], sctp=False)
    assert without.left_out == []
    assert [without.labels(group) for group in without.groups] == [group.labels for group in GROUPS[1:]]


def test_a_list_runs_nothing(tmp_path: Path) -> None:
    command = suite.command(BUILT, GROUPS[0], Options(list_only=True), tmp_path / "x.json")
    assert "--dry-run" in command
    assert "--procs=1" in command


def test_the_caller_settings_do_not_lead_the_suite_elsewhere(tmp_path: Path) -> None:
    caller = {"KUBECONFIG": "/other", "HTTPS_PROXY": "http://p", "no_proxy": "x", "HOME": "/root", "PATH": "/bin"}
    assert suite.environment(caller, BUILT, tmp_path) == {
        "PATH": "/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "KUBE_TEST_REPO_LIST": "/state/registries.yml",
    }  # fmt: skip
