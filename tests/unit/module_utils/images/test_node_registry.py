"""The nodes' registry: it stays while it can keep images, and is replaced when its folder is gone under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.images import node_registry

IMAGE = "local/registry:1"
ADDRESS = "172.30.255.250"


class Engine:
    """One container or none; what it was asked is recorded."""

    def __init__(self) -> None:
        self.container: dict[str, Any] | None = None
        self.inode = ""
        self.done: list[str] = []
        self.arguments: tuple[str, ...] = ()

    def docker(self, *arguments: str, **_: object) -> str:
        if arguments[0] == "exec":
            if not self.inode:
                raise DockerError("the container is not running")
            return f"{self.inode}\n"
        if arguments[:2] == ("container", "ls"):
            return "shop-registry\n" if self.container else ""
        self.done.append(arguments[0] if arguments[0] == "run" else " ".join(arguments[:3]))
        self.arguments = arguments
        return ""

    def run(
        self, storage: Path, port: int = 36500, image: str = IMAGE, running: bool = True, inner: str = "5001/tcp", host: str = "127.0.0.1",
        address: str | None = ADDRESS, tmpfs: str = "/run/bookstore",
    ) -> None:
        self.container = {
            "State": {"Running": running}, "Config": {"Image": image},
            "HostConfig": {"PortBindings": {inner: [{"HostIp": host, "HostPort": str(port)}]}, "Tmpfs": {tmpfs: ""}},
            "NetworkSettings": {"Networks": {"shop": {"IPAMConfig": {"IPv4Address": address} if address else None}}},
            "Mounts": [{"Source": str(storage), "Destination": "/var/lib/registry"}],
        }  # fmt: skip
        self.inode = str(storage.stat().st_ino) if storage.exists() else "0"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(node_registry, "docker", engine.docker)
    monkeypatch.setattr(node_registry, "run_container", lambda *arguments: engine.docker("run", *arguments))
    monkeypatch.setattr(node_registry, "inspect", lambda names: [engine.container])
    monkeypatch.setattr(node_registry, "ensure_network", lambda *_: False)
    return engine


@pytest.fixture
def registry(tmp_path: Path) -> node_registry.Registry:
    storage = tmp_path / "state/registry"
    return node_registry.Registry("shop-registry", IMAGE, "shop", "172.30.0.0/16", 36500, storage, tmp_path / "cache/registry")


REPLACED = ["container rm --force", "run"]


def test_a_running_one_is_left_alone(engine: Engine, registry: node_registry.Registry) -> None:
    registry.storage.mkdir(parents=True)
    engine.run(registry.storage)
    assert not registry.ensure(check=False)
    assert engine.done == []


def test_one_that_is_just_starting_is_left_alone(engine: Engine, registry: node_registry.Registry) -> None:
    registry.storage.mkdir(parents=True)
    engine.run(registry.storage)
    engine.inode = ""
    assert not registry.ensure(check=False)


def test_none_is_made(engine: Engine, registry: node_registry.Registry) -> None:
    assert registry.ensure(check=False)
    assert engine.done == ["run"]
    assert registry.storage.is_dir()


@pytest.mark.parametrize("other", [
    {"port": 1}, {"image": "local/registry:0"}, {"running": False},
    # As an earlier version ran it: anybody could push, and its address was any.
    {"inner": "5000/tcp"}, {"address": None}, {"address": "172.30.0.4"}, {"host": "0.0.0.0"}, {"tmpfs": "/tmp"},
])  # fmt: skip
def test_another_one_is_replaced(engine: Engine, registry: node_registry.Registry, other: dict[str, Any]) -> None:
    registry.storage.mkdir(parents=True)
    (registry.storage / "blob").touch()
    engine.run(registry.storage, **other)
    assert registry.ensure(check=False)
    assert engine.done == REPLACED
    assert (registry.storage / "blob").is_file(), "what it keeps stays"


@pytest.mark.parametrize("made_anew", [False, True])
def test_one_whose_folder_was_deleted_is_replaced(engine: Engine, registry: node_registry.Registry, made_anew: bool) -> None:
    """Its mount is dead: it answers, but pushes and pulls fail."""
    registry.storage.mkdir(parents=True)
    engine.run(registry.storage)
    registry.storage.rename(registry.storage.with_name("deleted"))
    if made_anew:
        registry.storage.mkdir()
    assert registry.ensure(check=False)
    assert engine.done == REPLACED
    assert registry.storage.is_dir()


def test_images_of_an_earlier_version_move(engine: Engine, registry: node_registry.Registry) -> None:
    assert registry.former is not None
    registry.former.mkdir(parents=True)
    (registry.former / "blob").touch()
    engine.run(registry.former)
    assert registry.ensure(check=False)
    assert engine.done == REPLACED
    assert (registry.storage / "blob").is_file()
    assert not registry.former.exists()


def test_what_is_there_already_is_not_replaced_by_an_older_folder(engine: Engine, registry: node_registry.Registry) -> None:
    assert registry.former is not None
    registry.former.mkdir(parents=True)
    registry.storage.mkdir(parents=True)
    (registry.storage / "new").touch()
    assert registry.ensure(check=False)
    assert (registry.storage / "new").is_file()


def test_check_mode_acts_on_nothing(engine: Engine, registry: node_registry.Registry) -> None:
    assert registry.ensure(check=True)
    assert engine.done == []
    assert not registry.storage.exists()


def test_the_host_gets_the_door_that_asks_for_credentials_only(engine: Engine, registry: node_registry.Registry) -> None:
    registry.ensure(check=False)
    published = [value for key, value in zip(engine.arguments, engine.arguments[1:], strict=False) if key in ("--publish", "-p")]
    assert published == ["127.0.0.1:36500:5001"]
    assert engine.arguments[engine.arguments.index("--ip") + 1] == ADDRESS


@pytest.mark.parametrize(("subnet", "address"), [("172.30.0.0/16", ADDRESS), ("10.9.8.0/24", "10.9.8.250"), ("10.9.8.16/28", "10.9.8.26")])
def test_the_registrys_address_is_near_the_end(subnet: str, address: str) -> None:
    assert node_registry.address(subnet) == address


@pytest.mark.parametrize("subnet", ["10.9.8.0/29", "10.9.8.1/24", "x"])
def test_a_range_without_room_is_refused(subnet: str) -> None:
    with pytest.raises(ValueError, match=subnet):
        node_registry.address(subnet)
