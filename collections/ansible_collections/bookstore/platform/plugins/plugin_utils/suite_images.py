# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The images that Kubernetes' test suite asks for, as its own ``--list-images`` tells them."""

from __future__ import annotations

from collections.abc import Sequence


def tags(listed: Sequence[str], repository: str, built: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags by which the suite asks for each of the images ``built``; other images belong to specs that are not run.

    ``built`` are names of recipes; an image ``conformance/agnhost`` is asked for as ``<repository>/conformance/agnhost:<tag>``.
    ValueError when the suite does not ask for one of them, so that its recipe is for nothing.
    """
    found: dict[str, set[str]] = {name: set() for name in built}
    for line in listed:
        reference, colon, tag = line.strip().rpartition(":")
        name = reference.removeprefix(f"{repository}/")
        if colon and name in found and name != reference:
            found[name].add(tag)
    unknown = sorted(name for name, values in found.items() if not values)
    if unknown:
        raise ValueError(
            f"Kubernetes' test suite asks for no image {', '.join(unknown)} in {repository}; "
            "correct the names in tests/conformance/images/recipes.yml, as `e2e.test --list-images` tells them"
        )
    return {name: sorted(values) for name, values in found.items()}
