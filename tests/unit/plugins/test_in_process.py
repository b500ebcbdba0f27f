"""The action that runs modules in a fork: each result is compared with that of the same module run in the usual way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.base import processes, waiter
from ansible_collections.bookstore.platform.plugins.plugin_utils import forked_module

ROOT = Path(__file__).parents[3]
COLLECTION = ROOT / "collections/ansible_collections/bookstore/platform"

MODULE = '''#!/usr/bin/python
import os, signal, subprocess, sys, threading, time
from ansible.module_utils.basic import AnsibleModule

def main():
    module = AnsibleModule(
        argument_spec={"do": {"type": "str", "required": True}, "password": {"type": "str", "no_log": True},
                       "number": {"type": "int", "default": 3}},
        supports_check_mode=True,
    )
    do = module.params["do"]
    if do == "raise":
        raise RuntimeError("a fault of the module")
    if do == "fail":
        module.fail_json(msg="it was refused: " + module.params["password"], detail=[1, 2])
    if do == "die":
        print("last words", flush=True)
        print("last error", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "silent":
        sys.exit(0)
    if do == "word":
        sys.exit("a word")
    if do == "noise":
        print("a line before the result")
        subprocess.run(["sh", "-c", "echo a line of a program"], check=True)
    if do == "warn":
        module.warn("a warning")
        module.deprecate("an old thing", version="99.0", collection_name="probe.direct")
    if do == "work":
        open(os.environ["PROBE_FILE"], "w").write(str(os.getpid()))
        time.sleep(60)
    if do == "thread":
        threading.Thread(target=lambda: (time.sleep(0.3), open(os.environ["PROBE_FILE"], "a").write("x"))).start()
    handles = sorted(os.readlink("/proc/self/fd/" + h) for h in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + h))
    module.exit_json(
        changed=not module.check_mode, check=module.check_mode, diff={"before": "a", "after": "b"} if module._diff else {},
        params={k: v for k, v in module.params.items()}, environment=os.environ.get("PROBE"), folder=os.getcwd(), text="\\u00fc",
        stdin=sys.stdin.read(), umask=os.umask(0o22), terminal=os.isatty(1), open=[h for h in handles if h.startswith("/")
        and not h.endswith("/fd") and "AnsiballZ" not in h and h != "/dev/null"],
        sigterm=str(signal.getsignal(signal.SIGTERM)), interpreter=sys.executable, packed=".zip/" in __file__, big="y" * 300000,
    )

if __name__ == "__main__":
    main()
'''
# Name of a case: the task's keywords.
CASES: dict[str, dict[str, Any]] = {
    "success": {"args": {"do": "report", "number": "7"}},
    "check mode": {"args": {"do": "report"}, "check_mode": True},
    "difference": {"args": {"do": "report"}, "diff": True},
    "environment": {"args": {"do": "report"}, "environment": {"PROBE": "of the task's $HOME"}},
    "secret": {"args": {"do": "report", "password": "swordfish"}},
    "no log": {"args": {"do": "report"}, "no_log": True, "environment": {"PROBE": "swordfish"}},
    "failure": {"args": {"do": "fail", "password": "swordfish"}},
    "wrong argument": {"args": {"do": "report", "nubmer": 1}},
    "missing argument": {"args": {"number": 1}},
    "traceback": {"args": {"do": "raise"}},
    "signal": {"args": {"do": "die"}},
    "no result": {"args": {"do": "silent"}},
    "word": {"args": {"do": "word"}},
    "noise": {"args": {"do": "noise"}},
    "warning": {"args": {"do": "warn"}},
    "thread": {"args": {"do": "thread"}, "environment": {"PROBE_FILE": "{{ playbook_dir }}/thread.{{ way }}"}},
    "loop": {"args": {"do": "report", "number": "{{ item }}"}, "loop": [1, 2]},
    "async": {"args": {"do": "report"}, "async": 30, "poll": 1},
    "another interpreter": {"args": {"do": "report"}, "vars": {"ansible_python_interpreter": "{{ playbook_dir }}/python"}},
}


def install(folder: Path) -> None:
    """Put the module into two collections, of which one runs it here, and write an inventory."""
    for way in ("direct", "usual"):
        home = folder / "collections/ansible_collections/probe" / way
        (home / "plugins/modules").mkdir(parents=True)
        (home / "plugins/modules/tell.py").write_text(MODULE, encoding="utf-8")
        (home / "galaxy.yml").write_text(yaml.safe_dump({"namespace": "probe", "name": way, "version": "1.0.0"}), encoding="utf-8")
        (home / "meta").mkdir()
        routing = {"plugin_routing": {"modules": {"tell": {"action_plugin": "bookstore.platform.in_process"}}}} if way == "direct" else {}
        (home / "meta/runtime.yml").write_text(yaml.safe_dump({"requires_ansible": ">=2.19.0", **routing}), encoding="utf-8")
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": local}}}), encoding="utf-8")


def environment_of(folder: Path) -> dict[str, str]:
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{folder}/collections:{ROOT}/collections", "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_LOCALHOST_WARNING": "false", "LC_ALL": "C.UTF-8", "ANSIBLE_HOME": f"{folder}/ansible",
    }  # fmt: skip
    environment.pop("ANSIBLE_CONFIG", None)
    return environment


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Way to case to result, of one play that runs every case in both ways."""
    folder = tmp_path_factory.mktemp("in_process")
    install(folder)
    (folder / "python").symlink_to(sys.executable)
    tasks = [
        {f"probe.{way}.tell": case["args"], **{k: v for k, v in case.items() if k != "args"}, "ignore_errors": True,
         "vars": {"way": way, **case.get("vars", {})}, "register": f"result_{way}_{number}"}
        for number, case in enumerate(CASES.values()) for way in ("direct", "usual")
    ]  # fmt: skip
    names = [f"result_{way}_{number}" for number in range(len(CASES)) for way in ("direct", "usual")]
    content = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} | to_json }}"
    tasks.append({"ansible.builtin.copy": {"content": content, "dest": "{{ playbook_dir }}/results.json", "mode": "0600"}})
    play = {"hosts": "localhost", "gather_facts": False, "environment": {"PROBE": "of the play"}, "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml", "-v"]
    done = subprocess.run(command, cwd=folder, env=environment_of(folder), capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "swordfish" not in done.stdout + done.stderr
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    result = {way: {case: found[f"result_{way}_{number}"] for number, case in enumerate(CASES)} for way in ("direct", "usual")}
    for way in result:
        result[way]["thread"]["written"] = (folder / f"thread.{way}").read_text(encoding="utf-8")
    return result


@pytest.mark.parametrize("case", CASES)
def test_same_result(results: dict[str, dict[str, Any]], case: str) -> None:
    direct, usual = results["direct"][case], results["usual"][case]
    assert comparable(direct) == comparable(usual)


def comparable(value: Any) -> Any:
    """Return a result without what differs between two runs of one way: times, job numbers, the module's own path."""
    if isinstance(value, dict):
        left_out = ("ansible_job_id", "started", "finished", "results_file", "packed", "exception", "_ansible_delegated_vars")
        return {key: comparable(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return value.replace("probe.usual", "probe.direct") if isinstance(value, str) else value


def test_results_are_as_meant(results: dict[str, dict[str, Any]]) -> None:
    """Two ways that are wrong alike would be equal, too."""
    direct = results["direct"]
    assert direct["success"]["changed"] is True
    assert direct["success"]["params"]["number"] == 7
    assert direct["success"]["environment"] == "of the play"
    assert direct["success"]["open"] == []
    packed = {case: (direct[case]["packed"], results["usual"][case]["packed"]) for case in ("success", "async", "another interpreter")}
    assert packed == {"success": (False, True), "async": (True, True), "another interpreter": (True, True)}
    assert direct["check mode"]["changed"] is False
    assert direct["environment"]["environment"] == "of the task's $HOME"
    assert direct["failure"]["msg"] == "it was refused: ********"
    assert direct["traceback"]["failed"] is True
    assert "a fault of the module" in direct["traceback"]["msg"]
    assert direct["signal"]["rc"] == 137
    assert direct["signal"]["module_stdout"] == "last words\n"
    assert direct["thread"]["written"] == "x"
    assert len(direct["success"]["big"]) == 300000


def test_every_module_is_run_so() -> None:
    runtime = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text(encoding="utf-8"))
    routed = runtime["plugin_routing"]["modules"]
    assert sorted(routed) == sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
    own = {"manifests": "bookstore.platform.manifests"}  # renders first, then does the same
    assert all(entry["action_plugin"] == own.get(name, "bookstore.platform.in_process") for name, entry in routed.items())


UNFINISHED = """
import pathlib, signal, time
if {stubborn}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
pathlib.Path("started").touch()
try:
    time.sleep(60)
finally:
    pathlib.Path("tidied").touch()
"""


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_module_ends_with_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    """A task's timeout is an exception in the worker; the module must not go on unseen, and may tidy up first."""
    name = f"unfinished_{stubborn}"
    (tmp_path / f"{name}.py").write_text(UNFINISHED.format(stubborn=stubborn), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(forked_module, "TIDY_SECONDS", 0.5 if stubborn else 20.0)
    pids: list[int] = []

    def over(*handles: int) -> list[bytes]:
        assert eventually((tmp_path / "started").exists)
        pids.extend(int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())
        raise TimeoutError

    monkeypatch.setattr(forked_module, "_drain", over)
    with pytest.raises(TimeoutError):
        forked_module.run(forked_module.Call(name, f"/{name}.py", b"{}", "legacy", {}, str(tmp_path)))
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert (tmp_path / "tidied").exists() is not stubborn


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_module_ends_with_the_playbook(tmp_path: Path, number: signal.Signals) -> None:
    install(tmp_path)
    told = tmp_path / "pid"
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"probe.direct.tell": {"do": "work"}}]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    environment = {**environment_of(tmp_path), "PROBE_FILE": str(told)}
    with (tmp_path / "output").open("wb") as output:
        playbook = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        assert eventually(lambda: told.exists() and told.read_text(encoding="ascii") != ""), (tmp_path / "output").read_text("utf-8")
        playbook.send_signal(number)
        playbook.wait(timeout=60)
        module = int(told.read_text(encoding="ascii"))
        assert eventually(lambda: processes.status(module) is None)
    finally:
        playbook.kill()
        playbook.wait()


def eventually(done: Callable[[], bool]) -> bool:
    return waiter.wait_for(done, bool, timeout=50, interval=0.02).done


def test_exit_codes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a module that is no module ends with, and that the caller's own streams stay as they were."""
    code, out, err = forked_module.run(forked_module.Call("no.such.module", "/none.py", b"{}", "legacy", {}, str(tmp_path)))
    assert code == 1
    assert json.loads(out)["failed"] is True
    assert err == ""
    print("still here")
    assert capfd.readouterr().out == "still here\n"
