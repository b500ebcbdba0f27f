# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The connection that a kubeconfig describes: address, TLS settings, token.

The Python client reads kubeconfigs, too, but its import loads hundreds of models of the API: one to two seconds for each module, which
then makes one request. What kind writes is an address, an authority and a client certificate (or a token), inline or as files; what
needs programs of its own (exec, auth-provider) is refused, and so is a connection that verifies nothing.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLUSTER = {"server", "certificate-authority", "certificate-authority-data", "extensions"}
USER = {"client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile", "extensions"}


class KubeconfigError(ValueError):
    """The file does not describe a connection that can be used."""


@dataclass(frozen=True)
class Connection:
    """``tls`` is None for plain HTTP; ``token`` is empty without one."""

    server: str
    tls: ssl.SSLContext | None
    token: str = field(default="", repr=False)


def load(path: str, context: str | None = None) -> Connection:
    """Return the connection of a context, the current one by default. KubeconfigError says what is missing."""
    import yaml

    try:
        # The parser in C: three certificates take the other one a while.
        document = yaml.load(Path(path).read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"it cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError("it is no mapping")
    name = context or document.get("current-context")
    if not name:
        raise KubeconfigError("it has no current-context")
    chosen = _named(document, "contexts", "context", name)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster"))
    user = _named(document, "users", "user", chosen.get("user"))
    folder = Path(path).parent
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"the cluster {chosen.get('cluster')} has no server with http:// or https://")
    # Whatever else there is would be passed over silently, such as a wish to verify nothing.
    refused = sorted(user.keys() - USER) + sorted(cluster.keys() - CLUSTER)
    if refused:
        raise KubeconfigError(f"{refused[0]} is not supported; write a certificate or a token, and the cluster's authority")
    token = (_content(user, "token", folder, "tokenFile") or b"").strip()
    # Refused here: what refuses it as a header prints it.
    if not re.fullmatch(rb"[!-~]*", token):
        raise KubeconfigError("token: a token has no spaces and no control characters")
    return Connection(server, _tls(cluster, user, folder) if server.startswith("https://") else None, token.decode("ascii"))


def _named(document: dict[str, Any], section: str, kind: str, name: Any) -> dict[str, Any]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name:
            found = entry.get(kind) or {}
            if not isinstance(found, dict):
                raise KubeconfigError(f"{kind} of {name} in {section} is no mapping")
            return found
    raise KubeconfigError(f"{section} has no {name}")


def _content(holder: dict[str, Any], key: str, folder: Path, file_key: str) -> bytes | None:
    """Return what stands in the file, encoded if its key says so, or what another file holds whose path stands there."""
    try:
        if holder.get(key):
            text = str(holder[key])
            return base64.b64decode(text, validate=True) if key.endswith("-data") else text.encode()
        if holder.get(file_key):
            return (folder / str(holder[file_key])).read_bytes()
    except (OSError, ValueError) as error:
        raise KubeconfigError(f"{key}: {error}") from error
    return None


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority = _content(cluster, "certificate-authority-data", folder, "certificate-authority")
    certificate = _content(user, "client-certificate-data", folder, "client-certificate")
    key = _content(user, "client-key-data", folder, "client-key")
    try:
        if authority is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cadata=authority.decode())
        if certificate is not None and key is not None:
            _present(context, certificate + b"\n" + key)
    except (ssl.SSLError, ValueError) as error:
        raise KubeconfigError(f"certificate or key: {error}") from error
    if (certificate is None) != (key is None):
        raise KubeconfigError("a client certificate needs its key, and a key its certificate")
    return context


def _present(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key, which Python reads from files only: this one is never on a disk."""
    handle = os.memfd_create("client")
    try:
        os.write(handle, pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
