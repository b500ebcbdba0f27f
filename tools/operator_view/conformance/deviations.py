"""The specs that are known not to pass, each with its reason: tests/conformance/deviations.yml."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from operator_view.conformance import ConformanceError
from operator_view.settings import ROOT

FILE = ROOT / "tests" / "conformance" / "deviations.yml"
SHORTEST_REASON = 20


def load(file: Path = FILE) -> dict[str, str]:
    """Return the reason of each spec that is known not to pass; ConformanceError (BK-422) that says what to write instead."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConformanceError(f"BK-422: {file} cannot be read: {error.strerror}; write `[]` into it for no deviations") from error
    except yaml.YAMLError as error:
        raise ConformanceError(f"BK-422: {file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, list):
        raise ConformanceError(f"BK-422: {file} must be a list of entries with spec and reason; write [] for none")
    reasons: dict[str, str] = {}
    for number, entry in enumerate(found):
        spec, reason = _entry(entry, f"BK-422: {file}[{number}]")
        if spec in reasons:
            raise ConformanceError(f"BK-422: {file}[{number}]: {spec} stands there twice; remove one")
        reasons[spec] = reason
    return reasons


def _entry(entry: Any, place: str) -> tuple[str, str]:
    if not isinstance(entry, Mapping) or set(entry) != {"spec", "reason"}:
        raise ConformanceError(f"{place}: it must have spec and reason, and nothing else; it is {entry!r}")
    spec, reason = entry["spec"], entry["reason"]
    if not isinstance(spec, str) or not spec.startswith("[sig-"):
        raise ConformanceError(f"{place}: spec={spec!r} must be the whole text of one spec, as reports/conformance.json has it: [sig-…] …")
    if not isinstance(reason, str) or len(reason.strip()) < SHORTEST_REASON:
        raise ConformanceError(f"{place}: reason={reason!r} must tell why the spec does not pass, in at least {SHORTEST_REASON} letters")
    return spec, " ".join(reason.split())


def require_known(reasons: Mapping[str, str], specs: Collection[str]) -> None:
    """Raise ConformanceError (BK-422) for an entry about a spec that the suite does not have, which would excuse nothing."""
    for spec in reasons:
        if spec not in specs:
            raise ConformanceError(f"BK-422: the suite has no spec {spec!r}; correct its entry in {FILE}, or remove it")
