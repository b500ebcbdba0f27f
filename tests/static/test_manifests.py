"""Every manifest of every role, rendered without a cluster: schemas, policies, and the inventory they come from."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.images import node_registry
from checks import coverage, inventory, tables
from checks import manifests as policies

FIXTURES = Path(__file__).parent / "fixtures/manifests"
Documents = list[dict[str, Any]]
# Kinds whose schema is not Kubernetes' own: their CRDs come with Istio and the Gateway API.
CUSTOM_GROUPS = ("gateway.networking.k8s.io", "security.istio.io", "networking.istio.io")


def test_every_role_renders_something(rendered: dict[str, Documents], root: Path) -> None:
    templates = {path.parent.parent.name for path in root.glob("roles/*/templates/*.yml.j2")}
    assert {name.split("-")[0] for name in rendered} == templates
    empty = [name for name, documents in rendered.items() if not documents]
    assert not empty


def test_manifests_match_the_schema_of_our_kubernetes(rendered: dict[str, Documents], data: inventory.Data, no_faults: list[str]) -> None:
    version = ".".join(data["bookstore_versions"]["kubernetes"].split(".")[:2])
    checked = 0
    for file, documents in rendered.items():
        for manifest in documents:
            if manifest["apiVersion"].split("/")[0] in CUSTOM_GROUPS:
                continue
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
                checked += 1
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                no_faults.append(f"{file}: {policies.name_of(manifest)}: {error}")
    assert checked


def test_pods_reach_istiod_by_its_port_with_tls_only(manifests: Documents, root: Path) -> None:
    (policy,) = [m for m in policies.of_kind(manifests, "NetworkPolicy") if policies.name_of(m).endswith("istio-system/istiod")]
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app": "istiod"}}
    admitted = {
        (next(iter(peer)), port["port"]) for rule in policy["spec"]["ingress"] for peer in rule["from"] for port in rule["ports"]
    }
    assert admitted == {("namespaceSelector", 15012), ("ipBlock", 15017)}
    # istioctl makes the Deployment of it. An empty address would serve the same in plaintext on port 8080.
    operator = (root / "roles/istio/templates/operator.yml.j2").read_text(encoding="utf-8")
    assert "--grpcAddr=127.0.0.1:15010" in operator


def test_the_network_agent_closes_what_the_inventory_declares(manifests: Documents, data: inventory.Data) -> None:
    (agent,) = [m for m in policies.of_kind(manifests, "DaemonSet") if policies.name_of(m).endswith("kube-system/node-network")]
    (container,) = agent["spec"]["template"]["spec"]["containers"]
    arguments = dict(argument.split("=", 1) for argument in container["command"] if "=" in argument)
    assert arguments["--service-cidr"] == data["bookstore_service_cidr"]
    closed = {int(port) for port in arguments["--closed-node-ports"].split(",")}
    assert closed == {port["node_port"] for port in data["bookstore_nodeports"]}
    assert arguments["--closed-addresses"] == node_registry.address(data["bookstore_node_cidr"])


def test_images_come_into_templates_with_their_digest_only(committed: dict[str, str], no_faults: list[str]) -> None:
    """Also into what is not rendered here: istioctl's operator, Jobs of modules, pods of Molecule."""
    seen = 0
    for name, text in committed.items():
        if not re.match(r"(roles|molecule|playbooks)/.*\.(ya?ml|j2)$", name) or name.startswith("roles/images/"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"\bimage['\"]?\s*[:=]\s*[{'\"]*\s*\(?bookstore_", line) or (".yml.j2" in name and "bookstore_images" in line):
                seen += 1
                if "pinned_image(" not in line and "bookstore_images.node }}" not in line:
                    no_faults.append(f"{name}:{number}: {line.strip()}")
    assert seen > 15


