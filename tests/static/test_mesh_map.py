"""The mesh map shows what the recording rules make: their names agree, on both sides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

RULES = "roles/observability/files/rules"
NAME = re.compile(r'"((?:edge|workload|table|view):[a-z0-9_]+(?::[a-z0-9_]+)*)"')


def test_every_series_that_the_map_asks_for_is_recorded(root: Path) -> None:
    files = sorted((root / RULES).glob("*.yml"))
    if not files:
        pytest.skip(f"{RULES} has no rules yet: nothing to compare the map's names with")
    groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    sources = (root / "apps/mesh_map/src").rglob("*.py")
    asked = {name for file in sources for name in NAME.findall(file.read_text(encoding="utf-8"))}
    assert len(asked) >= 15
    assert asked - recorded == set()


def test_what_the_map_is_told_where_verify_left_its_summary_is_where_it_does(committed: dict[str, str]) -> None:
    """A place that is written in three files: who writes, who reads, who may read."""
    service = committed["apps/mesh_map/src/mesh_map/topology/service.py"]
    [(namespace, name)] = re.findall(r'^PROOF = \("([a-z-]+)", "([a-z-]+)"\)', service, re.MULTILINE)
    written = yaml.safe_load(committed["playbooks/vars/verify.yml"])["verify_summary"]
    row = yaml.safe_load(committed["inventory/local/group_vars/all/workloads.yml"])["bookstore_workloads"]["mesh-map"]
    assert written["name"] == name
    assert row["namespace"] == namespace
    assert [rule["resourceNames"] for rule in row["rights"]["rules"] if "configmaps" in rule["resources"]] == [[name]]
    verbs = {verb for rule in row["rights"]["rules"] for verb in rule["verbs"]}
    assert verbs <= {"get", "list", "watch"}
    assert not any("secrets" in rule["resources"] or "*" in rule["resources"] for rule in row["rights"]["rules"])
