"""Phases of roles: install waits for nothing, and bootstrap.yml runs the others of each role, whatever becomes of the roles before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import roles

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
# They make what all others run on, and are applied as a whole.
GROUND = {"host", "images", "kind", "istio"}
LATER = ("configure", "repair")
WAIT = "bookstore.platform.workload_ready"


def _tasks(path: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or []


def _play() -> dict[str, Any]:
    return _tasks(ROOT / "playbooks/bootstrap.yml")[0]


def _blocks() -> dict[str, dict[str, Any]]:
    return {task["vars"]["component"]: task for task in _play()["post_tasks"] if "block" in task}


def _imported(block: dict[str, Any]) -> list[tuple[str, str]]:
    found = [task["ansible.builtin.import_role"] for task in block["block"] if "ansible.builtin.import_role" in task]
    return [(role["name"], role.get("tasks_from", "main")) for role in found]


COMPONENTS = sorted({path.name for path in ROLES.iterdir()} - GROUND)


@pytest.mark.parametrize("name", COMPONENTS)
def test_install_waits_for_no_pod(name: str) -> None:
    """Where it does, it does so when the role is applied alone."""
    for task in _tasks(ROLES / name / "tasks/install.yml"):
        assert WAIT not in task or task.get("when") == "bookstore_goes_on | bool", task["name"]


@pytest.mark.parametrize("name", COMPONENTS)
def test_phases_have_their_names(name: str) -> None:
    phases = [task["ansible.builtin.import_tasks"].removesuffix(".yml") for task in _tasks(ROLES / name / "tasks/main.yml")]
    assert phases == [phase for phase in roles.PHASES if phase in phases]
    assert {path.stem for path in (ROLES / name / "tasks").glob("*.yml")} == {"main", *phases}
    for task in _tasks(ROLES / name / "tasks/main.yml")[2:]:
        assert task["when"] == "bookstore_goes_on | bool"
    ready = ROLES / name / "tasks/ready.yml"
    assert not ready.is_file() or all(WAIT in task for task in _tasks(ready))


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_bring_up_runs_every_phase_once(name: str) -> None:
    """A role in the list of roles has the other phases in post_tasks, if it changes a running component; debezium is there whole."""
    installed = [role["role"] for role in _play()["roles"]]
    later = [phase for phase in LATER if (ROLES / name / f"tasks/{phase}.yml").is_file()]
    imported = _imported(_blocks()[name]) if name in _blocks() else []
    if name in installed:
        assert [phase for _, phase in imported if phase in LATER] == later
        assert imported == [] or imported[0] == (name, "ready")
    else:
        assert imported == [(name, "main")]


def test_each_block_lets_the_others_go_on() -> None:
    remedies = [block["rescue"] for block in _blocks().values()]
    assert len(remedies) > 5
    assert all(rescue == remedies[0] and rescue[0]["tags"] == ["always"] for rescue in remedies)
    assert _play()["post_tasks"][-1]["tags"] == ["always"]


def test_what_does_not_become_ready_holds_up_only_what_needs_it(tmp_path: Path) -> None:
    """The real post_tasks, with roles that only tell that they were there; one of them fails."""
    for name, block in _blocks().items():
        for role, phase in _imported(block):
            file = tmp_path / f"roles/{role}/tasks/{phase}.yml"
            file.parent.mkdir(parents=True, exist_ok=True)
            fault = (role, phase) == ("kafka", "ready")
            file.write_text(yaml.safe_dump([
                {"name": "Fail", "ansible.builtin.fail": {"msg": "BK-212: the broker is late"}} if fault else
                {"name": "Tell", "ansible.builtin.debug": {"msg": f"{name} {phase} was there"}}
            ]), encoding="utf-8")  # fmt: skip
    play = {key: value for key, value in _play().items() if key not in ("pre_tasks", "roles")}
    variables = {"bookstore_environment": {}, "bookstore_kubeconfig": str(tmp_path / "none"), "bookstore_render_only": False,
                 "bookstore_progress_file": str(tmp_path / "progress.json"), "bookstore_workloads": {}}  # fmt: skip
    play["vars"] = {**variables, **play["vars"]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                   "ANSIBLE_ROLES_PATH": str(tmp_path / "roles"), "ANSIBLE_STDOUT_CALLBACK": "bookstore.platform.progress",
                   "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_NOCOLOR": "1"}  # fmt: skip
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local",
         "-e", f"ansible_python_interpreter={sys.executable}", "play.yml"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    out = " ".join(done.stdout.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert "kafka configure was there" not in out
    for told in ("keycloak configure", "apps ready", "superset configure"):
        assert f"{told} was there" in out, done.stdout
    assert "debezium main was there" not in out
    end = out[out.index("BK-441: ") :]
    assert "kafka: BK-212: the broker is late" in end
    assert "debezium: BK-442: debezium was held back, for it needs kafka" in end
    assert "flink: BK-442: flink was held back, for it needs kafka" in end
    # This test has no cluster.
    assert "ready: BK-201: kubeconfig=" in end
    assert "keycloak: " not in end


def test_each_role_applies_its_set_whole_and_by_one_manager() -> None:
    """What is not among a set's manifests is deleted: a call that is left out under a condition of its own must not be a second one."""
    seen: dict[str, str] = {}
    for path in sorted(ROLES.glob("*/tasks/*.yml")):
        for task in _tasks(path):
            call = task.get("bookstore.platform.manifests", {})
            if "set" in call:
                assert call["set"] == path.parts[-3], path
                assert call["set"] not in seen, path
                assert call["field_manager"] not in seen.values(), path
                assert not {"when", "loop"} & set(task), path
                seen[call["set"]] = call["field_manager"]
    assert set(seen) == {*COMPONENTS, "kind", "istio"}
