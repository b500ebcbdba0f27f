# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What an operator opens: each address of the platform with what it serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

# What the gateway's one port serves by host name: path and words.
SITES = {"shop": ("", "storefront"), "api": ("/ecom/books", "APIs (here the book list)"), "id": ("", "sign-in")}
NEXT = (
    "Next: make test (proves everything), make status (what runs),",
    "      .venv/bin/ansible-playbook credentials.yml (who can sign in)",
)


def lines(nodeports: Sequence[Mapping[str, Any]], hosts: Mapping[str, str], https_port: int, served: Collection[int]) -> list[str]:
    """Return a line for each address whose node port is among ``served``; the gateway has one for each host name."""
    found: list[tuple[str, str]] = []
    for row in nodeports:
        port = int(row["node_port"])
        if port not in served:
            continue
        if port == https_port:
            found += [(f"https://{hosts[name]}:{port}{path}", words) for name, (path, words) in SITES.items() if name in hosts]
        else:
            found.append((f"http://127.0.0.1:{port}", str(row["serves"])))
    return [f"  {url:<52}{words}" for url, words in found]


def closing(nodeports: Sequence[Mapping[str, Any]], hosts: Mapping[str, str], https_port: int, ids: Collection[str]) -> list[str]:
    """Return what a bring-up ends with: every address of the deployed node ports ``ids``, and the next command."""
    served = {int(row["node_port"]) for row in nodeports if row["id"] in ids}
    return ["Addresses", *lines(nodeports, hosts, https_port, served), *NEXT]
