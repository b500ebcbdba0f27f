"""Python packages: those whose metadata an image holds, and those that a recipe's lock file installed."""

from __future__ import annotations

import re
from email.parser import HeaderParser

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import FactoryError
from .packages import Package

# In the folder of the packages: name-version.dist-info/METADATA, or the older form.
METADATA = re.compile(r".*/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
HASH = re.compile(r"--hash=(sha256):([0-9a-f]{64})")
# Where the images' packages run, whatever host they are built on.
PLATFORM = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64",
            "implementation_name": "cpython", "platform_python_implementation": "CPython", "extra": ""}


def installed(path: str, metadata: str) -> list[Package]:
    """Return the package that a metadata file describes; none where it lacks name or version."""
    headers = HeaderParser().parsestr(metadata)
    name, version = headers.get("Name"), headers.get("Version")
    if not name or not version:
        return []
    return [Package("pypi", canonicalize_name(name), version.strip(), places=frozenset({path.rsplit("/", 1)[0]}))]


def locked(text: str, lock: str, python: str) -> list[Package]:
    """Return what a lock file installs for ``python`` on Linux, with the hashes of the files that it accepts."""
    environment = {**PLATFORM, "python_version": python, "python_full_version": f"{python}.0"}
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        stated = line.split("#")[0].strip()
        if not stated or stated.startswith("-"):
            continue
        try:
            requirement = Requirement(stated.split("--hash")[0].strip())
        except InvalidRequirement as error:
            raise FactoryError(f"BK-410: {lock}: {stated[:80]!r} is no pin of a lock file: {error}; write it anew with uv") from error
        pins = [part.version for part in requirement.specifier if part.operator == "=="]
        if len(pins) != 1:
            raise FactoryError(f"BK-410: {lock}: {requirement.name} is not pinned with ==; write the lock anew with uv")
        if requirement.marker is None or requirement.marker.evaluate(environment):
            found.append(pinned(f"{requirement.name}=={pins[0]}", lock, [digest for _, digest in HASH.findall(stated)]))
    return found


def pinned(requirement: str, lock: str, digests: list[str] | None = None) -> Package:
    """Return the package of one pin, name==version; ``digests`` are those of its published files, of which one was installed."""
    name, _, version = requirement.partition("==")
    notes = {("bookstore:lock:sha256", digest) for digest in digests or []}
    hashes = {("SHA-256", digests[0])} if digests and len(digests) == 1 else set()
    return Package("pypi", canonicalize_name(name), version, hashes=frozenset(hashes), notes=frozenset(notes), places=frozenset({lock}))
