"""Prometheus' rules, judged by Prometheus' own checker: what each says of series that were made up."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "roles/observability/files/rules"
TESTS = Path(__file__).parent / "rules"
# The first run on a machine builds promtool.
pytestmark = pytest.mark.timeout(1800)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it from the checkout's folder."""
    return subprocess.run([ROOT / "tools/promtool", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each rule with its file."""
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield file, rule


def cases(file: Path) -> list[dict[str, Any]]:
    """The tests of a file."""
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
    return found


def test_the_checker_takes_every_rule() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", sorted(TESTS.glob("*.yml")), ids=lambda file: file.stem)
def test_rules_say_what_they_should(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested() -> None:
    tests = [case for file in TESTS.glob("*.yml") for case in cases(file)]
    fires = {one["alertname"] for case in tests for one in case.get("alert_rule_test", []) if one["exp_alerts"]}
    rests = {one["alertname"] for case in tests for one in case.get("alert_rule_test", []) if not one["exp_alerts"]}
    asked = " ".join(one["expr"] for case in tests for one in case.get("promql_expr_test", []))
    asked += " ".join(rule["expr"] for _, rule in rules())
    alerts = {rule["alert"] for _, rule in rules() if "alert" in rule}
    assert fires == alerts, f"no test lets these fire: {sorted(alerts - fires)}; no such alerts: {sorted(fires - alerts)}"
    assert rests == alerts, f"no test keeps these quiet: {sorted(alerts - rests)}"
    records = {rule["record"] for _, rule in rules() if "record" in rule}
    # A name holds colons: whole words only.
    untested = {name for name in records if not re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", asked)}
    assert not untested, f"no test asks for {sorted(untested)}"


@pytest.mark.parametrize("stem", ["platform", "traffic", "shop", "pipeline", "analytics"])
def test_an_alert_that_never_fires_fails_its_test(stem: str, tmp_path: Path) -> None:
    file = RULES / f"alerts-{stem}.yml"
    silent = yaml.safe_load(file.read_text(encoding="utf-8"))
    names = []
    for rule in silent["groups"][0]["rules"]:
        rule["expr"] = f"({rule['expr']}) and on () vector(0) > 1"
        names.append(rule["alert"])
    (tmp_path / file.name).write_text(yaml.safe_dump(silent), encoding="utf-8")
    tests = yaml.safe_load((TESTS / f"{stem}.yml").read_text(encoding="utf-8"))
    given = (Path(one).name for one in tests["rule_files"])
    tests["rule_files"] = [str((tmp_path if name == file.name else RULES) / name) for name in given]
    (tmp_path / "test.yml").write_text(yaml.safe_dump(tests), encoding="utf-8")
    done = promtool("test", "rules", tmp_path / "test.yml")
    assert done.returncode != 0
    unnoticed = [name for name in names if f"alertname: {name}, " not in done.stdout + done.stderr]
    assert not unnoticed, f"may be silent: {unnoticed}"
