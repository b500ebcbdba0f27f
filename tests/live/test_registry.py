"""The nodes' registry under attack: by a user of this host, a stranger's pod, a foreign name, and a tag that is given other content."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images import node_registry
from ansible_collections.bookstore.platform.plugins.module_utils.images.engine import Engine
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_run

from .conftest import STATE
from .declared import NETWORK
from .waiting import until

CLUSTER = "bookstore"
ADDRESS = node_registry.address(NETWORK["bookstore_node_cidr"])
PORT = NETWORK["bookstore_registry_port"]
HOST_DOOR, NODE_DOOR = ("127.0.0.1", PORT), (ADDRESS, node_registry.READ_PORT)
# The host reaches the container's other port, too: it is what the loopback address leads to.
DOORS = {"host": (*HOST_DOOR, f"127.0.0.1:{PORT}"), "nodes": (*NODE_DOOR, "bookstore-registry:5000"),
         "behind the host's": (ADDRESS, node_registry.PUSH_PORT, "localhost")}  # fmt: skip
# Of an image that is there: it would be lost.
ATTACKS = {
    "upload": ("POST", "/v2/redis/blobs/uploads/"),
    "replace": ("PUT", "/v2/redis/manifests/latest"),
    "delete": ("DELETE", f"/v2/redis/manifests/sha256:{'0' * 64}"),
}
# Prints the status of each request, or why there is none.
SCRIPT = r"""
import http.client, json, sys

def ask(call):
    connection = http.client.HTTPConnection(call["address"], call["port"], timeout=4)
    try:
        connection.putrequest(call["method"], call["path"], skip_host=True)
        connection.putheader("Host", call["host"])
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        return str(connection.getresponse().status)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return str(error)

calls = json.loads(sys.stdin.read() if sys.argv[1] == "-" else sys.argv[1])
print(json.dumps({call["id"]: ask(call) for call in calls}))
"""
Results = dict[str, str]


def requests() -> list[dict[str, Any]]:
    """Every attack at every door, by the door's own name and by a foreign one."""
    calls = []
    for door, (address, port, name) in DOORS.items():
        for host, called in ((name, "own"), ("shop.bookstore.example", "foreign")):
            for attack, (method, path) in {**ATTACKS, "read": ("GET", "/v2/redis/tags/list")}.items():
                calls.append({"id": f"{door}: {attack} by {called} name", "address": address, "port": port, "host": host,
                              "method": method, "path": path})  # fmt: skip
    return calls


def asked_by(user: str) -> Results:
    """Attack as a user of this host, who cannot read our virtual environment."""
    done = subprocess.run(["/usr/bin/python3", "-I", "-c", SCRIPT, "-"], input=json.dumps(requests()), capture_output=True, text=True,
                          check=True, user=user, cwd="/")  # fmt: skip
    found: Results = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming the user nobody needs root")
def test_a_user_of_this_host_pushes_and_deletes_nothing() -> None:
    answers = asked_by("nobody")
    assert answers["host: read by own name"] == answers["nodes: read by own name"] == "200", "the test itself: the registry answers"
    assert {key: status for key, status in answers.items() if "foreign" in key and status != "421"} == {}
    tried = {key: status for key, status in answers.items() if "own name" in key and "read" not in key}
    assert {key: status for key, status in tried.items() if status not in ("401", "403", "405")} == {}


def test_the_nodes_read_and_no_more() -> None:
    for node in ("control-plane", "worker", "worker2"):
        for method, status in (("GET", "200"), ("POST", "403"), ("PUT", "403"), ("DELETE", "403")):
            command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "10", "--request", method]
            done = subprocess.run(["docker", "exec", f"{CLUSTER}-{node}", *command, "http://bookstore-registry:5000/v2/"],
                                  capture_output=True, text=True, check=True)  # fmt: skip
            assert done.stdout == status, f"{node}: {method}"


