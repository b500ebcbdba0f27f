"""`make conformance` counts what the suite reports, and excuses only what has a reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from operator_view.conformance import ConformanceError, command, deviations, outcomes
from operator_view.conformance.selection import GROUPS, Group

NETWORK = next(group for group in GROUPS if group.name == "network")
STARTED = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
REASON = "the node network has no SCTP; docs/conformance.md explains it"


def reported(text: str, state: str, message: str = "", node: str = "It", seconds: float = 2.0) -> dict[str, Any]:
    """As ginkgo's JSON has it."""
    failure = {"Failure": {"Message": message}} if message else {}
    return {"ContainerHierarchyTexts": ["[sig-network]"], "LeafNodeText": text, "LeafNodeType": node, "State": state,
            "RunTime": seconds * 1e9, **failure}  # fmt: skip


def report(tmp_path: Path, *specs: dict[str, Any], interrupted: bool = False, reasons: dict[str, str] | None = None) -> outcomes.Report:
    file = tmp_path / "network.json"
    file.write_text(json.dumps([{"SpecReports": list(specs)}]), encoding="utf-8")
    found, _ = outcomes.read(file, NETWORK, interrupted)
    return outcomes.Report(STARTED, 4, "v1.34.4", found, {"network": 61.0}, reasons or {}, interrupted=interrupted)


def states(made: outcomes.Report) -> list[tuple[str, str]]:
    return [(spec.text.removeprefix("[sig-network] "), spec.state) for spec in made.specs]


def test_specs_that_were_not_chosen_are_no_part_of_the_run(tmp_path: Path) -> None:
    made = report(tmp_path, reported("a", "passed"), reported("b", "skipped"), reported("c", "skipped", "only for clouds"))
    assert states(made) == [("a", "passed"), ("c", "skipped")]
    assert made.good


def test_all_texts_of_the_suite_are_known_also_of_specs_that_did_not_run(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps([{"SpecReports": [reported("a", "passed"), reported("b", "skipped")]}]), encoding="utf-8")
    assert outcomes.read(file, NETWORK)[1] == {"[sig-network] a", "[sig-network] b"}


@pytest.mark.parametrize("state", ["failed", "panicked", "timedout", "interrupted", "aborted"])
def test_each_way_to_fail_counts_as_failed(tmp_path: Path, state: str) -> None:
    made = report(tmp_path, reported("a", state, "it broke"))
    assert states(made) == [("a", "failed")]
    assert [one.known for one in made.not_passed()] == [False]
    assert not made.good


def test_a_step_before_all_specs_that_fails_is_told(tmp_path: Path) -> None:
    made = report(tmp_path, reported("nodes", "failed", "not ready", node="BeforeSuite"), reported("x", "passed", node="AfterSuite"))
    assert [spec.text for spec in made.specs] == ["[BeforeSuite] [sig-network] nodes"]


def test_a_spec_that_an_interruption_cut_off_did_not_fail(tmp_path: Path) -> None:
    made = report(tmp_path, reported("a", "interrupted", "Interrupted by User"), reported("b", "failed", "it broke"), interrupted=True)
    assert states(made) == [("a", "skipped"), ("b", "failed")]
    assert not made.good
    assert command.tell(made, [NETWORK]) == command.INTERRUPTED
    assert "was interrupted" in outcomes.markdown(made, [NETWORK])


@pytest.mark.parametrize("content", [None, "", "{", "[{"])
def test_a_suite_without_report_is_an_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "r.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConformanceError, match="BK-424"):
        outcomes.read(file, NETWORK)


def test_only_its_own_deviation_excuses_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failures = [reported("a", "failed", "it broke"), reported("b", "failed", "it broke, too")]
    excused = report(tmp_path, *failures, reasons={"[sig-network] a": REASON, "[sig-network] b": REASON})
    assert command.tell(excused, [NETWORK]) == command.GOOD
    half = report(tmp_path, *failures, reasons={"[sig-network] a": REASON})
    capsys.readouterr()
    assert command.tell(half, [NETWORK]) == command.FAILED
    printed = capsys.readouterr().out
    assert f"failed: [sig-network] a: {REASON}" in printed
    assert "failed (UNKNOWN): [sig-network] b: it broke, too" in printed
    assert "BK-426: 1 specs" in printed


