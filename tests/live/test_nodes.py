"""What a stranger's pod and any user of this host may not: become a node, reach the host's doors, or leave by a Service's address."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kind import bootstrap_tokens, certificates, node_certificates
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.verification import runner

from .conftest import STATE
from .declared import NETWORK
from .declared import NODE_PORTS as DECLARED
from .waiting import until

# In the source code of kind.
KNOWN_TOKEN = "abcdef.0123456789abcdef"
NODE_PORTS = [row["node_port"] for row in DECLARED]
CLUSTER = "bookstore"
# Prints what became of each call: connected, refused, silent; or the status of a request with a token.
SCRIPT = r"""
import json, socket, ssl, sys, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor

def connect(call):
    try:
        socket.create_connection((call["host"], call["port"]), timeout=4).close()
        return "connected"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return str(error)

def ask(call):
    request = urllib.request.Request(call["url"], headers={"Authorization": "Bearer " + call["token"]})
    try:
        trusted = ssl.create_default_context(cadata=call["ca"])
        return str(urllib.request.urlopen(request, timeout=10, context=trusted).status)
    except urllib.error.HTTPError as error:
        return str(error.code)

calls = json.loads(sys.stdin.read() if sys.argv[1] == "-" else sys.argv[1])
with ThreadPoolExecutor(max_workers=64) as pool:
    results = list(pool.map(lambda call: (ask if "url" in call else connect)(call), calls))
print(json.dumps(dict(zip([call["id"] for call in calls], results))))
"""
Results = dict[str, str]


def call(host: str, port: int) -> dict[str, Any]:
    return {"id": f"{host}:{port}", "host": host, "port": port}


def with_known_token(authority: str, host: str, port: int) -> dict[str, Any]:
    url = f"https://{host}:{port}/api/v1/nodes"
    return {"id": url, "url": url, "token": KNOWN_TOKEN, "ca": authority}


@pytest.fixture(scope="module")
def addresses(cluster: Cluster) -> list[str]:
    """All addresses of all nodes: on their network, and the gateway of their pods."""
    found = []
    for node in cluster.objects("Node"):
        found += [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
        found.append(node["spec"]["podCIDR"].rpartition(".")[0] + ".1")
    return found


@pytest.fixture(scope="module")
def authority(cluster: Cluster) -> str:
    """Kubernetes' own certificate authority, which any client of the API server has."""
    found = cluster.get("ConfigMap", "kube-system", "kube-root-ca.crt")
    assert found
    return str(found["data"]["ca.crt"])


@pytest.fixture(scope="module")
def istiod(cluster: Cluster) -> str:
    """The address of istiod's pod."""
    (pod,) = [p for p in cluster.objects("Pod", "istio-system", labelSelector="app=istiod") if p["status"]["phase"] == "Running"]
    return str(pod["status"]["podIP"])


