"""A registry of our own that offers images under upstream names: what the image factory takes from it with which source.

Needs the engine and the registry's image that `make up` builds. Of source `registry` this is what can be shown here: images are found,
pulled, published to the nodes' registry by digest, and told apart from built ones; no cluster runs of them.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bookstore_common.testing.postgres import free_port

from ansible_collections.bookstore.platform.plugins.module_utils.base.loopback import failure
from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import docker
from ansible_collections.bookstore.platform.plugins.module_utils.images import (
    builders,
    cache,
    engine,
    factory,
    ledger,
    node_registry,
    push,
    recipes,
)

SUBNET = "172.31.251.0/24"
RECIPES = """
images:
  - {name: offered, upstream: "istio/offered:{mesh_version}"}
  - {name: absent, upstream: "istio/absent:{mesh_version}"}
  - {name: built, context: built, upstream: "istio/built:{mesh_version}"}
"""
Make = Callable[..., factory.Factory]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[node_registry.Registry]:
    """Holds istio/offered:1 and istio/built:1."""
    if not shutil.which("docker"):
        pytest.skip("there is no container engine")
    tags = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", "bookstore.local/registry").split()
    if not tags:
        pytest.skip("bookstore.local/registry is not built on this host; `make up` builds it")
    folder, name = tmp_path_factory.mktemp("registry"), f"upstream-test-{uuid.uuid4().hex[:8]}"
    found = node_registry.Registry(name, tags[0], name, SUBNET, free_port(), folder / "storage")
    image = f"{name}.test/upstream:1"
    try:
        assert found.ensure(check=False)
        answer = wait_for(lambda: failure(f"http://127.0.0.1:{found.port}/ready"), lambda why: why is None, timeout=60, interval=0.2)
        assert answer.done, f"{answer.value}\n{docker('logs', name, stderr=True)}"
        (folder / "content").write_text("upstream", encoding="ascii")
        with subprocess.Popen(["tar", "-C", str(folder), "-c", "content"], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", image], stdin=tar.stdout, check=True, capture_output=True)
        own = engine.Engine(f"{name}.test", f"127.0.0.1:{found.port}", name, folder / "programs")
        for upstream in ("istio/offered", "istio/built"):
            own.publish(image, upstream, ["1"], folder / "log")
        docker("image", "rm", image)
        yield found
    finally:
        node_registry.remove(name, name, check=False)
        left = [one for one in docker("image", "ls", "--format={{.Repository}}:{{.Tag}}").split() if one.startswith(f"{name}.test/")]
        if left:
            docker("image", "rm", "--force", *left)


@pytest.fixture
def make(registry: node_registry.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A factory of these recipes; it publishes to the same registry, under the images' own names.

    The registry wants credentials of the engine's client, as a company's own does: they are in the client's configuration.
    """
    (tmp_path / "images/built").mkdir(parents=True)
    (tmp_path / "images/built/Containerfile").write_text("FROM scratch\nCOPY Containerfile /recipe\n", encoding="ascii")
    (tmp_path / "images/recipes.yml").write_text(RECIPES, encoding="ascii")
    address = f"127.0.0.1:{registry.port}"
    own = engine.Engine(f"{registry.name}.test", address, registry.name, tmp_path / "programs")

    def create(source: str) -> factory.Factory:
        context = builders.Context(cache.Cache(tmp_path / "cache"), tmp_path, tmp_path / "logs", {"mesh": "1"})
        return factory.Factory(
            recipes.load([tmp_path / "images/recipes.yml"]), context, own, source=source, archives=None, jobs=1, progress_file=None,
            ledger=ledger.Ledger(tmp_path / "ledger.json"), upstream_registry=address,
        )

    (tmp_path / "client").mkdir()
    with push.allowed(registry.name, address, tmp_path / "client") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield create


@pytest.mark.parametrize(("source", "expected"), [
    ("packages", {"offered": "absent", "absent": "absent", "built": "packages"}),
    ("auto", {"offered": "registry", "absent": "absent", "built": "packages"}),
    # With source registry nothing is asked beforehand: what has an upstream name comes from there.
    ("registry", {"offered": "registry", "absent": "registry", "built": "registry"}),
])  # fmt: skip
def test_where_each_image_comes_from(make: Make, source: str, expected: dict[str, str]) -> None:
    assert make(source).sources() == expected


@pytest.mark.parametrize(("source", "built"), [("auto", "packages"), ("registry", "registry")])
def test_what_is_pulled_is_published_by_digest(make: Make, source: str, built: str) -> None:
    result = make(source).run(["offered", "built"])
    assert (set(result.images), result.skipped) == ({"offered", "built"}, {})
    assert all("@sha256:" in reference for reference in result.images.values())
    known = {reference.rpartition("/")[2].partition(":")[0]: entry for reference, entry in result.origins.items()}
    assert {name: entry.source for name, entry in known.items()} == {"offered": "registry", "built": built}
    assert all(entry.digest for entry in known.values())
    # Nothing is left under upstream's name, and a second run has nothing to do.
    assert not [one for one in docker("image", "ls", "--format={{.Repository}}").split() if one.startswith("127.0.0.1:")]
    assert make(source).run(["offered", "built"]).built == []


def test_an_image_that_the_registry_lacks_is_named(make: Make) -> None:
    result = make("auto").run(["absent"])
    assert "absent.tar" in result.skipped["absent"]
    with pytest.raises(factory.FactoryError, match=r"BK-118: .*istio/absent"):
        make("registry").run(["absent"])
