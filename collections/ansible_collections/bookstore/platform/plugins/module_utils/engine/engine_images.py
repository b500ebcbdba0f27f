"""The platform's images in the container engine, told by the repositories of their references."""

from __future__ import annotations

from collections.abc import Sequence

from .docker import docker

# What `find` can be run from, the smallest first.
TOOLS = ("base", "registry", "node")


def listed(repositories: Sequence[str]) -> list[str]:
    """Return the references of all images in these repositories, those without a tag by their id."""
    lines = docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}\t{{.Tag}}\t{{.ID}}").splitlines()
    found = []
    for line in lines:
        repository, tag, identifier = line.split("\t")
        if any(repository.startswith(f"{prefix}/") for prefix in repositories):
            found.append(identifier if tag == "<none>" else f"{repository}:{tag}")
    return sorted(set(found))


def remove(references: Sequence[str]) -> None:
    """Remove images; DockerError when a container of somebody else uses one."""
    if references:
        docker("image", "rm", *references)


def tool_image(references: Sequence[str]) -> str | None:
    """Return an image among them that has the ordinary programs of Debian."""
    return next((found for name in TOOLS for found in references if f"/{name}:" in found), None)
