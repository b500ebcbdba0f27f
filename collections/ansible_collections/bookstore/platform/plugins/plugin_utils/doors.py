# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""By which names a host door may be called."""

from __future__ import annotations


def names(namespace: str, services: list[str]) -> list[str]:
    """Return the names of a door that node port and cluster lead to: this host's, and those of its Services, from the shortest.

    Another name is one that somebody else made lead here, such as the one of a web page whose address changed after it was read
    (DNS rebinding). Addresses are not among them: each door takes loopback ones and its own. ValueError without a Service.
    """
    if not namespace or not services or not all(services):
        raise ValueError(f"namespace={namespace!r} services={services!r}: name the namespace and at least one Service")
    suffixes = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    return ["localhost", *(f"{service}{suffix}" for service in services for suffix in suffixes)]
