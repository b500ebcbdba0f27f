"""A task with the module manifests in a role: what is rendered, applied and told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from api_server import serving

ROOT = Path(__file__).parents[3]
TEMPLATE = """\
{% for name in names %}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ name }}", namespace: shop}
data: {{ {'colour': colour, 'home': lookup('ansible.builtin.pipe', 'echo $PROBE')} | to_json }}
{% endfor %}
{% include 'part.j2' %}
"""
PLAY: list[dict[str, Any]] = [{
    "hosts": "localhost", "gather_facts": False,
    "module_defaults": {"group/bookstore.platform.cluster": {"kubeconfig": "{{ playbook_dir }}/kubeconfig"}},
    "roles": ["shop"],
}]  # fmt: skip
TASK: list[dict[str, Any]] = [{
    "bookstore.platform.manifests": {
        "field_manager": "tests", "templates": {"shop-web.yml": "web.yml.j2"}, "render_dir": "{{ folder | default(omit) }}",
        "documents": {"more.yml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: '{{ colour }}', namespace: shop}}"},
    },
    "vars": {"colour": "red"},
}]  # fmt: skip


def play(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    role = folder / "roles/shop"
    for path, text in {
        "tasks/main.yml": yaml.safe_dump(TASK), "templates/web.yml.j2": TEMPLATE, "templates/part.j2": "# {{ colour }}, included\n",
        "defaults/main.yml": "names: [a, b]\n",
    }.items():  # fmt: skip
        (role / path).parent.mkdir(parents=True, exist_ok=True)
        (role / path).write_text(text, encoding="utf-8")
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": local}}}), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections", "ANSIBLE_STDOUT_CALLBACK": "default", "PROBE": "here"}
    environment.pop("ANSIBLE_CONFIG", None)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_render_only_writes_what_the_template_says(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = play(tmp_path, "-e", f"folder={tmp_path}/out")
    assert "changed=1" in done.stdout, done.stdout
    text = (tmp_path / "out/shop-web.yml").read_text(encoding="utf-8")
    assert text.startswith("---\napiVersion: v1\nkind: ConfigMap\n")
    assert text.endswith("# red, included\n")
    assert [document["data"] for document in yaml.safe_load_all(text)] == [{"colour": "red", "home": "here"}] * 2
    assert "changed=0" in play(tmp_path, "-e", f"folder={tmp_path}/out").stdout


def test_applied_with_module_defaults(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, _):
        server.objects["/api/v1/namespaces/shop"] = {"metadata": {"name": "shop"}}
        checked = play(tmp_path, "--check", "-v")
        assert "changed=1" in checked.stdout, checked.stdout
        assert "ConfigMap shop/red" in checked.stdout
        assert len(server.objects) == 1
        assert "changed=1" in play(tmp_path).stdout
        made = [path.rpartition("/")[2] for method, path, query in server.calls if method == "PATCH" and "dryRun" not in query]
        # Of one kind, and so side by side.
        assert sorted(made) == ["a", "b", "red"]
        assert "changed=0" in play(tmp_path).stdout


def test_failures_tell_where(tmp_path: Path) -> None:
    with serving(tmp_path):
        done = play(tmp_path)
        assert done.returncode == 2
        assert "BK-431: ConfigMap shop/a of shop-web.yml" in done.stdout + done.stderr