def test_a_deviation_that_passes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = report(tmp_path, reported("a", "passed"), reasons={"[sig-network] a": REASON})
    assert command.tell(made, [NETWORK]) == command.GOOD
    assert "passes, although it is known not to: [sig-network] a" in capsys.readouterr().out


def test_what_is_left_behind_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = report(tmp_path, reported("a", "passed"))
    made.left_behind = ["clusterrole.rbac.authorization.k8s.io/left"]
    assert command.tell(made, [NETWORK]) == command.FAILED
    assert "BK-428" in capsys.readouterr().out


def test_the_table_has_a_row_for_each_group_and_the_sum() -> None:
    other = Group("other", "others", "x")
    specs = [outcomes.Spec("network", "a", "passed"), outcomes.Spec("network", "b", "failed"), outcomes.Spec("other", "c", "skipped")]
    made = outcomes.Report(STARTED, 4, specs=specs, seconds={"network": 59.6, "other": 5.2})
    assert outcomes.rows(made, [NETWORK, other])[1:] == [
        (NETWORK.title, "1", "1", "0", "1 min 00 s"), ("others", "0", "0", "1", "5 s"), ("all", "1", "1", "1", "1 min 05 s"),
    ]  # fmt: skip


def test_both_reports_say_the_same(tmp_path: Path) -> None:
    made = report(tmp_path, reported("a | b", "failed", "it\nbroke | here"), reported("c", "passed"))
    command.write(made, [NETWORK], tmp_path / "reports")
    text = (tmp_path / "reports/conformance.md").read_text(encoding="utf-8")
    assert "| [sig-network] a \\| b | failed | **UNKNOWN**: it broke \\| here |" in text
    document = json.loads((tmp_path / "reports/conformance.json").read_text(encoding="utf-8"))
    assert document["groups"] == [{"name": "network", "title": NETWORK.title, "passed": 1, "failed": 1, "skipped": 0, "seconds": 61.0}]
    assert [spec.get("known") for spec in document["specs"]] == [False, None]
    assert document["good"] is False


def test_the_deviations_of_this_checkout_can_be_read() -> None:
    assert all(len(reason) >= deviations.SHORTEST_REASON for reason in deviations.load().values())


@pytest.mark.parametrize(("content", "says"), [
    ("a: b", "must be a list"),
    ("", "must be a list"),
    ("- [", "is no YAML"),
    ("- text", r"\[0\].*spec and reason"),
    ("- {spec: '[sig-network] a'}", "spec and reason"),
    (f"- {{spec: '[sig-network] a', reason: {REASON}, until: 2027}}", "nothing else"),
    (f"- {{spec: 'a', reason: {REASON}}}", "spec='a'"),
    ("- {spec: '[sig-network] a', reason: flaky}", "reason='flaky'"),
    (f"- &a {{spec: '[sig-network] a', reason: {REASON}}}\n- *a", "twice"),
])  # fmt: skip
def test_a_wrong_deviation_is_refused(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "deviations.yml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConformanceError, match=f"BK-422.*{says}"):
        deviations.load(file)


def test_missing_deviations_are_an_error_not_an_excuse(tmp_path: Path) -> None:
    with pytest.raises(ConformanceError, match="BK-422"):
        deviations.load(tmp_path / "none.yml")


def test_a_deviation_of_no_spec_is_refused() -> None:
    deviations.require_known({"[sig-network] a": REASON}, {"[sig-network] a"})
    with pytest.raises(ConformanceError, match="BK-422.*no spec"):
        deviations.require_known({"[sig-network] a": REASON}, {"[sig-network] b"})
