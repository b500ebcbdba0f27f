"""What teardown removes: builds in the background, folders that others own files in, the engine's images, and no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import processes
from ansible_collections.bookstore.platform.plugins.module_utils.engine import engine_images
from ansible_collections.bookstore.platform.plugins.module_utils.host import docker_engine, folders
from ansible_collections.bookstore.platform.plugins.module_utils.images import errors, node_registry, runs

ROOT = Path(__file__).parents[4]
# A build that notes itself, starts a child that would outlive it, and says so.
BUILD = """
import subprocess, sys
from pathlib import Path
from ansible_collections.bookstore.platform.plugins.module_utils.images import runs
with runs.noted(Path(sys.argv[1])):
    child = subprocess.Popen(["sh", "-c", sys.argv[2]], stdout=subprocess.PIPE)
    print(child.pid, flush=True)
    child.wait()
"""
FOREVER = "while read -r line; do :; done </dev/zero"


@pytest.fixture
def build(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(tmp_path), FOREVER], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout
    child = int(process.stdout.readline())
    yield process, child
    if process.poll() is None:
        process.kill()
        os.kill(child, 9)
    process.wait()


def test_a_build_in_the_background_is_ended_with_what_it_started(build: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    process, child = build
    assert runs.running(tmp_path) == [process.pid]
    assert set(runs.with_descendants([process.pid])) >= {process.pid, child}
    assert runs.end(tmp_path) == [process.pid]
    process.wait()
    assert runs.running(tmp_path) == []
    assert child not in runs.with_descendants([child]) or processes.started(child) is None


def test_a_build_that_ended_is_not_noted_any_more(tmp_path: Path) -> None:
    with runs.noted(tmp_path):
        assert runs.running(tmp_path) == [os.getpid()]
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_by_now_is_no_build(tmp_path: Path) -> None:
    (tmp_path / str(os.getpid())).write_text("1")
    assert runs.running(tmp_path) == []
    assert runs.end(tmp_path) == []
    with runs.noted(tmp_path):
        assert [note.name for note in tmp_path.iterdir()] == [str(os.getpid())]


def test_a_build_that_cannot_be_ended_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / str(os.getpid())).write_text(processes.started(os.getpid()) or "")
    monkeypatch.setattr(runs.os, "kill", lambda *_: None)
    monkeypatch.setattr(runs, "END_SECONDS", 0.1)
    monkeypatch.setattr(runs, "KILL_SECONDS", 0.1)
    monkeypatch.setattr(runs, "with_descendants", lambda pids: pids)
    with pytest.raises(errors.FactoryError, match=f"BK-123: .*{os.getpid()}"):
        runs.end(tmp_path)


# Folders --------------------------------------------------------------------------------------------------------


def test_read_only_folders_are_removed(tmp_path: Path) -> None:
    """Go's module cache is such."""
    folder = tmp_path / "mod/x@v1"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n")
    (folder / "go.mod").chmod(0o444)
    (folder / "link").symlink_to(tmp_path)
    folder.chmod(0o555)
    assert folders.remove(tmp_path / "mod", [], None)
    assert tmp_path.is_dir()
    assert not (tmp_path / "mod").exists()
    assert not folders.remove(tmp_path / "mod", [], None)


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="setpriv is not there to become another user")
def test_another_user_removes_read_only_folders(tmp_path: Path) -> None:
    """As root nothing is read-only; so the same as somebody else."""
    code = (
        "import sys; from pathlib import Path; from ansible_collections.bookstore.platform.plugins.module_utils.host import folders\n"
        "root = Path(sys.argv[1]); (root / 'mod/x').mkdir(parents=True); (root / 'mod/x/f').touch(); (root / 'mod/x').chmod(0o555)\n"
        "assert folders.remove(root / 'mod', [], None) and not (root / 'mod').exists()\n"
    )
    tmp_path.chmod(0o777)
    become = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    place = tmp_path if os.geteuid() else Path(f"/tmp/bookstore-folders-{os.getpid()}")
    place.mkdir(mode=0o777, exist_ok=True)
    place.chmod(0o777)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "collections"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*become, "/usr/bin/python3", "-c", code, str(place)], env=env, capture_output=True, text=True)
    if place != tmp_path:
        place.rmdir()
    assert done.returncode == 0, done.stderr


