"""A mini-cluster of Flink in its own image, and a database with the real schema for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres
from mv_refresher.migrate import migrations_folder
from mv_refresher.settings import RefresherMigrationSettings

ROOT = Path(__file__).parents[3]
OWNER, APP = "analytics_owner", "analytics_app"


def database(server: Postgres) -> str:
    """Return a new database with the real schema."""
    name = server.create_database(OWNER)
    server.execute("ALTER SCHEMA public OWNER TO " + OWNER, name)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in server.environment(OWNER, name).items():
            patch.setenv(variable, value)
        migrate(Migrations(migrations_folder()), load_settings(RefresherMigrationSettings), "upgrade", "head")
    return name


def in_flink(image: str, folder: Path, request: dict[str, Any], heap_mib: int = 512) -> list[str]:
    """Run the jobs in a container of the image, in one virtual machine of ``heap_mib``; return the plans."""
    packages = ("java.lang", "java.net", "java.nio", "java.time", "java.util")
    opened = " ".join(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in packages)
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    command = [
        "docker", "run", "--rm", "--network=host", "--read-only", "--tmpfs=/tmp", f"--user={os.getuid()}:{os.getgid()}",
        f"--volume={folder}:/data:ro", f"--volume={ROOT}/components/flink-tools/src:/opt/tools:ro",
        f"--volume={Path(__file__).with_name('run_jobs.py')}:/run_jobs.py:ro", "--env=PGPASSFILE=/data/pgpass",
        "--env=FLINK_CONF_DIR=/data", "--env=_python_worker_execution_mode=process",
        f"--env=FLINK_ENV_JAVA_OPTS={opened} -Duser.timezone=UTC",
        f"--env=JVM_ARGS=-Xmx{heap_mib}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1", image, "python3", "/run_jobs.py", "/data/request.json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
    plans: list[str] = json.loads(done.stdout.splitlines()[-1])
    return plans


def prepared(server: Postgres, folder: Path) -> dict[str, str]:
    """Write what Flink reads at its start into ``folder``; return the settings of the role's jobs that concern their plans."""
    password = server.role_passwords[APP].replace("\\", "\\\\").replace(":", "\\:")
    (folder / "pgpass").write_text(f"*:*:*:{APP}:{password}\n", encoding="utf-8")
    (folder / "pgpass").chmod(0o600)
    (folder / "config.yaml").write_text("io.tmp.dirs: /tmp\n", encoding="utf-8")
    defaults = yaml.safe_load((ROOT / "roles/flink/defaults/main.yml").read_text(encoding="utf-8"))
    return {key: value for key, value in defaults["flink_job_settings"].items() if key.startswith(("table.", "parallelism."))}