def test_no_object_is_declared_twice(manifests: Documents) -> None:
    names = [(m["apiVersion"], policies.name_of(m)) for m in manifests if m["kind"] != "Namespace"]
    assert sorted({str(name) for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("name", list(policies.RULES))
def test_manifests_keep_the_policy(manifests: Documents, name: str, no_faults: list[str]) -> None:
    no_faults += policies.RULES[name](manifests)


@pytest.mark.parametrize("name", list(policies.RULES))
def test_each_policy_finds_its_bad_example_and_passes_its_good_one(name: str) -> None:
    good = list(yaml.safe_load_all((FIXTURES / f"{name}.good.yml").read_text(encoding="utf-8")))
    bad = list(yaml.safe_load_all((FIXTURES / f"{name}.bad.yml").read_text(encoding="utf-8")))
    assert policies.RULES[name](good) == []
    faults = policies.RULES[name](bad)
    expected = (FIXTURES / f"{name}.bad.yml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# finds: ").split("; ")
    assert len(faults) >= len(expected), faults
    for fragment in expected:
        assert any(fragment in fault for fault in faults), f"{fragment!r} is not among {faults}"


@pytest.fixture(scope="session")
def edges(manifests: Documents, data: inventory.Data) -> Documents:
    """The matrix in numbers and accounts, read from the manifests and not by the code that made them."""
    return tables.edges(data["bookstore_matrix"], data["bookstore_workloads"], manifests)


def test_policies_are_the_matrix(manifests: Documents, edges: Documents, no_faults: list[str]) -> None:
    no_faults += coverage.authorization_covers(manifests, edges)
    no_faults += coverage.exceptions_are(manifests, edges)


def test_the_network_is_the_matrix(manifests: Documents, edges: Documents, no_faults: list[str]) -> None:
    no_faults += coverage.network_covers(manifests, edges)


def test_prometheus_reaches_the_parts_that_the_matrix_does_not_name(
    manifests: Documents, data: inventory.Data, no_faults: list[str]
) -> None:
    meshed = [entry["name"] for entry in data["bookstore_namespaces"] if entry["mesh"]]
    no_faults += coverage.scraping_covers(manifests, meshed, data["bookstore_node_cidr"])
    wider = copy.deepcopy(manifests)
    _of(wider, "NetworkPolicy", "istiod-metrics")["spec"]["ingress"][0]["ports"][0]["port"] = 15012
    _of(wider, "NetworkPolicy", "prometheus-proxies")["metadata"]["namespace"] = "kube-system"
    assert len(coverage.scraping_covers(wider, meshed, data["bookstore_node_cidr"])) == 3


def test_workloads_are_the_table(manifests: Documents, data: inventory.Data, no_faults: list[str]) -> None:
    no_faults += tables.workloads_are_the_table(manifests, data["bookstore_workloads"], replicas=1)


@pytest.fixture(scope="session")
def containerfiles(root: Path) -> dict[str, str]:
    """The Containerfile of each image that a role makes."""
    found = {}
    for recipes in root.glob("roles/*/images/recipes.yml"):
        for image in yaml.safe_load(recipes.read_text(encoding="utf-8")).get("images") or []:
            if "context" in image:
                found[image["name"]] = (recipes.parent / image["context"] / "Containerfile").read_text(encoding="utf-8")
    return found


def test_containers_run_as_the_user_of_their_image(manifests: Documents, containerfiles: dict[str, str], no_faults: list[str]) -> None:
    no_faults += tables.users_are_the_images(manifests, containerfiles)


def test_an_image_of_another_user_is_found(manifests: Documents, containerfiles: dict[str, str]) -> None:
    (fault,) = tables.users_are_the_images(manifests, {**containerfiles, "redis": "USER 26002:26002\nUSER 1:1\n"})[:1]
    assert fault == "StatefulSet infra/redis: redis runs as 26002, and image redis is made for 1"


def test_node_ports_and_volumes_are_the_declared_ones(manifests: Documents, data: inventory.Data, no_faults: list[str]) -> None:
    no_faults += coverage.node_ports_are_declared(manifests, data["bookstore_nodeports"])
    no_faults += coverage.volumes_are_declared(manifests, data["bookstore_volumes"], data["bookstore_volume_class"])
    no_faults += coverage.host_paths_are_declared(manifests)


def _changed(manifests: Documents, kind: str, change: Any) -> Documents:
    """Return a copy in which ``change`` was applied to the first object of a kind that has rules from the matrix."""
    copied = copy.deepcopy(manifests)
    for manifest in policies.of_kind(copied, kind):
        spec = manifest.get("spec") or {}
        if any(spec.get(key) for key in ("selector", "ingress", "egress")) and manifest["metadata"]["name"] != "platform":
            change(spec)
            return copied
    raise AssertionError(f"no {kind} to change")


def _double_port(rules: Documents, key: str) -> None:
    rules[0][key].append({"protocol": "TCP", "port": 1})


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        ("AuthorizationPolicy", lambda spec: spec["rules"].pop(), coverage.authorization_covers),
        ("AuthorizationPolicy", lambda spec: spec["rules"][0]["to"][0]["operation"]["ports"].append("1"), coverage.authorization_covers),
        ("NetworkPolicy", lambda spec: spec["ingress"].pop(), coverage.network_covers),
        ("NetworkPolicy", lambda spec: _double_port(spec["ingress"], "ports"), coverage.network_covers),
        ("PeerAuthentication", lambda spec: spec["portLevelMtls"].clear(), coverage.exceptions_are),
    ],
)
def test_a_policy_that_differs_from_the_matrix_is_found(
    manifests: Documents, edges: Documents, kind: str, change: Any, rule: Any
) -> None:
    assert rule(_changed(manifests, kind, change), edges)