def _refused(monkeypatch: pytest.MonkeyPatch, empties: list[str]) -> None:
    real, state = folders._remove_tree, {"first": True}

    def tree(path: Path) -> None:
        if state.pop("first", False):
            raise PermissionError(13, "Permission denied", str(path / "pg"))
        real(path)

    monkeypatch.setattr(folders, "_remove_tree", tree)
    monkeypatch.setattr(folders, "docker", lambda *arguments: empties.append(" ".join(arguments)) or "")


def test_what_pods_wrote_is_removed_from_inside_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empties: list[str] = []
    _refused(monkeypatch, empties)
    (tmp_path / "data").mkdir()
    assert folders.remove(tmp_path / "data", [], "bookstore.local/base:1")
    assert f"--volume {tmp_path}/data:/emptied bookstore.local/base:1 /emptied -mindepth 1 -delete" in empties[0]
    assert "--user 0:0" in empties[0]
    assert not (tmp_path / "data").exists()


def test_without_an_image_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refused(monkeypatch, [])
    (tmp_path / "data").mkdir()
    with pytest.raises(folders.FolderError, match=f"BK-121: .*sudo rm -rf {tmp_path}/data"):
        folders.remove(tmp_path / "data", [], None)


@pytest.mark.parametrize("path", ["", "home", "home/user"])
def test_a_folder_that_holds_a_home_or_the_checkout_is_not_removed(tmp_path: Path, path: str) -> None:
    home = tmp_path / "home/user"
    home.mkdir(parents=True)
    with pytest.raises(folders.FolderError, match="BK-121"):
        folders.remove(tmp_path / path, [home], None)
    with pytest.raises(folders.FolderError, match="BK-121"):
        folders.remove(Path("/"), [], None)
    (home / ".cache").mkdir()
    assert folders.remove(home / ".cache", [home], None)


# The engine -----------------------------------------------------------------------------------------------------

IMAGES = """\
bookstore.local/base\t1\tsha256:a
bookstore.local/kafka\t2\tsha256:b
127.0.0.1:36500/kafka\t<none>\tsha256:b
bookstore.localhost/mine\t1\tsha256:c
python\t3\tsha256:d
<none>\t<none>\tsha256:e
"""


def test_only_the_platforms_images_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_images, "docker", lambda *_: IMAGES)
    found = engine_images.listed(["bookstore.local", "127.0.0.1:36500"])
    assert found == ["bookstore.local/base:1", "bookstore.local/kafka:2", "sha256:b"]
    assert engine_images.tool_image(found) == "bookstore.local/base:1"
    assert engine_images.tool_image(["bookstore.local/kafka:2"]) is None


@pytest.mark.parametrize(
    ("client", "data", "installed"), [(None, False, False), ("/usr/bin/docker", False, True), (None, True, True)]
)
def test_without_an_answer_only_a_host_without_any_engine_has_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str | None, data: bool, installed: bool
) -> None:
    monkeypatch.setattr(docker_engine, "find_program", lambda name: client)
    assert docker_engine.installed(tmp_path if data else tmp_path / "none") is installed


@pytest.mark.parametrize(("uid", "daemon", "words"), [(1000, "/usr/sbin/dockerd", "only root"), (0, None, "no dockerd")])
def test_an_engine_that_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, daemon: str | None, words: str
) -> None:
    monkeypatch.setattr(docker_engine.os, "geteuid", lambda: uid)
    monkeypatch.setattr(docker_engine, "find_program", lambda name: daemon)
    with pytest.raises(docker_engine.EngineError, match=f"BK-114: .*{words}"):
        docker_engine.start(None, tmp_path / "log")


@pytest.mark.parametrize(("others", "removed"), [("", True), ("mine ", False)])
def test_the_network_goes_with_the_registry_unless_others_use_it(monkeypatch: pytest.MonkeyPatch, others: str, removed: bool) -> None:
    done: list[str] = []

    def docker(*arguments: str) -> str:
        done.append(" ".join(arguments))
        return {"container ls": "", "network ls": "bridge\nshop\n", "network inspect": others}.get(" ".join(arguments[:2]), "")

    monkeypatch.setattr(node_registry, "docker", docker)
    assert node_registry.remove("shop-registry", "shop", check=False) is removed
    assert ("network rm shop" in done) is removed


# The playbook ---------------------------------------------------------------------------------------------------


