"""What is restarted next: a table of cases, and what never happens whatever is broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_escalation as escalation
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_run

Edge = dict[str, Any]
GATEWAY = "gateway/bookstore-gateway-istio"
# Pod to its workload and node.
PODS = {
    "ecom/api-1": ("ecom/ecom-api", "w1"), "ecom/db-0": ("ecom/ecom-db", "w2"), "infra/redis-0": ("infra/redis", "w1"),
    "identity/kc-1": ("identity/keycloak", "w2"), "admin/admin-1": ("admin/admin-api", "w1"),
}  # fmt: skip
LAYOUT = escalation.Layout(
    "ambient", {"w1": "istio-system/z1", "w2": "istio-system/z2"}, {"w1": "istio-system/c1", "w2": "istio-system/c2"}, (),
    ("istio-system/istiod-1",), ("gateway/gw-1",), GATEWAY, {pod: workload for pod, (workload, _) in PODS.items()},
    ("*-db", "redis", "keycloak", "*-api"),
)  # fmt: skip


def edge(source: str, destination: str, kind: str = "allowed", *, ok: bool = False, outcome: str = "timeout") -> Edge:
    """An edge between pods of PODS; a source with ``probe:`` before its node is a probe pod there."""
    node = source.removeprefix("probe:") if source.startswith("probe:") else PODS[source][1]
    return {
        "kind": kind, "source": source, "destination": destination, "expected": ["answered"], "detail": "", "seconds": 0.1, "ok": ok,
        "outcome": "answered" if ok else outcome, "source_node": node, "source_pod": "" if source.startswith("probe:") else source,
        "destination_nodes": [PODS[destination][1]], "pods": [destination],
    }  # fmt: skip


def outside(pod: str) -> Edge:
    meta = {"namespace": pod.partition("/")[0], "name": pod.partition("/")[2]}
    return escalation.enrolment([{"metadata": meta, "spec": {"nodeName": PODS[pod][1]}}], [False])[0]


def steps(broken: list[Edge], holding: list[Edge] | None = None, layout: escalation.Layout = LAYOUT) -> list[escalation.Step]:
    """All steps of a mesh that no restart mends."""
    done: list[escalation.Step] = []
    while (step := escalation.next_step(broken, holding or [], {one.key for one in done}, layout)) is not None:
        done.append(step)
        assert len(done) < 50, "the escalation does not end"
    return done


def targets(found: list[escalation.Step]) -> list[str]:
    return [f"{step.stage} {step.target}" for step in found]


ISTIOD = "istiod istio-system/istiod"


@pytest.mark.parametrize(("broken", "holding", "expected"), [
    pytest.param([], [edge("ecom/api-1", "ecom/db-0", ok=True)], [], id="nothing is broken"),
    pytest.param(
        [edge("ecom/api-1", "infra/redis-0"), edge("probe:w2", "infra/redis-0")], [edge("probe:w2", "ecom/db-0", ok=True)],
        ["node w1", ISTIOD, "workload infra/redis", "workload ecom/ecom-api"], id="one node is shared",
    ),
    pytest.param(
        [edge("ecom/api-1", "ecom/db-0")], [edge("probe:w2", "ecom/db-0", ok=True)],
        ["node w1", "node w2", ISTIOD, "workload ecom/ecom-api", "workload ecom/ecom-db"], id="both nodes of one edge, the suspect first",
    ),
    pytest.param(
        [edge("probe:w1", "infra/redis-0"), edge("probe:w2", "ecom/db-0")], [],
        ["node w1", "node w2", ISTIOD, "workload ecom/ecom-db", "workload infra/redis"], id="no edge holds on either node",
    ),
    pytest.param(
        [edge("probe:w1", "infra/redis-0"), edge("probe:w2", "ecom/db-0")],
        [edge("probe:w1", "admin/admin-1", ok=True), edge("probe:w2", "identity/kc-1", "identity", ok=True)],
        [ISTIOD, "workload ecom/ecom-db", "workload infra/redis"], id="nothing is shared and each node has edges that hold",
    ),
    pytest.param(
        [edge("probe:w1", "ecom/db-0", "plaintext", outcome="answered")], [edge("ecom/api-1", "ecom/db-0", ok=True)],
        ["node w2", ISTIOD, "workload ecom/ecom-db"], id="plaintext is let in: only the destination's side is touched",
    ),
    pytest.param(
        [edge("probe:w1", "infra/redis-0"), edge("probe:w2", "ecom/db-0")],
        [edge("probe:w1", "infra/redis-0", kind, ok=True) for kind in ("principal", "plaintext", "port")],
        ["node w1", "node w2", ISTIOD, "workload ecom/ecom-db", "workload infra/redis"], id="a refusal shows no proxy that works",
    ),
    pytest.param(
        [edge("ecom/api-1", "ecom/db-0"), edge("ecom/api-1", "infra/redis-0")], [],
        ["node w1", "node w2", ISTIOD, "workload ecom/ecom-api", "workload ecom/ecom-db", "workload infra/redis"],
        id="what all share before the order",
    ),
    pytest.param([outside("ecom/db-0")], [], ["workload ecom/ecom-db"], id="a pod outside the mesh is renewed, and nothing else"),
    pytest.param(
        [outside("ecom/api-1"), edge("ecom/api-1", "ecom/db-0")], [], ["workload ecom/ecom-api", "workload ecom/ecom-db"],
        id="a pod outside the mesh explains its edges",
    ),
    pytest.param(
        [edge("probe:w2", "infra/redis-0", outcome=mesh_run.UNSTARTED)], [edge("ecom/api-1", "infra/redis-0", ok=True)],
        ["node w2", "cni w2", ISTIOD], id="a node that starts no pod of the mesh touches no pod",
    ),
    pytest.param(
        [{**edge("probe:w1", "ecom/db-0"), "source": GATEWAY}], [edge("probe:w1", "infra/redis-0", ok=True)],
        ["node w2", "node w1", ISTIOD, f"gateway {GATEWAY}", "workload ecom/ecom-db"], id="the gateway only if its edges are broken",
    ),
])  # fmt: skip
def test_steps(broken: list[Edge], holding: list[Edge], expected: list[str]) -> None:
    assert targets(steps(broken, holding)) == expected


def test_sidecar_mode_has_no_step_for_nodes() -> None:
    layout = replace(LAYOUT, mode="sidecar", proxies={})
    assert targets(steps([edge("ecom/api-1", "infra/redis-0")], [], layout)) == [ISTIOD, "workload infra/redis", "workload ecom/ecom-api"]
    left_over = replace(LAYOUT, mode="sidecar")
    assert "node w1" not in targets(steps([edge("ecom/api-1", "infra/redis-0")], [], left_over))


def test_istio_cni_that_is_not_ready_comes_before_the_proxy_that_it_feeds() -> None:
    layout = replace(LAYOUT, unready={"istio-system/c2", "istio-system/c1"})
    found = steps([edge("probe:w2", "infra/redis-0", outcome=mesh_run.UNSTARTED)], [], layout)
    assert targets(found) == ["cni w2", "node w2", ISTIOD]
    # Whoever starts pods is not asked to.
    assert "cni w1" not in targets(steps([edge("ecom/api-1", "infra/redis-0")], [], layout))


def test_a_step_says_why() -> None:
    first = steps([edge("ecom/api-1", "infra/redis-0")], [edge("ecom/api-1", "ecom/db-0", ok=True)])[0]
    assert (first.pods, first.reason) == (("istio-system/z1",), "all 1 broken edges touch node w1; 1 hold")


def test_only_the_affected_pods_of_a_workload() -> None:
    layout = escalation.Layout("ambient", workloads={"ecom/api-1": "ecom/ecom-api", "ecom/api-2": "ecom/ecom-api"})
    [step] = steps([{**edge("ecom/api-1", "ecom/db-0"), "pods": []}], [], layout)
    assert step.pods == ("ecom/api-1",)


@pytest.mark.parametrize(("one", "tells"), [
    (edge("probe:w1", "ecom/db-0"), True),
    (edge("probe:w1", "ecom/db-0", "plaintext", outcome="answered"), True),
    (edge("probe:w1", "infra/redis-0"), False),  # no pod of it is ready
    (edge("probe:w1", "infra/redis-0", outcome=mesh_run.UNSTARTED), True),
    (edge("probe:w1", "infra/redis-0", "plaintext", outcome="answered"), True),
    (edge("probe:w1", "ecom/db-0", "dropped"), False), (edge("probe:w1", "ecom/db-0", "control"), False),
    (edge("probe:w1", "ecom/db-0", outcome=mesh_run.NOT_TRIED), False), (outside("infra/redis-0"), True),
])  # fmt: skip
def test_what_tells_about_the_mesh(one: Edge, tells: bool) -> None:
    assert escalation.judged([one], {"ecom/db-0"}) == (([one], []) if tells else ([], [one]))
    assert escalation.judged([{**one, "ok": True}], set()) == ([], [])


POD = st.sampled_from(sorted(PODS))
SOURCE = st.one_of(POD, st.sampled_from(["probe:w1", "probe:w2"]))
KIND = st.sampled_from(sorted(escalation.KINDS))
OUTCOME = st.sampled_from(["timeout", "answered", mesh_run.UNSTARTED])
BROKEN = st.lists(st.one_of(st.builds(edge, SOURCE, POD, KIND, outcome=OUTCOME), st.builds(outside, POD)), max_size=8)
HOLDING = st.lists(st.builds(edge, SOURCE, POD, KIND, ok=st.just(True)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(broken=BROKEN, holding=HOLDING, ambient=st.booleans(), unready=st.sets(st.sampled_from(sorted(LAYOUT.cni.values()))))
def test_nothing_is_restarted_that_no_broken_edge_touches(
    broken: list[Edge], holding: list[Edge], ambient: bool, unready: set[str]
) -> None:
    layout = replace(LAYOUT, mode="ambient" if ambient else "sidecar", unready=unready)
    found = steps(broken, holding, layout)
    pods = {pod for one in broken for pod in escalation.pods_of(one)}
    nodes = {node for one in broken for node in escalation.nodes_of(one)}
    for step in found:
        if step.stage in (escalation.NODE, escalation.CNI):
            assert step.target in nodes
            assert step.pods in (((layout.proxies[step.target],), (layout.cni[step.target],)))
        elif step.stage == escalation.WORKLOAD:
            assert set(step.pods) <= pods
            assert {layout.workloads[pod] for pod in step.pods} == {step.target}, "one workload at a time"
        elif step.stage == escalation.GATEWAY:
            assert any(one["source"] == GATEWAY for one in broken)
    levels = [escalation.LEVELS[step.stage] for step in found]
    assert levels == sorted(levels), "it only goes up"
    assert len({step.key for step in found}) == len(found), "nothing is restarted twice"
    assert ambient or escalation.NODE not in {step.stage for step in found}
    assert found or not broken or not pods, "whatever is broken, something is tried"


@settings(max_examples=200, deadline=None)
@given(broken=BROKEN, holding=HOLDING, mended=st.integers(0, 6))
def test_it_ends_as_soon_as_the_edges_hold(broken: list[Edge], holding: list[Edge], mended: int) -> None:
    done: set[tuple[str, str]] = set()
    for _ in range(mended):
        step = escalation.next_step(broken, holding, done, LAYOUT)
        if step is None:
            return
        done.add(step.key)
    assert escalation.next_step([], holding + broken, done, LAYOUT) is None
