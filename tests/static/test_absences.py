"""The table of what may be away: it has every workload that the roles make, and the document tells of each of its rows."""

from __future__ import annotations

import re
from typing import Any

from checks import manifests as policies
from tests.live.faults.absences import COMPONENTS, MADE_BY_OTHERS, NEEDS, OTHERS

HEADING = "\n## Away for ten minutes\n"


def test_every_workload_of_the_roles_has_a_row(manifests: list[dict[str, Any]]) -> None:
    made = {
        (workload["kind"], workload["metadata"]["namespace"], workload["metadata"]["name"])
        for workload in policies.of_kind(manifests, "Deployment", "StatefulSet")
    }
    assert made == {(one.kind, one.namespace, one.name) for one in COMPONENTS if one.name not in MADE_BY_OTHERS}


def test_what_people_need_is_in_the_table() -> None:
    assert set().union(*NEEDS.values()) <= {one.name for one in COMPONENTS}


def test_the_document_tells_of_every_row(committed: dict[str, str]) -> None:
    section = committed["docs/reliability.md"].split(HEADING)[1].split("\n## ")[0]
    told = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]
    names = [name for cell in told for name in re.split(r", ", cell) if not cell.startswith("-")]
    assert sorted(names) == sorted([*(one.name for one in COMPONENTS), *OTHERS])
