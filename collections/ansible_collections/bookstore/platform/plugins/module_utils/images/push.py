"""Credentials for pushing to the nodes' registry: random, known to this process and the registry's memory, for one push.

The client asks a credential helper for them, and that takes them from its environment: they are in no file and no argument.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..base import environment
from ..engine.docker import DockerError, docker, write_configuration
from .errors import FactoryError

HELPER = """#!/bin/sh
# The client's question: get, and the registry's address by standard input.
[ "$1" = get ] || exit 1
read -r server
printf '{"ServerURL": "%s", "Username": "%s", "Secret": "%s"}' "$server" "$BOOKSTORE_PUSH_NAME" "$BOOKSTORE_PUSH_PASSWORD"
"""


@contextmanager
def allowed(container: str, address: str, folder: Path) -> Iterator[dict[str, str]]:
    """Let whoever has the yielded environment push to the registry ``container`` at ``address`` while the block runs.

    In ``folder`` programs must be runnable, which some hosts do not allow in /tmp.
    """
    name, password = f"push-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    try:
        docker("exec", "--interactive", container, "pusher", "add", name, stdin=password)
    except DockerError as error:
        message = f"BK-403: the nodes' registry {container} takes no credentials for a push: {error}; make up replaces it"
        raise FactoryError(message) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bookstore-push-", dir=folder) as temporary:
            helper = Path(temporary, "docker-credential-bookstore")
            helper.write_text(HELPER, encoding="ascii")
            helper.chmod(0o700)
            write_configuration(Path(temporary), credHelpers={address: "bookstore"})
            path = environment.clean(os.environ).get("PATH", os.defpath)
            yield {
                "DOCKER_CONFIG": temporary, "PATH": f"{temporary}{os.pathsep}{path}",
                "BOOKSTORE_PUSH_NAME": name, "BOOKSTORE_PUSH_PASSWORD": password,
            }  # fmt: skip
    finally:
        # A registry that is gone took them along; and nobody else ever had the password.
        with contextlib.suppress(DockerError):
            docker("exec", container, "pusher", "remove", name)
