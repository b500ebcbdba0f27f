"""The table of what may be away, which is every workload that always runs: the document tells of each of its rows."""

from __future__ import annotations

import re

from tests.live.faults.absences import COMPONENTS, NEEDS, OTHERS

HEADING = "\n## Away for ten minutes\n"


def test_what_people_need_is_in_the_table() -> None:
    assert set().union(*NEEDS.values()) <= {one.name for one in COMPONENTS}


def test_the_document_tells_of_every_row(committed: dict[str, str]) -> None:
    section = committed["docs/reliability.md"].split(HEADING)[1].split("\n## ")[0]
    told = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]
    names = [name for cell in told for name in re.split(r", ", cell) if not cell.startswith("-")]
    assert sorted(names) == sorted([*(one.name for one in COMPONENTS), *OTHERS])
