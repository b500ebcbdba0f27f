"""The wording of playbook output, and the callback in a real run of ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import progress

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (2.14, "2.1s"), (45.4, "45s"), (185, "3m 05s"), (3725, "1h 02m"), (59.7, "1m 00s")],
)
def test_duration(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


def test_titles_and_lines() -> None:
    assert progress.title_of("kind", "kind : Create the cluster") == "kind · Create the cluster"
    assert progress.title_of("", "Check everything") == "Check everything"
    assert progress.task_line(3, "kind · Create", "changed", 2.1) == "[  3] kind · Create   changed 2.1s"


def test_phases() -> None:
    phases = progress.Phases()
    for name, seconds, changed in (
        ("host", 1.0, False),
        ("kind", 40.0, True),
        ("host", 0.5, True),
        ("quiet", 0.01, False),
    ):
        phases.add(name, seconds, changed)
    assert [(p["name"], p["seconds"], p["changed"], p["tasks"]) for p in phases.document()] == [
        ("host", 1.5, 1, 2), ("kind", 40.0, 1, 1), ("quiet", 0.0, 0, 1),
    ]  # fmt: skip
    assert len(phases.table()) == 3
    assert "total" in phases.table()[-1]


def test_progress_of_builds(tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    assert progress.read_progress(str(file), 0) is None
    document = {"running": [{"name": "istio", "since": 100.0, "log": "/logs/istio.log"}], "done": 2, "total": 9}
    file.write_text(json.dumps(document), encoding="utf-8")
    assert progress.progress_text(progress.read_progress(str(file), 0), 165.0) == (
        "2 of 9 done, building istio 1m 05s (log /logs/istio.log)"
    )
    file.write_text("{}\n" + json.dumps(document), encoding="utf-8")
    assert progress.read_progress(str(file), 0) == document
    # What a killed run left behind is not shown.
    assert progress.read_progress(str(file), time.time() + 60) is None
    for broken in ("", "{", "[]", '{"running": 3}', '{"running": [{"name": "x"}]}'):
        file.write_text(broken, encoding="utf-8")
        assert progress.progress_text(progress.read_progress(str(file), 0), 0) == ""


def test_failure_is_wrapped_and_keeps_its_own_lines() -> None:
    message = "BK-999: " + "word " * 40 + "\n  FIX: do this"
    lines = progress.failure(
        {"msg": message, "stderr": "\n".join(f"line {i}" for i in range(30))}, "roles/x/tasks/main.yml:3"
    )
    assert all(len(line) <= progress.WIDTH for line in lines)
    assert "        FIX: do this" in lines
    assert "        line 29" in lines
    assert "        line 5" not in lines
    assert lines[-1] == "      at roles/x/tasks/main.yml:3"


def test_censored_failure_shows_nothing_else() -> None:
    assert progress.failure({"censored": "hidden", "msg": "s3cret", "stderr": "s3cret"}, "") == ["      hidden"]


PLAY = """
- name: First play
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Quick
      ansible.builtin.command: "true"
      changed_when: false
    - name: Change
      ansible.builtin.command: "true"
    - name: Slow
      ansible.builtin.command: sleep 1.5
      changed_when: false
    - name: Tell
      ansible.builtin.debug:
        msg: "hello {{ item }}"
      loop: [a]
    - name: Secret
      ansible.builtin.command: "echo s3cret {{ item }}"
      loop: [x]
      no_log: true
    - name: Secret that fails
      ansible.builtin.fail:
        msg: s3cret
      no_log: true
      ignore_errors: true
    - name: Failing items
      ansible.builtin.command: "sh -c 'echo why >&2; exit {{ item }}'"
      loop: [0, 3]
