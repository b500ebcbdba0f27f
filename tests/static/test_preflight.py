"""What a role refuses is refused before anything is created; and `--tags preflight` does that and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# Its entry `preflight` is about ports, memory and disk, after packages and engine; its options are validated by its main entry.
HOST = "host"
HARMLESS = (
    "Check", "Validating arguments", "The configuration and the inventory are this checkout's",
    "Refuse unknown variables and broken archives", "Remember what every task needs",
)  # fmt: skip


def roles() -> set[str]:
    return {path.name for path in (ROOT / "roles").iterdir()} - {HOST}


def checked() -> set[str]:
    plays = yaml.safe_load((ROOT / "playbooks/bootstrap.yml").read_text(encoding="utf-8"))
    include = next(task for task in plays[0]["pre_tasks"] if task["name"] == "Check the inputs of every role")
    return set(include["loop"])


def test_every_role_is_checked_with_all_of_its_options() -> None:
    assert checked() == roles()
    for role in roles():
        specs = yaml.safe_load((ROOT / f"roles/{role}/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        assert specs["preflight"]["options"] == specs["main"]["options"], f"roles/{role}: an include of preflight validates that spec only"
        assert (ROOT / f"roles/{role}/tasks/preflight.yml").is_file()


def play(tmp_path: Path, callback: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the real bring-up; only its checks, so that it makes nothing whatever comes out."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")), "bootstrap.yml", "--tags", "preflight",
        "-e", f"bookstore_state_dir={tmp_path}/state", "-e", f"bookstore_cache_dir={tmp_path}/cache",
        "-e", f"bookstore_data_dir={tmp_path}/data", *options,
    ]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": callback, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_the_tag_runs_the_checks_of_all_roles_and_nothing_else(tmp_path: Path) -> None:
    done = play(tmp_path, "ansible.builtin.default")
    assert done.returncode == 0, done.stdout[-3000:]
    ran = re.findall(r"TASK \[(?:(\w+) : )?([^\]]+)\]", re.sub(r"TASK \[[^\]]+\] \*+\nskipping: [^\n]*\n", "", done.stdout))
    assert {role for role, name in ran if name.startswith("Check ")} == roles() | {""}
    assert (HOST, "Refuse unknown variables and broken archives") in ran
    assert [name for _, name in ran if not name.startswith(HARMLESS)] == []
    assert " changed=0 " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_refused_with_an_id(tmp_path: Path) -> None:
    done = play(tmp_path, "bookstore.platform.progress", "-e", "kafka_retention_days=many")
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert "BK-299: role kafka: argument 'kafka_retention_days'" in output
    assert len(set(re.findall(r"BK-\d{3}", output))) == 1


def test_what_an_operator_may_choose_is_refused_by_the_spec(tmp_path: Path) -> None:
    done = play(tmp_path, "bookstore.platform.progress", "-e", "bookstore_mesh_mode=none")
    assert done.returncode != 0
    assert "BK-299: role host: value of bookstore_mesh_mode must be one of: ambient, sidecar, auto" in " ".join(done.stdout.split())
    assert list(tmp_path.glob("state/*")) == []