def pod(name: str, namespace: str, image: str, command: list[str], node: str | None = None) -> Object:
    container = {
        "name": "app", "image": image, "command": command, "imagePullPolicy": "Always",
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
    }  # fmt: skip
    security = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"automountServiceAccountToken": False, "restartPolicy": "Never", "securityContext": security, "containers": [container],
            **({"nodeName": node} if node else {})}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that is not ours, one that no policy speaks about."""
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    cluster.create("Namespace", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        until(lambda: cluster.get("ServiceAccount", name, "default") is not None, f"the account of {name}", 30)
        yield name
    finally:
        cluster.delete("Namespace", None, name)
        # Another test compares all pods before and after a bring-up.
        until(lambda: cluster.get("Namespace", None, name) is None, f"{name} to be gone", 180)


def ended(cluster: Cluster, namespace: str, name: str) -> Object:
    """Wait for a pod to end well; return it."""

    def phase() -> str:
        found = cluster.get("Pod", namespace, name)
        return "" if found is None else str(found["status"].get("phase"))

    until(lambda: phase() in ("Succeeded", "Failed"), f"pod {name} to end", 180)
    found = cluster.get("Pod", namespace, name)
    assert found
    assert found["status"]["phase"] == "Succeeded", found["status"]
    return found


def test_no_pod_reaches_it(cluster: Cluster, namespace: str) -> None:
    calls = [call for call in requests() if call["address"] == ADDRESS]
    image = mesh_run.workload_image(cluster, "ecom/ecom-api")
    cluster.create("Pod", pod("attacker", namespace, image, ["python3", "-c", SCRIPT, json.dumps(calls)]))
    ended(cluster, namespace, "attacker")
    answers = json.loads(cluster.logs(namespace, "attacker", "app", lines=20)[-1])
    assert {key: answer for key, answer in answers.items() if answer != "refused"} == {}
    assert len(answers) == len(calls)


# A tag with other content --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replaced:
    """A tag that named one image and names another one now; both print what they are."""

    tag: str
    first: str
    second: str


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[Replaced]:
    """As whoever got the right to push would do it. What was pushed is removed from the registry's folder again."""
    name = f"replaced-{uuid.uuid4().hex[:8]}"
    reference = f"{NETWORK['bookstore_image_repository']}/{name}"
    engine = Engine(NETWORK["bookstore_image_repository"], f"127.0.0.1:{PORT}", f"{CLUSTER}-registry", tmp_path / "programs")
    listed = subprocess.run(["docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", "bookstore.local/base"],
                            capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    assert listed, "bookstore.local/base is not in the engine; run make up"
    try:
        digests = []
        for content in ("first", "second"):
            recipe = f"FROM {listed[0]}\nENV CONTENT={content}\n"
            subprocess.run(["docker", "build", "--tag", f"{reference}:{content}", "-"], input=recipe, text=True, check=True,
                           capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})  # fmt: skip
            digests.append(engine.publish(f"{reference}:{content}", name, ["1"], tmp_path / "log"))
        assert engine.published(name, "1") == digests[1] != digests[0]
        yield Replaced(f"{reference}:1", *digests)
    finally:
        for node in ("control-plane", "worker", "worker2"):
            remove = f"ctr -n k8s.io images ls -q | grep /{name} | xargs -r ctr -n k8s.io images rm"
            subprocess.run(["docker", "exec", f"{CLUSTER}-{node}", "sh", "-c", remove], check=True, capture_output=True)
        left = subprocess.run(["docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", reference], capture_output=True, text=True,
                              check=True).stdout.split()  # fmt: skip
        subprocess.run(["docker", "image", "rm", *left], check=True, capture_output=True)
        shutil.rmtree(STATE / f"registry/docker/registry/v2/repositories/{name}")


def test_no_node_runs_what_a_tag_was_replaced_with(cluster: Cluster, namespace: str, replaced: Replaced) -> None:
    says = ["sh", "-c", "echo $CONTENT"]
    nodes = [node["metadata"]["name"] for node in cluster.objects("Node")]
    cluster.create("Pod", pod("by-tag", namespace, replaced.tag, says))
    for node in nodes:
        cluster.create("Pod", pod(node, namespace, f"{replaced.tag}@{replaced.first}", says, node))
    ended(cluster, namespace, "by-tag")
    assert cluster.logs(namespace, "by-tag", "app", lines=1) == ["second"], "the test itself: the tag was replaced"
    for node in nodes:
        (status,) = ended(cluster, namespace, node)["status"]["containerStatuses"]
        assert cluster.logs(namespace, node, "app", lines=1) == ["first"], node
        assert status["imageID"].endswith(f"@{replaced.first}"), node
