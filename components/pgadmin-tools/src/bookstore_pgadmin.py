"""The WSGI application: pgAdmin with the declared account and servers, behind the check of host names."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

from libpq_files import prepare, read

SECRETS = Path(os.environ["PGADMIN_INPUT_DIR"])
NAME, PASSWORD = ((SECRETS / "admin" / key).read_text("utf-8").strip() for key in ("username", "password"))
FOUND = [read(SECRETS, row["name"], row["host"], int(row["port"])) for row in json.loads(os.environ["PGADMIN_SERVERS"])]
SERVERS = [server for server, _ in FOUND]
# Before libpq is used.
os.environ["PGSERVICEFILE"] = str(prepare(FOUND, Path(os.environ["PGADMIN_RUN_DIR"])))
# Asked for by pgAdmin while it makes its database, and known to no process that it may start later.
SETUP = {"PGADMIN_SETUP_EMAIL": NAME, "PGADMIN_SETUP_PASSWORD": PASSWORD}
os.environ.update(SETUP)
try:
    from pgAdmin4 import app
finally:
    for variable in SETUP:
        os.environ.pop(variable, None)

from flask import request  # noqa: E402 - behind pgAdmin, which arranges its own imports
from flask_login import user_logged_in  # noqa: E402
from own_names import OwnNames  # noqa: E402
from pgadmin.model import User, db  # noqa: E402
from registration import keep_account, keep_servers  # noqa: E402
from sign_in import Locks, OwnPages  # noqa: E402

LOCKS = Locks(float(os.environ["PGADMIN_LOCK_SECONDS"]))


def tell(differences: list[str]) -> None:
    """Say what was put back."""
    for difference in differences:
        print(f"server {difference}: put back", flush=True)


@app.before_request
def end_a_lock() -> None:
    """Forget wrong passwords when they are old enough."""
    if request.endpoint == "authenticate.login" and request.method == "POST":
        user = User.query.filter_by(username=request.form.get("email", ""), auth_source="internal").first()
        if user is not None and LOCKS.over(user.id, user.login_attempts, app.config["MAX_LOGIN_ATTEMPTS"]):
            user.login_attempts, user.locked = 0, False
            db.session.commit()


@app.after_request
def give_memory_back(response: Any) -> Any:
    """Free what a closed query tool had read: cursors refer to themselves, and are few, so Python would not look for them soon."""
    if request.endpoint == "sqleditor.close":
        gc.collect()
    return response


def keep_at_sign_in(_sender: Any, user: User, **_fields: Any) -> None:
    """Compare the servers of whoever signs in."""
    if user.username == NAME:
        tell(keep_servers(user, SERVERS))


user_logged_in.connect(keep_at_sign_in, app)
with app.app_context():
    tell(keep_servers(keep_account(NAME, PASSWORD), SERVERS))
application = OwnNames(OwnPages(app))