def _relabelled(value: Any, change: Any) -> Any:
    """Return a copy in which every pod selector was changed."""
    if isinstance(value, list):
        return [_relabelled(entry, change) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {"matchLabels": change(entry["matchLabels"])} if key in ("podSelector", "selector") and entry.get("matchLabels")
        else _relabelled(entry, change)
        for key, entry in value.items()
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "NetworkPolicy", "PeerAuthentication"])
@pytest.mark.parametrize(
    "change",
    [
        lambda labels: {key: f"{value}-x" for key, value in labels.items()},
        lambda labels: {f"{key}-x": value for key, value in labels.items()},
        lambda labels: {**labels, "tier": "x"},
        lambda labels: {"app.kubernetes.io/part-of": "bookstore"},
    ],
    ids=["other values", "other keys", "one more label", "a label of all"],
)
def test_selectors_that_find_other_pods_are_found(manifests: Documents, edges: Documents, kind: str, change: Any) -> None:
    """The same change of every selector: they still agree among themselves, but not with the pods."""
    changed = [{**m, "spec": _relabelled(m["spec"], change)} if m["kind"] == kind and m.get("spec") else m for m in manifests]
    rules = {
        "AuthorizationPolicy": coverage.authorization_covers, "NetworkPolicy": coverage.network_covers,
        "PeerAuthentication": coverage.exceptions_are,
    }  # fmt: skip
    assert rules[kind](changed, edges)


@pytest.mark.parametrize("name", ["kafka", "ecom-api", "flink-taskmanager"])
def test_a_workload_whose_labels_no_policy_selects_is_found(manifests: Documents, edges: Documents, name: str) -> None:
    changed = copy.deepcopy(manifests)
    workload = next(m for m in policies.of_kind(changed, *policies.WORKLOAD_KINDS) if m["metadata"]["name"] == name)
    workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = "other"
    assert coverage.authorization_covers(changed, edges)
    assert coverage.network_covers(changed, edges)


def test_what_every_pod_may_reach_is_dns_and_istiod(manifests: Documents, edges: Documents) -> None:
    changed = copy.deepcopy(manifests)
    platform = next(m for m in policies.of_kind(changed, "NetworkPolicy") if m["metadata"]["name"] == "platform")
    platform["spec"]["egress"][1]["to"][0]["podSelector"]["matchLabels"] = {"app": "other"}
    assert coverage.network_covers(changed, edges)


def _of(manifests: Documents, kind: str, name: str) -> dict[str, Any]:
    return next(m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)


def _labels(manifests: Documents, kind: str, name: str) -> Any:
    return _of(manifests, kind, name)["spec"]["template"]["metadata"]["labels"]


def _pod(manifests: Documents, kind: str, name: str) -> Any:
    return _of(manifests, kind, name)["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("fragment", "change"),
    [
        ("redis: label app.kubernetes.io/name", lambda m: _labels(m, "StatefulSet", "redis").pop("app.kubernetes.io/name")),
        ("platform/account None", lambda m: _labels(m, "StatefulSet", "flink-taskmanager").pop("bookstore.platform/account")),
        ("kafka: ports [9092, 9404", lambda m: _pod(m, "StatefulSet", "kafka")["containers"][0]["ports"].append({"containerPort": 9999})),
        ("keycloak: users {1}", lambda m: _pod(m, "Deployment", "keycloak")["securityContext"].update(runAsUser=1)),
        ("superset: account default", lambda m: _pod(m, "Deployment", "superset").update(serviceAccountName="default")),
        ("ecom-api: replicas 2", lambda m: _of(m, "Deployment", "ecom-api")["spec"].update(replicas=2)),
        ("admin-api is not rendered", lambda m: m.remove(_of(m, "Deployment", "admin-api"))),
        ("admin-apj: is not in bookstore_workloads", lambda m: _of(m, "Deployment", "admin-api")["metadata"].update(name="admin-apj")),
        ("keycloak: node ports", lambda m: _of(m, "Service", "keycloak-admin")["spec"]["ports"][0].update(nodePort=32401)),
        ("redis: claims", lambda m: _of(m, "StatefulSet", "redis")["spec"].pop("volumeClaimTemplates")),
        ("bookstore-gateway: listeners", lambda m: _of(m, "Gateway", "bookstore-gateway")["spec"]["listeners"].pop()),
    ],
)  # fmt: skip
def test_a_workload_that_differs_from_the_table_is_found(
    manifests: Documents, data: inventory.Data, fragment: str, change: Any
) -> None:
    changed = copy.deepcopy(manifests)
    change(changed)
    faults = tables.workloads_are_the_table(changed, data["bookstore_workloads"], replicas=1)
    assert any(fragment in fault for fault in faults), faults


def test_an_undeclared_node_port_is_found(data: inventory.Data) -> None:
    service = {
        "kind": "Service",
        "metadata": {"namespace": "ecom", "name": "x"},
        "spec": {"type": "NodePort", "ports": [{"nodePort": 31000}]},
    }
    assert coverage.node_ports_are_declared([service], data["bookstore_nodeports"])
    service["spec"] = {"type": "LoadBalancer"}
    assert coverage.node_ports_are_declared([service], data["bookstore_nodeports"])


def test_a_volume_that_is_missing_is_found(manifests: Documents, data: inventory.Data) -> None:
    fewer = [m for m in manifests if m["metadata"]["name"] != "redis"]
    assert coverage.volumes_are_declared(fewer, data["bookstore_volumes"], data["bookstore_volume_class"])
