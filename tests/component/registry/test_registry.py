"""The real nodes' registry in its container: who may read, push and delete, by which name; and what a replaced tag changes.

Needs the engine and the image that `make up` builds; it has a network and a folder of its own.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bookstore_common.testing.postgres import free_port

from ansible_collections.bookstore.platform.plugins.module_utils.base.loopback import failure
from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError, docker
from ansible_collections.bookstore.platform.plugins.module_utils.images import engine, node_registry, push

SUBNET = "172.31.253.0/24"
NODES = ("bookstore-registry:5000", node_registry.READ_PORT)
UPLOAD, MANIFEST = "/v2/app/blobs/uploads/", "/v2/app/manifests/1"


@dataclass(frozen=True)
class Running:
    """A registry that runs."""

    registry: node_registry.Registry
    engine: engine.Engine
    image: str

    def ask(self, method: str, path: str, host: str, port: int, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Return status and body. ``port`` of the host's loopback address, or one inside of the container's network."""
        address = "127.0.0.1" if port == self.registry.port else node_registry.address(SUBNET)
        connection = http.client.HTTPConnection(address, port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in {"Host": host, "Content-Length": str(len(body)), **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def at_host(self, method: str, path: str, host: str | None = None) -> int:
        """The status of an answer of the host's loopback address."""
        return self.ask(method, path, host or f"127.0.0.1:{self.registry.port}", self.registry.port)[0]

    def for_nodes(self, method: str, path: str, host: str = NODES[0]) -> int:
        """The status of an answer on the nodes' network."""
        return self.ask(method, path, host, NODES[1])[0]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if not shutil.which("docker"):
        pytest.skip("there is no container engine")
    tags = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", "bookstore.local/registry").split()
    if not tags:
        pytest.skip("bookstore.local/registry is not built on this host; `make up` builds it")
    folder, name = tmp_path_factory.mktemp("registry"), f"registry-test-{uuid.uuid4().hex[:8]}"
    registry = node_registry.Registry(name, tags[0], name, SUBNET, free_port(), folder / "storage")
    images = engine.Engine("bookstore.local", f"127.0.0.1:{registry.port}", name, folder / "programs")
    # Something small that is pushed: an image of one empty layer.
    image = f"bookstore.local/{name}:1"
    try:
        assert registry.ensure(check=False)
        answer = wait_for(lambda: failure(f"http://127.0.0.1:{registry.port}/ready"), lambda why: why is None, timeout=60, interval=0.2)
        assert answer.done, f"{answer.value}\n{docker('logs', name, stderr=True)}"
        made(image, "first", folder)
        made(f"{image}-other", "second", folder)
        yield Running(registry, images, image)
    finally:
        node_registry.remove(name, name, check=False)
        left = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", f"bookstore.local/{name}").split()
        if left:
            docker("image", "rm", *left)


def made(reference: str, content: str, folder: Path) -> None:
    file = folder / "content"
    file.write_text(content, encoding="ascii")
    with subprocess.Popen(["tar", "-C", str(folder), "-c", "content"], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", "-", reference], stdin=tar.stdout, check=True, capture_output=True)


def test_nothing_is_done_to_one_that_runs(running: Running) -> None:
    assert not running.registry.ensure(check=False)


@pytest.mark.parametrize(("method", "path"), [("POST", UPLOAD), ("PUT", MANIFEST), ("PATCH", f"{UPLOAD}x"), ("DELETE", MANIFEST)])
def test_nodes_read_only(running: Running, method: str, path: str) -> None:
    assert running.for_nodes("GET", "/v2/") == 200
    assert running.for_nodes("GET", MANIFEST) in (200, 404)
    assert running.for_nodes(method, path) == 403


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v2/", 401), ("POST", UPLOAD, 401), ("PUT", MANIFEST, 401), ("PATCH", f"{UPLOAD}x", 401),
    ("DELETE", MANIFEST, 405), ("OPTIONS", MANIFEST, 405),
])  # fmt: skip
def test_the_hosts_users_push_and_delete_nothing(running: Running, method: str, path: str, status: int) -> None:
    assert running.at_host(method, path) == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("host", ["shop.example", "bookstore-registry.shop.example", "localhost.shop.example", ""])
def test_other_names_are_refused_at_both_doors(running: Running, method: str, host: str) -> None:
    assert running.at_host(method, "/v2/", host or "shop.example") == 421
    assert running.for_nodes(method, "/v2/", host or f"127.0.0.1:{NODES[1]}") == 421


@pytest.mark.parametrize("user", ["push-0123456789abcdef", "nobody", "../htpasswd", "admin"])
def test_who_has_no_credentials_guesses_in_vain(running: Running, user: str) -> None:
    guess = base64.b64encode(f"{user}:x".encode()).decode("ascii")
    port = running.registry.port
    assert running.ask("POST", UPLOAD, f"127.0.0.1:{port}", port, Authorization=f"Basic {guess}")[0] in (401, 403)


def test_credentials_last_as_long_as_the_push(running: Running, tmp_path: Path) -> None:
    port = running.registry.port

    def status(environment: dict[str, str], method: str, path: str) -> int:
        login = base64.b64encode(f"{environment['BOOKSTORE_PUSH_NAME']}:{environment['BOOKSTORE_PUSH_PASSWORD']}".encode()).decode("ascii")
        return running.ask(method, path, f"127.0.0.1:{port}", port, Authorization=f"Basic {login}")[0]

    with push.allowed(running.registry.name, f"127.0.0.1:{port}", tmp_path) as environment:
        assert status(environment, "POST", UPLOAD) == 202
        assert status(environment, "DELETE", MANIFEST) == 405, "who may push deletes nothing, either"
        kept = docker("exec", running.registry.name, "sh", "-c", "cat /run/bookstore/pushers/*")
        assert kept.startswith(f"{environment['BOOKSTORE_PUSH_NAME']}:$6$")
        assert environment["BOOKSTORE_PUSH_PASSWORD"] not in kept
    assert status(environment, "POST", UPLOAD) == 403
    assert docker("exec", running.registry.name, "ls", "/run/bookstore/pushers") == ""


def test_who_reads_by_digest_gets_what_was_pushed_whatever_the_tag_says(running: Running, tmp_path: Path) -> None:
    """As containerd does: it asks for the digest, and refuses an answer that does not have it."""
    first = running.engine.publish(running.image, "app", ["1"], tmp_path / "log")
    assert running.engine.is_same(running.image, "app", first)
    second = running.engine.publish(f"{running.image}-other", "app", ["1"], tmp_path / "log")
    assert running.engine.published("app", "1") == second != first
    kinds = {"Accept": engine.MANIFEST_TYPES}
    _, by_tag = running.ask("GET", MANIFEST, *NODES, **kinds)
    status, by_digest = running.ask("GET", f"/v2/app/manifests/{first}", *NODES, **kinds)
    assert status == 200
    assert f"sha256:{hashlib.sha256(by_digest).hexdigest()}" == first
    assert f"sha256:{hashlib.sha256(by_tag).hexdigest()}" == second
    layer = json.loads(by_digest)["layers"][0]["digest"]
    status, blob = running.ask("GET", f"/v2/app/blobs/{layer}", *NODES)
    assert (status, f"sha256:{hashlib.sha256(blob).hexdigest()}") == (200, layer)


@pytest.fixture
def node(running: Running) -> Iterator[str]:
    """The containerd of a node, with a node's settings, beside the registry."""
    tags = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", "bookstore.local/node").split()
    if not tags:
        pytest.skip("bookstore.local/node is not built on this host; `make up` builds it")
    name = f"{running.registry.name}-node"
    docker("run", "--detach", "--privileged", "--name", name, "--network", running.registry.network, "--tmpfs", "/tmp", "--tmpfs", "/run",
           "--volume", "/var", "--entrypoint", "/usr/bin/containerd", tags[0])  # fmt: skip

    def answers() -> bool:
        with contextlib.suppress(DockerError):
            return bool(docker("exec", name, "ctr", "version"))
        return False

    try:
        assert wait_for(answers, bool, timeout=60, interval=0.2).done, docker("logs", name, stderr=True)
        yield name
    finally:
        docker("container", "rm", "--force", "--volumes", name)


def test_no_node_gets_what_a_tag_was_replaced_with(running: Running, node: str, tmp_path: Path) -> None:
    first = running.engine.publish(running.image, "app", ["1"], tmp_path / "log")
    running.engine.publish(f"{running.image}-other", "app", ["1"], tmp_path / "log")

    def content(reference: str) -> str:
        """What an image holds that the node pulled."""
        script = """set -e
        ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d "$0" >/dev/null
        mkdir /tmp/mounted
        ctr -n k8s.io images mount "$0" /tmp/mounted >/dev/null
        cat /tmp/mounted/content
        ctr -n k8s.io images unmount --rm /tmp/mounted >/dev/null
        rmdir /tmp/mounted"""
        return docker("exec", node, "sh", "-c", script, reference)

    assert content("bookstore.local/app:1") == "second", "the test itself: the tag was replaced"
    assert content(f"bookstore.local/app:1@{first}") == "first"
    assert content(f"bookstore.local/app@{first}") == "first"


def test_its_images_outlive_it(running: Running, tmp_path: Path) -> None:
    digest = running.engine.publish(running.image, "kept", ["1"], tmp_path / "log")
    docker("container", "rm", "--force", running.registry.name)
    assert running.registry.ensure(check=False)
    port = running.registry.port
    assert wait_for(lambda: failure(f"http://127.0.0.1:{port}/ready"), lambda why: why is None, timeout=60, interval=0.2).done
    assert running.engine.published("kept", "1") == digest


def test_it_ends_when_one_of_its_processes_does(running: Running) -> None:
    """And the engine starts it again."""
    before = docker("container", "inspect", "--format", "{{.State.StartedAt}}", running.registry.name)
    docker("exec", running.registry.name, "bash", "-c", "kill -KILL $(cat /run/bookstore/nginx.pid)")

    def again() -> bool:
        started = docker("container", "inspect", "--format", "{{.State.StartedAt}}", running.registry.name)
        return started != before and failure(f"http://127.0.0.1:{running.registry.port}/ready") is None

    assert wait_for(again, bool, timeout=60, interval=0.2).done
