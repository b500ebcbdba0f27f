"""The settings that only a new cluster takes over, as a hash that stays in the cluster.

A new node image is none of them: whoever wants it renews the nodes, but nothing that was asked for is missing without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ..images.ledger import repository


def fingerprint(image: str, config: str) -> str:
    """Return the hash of kind's configuration and of which image nodes are made from, whatever its tag and digest."""
    return _hash(f"{repository(image)}\n{config}")


def differ(marker: str | None, image: str, config: str, node: Mapping[str, Any]) -> bool:
    """Tell whether a cluster with this marker was made with other settings.

    Once the image's tag was part of the hash; ``node``, the control plane's container, tells which one that was.
    """
    made_with = image_of(node)
    same_image = repository(made_with) == repository(image)
    once = {_hash(f"{made_with}\n{config}")} if same_image else set()
    return marker not in {fingerprint(image, config), *once}


def older(nodes: Mapping[str, Mapping[str, Any]], image: str) -> list[str]:
    """Return the nodes that were made from another image than ``image``."""
    return sorted(name for name, node in nodes.items() if image_of(node) not in ("", image))


def image_of(node: Mapping[str, Any]) -> str:
    """Return the image that a container was made from."""
    return str((node.get("Config") or {}).get("Image") or "")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
