"""Rules of this product for image recipes, beyond what hadolint knows (SPEC 2 and 13.1)."""

from __future__ import annotations

import re
from collections.abc import Callable

Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Containerfile in order: (NAME, arguments), continuation lines joined."""
    found: list[Instruction] = []
    pending = ""
    for line in text.splitlines():
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        name, _, arguments = pending.partition(" ")
        found.append((name.upper(), arguments.strip()))
        pending = ""
    return found


def _of(text: str, *names: str) -> list[str]:
    return [arguments for name, arguments in instructions(text) if name in names]


def base_is_given(text: str) -> list[str]:
    """The base image is the factory's argument, so that its hash is part of this image's."""
    bases = _of(text, "FROM")
    wrong = [base for base in bases if not re.fullmatch(r"\$\{BASE\}( AS [a-z]+)?", base)]
    return [f"FROM {base}: write `ARG BASE` and `FROM ${{BASE}}`" for base in wrong] if bases else ["no FROM"]


def user_is_numeric(text: str) -> list[str]:
    """The last USER is <uid>:<gid>: Kubernetes can only check numbers against runAsNonRoot."""
    users = _of(text, "USER")
    if not users:
        return ["no USER: write USER <uid>:<gid>"]
    return [] if re.fullmatch(r"\d+:\d+", users[-1]) else [f"USER {users[-1]}: write numbers, <uid>:<gid>"]


def user_is_not_root(text: str) -> list[str]:
    """The last USER is not root; images of the nodes' own parts are named exceptions."""
    users = _of(text, "USER")
    return ["USER 0: the image runs as root"] if users and re.match(r"(?:0|root)\b", users[-1]) else []


def nothing_is_downloaded(text: str) -> list[str]:
    """Only apt may fetch in a build: everything else is staged on the host with its own client, pinned by hash."""
    faults = [f"ADD {arguments}: use COPY" for arguments in _of(text, "ADD")]
    tools = re.compile(r"(?:^|[;&|]\s*)(curl|wget|git\s+clone|pip3?\s+install|npm\s+(?:ci|install)|go\s+(?:install|get)|mvn)\b")
    for command in _of(text, "RUN"):
        faults += [f"RUN {found}: stage it as an artifact and COPY it" for found in tools.findall(command)]
    return faults


def apt_is_tidy(text: str) -> list[str]:
    """Packages come without recommended ones, after an update in the same layer, whose lists are removed."""
    faults = []
    for command in _of(text, "RUN"):
        if not re.search(r"\bapt-get\b.*\binstall\b|\bapt\s+install\b", command):
            continue
        if "--no-install-recommends" not in command:
            faults.append("apt-get install without --no-install-recommends")
        if "apt-get update" not in command:
            faults.append("apt-get install without apt-get update in the same RUN")
        if "/var/lib/apt/lists" not in command:
            faults.append("the package lists stay in the layer: rm -rf /var/lib/apt/lists/*")
        if re.search(r"\bupgrade\b", command):
            faults.append("apt-get upgrade makes the result depend on the day")
    return faults


def command_is_a_list(text: str) -> list[str]:
    """ENTRYPOINT and CMD are JSON lists: a shell in front would not pass signals on."""
    return [f"{found}: write a JSON list" for found in _of(text, "ENTRYPOINT", "CMD") if not found.startswith("[")]


def no_secret_is_baked(text: str) -> list[str]:
    """No ENV or ARG carries a secret: layers are readable by everyone who can pull."""
    name = re.compile(r"\b\w*(?:PASSWORD|SECRET|TOKEN|API_KEY)\w*\s*=", re.IGNORECASE)
    return [f"{arguments}: secrets come from Kubernetes at run time" for arguments in _of(text, "ENV", "ARG") if name.search(arguments)]


RULES: dict[str, Callable[[str], list[str]]] = {
    rule.__name__: rule
    for rule in (
        base_is_given, user_is_numeric, user_is_not_root, nothing_is_downloaded, apt_is_tidy, command_is_a_list, no_secret_is_baked,
    )
}  # fmt: skip
