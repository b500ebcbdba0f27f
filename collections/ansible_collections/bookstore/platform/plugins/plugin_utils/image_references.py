# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Image references of workloads: always name, tag and digest, so that a tag whose content was replaced changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

PINNED = re.compile(r"[a-z0-9][a-z0-9./_-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*@sha256:[0-9a-f]{64}")
# Stands where manifests are rendered without a cluster, and nothing was built.
UNKNOWN = f"rendered@sha256:{'0' * 64}"


def is_pinned(reference: str) -> bool:
    """Tell whether an image reference has a tag and a digest."""
    return PINNED.fullmatch(reference) is not None


def pinned(images: Mapping[str, str], name: str, repository: str, rendering: bool) -> str:
    """Return the reference of an image; ValueError when it is unknown, unless nothing is applied, or has no digest."""
    if name not in images:
        if rendering:
            return f"{repository}/{name}:{UNKNOWN}"
        raise ValueError(f"BK-404: bookstore_images has no image {name}: run make up without --tags, or the role images with it first")
    if not is_pinned(images[name]):
        raise ValueError(f"BK-404: bookstore_images.{name}={images[name]} has no digest; take what the role images returned, unchanged")
    return images[name]
