"""A second bootstrap of a healthy platform changes nothing and restarts nothing (SPEC 10.4)."""

from __future__ import annotations

import re

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .rerun import Rerun, rerun

pytestmark = pytest.mark.timeout(600)


def test_second_bootstrap_changes_nothing(second_bootstrap: Rerun) -> None:
    # The standard recap, or the one line of our own output.
    recap = re.findall(r"changed=(\d+)", second_bootstrap.output)
    assert recap, second_bootstrap.output[-1000:]
    assert set(recap) == {"0"}, second_bootstrap.output[-3000:]
    assert second_bootstrap.after == second_bootstrap.before


def test_check_mode_of_the_whole_reports_no_change(cluster: Cluster) -> None:
    """It asks the same of everything that runs, fails at nothing, and acts on nothing."""
    checked = rerun(cluster, "--check")
    recap = re.findall(r"changed=(\d+) .*failed=(\d+)", checked.output)
    assert recap, checked.output[-1000:]
    assert set(recap) == {("0", "0")}, checked.output[-3000:]
    assert checked.after == checked.before
