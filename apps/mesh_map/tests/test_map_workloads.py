"""Golden signals of one workload: what is asked of Prometheus, and what is answered."""

import math

import httpx2
import pytest
from map_testing import Figures

from mesh_map.sources.prometheus import quoted

pytestmark = pytest.mark.anyio


async def test_signals_of_the_last_hour(client: httpx2.AsyncClient, figures: Figures) -> None:
    answer = (await client.get("/api/workloads/ecom/ecom-api")).json()
    assert answer["figures"] == {"state": "seen"}
    assert len(answer["times"]) == 121
    assert answer["times"][-1] - answer["times"][0] == 3600
    assert set(answer["signals"]) == {"rate", "errors", "p50", "p95", "processor", "memory", "restarts"}
    assert {len(values) for values in answer["signals"].values()} == {121}
    # A gap is a gap, also where Prometheus says NaN.
    assert answer["signals"]["rate"][10] is None
    assert answer["signals"]["p95"][0] is None
    assert answer["signals"]["rate"][0] == 18
    assert any('namespace="ecom", workload="ecom-api"' in query for query in figures.queries())


@pytest.mark.parametrize(
    "path", ["ecom/nothing", "ecom/ecom-api%22%7D%20or%20vector(1)", "Ecom/ecom-api", "ecom/..", "a/" + "b" * 70]
)
async def test_a_name_that_is_none_is_not_asked_for(client: httpx2.AsyncClient, figures: Figures, path: str) -> None:
    response = await client.get(f"/api/workloads/{path}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert not [query for query in figures.queries() if "workload:" in query]


async def test_without_prometheus_there_are_no_signals(client: httpx2.AsyncClient, figures: Figures) -> None:
    figures.stop()
    answer = (await client.get("/api/workloads/ecom/ecom-api")).json()
    assert answer["signals"] == {}
    assert answer["figures"]["state"] == "blind"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", '"a"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ('\\"} or x{y="', r'"\\\"} or x{y=\""'),
        ("a\nb", r'"a\nb"'),
    ],
)
def test_a_value_cannot_leave_its_quotes(value: str, written: str) -> None:
    assert quoted(value) == written
    assert math.isfinite(len(written))
