"""The exporters as the manifests start them, in the platform's images; skipped, with the reason, where these were never built."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bookstore_common.testing.postgres import free_port

from ..debezium import pipeline

ROOT = pipeline.ROOT
Documents = list[dict[str, Any]]
# port of what is watched, values of the environment besides, mounts -> port of the exporter
Start = Callable[..., int]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Documents]:
    """Return the manifests of a role's template, made by Ansible with the inventory and the role's defaults."""

    def render(role: str, template: str) -> Documents:
        target = tmp_path_factory.mktemp("manifests") / "manifests.yml"
        command = [
            str(Path(sys.executable).with_name("ansible")), "all", "--inventory=inventory/local", "--module-name=ansible.builtin.template",
            f"--args=src=roles/{role}/templates/{template} dest={target}", f"--extra-vars=@roles/{role}/defaults/main.yml",
            "--extra-vars=bookstore_render_only=true", f"--playbook-dir=roles/{role}",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return [one for one in yaml.safe_load_all(target.read_text(encoding="utf-8")) if one]

    return render


def container(documents: Documents, workload: str) -> dict[str, Any]:
    """Return the exporter's container of a StatefulSet."""
    (found,) = [
        one for document in documents if (document["kind"], document["metadata"]["name"]) == ("StatefulSet", workload)
        for one in document["spec"]["template"]["spec"]["containers"] if one["name"] == "exporter"
    ]  # fmt: skip
    return dict(found)


@contextmanager
def running(image: str, declared: dict[str, Any], watched: tuple[int, int], environment: Path, mounts: list[str]) -> Iterator[int]:
    """Run an exporter with its command, limits and environment; ``watched`` is the port that is declared and the real one."""
    (declared_port,) = [one["containerPort"] for one in declared["ports"]]
    port = free_port()

    def moved(word: str) -> str:
        return word.replace(f"=:{declared_port}", f"=127.0.0.1:{port}").replace(f"127.0.0.1:{watched[0]}", f"127.0.0.1:{watched[1]}")

    values = [f"--env={one['name']}={moved(str(one['value']))}" for one in declared["env"] if "value" in one]
    one = pipeline.Container(f"bookstore-test-exporter-{uuid.uuid4().hex[:8]}", [
        *pipeline.limits(declared), "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--env-file={environment}",
        *values, *(f"--volume={mount}:ro" for mount in mounts), "--entrypoint=", image, *map(moved, declared["command"]),
    ])  # fmt: skip
    try:
        one.start()
        yield port
        assert one.running, one.log()[-2000:]
    finally:
        one.remove()


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Start]:
    """Start exporters; they end with the test."""
    with ExitStack() as stack:

        def start(
            name: str, declared: dict[str, Any], watched: tuple[int, int], secrets: dict[str, str] | None = None,
            mounts: list[str] | None = None,
        ) -> int:  # fmt: skip
            image = pipeline.newest_image(name)
            program = declared["command"][0]
            look = ["run", "--rm", "--entrypoint=", image or "", "sh", "-c", f"command -v {program} || true"]
            if image is None or not pipeline.docker(*look).strip():
                pytest.skip(f"no image bookstore.local/{name} with {program} is built on this host; `make up` builds it")
            # A file: arguments are visible to everyone.
            environment = tmp_path / f"{name}.env"
            environment.touch(0o600)
            environment.write_text("".join(f"{key}={value}\n" for key, value in (secrets or {}).items()), encoding="utf-8")
            return stack.enter_context(running(image, declared, watched, environment, mounts or []))

        yield start
