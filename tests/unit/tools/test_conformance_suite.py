"""The suite's run: progress on the screen, an interrupt that reaches what runs specs, and nothing that outlives it. With real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import processes
from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for
from operator_view.conformance import suite

# Like ginkgo: it takes the interrupt itself, hands it on to nobody, and waits for what it started.
PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, lambda *_: None)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
child.wait()
"""
CHILD = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path("{folder}/tidied").touch()
    sys.exit(0)
signal.signal(signal.SIGINT, {handler})
pathlib.Path("{folder}/ready").write_text(str(__import__("os").getpid()))
time.sleep(60)
"""


def interrupt_when_ready(folder: Path, interruption: suite.Interruption) -> threading.Thread:
    def work() -> None:
        assert wait_for(lambda: (folder / "ready").is_file() and (folder / "ready").read_text(), bool, timeout=30, interval=0.05).done
        interruption(signal.SIGINT, None)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def start(folder: Path, handler: str, interruption: suite.Interruption, grace: float) -> float:
    child = CHILD.format(folder=folder, handler=handler)
    screen = suite.Screen("x", lambda line: None)
    thread = interrupt_when_ready(folder, interruption)
    seconds = suite.run([sys.executable, "-c", PARENT, child], os.environ, folder / "logs/log", screen, interruption, grace)
    thread.join()
    return seconds


def test_an_interrupt_reaches_the_processes_that_run_specs(tmp_path: Path) -> None:
    assert start(tmp_path, "end", suite.Interruption(), grace=30) < 30
    assert (tmp_path / "tidied").exists()


def test_what_does_not_end_after_an_interrupt_is_killed(tmp_path: Path) -> None:
    assert start(tmp_path, "signal.SIG_IGN", suite.Interruption(), grace=1) < 30
    child = int((tmp_path / "ready").read_text())
    assert wait_for(lambda: processes.started(child), lambda found: found is None, timeout=10).done
    assert not (tmp_path / "tidied").exists()


def test_an_interrupt_before_the_start_ends_it_too(tmp_path: Path) -> None:
    interruption = suite.Interruption()
    interruption(signal.SIGINT, None)
    began = time.monotonic()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    suite.run(command, os.environ, tmp_path / "log", suite.Screen("x", lambda line: None), interruption)
    assert time.monotonic() - began < 30


def test_signals_are_handled_only_while_it_runs() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with suite.Interruption().watched() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.wanted.wait(10)
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_screen_tells_how_far_it_is_and_what_failed() -> None:
    said: list[str] = []
    now = [0.0]
    screen = suite.Screen("network", said.append, lambda: now[0])
    screen.read("Will run 3 of 6000 specs\n•")
    now[0] = 31.0
    # As long as it is cut at the most inconvenient places.
    screen.read("•\n• [FAI")
    screen.read("LED] [1.0 seconds]\n\n[sig-network] a spec\nmore\n")
    now[0] = 62.0
    screen.read("")
    assert said == [
        "   network: 3 of 3 specs, 31 s",
        "   failed: [sig-network] a spec",
        "   network: 3 of 3 specs, 1 failed, 1 min 02 s",
    ]


def test_its_log_has_all_that_was_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdout.buffer.write('• ü'.encode() + b'\\xff')"]
    suite.run(command, os.environ, tmp_path / "log", suite.Screen("x", lambda line: None), suite.Interruption())
    assert (tmp_path / "log").read_text(encoding="utf-8") == "• ü\ufffd"


@pytest.mark.parametrize(("kubeconfig", "ended"), [("ours", True), ("another", False)])
def test_processes_of_a_killed_run_are_ended_and_no_others(tmp_path: Path, kubeconfig: str, ended: bool) -> None:
    program = tmp_path / "e2e.test"
    shutil.copy("/bin/sh", program)
    built = suite.Built(tmp_path, tmp_path, tmp_path, tmp_path / "ours")
    # A builtin, so that the shell stays; it ends with its input.
    with subprocess.Popen([program, "-c", "read line", f"--kubeconfig={tmp_path / kubeconfig}"], stdin=subprocess.PIPE) as process:
        assert suite.end_earlier(built) == ([process.pid] if ended else [])
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == (-signal.SIGKILL if ended else 1)
