"""Starts the trimmed application once, during the image's build, and writes its newest migrations to a file.

The file spares every later start the minute that asking Alembic costs: a start compares it with the database.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(heads_file: Path) -> None:
    """Start, ask for pages that need no database, and write the heads to ``heads_file``."""
    os.environ["SUPERSET_SECRET_KEY"] = "only-for-the-build"
    os.environ["SUPERSET__SQLALCHEMY_DATABASE_URI"] = "sqlite:////tmp/build.db"
    from alembic.script import ScriptDirectory
    from superset.app import create_app

    import superset

    folder = Path(superset.__file__).parent
    app = create_app()
    answer = app.test_client().get("/health")
    if answer.status_code != 200:
        raise SystemExit(f"/health answers {answer.status_code}")
    entries = list((folder / "static/assets").glob("*.entry.js"))
    if not entries:
        raise SystemExit("the wheel holds no built front end")
    for module in ("gunicorn.app.wsgiapp", "psycopg2"):
        __import__(module)
    with app.app_context():
        heads = ScriptDirectory(str(folder / "migrations")).get_heads()
    heads_file.write_text("\n".join(sorted(heads)) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
