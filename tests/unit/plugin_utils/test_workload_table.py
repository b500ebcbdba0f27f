"""What follows from the table of workloads and the matrix; and what a wrong entry is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.filter.workloads import FilterModule
from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

Row = dict[str, Any]
TABLE: dict[str, Row] = {
    "gate": {
        "namespace": "front", "kind": "Gateway",
        "ports": {
            "https": {"number": 8443, "protocol": "http", "node_port": {"id": "N1", "number": 30000, "serves": "shop"}},
            "metrics": {"number": 15020, "protocol": "http", "metrics": {"path": "/stats"}},
        },
    },
    "db": {
        "namespace": "data", "kind": "StatefulSet", "ports": {"sql": {"number": 5432, "protocol": "postgres"}}, "uid": 26000,
        "volume": "5Gi", "backup": "2Gi",
    },
    "leader": {
        "namespace": "data", "kind": "StatefulSet", "account": "pair", "uid": 26001, "volume": {"name": "both", "size": "1Gi"},
        "ports": {
            "http": {"number": 80, "protocol": "http", "node_port": {"id": "N3", "number": 32000, "serves": "UI", "service": "leader-ui"}},
            "rpc": {"number": 81, "protocol": "tcp"}, "blob": {"number": 82, "protocol": "tcp"},
        },
        "rights": {"reason": "leaders", "rules": []},
    },
    "follower": {"namespace": "data", "kind": "StatefulSet", "account": "pair"},
    "web": {
        "namespace": "front", "kind": "Deployment", "python": True,
        "ports": {
            "http": {"number": 8000, "protocol": "http", "node_port": {"id": "N2", "number": 31000, "serves": "web", "path": "/up"}},
            "metrics": {"number": 8002, "protocol": "http", "metrics": True},
        },
    },
    "later": {
        "namespace": "front", "kind": "Deployment", "planned": True, "python": True,
        "ports": {"http": {"number": 9090, "protocol": "http", "node_port": {"id": "N4", "number": 31001, "serves": "later"}}},
    },
    "maybe": {"namespace": "front", "kind": "DaemonSet", "optional": "absent; put it somewhere"},
    "agent": {"namespace": "front", "kind": "DaemonSet", "node_agent": True},
    "ops": {"namespaces": ["data", "front"], "kind": "Job"},
}  # fmt: skip


def edges(*rows: Row) -> list[Row]:
    return workload_table.edges(list(rows), TABLE)


def test_node_ports_come_by_their_ids_with_the_service_that_has_them() -> None:
    assert [(row["id"], row["name"], row["namespace"], row["service"], row["node_port"]) for row in workload_table.node_ports(TABLE)] == [
        ("N1", "https", "front", "gate-istio", 30000), ("N2", "http", "front", "web", 31000),
        ("N3", "http", "data", "leader-ui", 32000), ("N4", "http", "front", "later", 31001),
    ]  # fmt: skip
    assert workload_table.required_node_ports(TABLE) == ["N1", "N2", "N3"]
    assert workload_table.node_port_requests(TABLE) == [{"id": "N2", "path": "/up"}]
    assert workload_table.gateway_node_ports(TABLE) == {"https": 30000}


def test_volumes_are_named_by_workload_or_by_themselves_and_backups_come_last() -> None:
    assert [(row["name"], row["namespace"], row["claim"], row["uid"], row["size"]) for row in workload_table.volumes(TABLE)] == [
        ("db", "data", "data-db-0", 26000, "5Gi"), ("both", "data", "both", 26001, "1Gi"),
        ("backup-db", "data", "backup-db", 26000, "2Gi"),
    ]  # fmt: skip


def test_verify_expects_what_always_runs_under_the_name_that_it_has_in_the_cluster() -> None:
    assert [(row["kind"], row["name"]) for row in workload_table.expected(TABLE)] == [
        ("Deployment", "gate-istio"), ("StatefulSet", "db"), ("StatefulSet", "leader"), ("StatefulSet", "follower"), ("Deployment", "web"),
    ]  # fmt: skip
    assert [row["workload"] for row in workload_table.optional(TABLE)] == ["maybe"]
    assert workload_table.exec_sources(TABLE) == ["front/web"]


def test_rights_make_a_client_of_the_api_server() -> None:
    assert workload_table.accounts(TABLE) == [{"account": "data/pair", "reason": "leaders", "rules": []}]
    assert workload_table.facts(TABLE) == {
        "gateways": ("gate",), "accounts": ("pair",), "gateway_ports": (8443,), "api_clients": (("data", "pair"),),
    }  # fmt: skip


def test_an_address_is_that_of_the_service() -> None:
    assert workload_table.address(TABLE, "db.sql") == "db.data.svc.cluster.local:5432"


def test_an_edge_has_accounts_numbers_and_protocols() -> None:
    (found,) = [row for row in edges({"to": "db.sql", "from": ["gate", "web", "pair", "ops"]}) if row["workload"] == "db"]
    assert found == {
        "namespace": "data", "workload": "db", "ports": [5432], "protocols": {"5432": "postgres"},
        "sources": ["front/gate-istio", "front/web", "data/pair", "data/ops"],
    }  # fmt: skip


def test_a_node_port_opens_its_port_to_the_nodes_with_or_without_a_row() -> None:
    found = edges({"to": "web.http", "from": ["gate"]}, {"to": ["leader.rpc", "leader.blob"], "from": ["pair"]})
    assert [(row["workload"], row["ports"], row["sources"], row.get("node_blocks", False)) for row in found] == [
        ("leader", [80], [], True), ("later", [9090], [], True), ("web", [8000], ["front/gate-istio"], True),
        ("leader", [81, 82], ["data/pair"], False),
    ]  # fmt: skip


def test_the_map_is_told_of_every_workload_and_edge() -> None:
    made = edges({"to": "db.sql", "from": ["web", "ops"]})
    told = workload_table.topology(TABLE, made)
    assert [(row["namespace"], row["name"]) for row in told["workloads"] if row["kind"] == "Job"] == [("data", "ops"), ("front", "ops")]
    by_name = {row["name"]: row for row in told["workloads"]}
    assert by_name["leader"]["account"] == "pair"
    assert by_name["web"]["metrics"] == [8002]
    assert [name for name, row in by_name.items() if row["optional"]] == ["later", "maybe", "agent"]
    assert {"namespace": "data", "workload": "db", "ports": [5432], "sources": ["front/web", "data/ops"]} in told["edges"]
    assert {edge["workload"] for edge in told["edges"] if edge.get("node_blocks")} == {"leader", "web", "later"}


def test_metrics_means_every_port_that_is_scraped() -> None:
    found = [(row["workload"], row["ports"]) for row in edges({"to": "metrics", "from": ["later"]}) if row["sources"] == ["front/later"]]
    assert found == [("gate", [15020]), ("web", [8002])]


def test_what_is_scraped_has_the_path_of_its_port_and_is_not_planned() -> None:
    table = copy.deepcopy(TABLE)
    table["later"]["ports"]["http"]["metrics"] = True
    found = [(row["workload"], row["kind"], row["namespace"], row["number"], row["path"]) for row in workload_table.metrics(table)]
    assert found == [("gate", "Gateway", "front", 15020, "/stats"), ("web", "Deployment", "front", 8002, "/metrics")]


@pytest.mark.parametrize("metrics", [False, "yes", {}, {"path": "metrics"}, {"path": "/a b"}, {"path": "/a", "port": 1}])
def test_metrics_are_at_a_path_or_at_the_usual_one(metrics: Any) -> None:
    table = copy.deepcopy(TABLE)
    table["web"]["ports"]["metrics"]["metrics"] = metrics
    with pytest.raises(ValueError, match="bookstore_workloads: web: port metrics: metrics"):
        workload_table.metrics(table)


def test_metrics_are_fetched_by_http() -> None:
    table = copy.deepcopy(TABLE)
    table["db"]["ports"]["sql"]["metrics"] = True
    with pytest.raises(ValueError, match="db: port sql: metrics are fetched by HTTP; write protocol: http"):
        workload_table.metrics(table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"to": "dbb.sql", "from": ["web"]}, "dbb is not in bookstore_workloads; did you mean db?"),
        ({"to": "db.http", "from": ["web"]}, "db has no port 'http'; it has sql"),
        ({"to": "db.sql", "from": ["wep"]}, "source wep is neither .* did you mean web?"),
        ({"to": "db.sql", "from": ["leader"]}, "write pair, and all of them are let in"),
        ({"to": "db.sql", "from": []}, "needs to and from"),
        ({"to": "db.sql", "form": ["web"]}, "key form does not exist; did you mean from?"),
        ({"to": ["db.sql", "web.http"], "from": ["web"]}, "ports of one workload"),
        ({"to": ["leader.http", "leader.rpc"], "from": ["pair"]}, "need a row each"),
        ({"to": "db.sql", "from": "web"}, r"db.sql: write to: .* and from: \[<workload>\]"),
        ({"to": "db.sql", "from": [{"name": "web"}]}, r"db.sql: write to: .* and from: \[<workload>\]"),
        ({"to": {"db": "sql"}, "from": ["web"]}, "write to: <workload>.<port>"),
        ("db.sql", "row 1: 'db.sql' must be a map"),
        (None, "row 1: None must be a map"),
    ],
)
def test_a_wrong_row_of_the_matrix_is_named(row: Row, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^bookstore_matrix: .*{message}"):
        edges(row)


def test_two_rows_for_a_port_are_refused_for_the_first_would_hide_in_the_second() -> None:
    with pytest.raises(ValueError, match="db:5432 has two rows"):
        edges({"to": "db.sql", "from": ["web"]}, {"to": "db.sql", "from": ["gate"]})


def test_a_job_runs_beside_what_it_works_on() -> None:
    table = {**TABLE, "ops": {"namespaces": ["data", "else"], "kind": "Job"}}
    with pytest.raises(ValueError, match="ops does not run in namespace front"):
        workload_table.edges([{"to": "web.http", "from": ["ops"]}], table)


WRONG: list[tuple[str, Row, str]] = [
    ("web", {"namspace": "x"}, "key namspace does not exist; did you mean namespace?"),
    ("web", {"kind": "Pod"}, "kind=Pod: write one of Deployment"),
    ("web", {"namespaces": ["x"]}, "namespaces for a Job"),
    ("ops", {"namespace": "x"}, "namespaces for a Job"),
    ("web", {"volume": "1Gi"}, "a volume needs uid"),
    ("db", {"ports": {"sql": {"number": "5432", "protocol": "postgres"}}}, "port sql: number=5432: write a number"),
    ("db", {"ports": {"sql": {"number": 5432, "protocol": "sql"}}}, "protocol=sql: write one of http"),
    ("db", {"ports": {"sql": {"number": 5432, "protocol": "tcp", "nodeport": 1}}}, "key nodeport does not exist; did you mean node_port?"),
    ("db", {"ports": {"sql": {"number": 5432, "protocol": "tcp", "node_port": {"number": 1}}}}, "needs id, number and serves"),
    (
        "db", {"ports": {"sql": {"number": 1, "protocol": "tcp", "node_port": {"id": "N9", "number": 30000, "serves": "x"}}}},
        "30000 is that of gate: port https; write another one",
    ),
    *(
        ("db", {"ports": {"sql": {"number": 1, "protocol": "tcp", "node_port": {"id": key, "number": number, "serves": "x"}}}}, message)
        for key, number, message in [
            ("one", 30001, "id=one: write N"), ("N9", "30001", "from 30000 to"),
        ]
    ),
    ("db", {"ports": {"sql": {"number": 1, "protocol": "tcp", "node_port": 30001}}}, "db: port sql: node_port: 30001 must be a map"),
    ("db", {"ports": {"sql": {"number": True, "protocol": "tcp"}}}, "port sql: number=True: write a number"),
    ("db", {"ports": {"sql": 5432}}, "db: port sql: 5432 must be a map"),
    ("db", {"ports": [5432]}, "db: ports: .5432. must be a map"),
    ("db", {"ports": {"a": {"number": 1, "protocol": "tcp"}, "b": {"number": 1, "protocol": "tcp"}}}, "port b: number=1 is that of port a"),
    ("web", {"namespace": None}, "web: write namespace: <name>"),
    ("web", {"namespace": ["front"]}, "web: write namespace: <name>"),
    ("ops", {"namespaces": "front"}, "for a Job namespaces: .<name>."),
    ("ops", {"namespaces": []}, "for a Job namespaces: .<name>."),
    ("ops", {"ports": {"http": {"number": 80, "protocol": "http"}}}, "ops: nobody calls a Job"),
    ("db", {"uid": "root"}, "db: uid=root: write a number"),
    ("db", {"volume": {"name": "x"}}, "db: volume: write a size, or name and size"),
    ("leader", {"rights": ["get"]}, "leader: rights: .'get'. must be a map"),
    ("leader", {"rights": {"rules": []}}, "leader: rights needs reason and rules"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), WRONG)
def test_a_wrong_workload_is_named(name: str, change: Row, message: str) -> None:
    table = copy.deepcopy(TABLE)
    table[name].update(change)
    with pytest.raises(ValueError, match=f"^bookstore_workloads: .*{message.replace('?', '.')}"):
        workload_table.check(table)


def test_what_is_no_table_is_told() -> None:
    with pytest.raises(ValueError, match="^bookstore_workloads: .'a'. must be a map"):
        workload_table.check(["a"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^bookstore_workloads: web: None must be a map"):
        workload_table.check({"web": None})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="^bookstore_matrix: write a list of rows"):
        workload_table.edges({"to": "db.sql"}, TABLE)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in FilterModule().filters() if name != "matrix_edges"])
def test_every_filter_names_the_wrong_entry(name: str) -> None:
    arguments = ["db.sql"] if name == "workload_address" else []
    with pytest.raises(AnsibleFilterError, match="^BK-440: bookstore_workloads: db: key kinds does not exist; did you mean kind"):
        FilterModule().filters()[name]({"db": {"namespace": "data", "kinds": "StatefulSet"}}, *arguments)


def test_a_filter_tells_one_id_and_the_right_one() -> None:
    filters = FilterModule().filters()
    with pytest.raises(AnsibleFilterError, match=r"BK-440: bookstore_workloads: x: kind=None"):
        filters["workload_volumes"]({"x": {}})
    with pytest.raises(AnsibleFilterError, match=r"BK-117: bookstore_matrix: db.no: db has no port"):
        filters["matrix_edges"]([{"to": "db.no", "from": ["web"]}], TABLE)
