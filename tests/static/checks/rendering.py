"""Manifests of all roles of a checkout, rendered by the real playbook without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def render(root: Path, folder: Path, scratch: Path) -> None:
    """Write the manifests of all roles of a checkout into a folder; AssertionError with the playbook's output if that fails."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")), "bootstrap.yml",
        "-e", "bookstore_render_only=true", "-e", f"bookstore_render_dir={folder}", "-e", f"bookstore_state_dir={scratch}/state",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        # The run of a test must not be taken for the platform's own.
        "BOOKSTORE_PROGRESS_FILE": str(scratch / "progress.json"),
        "BOOKSTORE_REPORT_DIR": str(scratch / "reports"),
    }
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-1000:]}")
