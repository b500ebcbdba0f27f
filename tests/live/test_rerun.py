"""A second bootstrap of a healthy platform changes nothing and restarts nothing (SPEC 10.4)."""

from __future__ import annotations

import re

import pytest

from .rerun import Rerun

pytestmark = pytest.mark.timeout(600)


def test_second_bootstrap_changes_nothing(second_bootstrap: Rerun) -> None:
    # The standard recap, or the one line of our own output.
    recap = re.findall(r"changed=(\d+)", second_bootstrap.output)
    assert recap, second_bootstrap.output[-1000:]
    assert set(recap) == {"0"}, second_bootstrap.output[-3000:]
    assert second_bootstrap.after == second_bootstrap.before
