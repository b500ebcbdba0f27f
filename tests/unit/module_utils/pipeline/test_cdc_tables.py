"""SQL in the databases' pods: what comes back is whole, or an error."""

from __future__ import annotations

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_tables


class Losing:
    """A cluster whose commands succeed, with outputs that get lost on their way."""

    def __init__(self, *outputs: str) -> None:
        self.outputs = list(outputs)
        self.commands: list[list[str]] = []

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        self.commands.append(command)
        return self.outputs.pop(0)


def test_an_answer_that_is_not_whole_is_asked_for_again() -> None:
    """Else analytics would lose each row whose source was not among what came back."""
    cluster = Losing("", "a\n", f"a\nb\n{cdc_tables.END}\n", f"{cdc_tables.END}\n", f"\n{cdc_tables.END}\n")
    sql = cdc_tables.psql(cluster, 1)  # type: ignore[arg-type]
    assert sql("ecom", "SELECT id FROM orders") == "a\nb"
    assert len(cluster.commands) == 3
    assert cluster.commands[0][-2:] == ["--command=SELECT id FROM orders", f"--command=SELECT '{cdc_tables.END}'"]
    assert sql("ecom", "SELECT id FROM orders WHERE false") == ""
    assert sql("ecom", "SELECT NULL") == ""


def test_an_answer_that_is_never_whole_is_an_error() -> None:
    sql = cdc_tables.psql(Losing("", "a\n", "a\nb\n"), 1)  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match="BK-204: a command in ecom/ecom-db-0 succeeded 3 times and its output was not whole: psql"):
        sql("ecom", "SELECT id FROM orders")


def test_what_changes_rows_is_done_once() -> None:
    cluster = Losing("")
    assert cdc_tables.psql(cluster, 1)("ecom", "UPDATE orders SET total = 1") == ""  # type: ignore[arg-type]
    assert len(cluster.commands) == 1
