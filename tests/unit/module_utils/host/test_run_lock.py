"""One run at a time: with real playbooks and processes, and the folder that all users of this host share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import processes
from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.host import run_lock

ROOT = Path(__file__).parents[4]
BIN = Path(sys.executable).parent
MODULE = "ansible_collections.bookstore.platform.plugins.module_utils.host.run_lock"
PLAYBOOK = """
- name: Hold
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Lock
      bookstore.platform.run_lock:
        process: "{{ lookup('bookstore.platform.playbook_process') }}"
        state_dir: "{{ state }}"
        cluster_name: "{{ cluster }}"
    - name: Say so, and stay until told to go on
      ansible.builtin.shell: 'echo > "{{ state }}/held"; read -r line < "{{ state }}/go"'
      when: stay | default(false) | bool
"""


class Runs:
    """Starts playbooks that ask for the lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = f"test-{uuid.uuid4().hex[:12]}"
        self.holders: list[subprocess.Popen[str]] = []
        (folder / "play.yml").write_text(PLAYBOOK)

    def start(self, state: str, cluster: str, *options: str) -> subprocess.Popen[str]:
        (self.folder / state).mkdir(exist_ok=True)
        command = [str(BIN / "ansible-playbook"), str(self.folder / "play.yml"), "-e", f"state={self.folder / state}",
                   "-e", f"cluster={cluster}", *options]  # fmt: skip
        env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "default", "LC_ALL": "C.UTF-8"}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def hold(self, state: str) -> subprocess.Popen[str]:
        (self.folder / state).mkdir()
        os.mkfifo(self.folder / state / "go")
        holder = self.start(state, self.cluster, "-e", "stay=true")
        self.holders.append(holder)
        assert wait_for((self.folder / state / "held").exists, bool, timeout=60, interval=0.1).done
        return holder

    def result(self, state: str, cluster: str) -> tuple[int, str]:
        run = self.start(state, cluster)
        return run.wait(timeout=120), run.communicate()[0]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    started = Runs(tmp_path)
    yield started
    # What a killed playbook started outlives it, here too.
    for gate in tmp_path.glob("*/go"):
        with contextlib.suppress(OSError), open(os.open(gate, os.O_WRONLY | os.O_NONBLOCK), "w") as told:
            told.write("\n")
    for holder in started.holders:
        if holder.poll() is None:
            os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


def test_a_second_playbook_is_refused_for_as_long_as_the_firsts_process_lives(runs: Runs) -> None:
    holder = runs.hold("one")
    for state, cluster in (("one", f"{runs.cluster}-other"), ("other", runs.cluster)):
        code, said = runs.result(state, cluster)
        assert code != 0
        assert "BK-295" in said
        assert f"process {holder.pid} (" in said
        assert "ansible-playbook" in said
    holder.kill()
    holder.wait(timeout=30)
    code, said = runs.result("one", runs.cluster)
    assert code == 0, said


def test_what_a_holder_starts_is_not_refused_but_a_second_one_beside_it_is(tmp_path: Path) -> None:
    """As `make faults` starts `make up`."""
    folder, name = tmp_path / "shared", ["cluster x"]
    with subprocess.Popen(["sleep", "60"]) as stranger:
        run_lock.acquire(os.getpid(), name, folder)
        run_lock.acquire(stranger.pid, name, folder)
        with subprocess.Popen(["sleep", "60"]) as second:
            with pytest.raises(run_lock.LockError, match=f"process {stranger.pid} "):
                run_lock.acquire(second.pid, name, folder)
            second.kill()
        stranger.kill()


def test_a_number_that_is_used_again_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        run_lock.acquire(other.pid, ["cluster x"], tmp_path / "shared")
        note = tmp_path / "shared" / str(other.pid)
        note.write_text(note.read_text().replace(str(processes.started(other.pid)), "1"))
        with subprocess.Popen(["sleep", "60"]) as second:
            run_lock.acquire(second.pid, ["cluster x"], tmp_path / "shared")
            second.kill()
        other.kill()


@pytest.mark.parametrize("prepare", [lambda folder: folder.mkdir(mode=0o755), lambda folder: folder.symlink_to("/tmp")])
def test_a_folder_that_somebody_else_could_control_is_not_used(tmp_path: Path, prepare: object) -> None:
    assert callable(prepare)
    prepare(tmp_path / "shared")
    with pytest.raises((run_lock.LockError, OSError)):
        run_lock.acquire(os.getpid(), ["cluster x"], tmp_path / "shared")


def test_a_command_holds_the_lock_while_it_runs(tmp_path: Path) -> None:
    """tools/locked: the command takes the process's place."""
    cluster = f"test-{uuid.uuid4().hex[:12]}"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    first = [sys.executable, "-m", MODULE, str(tmp_path), cluster, "sh", "-c", "echo held; read -r line"]
    with subprocess.Popen(first, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "held\n"
        second = [sys.executable, "-m", MODULE, str(tmp_path), cluster, "echo", "ran"]
        refused = subprocess.run(second, env=env, capture_output=True, text=True, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("BK-295")
        assert f"process {holder.pid} " in refused.stderr
        holder.stdin.write("\n")
    assert subprocess.run(second, env=env, capture_output=True, text=True, check=True).stdout == "ran\n"


def test_what_a_killed_process_started_keeps_the_cluster(tmp_path: Path) -> None:
    """`kind create` goes on when the run was killed; a second run must not delete its nodes meanwhile."""
    text = (
        "import subprocess, sys; from pathlib import Path\n"
        f"from {MODULE} import alone\n"
        "with alone('cluster x', 5, Path(sys.argv[1])):\n"
        "    child = subprocess.Popen(['sh', '-c', 'read -r line'], stdin=sys.stdin, close_fds=False)\n"
        "    print(child.pid, flush=True)\n"
        "    child.wait()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    folder = tmp_path / "shared"
    command = [sys.executable, "-c", text, str(folder)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout
        child = int(made.stdout.readline())
        made.kill()
        made.wait(timeout=30)
        with pytest.raises(run_lock.LockError, match="BK-253"), run_lock.alone("cluster x", 0.2, folder):
            pass
        os.kill(child, signal.SIGKILL)
        with run_lock.alone("cluster x", 30, folder):
            pass
