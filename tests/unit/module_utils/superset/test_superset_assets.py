"""Superset's assets: what is read, what differs, what is imported."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import FakeClock

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.superset import superset_assets as assets

DATABASE: dict[str, Any] = {
    "database_name": "Shop",
    "uuid": "d1",
    "sqlalchemy_uri": "postgresql://reader@db/shop",
    "extra": {"engine_params": {}},
}
DATASET: dict[str, Any] = {
    "table_name": "sales", "uuid": "t1", "database_uuid": "d1", "is_managed_externally": True,
    "columns": [{"column_name": "day", "type": "DATE"}, {"column_name": "units", "type": "BIGINT"}],
    "metrics": [{"metric_name": "total", "expression": "SUM(units)"}],
}  # fmt: skip
CHART: dict[str, Any] = {
    "slice_name": "Sales", "uuid": "c1", "dataset_uuid": "t1", "params": {"viz_type": "pie", "row_limit": 10},
    "query_context": {"queries": [{"metrics": ["total"], "row_limit": 10}], "result_type": "full"},
}  # fmt: skip
DASHBOARD: dict[str, Any] = {
    "dashboard_title": "All", "uuid": "b1", "metadata": {"refresh_frequency": 10},
    "position": {"ROOT_ID": {"type": "ROOT", "children": ["X"]}, "X": {"type": "CHART", "meta": {"uuid": "c1", "width": 4}}, "V": "v2"},
}  # fmt: skip
FILES: dict[str, dict[str, Any]] = {
    "metadata.yaml": {"version": "1.0.0", "type": "assets"}, "databases/shop.yaml": DATABASE, "datasets/shop/sales.yaml": DATASET,
    "charts/sales.yaml": CHART, "dashboards/all.yaml": DASHBOARD,
}  # fmt: skip


def changed(text: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(text)), **fields}


def write(folder: Path, files: dict[str, dict[str, Any]]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(body), encoding="utf-8")
    return folder


@pytest.fixture
def declared(tmp_path: Path) -> list[assets.Asset]:
    return assets.load(write(tmp_path, FILES))


def exported(**replaced: dict[str, Any] | None) -> list[assets.Asset]:
    """What Superset gives out after an import: with its own numbers and with fields that nobody declared."""
    dataset = changed(DATASET, offset=0)
    del dataset["is_managed_externally"]
    dataset["columns"].reverse()
    params = changed(CHART["params"], datasource="7__table")
    context = changed(CHART["query_context"], datasource={"id": 7, "type": "table"}, form_data=params)
    dashboard = changed(DASHBOARD, metadata={"refresh_frequency": 10, "map_label_colors": {"a": "red"}})
    dashboard["position"]["X"]["meta"]["chartId"] = 42
    chart = changed(CHART, params=params, query_context=json.dumps(context))
    bodies: dict[str, dict[str, Any] | None] = {"database": changed(DATABASE), "dataset": dataset, "chart": chart, "dashboard": dashboard}
    bodies |= replaced
    return [assets.Asset(kind, f"{kind}.yaml", body) for kind, body in bodies.items() if body is not None]


def test_what_superset_adds_is_no_difference(declared: list[assets.Asset]) -> None:
    assert [asset.kind for asset in declared] == ["chart", "dashboard", "database", "dataset"]
    assert assets.differences(declared, exported()) == []


def test_a_missing_asset_is_told(declared: list[assets.Asset]) -> None:
    assert assets.differences(declared, exported(chart=None)) == ["chart Sales: is missing"]


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("chart", ("params", "row_limit"), 3, "chart Sales: params.row_limit: 3 -> 10"),
        ("chart", ("params", "new"), 1, "chart Sales: params.new: 1 -> absent"),
        ("chart", ("slice_name",), "Mine", 'chart Sales: slice_name: "Mine" -> "Sales"'),
        ("chart", ("dataset_uuid",), "t2", 'chart Sales: dataset_uuid: "t2" -> "t1"'),
        ("dashboard", ("metadata", "refresh_frequency"), 0, "dashboard All: metadata.refresh_frequency: 0 -> 10"),
        ("dashboard", ("position", "X", "meta", "width"), 12, "dashboard All: position.X.meta.width: 12 -> 4"),
        ("dashboard", ("position", "Y"), {"type": "ROW"}, 'dashboard All: position.Y: {"type": "ROW"} -> absent'),
        ("database", ("sqlalchemy_uri",), "postgresql://x@db/y", "database Shop: sqlalchemy_uri"),
        ("dataset", ("columns", 0, "type"), "TEXT", 'dataset sales: columns.units.type: "TEXT" -> "BIGINT"'),
        ("dataset", ("metrics", 0, "expression"), "1", 'dataset sales: metrics.total.expression: "1" -> "SUM(units)"'),
        ("dataset", ("metrics",), [], "dataset sales: metrics.total: is missing"),
    ],
)
def test_a_change_by_hand_is_told(declared: list[assets.Asset], kind: str, path: tuple[Any, ...], value: Any, told: str) -> None:
    found = exported()
    body: Any = next(asset for asset in found if asset.kind == kind).body
    for key in path[:-1]:
        body = body[key]
    body[path[-1]] = value
    lines = assets.differences(declared, found)
    assert any(line.startswith(told) for line in lines), lines
    # The form data of the query are the parameters of before: said too, nothing else is.
    assert all(line.startswith((told, "chart Sales: query_context.form_data: ")) for line in lines)


def test_a_changed_query_is_told(declared: list[assets.Asset]) -> None:
    chart = next(asset.body for asset in exported() if asset.kind == "chart")
    context = json.loads(chart["query_context"])
    context["queries"][0]["row_limit"] = 1
    lines = assets.differences(declared, exported(chart=changed(chart, query_context=json.dumps(context))))
    assert len(lines) == 1
    assert lines[0].startswith("chart Sales: query_context.queries: ")
    assert assets.differences(declared, exported(chart=changed(chart, query_context=None))) != []


def test_a_column_that_nobody_declared_is_told(declared: list[assets.Asset]) -> None:
    dataset = changed(DATASET, columns=[*DATASET["columns"], {"column_name": "x"}])
    assert assets.differences(declared, exported(dataset=dataset)) == ["dataset sales: columns.x: unknown -> absent"]


def test_foreign_assets_are_named(declared: list[assets.Asset]) -> None:
    mine = assets.Asset("chart", "charts/mine.yaml", {"slice_name": "Mine", "uuid": "c9"})
    assert assets.unknown(declared, [*exported(), mine]) == ["chart Mine"]


def test_the_bundle_is_superset_s_own(declared: list[assets.Asset]) -> None:
    files = assets.bundle(declared)
    assert json.loads(files["metadata.yaml"])["type"] == "assets"
    chart = json.loads(files["charts/sales.yaml"])
    assert json.loads(chart["query_context"])["form_data"] == chart["params"]
    assert isinstance(json.loads(files["dashboards/all.yaml"])["position"]["X"]["meta"]["chartId"], int)
    # Nothing of it stays in the declaration.
    assert "chartId" not in declared[1].body["position"]["X"]["meta"]
    assert assets.differences(declared, assets.parse(files)) == []


def test_the_hash_follows_the_content_only(tmp_path: Path, declared: list[assets.Asset]) -> None:
    other = tmp_path / "other"
    moved = {name.replace("charts/sales", "charts/renamed"): body for name, body in FILES.items()}
    assert assets.digest(assets.load(write(other, moved))) == assets.digest(declared)
    write(other, {"charts/renamed.yaml": changed(CHART, description="new")})
    assert assets.digest(assets.load(other)) != assets.digest(declared)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"charts/twin.yaml": CHART}, "have the same uuid=c1"),
        ({"charts/sales.yaml": changed(CHART, dataset_uuid="t9")}, "charts/sales.yaml: dataset_uuid=t9 is no uuid"),
        ({"dashboards/all.yaml": changed(DASHBOARD, position={"X": {"type": "CHART", "meta": {"uuid": "c9"}}})}, "position=c9 is no uuid"),
        ({"charts/none.yaml": {"slice_name": "No identity"}}, "charts/none.yaml must be a mapping with uuid and slice_name"),
    ],
)
def test_a_wrong_folder_is_refused(tmp_path: Path, files: dict[str, Any], told: str) -> None:
    with pytest.raises(assets.AssetError, match="BK-244") as caught:
        assets.load(write(tmp_path, {**FILES, **files}))
    assert told in str(caught.value)


def test_a_folder_without_metadata_and_what_is_no_yaml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(assets.AssetError, match=r"BK-244: path=.* holds no metadata\.yaml"):
        assets.load(tmp_path)
    with pytest.raises(assets.AssetError, match=r"BK-244: charts/x\.yaml is not YAML"):
        assets.parse({"charts/x.yaml": "a: [", "queries/x.yaml": "["})


class Server:
    """A cluster with one Superset, which keeps what is imported, or loses a part of it."""

    def __init__(self, loses: str = "") -> None:
        self.files: dict[str, str] = {}
        self.loses = loses
        self.commands: list[list[str]] = []
        self.ready_after = 0

    def objects(self, kind: str, namespace: str | None = None, **query: str) -> list[dict[str, Any]]:
        assert (kind, namespace, query) == ("Pod", "analytics", {"labelSelector": "app.kubernetes.io/name=superset"})
        self.ready_after -= 1
        status = {"conditions": [{"type": "Ready", "status": "True" if self.ready_after < 0 else "False"}]}
        return [
            {"metadata": {"name": "superset-old", "deletionTimestamp": "now"}, "status": status},
            {"metadata": {"name": "superset-1"}, "status": status},
        ]

    def execute(self, namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        assert (namespace, pod, container, timeout) == ("analytics", "superset-1", "superset", 9)
        self.commands.append(command)
        if command[2] == "export":
            return "a line of a library\n" + json.dumps(self.files) + "\n"
        files = json.loads(gzip.decompress(base64.b64decode(command[3])))
        self.files = {name: text for name, text in files.items() if name != self.loses}
        return ""


def tool(server: Server) -> assets.AssetTool:
    return assets.AssetTool(server, 9)  # type: ignore[arg-type]


def test_the_first_run_imports_and_the_second_does_not(declared: list[assets.Asset]) -> None:
    server = Server()
    assert len(assets.reconcile(tool(server), declared, 5, apply=True).differences) == 4
    assert [command[2] for command in server.commands] == ["export", "import", "export"]
    again = assets.reconcile(tool(server), declared, 5, apply=True)
    assert (again.differences, again.unknown, again.hash) == ([], [], assets.digest(declared))
    assert len(server.commands) == 4


def test_check_mode_tells_and_changes_nothing(declared: list[assets.Asset]) -> None:
    server = Server()
    assert assets.reconcile(tool(server), declared, 5, apply=False).differences
    assert server.files == {}


def test_what_superset_does_not_take_is_an_error(declared: list[assets.Asset]) -> None:
    with pytest.raises(assets.AssetError, match="BK-249: 1 differences remain after the import: chart Sales: is missing"):
        assets.reconcile(tool(Server(loses="charts/sales.yaml")), declared, 5, apply=True)


def test_it_waits_for_a_ready_pod_and_not_for_ever(declared: list[assets.Asset]) -> None:
    server, clock = Server(), FakeClock()
    server.ready_after = 3
    assets.reconcile(tool(server), declared, 5, apply=True, clock=clock)
    assert clock.slept == [1.0, 1.0, 1.0]
    server.ready_after = 99
    with pytest.raises(ClusterError, match="BK-246: no pod of Superset was ready within 5 s"):
        assets.reconcile(tool(server), declared, 5, apply=True, clock=clock)
    with pytest.raises(ClusterError, match="BK-246: no pod of analytics/superset is ready"):
        tool(server).export()