# In the place of a module: notes that it was called, and answers as it would.
RECORDER = """\
#!/usr/bin/python3
import json
from ansible.module_utils import basic
given = basic._load_params()
with open({record!r}, "a") as record:
    record.write(json.dumps([{name!r}, {{key: value for key, value in given.items() if not key.startswith("_")}}]) + "\\n")
print({answer!r})
raise SystemExit(0)
"""
RECORDED = ("run_lock", "docker_engine", "platform_absent", "kind_cluster", "node_registry")


def teardown(folder: Path, scope: str, engine: dict[str, object]) -> tuple[int, list[tuple[str, dict[str, Any]]], str]:
    """Run the real playbook and roles over recorders; returns its exit code, the modules' calls in turn, and what it said."""
    collections, record = folder / "collections/ansible_collections/bookstore", folder / "calls"
    shutil.copytree(ROOT / "collections/ansible_collections/bookstore", collections, ignore=shutil.ignore_patterns("__pycache__"))
    record.touch()
    for name in RECORDED:
        answer = engine if name == "docker_engine" else {"changed": True}
        text = RECORDER.format(record=str(record), name=name, answer=json.dumps(answer))
        (collections / "platform/plugins/modules" / f"{name}.py").write_text(text)
    play = shutil.copy(ROOT / "playbooks/teardown.yml", folder / "teardown.yml")
    variables = {
        "scope": scope, "confirm": "yes", "bookstore_state_dir": str(folder / "state"), "bookstore_data_dir": str(folder / "data"),
        "bookstore_cache_dir": str(folder / "cache"),
    }  # fmt: skip
    environment = {
        **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "BOOKSTORE_REPORT_DIR": str(folder / "reports"),
        "BOOKSTORE_PROGRESS_FILE": str(folder / "progress.json"),
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventory/local"), str(play)]
    done = subprocess.run(
        [*command, "-e", json.dumps(variables)], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    calls = [(str(name), dict(given)) for name, given in map(json.loads, record.read_text().splitlines())]
    return done.returncode, calls, f"{done.stdout[-4000:]}{done.stderr[-1000:]}"


def test_builds_end_first_and_images_go_last(tmp_path: Path) -> None:
    code, calls, said = teardown(tmp_path, "all", {"changed": False, "answers": True})
    assert code == 0, said
    removals = ["platform_absent", "kind_cluster", "node_registry", "platform_absent"]
    assert [name for name, _ in calls] == ["run_lock", "docker_engine", *removals]
    ended, removed = (given for name, given in calls if name == "platform_absent")
    assert ended == {"builds": f"{tmp_path}/state/builds"}
    assert (removed["images"], removed["engine"]) == (True, True)
    assert set(removed["folders"]) == {f"{tmp_path}/{name}" for name in ("data", "cache", "state")}
    assert [given["state"] for name, given in calls if name in ("kind_cluster", "node_registry")] == ["absent", "absent"]


def test_an_engine_that_does_not_start_ends_the_teardown_before_anything_is_removed(tmp_path: Path) -> None:
    """A success would be told of a platform that comes back with the engine."""
    code, calls, said = teardown(tmp_path, "all", {"failed": True, "msg": "BK-114: it does not start"})
    assert code != 0
    assert [name for name, _ in calls] == ["run_lock", "docker_engine"], said
    assert calls[1][1]["optional"] is True
    assert "BK-114: it does not start" in said


def test_on_a_host_without_any_engine_the_folders_go(tmp_path: Path) -> None:
    code, calls, said = teardown(tmp_path, "data", {"changed": False, "answers": False})
    assert code == 0, said
    assert [name for name, _ in calls] == ["run_lock", "docker_engine", "platform_absent"]
    assert (calls[2][1]["folders"], calls[2][1]["engine"], calls[2][1]["images"]) == ([f"{tmp_path}/data"], False, False)


def test_a_second_teardown_has_nothing_to_do(tmp_path: Path) -> None:
    """The report of the first one is not made anew in what it removed."""
    play = tmp_path / "teardown.yml"
    play.write_text("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ansible.builtin.meta: noop\n")
    environment = {
        **os.environ, "ANSIBLE_STDOUT_CALLBACK": "bookstore.platform.progress", "BOOKSTORE_REPORT_DIR": str(tmp_path / "state/reports"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_LOCALHOST_WARNING": "false",
    }  # fmt: skip
    program = Path(sys.executable).with_name("ansible-playbook")
    began = time.monotonic()
    done = subprocess.run([program, str(play)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr} after {time.monotonic() - began:.0f} s"
    assert not (tmp_path / "state").exists()
