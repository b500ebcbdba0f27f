# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens with which nodes join. Who holds one can become a node, and a node reads Secrets.

kind's own token is a constant in its source code, valid for a day; so each of ours is random, and ends by itself after minutes
if a killed run cannot delete it.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from datetime import datetime, timedelta
from typing import Any

# The type of their Secrets.
TYPE = "bootstrap.kubernetes.io/token"
# Longer than kind or kubeadm may take until the last worker has joined (the bound is kind_timeout, 5 minutes).
LIFE = timedelta(minutes=20)
IN_CONFIG = re.compile(r"^(\s*(?:- )?token: ).*$", re.MULTILINE)


def random_token() -> str:
    """Return a bootstrap token that nobody else knows (six and sixteen of the characters that Kubernetes allows)."""
    characters = string.ascii_lowercase + string.digits
    return ".".join("".join(secrets.choice(characters) for _ in range(length)) for length in (6, 16))


def secret(token: str, now: datetime) -> dict[str, Any]:
    """Return the Secret that makes a token valid for one purpose, to join as a node."""
    identifier, _, value = token.partition(".")
    return {
        "apiVersion": "v1", "kind": "Secret", "type": TYPE,
        "metadata": {"name": f"bootstrap-token-{identifier}", "namespace": "kube-system"},
        "stringData": {
            "token-id": identifier, "token-secret": value, "expiration": (now + LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        },
    }  # fmt: skip


def in_kind_config(config: str, token: str) -> str:
    """Return kind's configuration with another bootstrap token than the one in kind's source code.

    Not part of the template: a secret would stand in a file, and every run would find other settings than the cluster's.
    """
    life = f"{LIFE.total_seconds():.0f}s"
    patches = ["kubeadmConfigPatches:"]
    for document in (
        {"kind": "InitConfiguration", "bootstrapTokens": [{"token": token, "ttl": life}]},
        {"kind": "JoinConfiguration", "discovery": {"bootstrapToken": {"token": token}}},
    ):
        patches += ["  - |", f"    {json.dumps(document)}"]
    section = re.compile(r"^kubeadmConfigPatches:\s*$", re.MULTILINE)
    if section.search(config):
        return section.sub("\n".join(patches), config, count=1)
    return "\n".join([config.rstrip("\n"), *patches]) + "\n"


def in_kubeadm_config(config: str, token: str) -> str:
    """Return a node's kubeadm configuration with another token in all places that name one."""
    return IN_CONFIG.sub(rf"\g<1>{token}", config)
