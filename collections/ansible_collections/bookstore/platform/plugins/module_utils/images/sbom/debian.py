"""Debian packages, from the database of dpkg in an image."""

from __future__ import annotations

import io
from collections.abc import Mapping

from debian.deb822 import Packages

from .packages import Package

STATUS = "/var/lib/dpkg/status"
# Images without a package manager keep each package's entry in a file of its own.
STATUS_FOLDER = "/var/lib/dpkg/status.d/"
LISTS_FOLDER = "/var/lib/dpkg/info/"
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
INSTALLED = "install ok installed"


def release(text: str) -> dict[str, str]:
    """Return what an os-release file says."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip("\"'") for name, _, value in pairs}


def distribution(os_release: Mapping[str, str]) -> str:
    """Return the distribution as the purl's qualifier names it, such as debian-13."""
    version = os_release.get("VERSION_ID") or os_release.get("VERSION_CODENAME", "")
    return f"{os_release.get('ID', 'debian')}-{version}".rstrip("-")


def packages(status: str, place: str, os_release: Mapping[str, str]) -> list[Package]:
    """Return the installed packages of a status file."""
    found = []
    for entry in Packages.iter_paragraphs(io.StringIO(status), use_apt_pkg=False):
        if "Package" not in entry or entry.get("Status", INSTALLED) != INSTALLED:
            continue
        name, version = str(entry["Package"]), str(entry["Version"])
        source, _, source_version = str(entry.get("Source", name)).partition(" ")
        source_version = source_version.strip("()") or version
        qualifiers = {"arch": str(entry["Architecture"]), "distro": distribution(os_release)}
        if (source, source_version) != (name, version):
            qualifiers["upstream"] = source if source_version == version else f"{source}@{source_version}"
        notes = {("bookstore:deb:source", source), ("bookstore:deb:source-version", source_version)}
        found.append(Package(
            "deb", name, version, os_release.get("ID", "debian"), tuple(sorted(qualifiers.items())), notes=frozenset(notes),
            places=frozenset({place}),
        ))
    return found


def plain(path: str) -> str:
    """Return a path as it is compared: /usr/bin and /bin are one folder, and lists of packages name either."""
    for folder in ("bin", "sbin", "lib", "lib64"):
        if path.startswith(f"/usr/{folder}/"):
            return path.removeprefix("/usr")
    return path
