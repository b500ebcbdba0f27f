"""Keeps pgAdmin's account and its servers as they are declared; whatever else a person keeps in pgAdmin is theirs."""

from __future__ import annotations

import uuid
from typing import Any

from flask_security.utils import hash_password, verify_password
from libpq_files import Server
from pgadmin.model import Role, ServerGroup, User, db
from pgadmin.model import Server as Registered

GROUP = "Bookstore"
# Through the mesh, which encrypts; a server that is away is told soon.
CONNECTION: dict[str, Any] = {"sslmode": "disable", "connect_timeout": 10}


def keep_account(name: str, password: str) -> User:
    """Make the account, or give it the password of the Secret, and unlock it."""
    user = User.query.filter_by(username=name, auth_source="internal").first()
    administrator = Role.query.filter_by(name="Administrator").one()
    if user is None:
        user = User(username=name, email=name, active=True, auth_source="internal", password=hash_password(password), login_attempts=0,
                    fs_uniquifier=uuid.uuid4().hex)  # fmt: skip
        user.roles.append(administrator)
        db.session.add(user)
    else:
        if not verify_password(password, user.password):
            user.password = hash_password(password)
        if administrator not in user.roles:
            user.roles.append(administrator)
        user.active, user.locked, user.login_attempts = True, False, 0
    db.session.commit()
    return user


def wanted(server: Server) -> dict[str, Any]:
    """Return the declared fields of a registration."""
    return {
        "host": server.host,
        "port": server.port,
        "maintenance_db": server.database,
        "username": server.username,
        "service": server.name,
        "connection_params": CONNECTION,
        # Neither a password nor a way to another server.
        "password": None,
        "save_password": 0,
        "role": None,
        "db_res": None,
        "use_ssh_tunnel": 0,
        "passexec_cmd": None,
        "shared": False,
        "comment": "Read-only. Declared by the platform: what is changed here is put back at the next sign-in.",
    }


def keep_servers(user: User, servers: list[Server]) -> list[str]:
    """Register the servers, put back what was changed, and return what was otherwise. Other registrations are left alone."""
    group = ServerGroup.query.filter_by(user_id=user.id, name=GROUP).first()
    if group is None:
        group = ServerGroup(user_id=user.id, name=GROUP)
        db.session.add(group)
        db.session.flush()
    told = []
    for server in servers:
        registered = Registered.query.filter_by(user_id=user.id, servergroup_id=group.id, name=server.name).first()
        if registered is None:
            registered = Registered(user_id=user.id, servergroup_id=group.id, name=server.name, tunnel_authentication=0,
                                    tunnel_prompt_password=0, kerberos_conn=False, cloud_status=0)  # fmt: skip
            db.session.add(registered)
            told.append(f"{server.name}: is missing")
        else:
            told += [f"{server.name}: {field} differs" for field, value in wanted(server).items() if getattr(registered, field) != value]
        for field, value in wanted(server).items():
            if getattr(registered, field) != value:
                setattr(registered, field, value)
    db.session.commit()
    return told
