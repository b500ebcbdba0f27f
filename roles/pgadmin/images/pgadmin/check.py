"""Starts the trimmed application once, during the image's build."""

from __future__ import annotations

import os
import sys
import tempfile
import types
from pathlib import Path


def main() -> None:
    """Start on an empty database, and ask for pages that need no account."""
    with tempfile.TemporaryDirectory() as folder:
        settings = types.ModuleType("config_local")
        values = {
            "DATA_DIR": folder,
            "SQLITE_PATH": f"{folder}/pgadmin.db",
            "SESSION_DB_PATH": f"{folder}/sessions",
            "STORAGE_DIR": f"{folder}/storage",
            "KERBEROS_CCACHE_DIR": f"{folder}/kerberos",
            "AZURE_CREDENTIAL_CACHE_DIR": f"{folder}/azure",
            "LOG_FILE": f"{folder}/pgadmin.log",
        }
        for name, value in values.items():
            setattr(settings, name, value)
        sys.modules["config_local"] = settings
        os.environ.update(PGADMIN_SETUP_EMAIL="build@example.org", PGADMIN_SETUP_PASSWORD="only-for-the-build")
        from pgAdmin4 import app

        client = app.test_client()
        for path in ("/misc/ping", "/login"):
            answer = client.get(path)
            if answer.status_code != 200:
                raise SystemExit(f"{path} answers {answer.status_code}")
        if not list((Path(app.root_path) / "static/js/generated").glob("*.js")):
            raise SystemExit("the wheel holds no built front end")
        for module in ("gunicorn.app.wsgiapp", "psycopg_binary", "simple_websocket"):
            __import__(module)


if __name__ == "__main__":
    main()