@pytest.fixture(scope="module")
def stranger(cluster: Cluster, addresses: list[str], authority: str, istiod: str) -> Iterator[Results]:
    """What a pod of a namespace that is not ours finds, one that no policy speaks about."""
    calls = [call(address, port) for address in addresses for port in NODE_PORTS]
    calls += [call("10.96.0.1", 443), call("10.96.0.1", 81), call("10.96.255.254", 80), with_known_token(authority, "10.96.0.1", 443)]
    calls += [call(istiod, port) for port in (15010, 15012, 15014, 15017, 8080)]
    namespace = f"stranger-{uuid.uuid4().hex[:8]}"
    image = mesh_run.workload_image(cluster, "ecom/ecom-api")
    cluster.create("Namespace", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    try:
        until(lambda: cluster.get("ServiceAccount", namespace, "default") is not None, f"the account of {namespace}", 30)
        cluster.create("Pod", pod_with(namespace, image, json.dumps(calls)))
        until(lambda: ended(cluster, namespace), f"the pod of {namespace} to end", 180)
        lines = cluster.logs(namespace, "stranger", "stranger", lines=20)
        yield json.loads(lines[-1])
    finally:
        cluster.delete("Namespace", None, namespace)
        # Another test compares all pods before and after a bring-up.
        until(lambda: cluster.get("Namespace", None, namespace) is None, f"{namespace} to be gone", 180)


def ended(cluster: Cluster, namespace: str) -> bool:
    pod = cluster.get("Pod", namespace, "stranger")
    return pod is not None and pod["status"].get("phase") in ("Succeeded", "Failed")


def pod_with(namespace: str, image: str, calls: str) -> Object:
    container = {
        "name": "stranger", "image": image, "command": ["python3", "-c", SCRIPT, calls],
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
    }  # fmt: skip
    security = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"automountServiceAccountToken": False, "restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "namespace": namespace}, "spec": spec}


def test_no_pod_reaches_a_node_port_of_ours_by_any_address(stranger: Results, addresses: list[str]) -> None:
    tried = {f"{address}:{port}": stranger[f"{address}:{port}"] for address in addresses for port in NODE_PORTS}
    assert {key: found for key, found in tried.items() if found != "silent"} == {}


def test_what_no_service_declares_is_refused_on_the_node(stranger: Results) -> None:
    assert stranger["10.96.0.1:443"] == "connected", "the test itself: services answer"
    assert stranger["10.96.0.1:81"] == "refused"
    assert stranger["10.96.255.254:80"] == "refused"


@pytest.mark.parametrize("address", ["10.96.0.1/81", "10.96.255.254/80"])
@pytest.mark.parametrize("node", ["control-plane", "worker", "worker2"])
def test_a_nodes_own_processes_are_refused_as_well(node: str, address: str) -> None:
    script = f"timeout 5 bash -c '</dev/tcp/{address}'"
    done = subprocess.run(["docker", "exec", f"{CLUSTER}-{node}", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert "Connection refused" in done.stderr, f"exit code {done.returncode}: {done.stderr}"


def test_istiod_tells_strangers_nothing_in_plaintext(stranger: Results, istiod: str) -> None:
    assert stranger[f"{istiod}:15012"] == "connected"
    for port in (15010, 15014, 15017, 8080):
        assert stranger[f"{istiod}:{port}"] in ("silent", "refused"), port


def test_the_known_token_opens_nothing_for_a_pod(stranger: Results) -> None:
    assert stranger["https://10.96.0.1:443/api/v1/nodes"] == "401"


def asked_by(user: str, calls: list[dict[str, Any]]) -> Results:
    """Run the script as a user of this host, who cannot read our virtual environment; the calls come by standard input."""
    done = subprocess.run(["/usr/bin/python3", "-I", "-c", SCRIPT, "-"], input=json.dumps(calls), capture_output=True, text=True,
                          check=True, user=user, cwd="/")  # fmt: skip
    found: Results = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming the user nobody needs root")
def test_the_known_token_opens_nothing_for_a_user_of_this_host(authority: str) -> None:
    (status,) = asked_by("nobody", [with_known_token(authority, "127.0.0.1", NETWORK["bookstore_api_server_port"])]).values()
    assert status == "401"


def test_there_is_no_bootstrap_token_and_nothing_is_signed_with_one(cluster: Cluster) -> None:
    assert cluster.objects("Secret", "kube-system", fieldSelector=f"type={bootstrap_tokens.TYPE}") == []
    info = cluster.get("ConfigMap", "kube-public", "cluster-info")
    assert info
    assert [key for key in info["data"] if key.startswith("jws-")] == []


def test_every_certificate_lasts(cluster: Cluster) -> None:
    found = runner.all_certificates(cluster, CLUSTER, str(STATE / "kubeconfig"))
    # In ambient mode the gateway's is the only proxy whose certificate can be read; the node proxy keeps those of its pods in memory.
    assert len(found) > 20, "nodes, proxies, Secrets and the kubeconfig"
    assert [one.describe(certificates.now()) for one in certificates.due(found, certificates.now())] == []
    assert node_certificates.read_proxies(node_certificates.running_nodes(CLUSTER))


def test_an_operators_tool_lists_the_tables_of_a_node() -> None:
    done = subprocess.run(["docker", "exec", f"{CLUSTER}-worker", "nft", "list", "tables"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"nft ended with {done.returncode}"
    assert "table inet bookstore-netpol" in done.stdout