"""


def play(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "bootstrap.yml").write_text(text, encoding="utf-8")
    (folder / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "bookstore.platform.progress",
        "BOOKSTORE_HEARTBEAT_SECONDS": "0.5",
        "BOOKSTORE_PROGRESS_FILE": str(folder / "progress.json"),
        "BOOKSTORE_REPORT_DIR": str(folder / "reports"),
    }
    program = Path(sys.executable).parent / "ansible-playbook"
    return subprocess.run(
        [str(program), "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}",
         "bootstrap.yml", *options],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_callback(tmp_path: Path) -> None:
    ran = play(tmp_path, PLAY)
    out = ran.stdout
    assert ran.returncode == 2, ran.stderr
    assert "== First play" in out
    assert "] Change   changed" in out
    # A busy host may take a second for it; it is hidden only below that.
    assert all(float(seconds) >= 1 for seconds in re.findall(r"\] Quick   ok ([0-9.]+)s", out))
    assert "      ... Slow, for " in out
    assert "      hello a" in out
    assert "item 3 failed:" in out
    assert "        why" in out
    assert "s3cret" not in out + ran.stderr
    assert "changed=2    unreachable=0    failed=1    skipped=0    rescued=0    ignored=1" in out
    report = json.loads((tmp_path / "reports" / "bringup.json").read_text(encoding="utf-8"))
    assert (report["ok"], report["changed"]) == (False, 2)
    assert report["phases"][0]["name"] == "First play"
    assert report["phases"][0]["changed"] == 2


WAITING = """
- name: Waiting play
  hosts: all
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.shell:
        cmd: |
          echo '{"lines": ["Node a is ready"], "ready": 1, "total": 2, "waiting": [{"name": "Node b", "reason": "late"}]}' > waiting.json
          sleep 1.2
          echo '{"lines": ["Node a is ready", "Node b is ready"], "ready": 2, "total": 2, "waiting": []}' > waiting.json
        chdir: "{{ playbook_dir }}"
      changed_when: false
    - name: After
      ansible.builtin.command: "true"
      changed_when: false
"""


def test_a_wait_has_a_line_for_each_object_that_becomes_ready(tmp_path: Path) -> None:
    """Also for what became ready just before the wait ended, and once; the sign of life names what is missing."""
    out = play(tmp_path, WAITING).stdout
    assert out.count("      Node a is ready\n") == out.count("      Node b is ready\n") == 1
    assert "          1 of 2 ready; Node b: late\n" in out
    assert out.index("Node b is ready") < out.index("] Wait   ok")


def test_callback_verbose_shows_all_but_secrets(tmp_path: Path) -> None:
    ran = play(tmp_path, PLAY.replace("loop: [0, 3]", "loop: [0]"), "-vv")
    assert ran.returncode == 0, ran.stdout
    assert "] Quick   ok" in ran.stdout
    assert "s3cret" not in ran.stdout + ran.stderr
    assert "failed=0" in ran.stdout


CLOSING = """
- name: Last play
  hosts: all
  gather_facts: false
  tasks:
    - name: Where it is
      ansible.builtin.set_stats:
        data: {closing_lines: [Addresses, "  https://shop", "Next: make test"]}
    - name: What may fail
      ansible.builtin.command: "true"
      changed_when: false
"""


def test_a_good_run_ends_with_the_closing_lines(tmp_path: Path) -> None:
    ran = play(tmp_path, CLOSING)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.rstrip().endswith("Addresses\n  https://shop\nNext: make test")


def test_a_failed_run_does_not(tmp_path: Path) -> None:
    ran = play(tmp_path, CLOSING.replace('"true"', '"false"'))
    assert ran.returncode == 2
    assert "Next: make test" not in ran.stdout


def test_options_that_ansible_itself_refuses_get_an_id() -> None:
    result = {
        "argument_errors": ["argument 'kafka_timeout' is of type str"], "msg": "Validation of arguments failed:\nargument ...",
        "validate_args_context": {"name": "kafka", "argument_spec_name": "preflight", "type": "role"},
    }  # fmt: skip
    said = " ".join(" ".join(progress.failure(result, "")).split())
    assert said.startswith("BK-299: role kafka: argument 'kafka_timeout' is of type str; roles/kafka/meta/argument_specs.yml")
    del result["validate_args_context"]
    assert progress.failure(result, "")[0].strip() == "BK-299: argument 'kafka_timeout' is of type str"
