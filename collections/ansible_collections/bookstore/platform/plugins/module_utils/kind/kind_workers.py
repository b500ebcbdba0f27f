"""What a new worker is made of: its sibling's container and kubeadm configuration."""

from __future__ import annotations

from typing import Any

from .node_certificates import LABEL

ROLE_LABEL = "io.x-k8s.kind.role"


def run_arguments(sibling: dict[str, Any], name: str, cluster: str) -> list[str]:
    """Return the arguments of `docker run` for a worker like ``sibling`` (the options are those of kind's docker provider)."""
    mounts = [f"{bind}" for bind in sibling["HostConfig"]["Binds"] or [] if not bind.startswith("/lib/modules:")]
    arguments = [
        "--detach", "--tty", "--name", name, "--hostname", name, "--label", f"{ROLE_LABEL}=worker",
        "--label", f"{LABEL}={cluster}", "--privileged", "--security-opt", "seccomp=unconfined",
        "--security-opt", "apparmor=unconfined", "--tmpfs", "/tmp", "--tmpfs", "/run", "--volume", "/var",
        "--volume", "/lib/modules:/lib/modules:ro", "--network", cluster, "--restart=on-failure:1", "--init=false",
        "--cgroupns=private",
    ]
    for bind in mounts:
        arguments += ["--volume", bind]
    return [*arguments, sibling["Config"]["Image"]]


def join_config(config: str, sibling: str, name: str, old_address: str, address: str) -> str:
    """Return a worker's kubeadm configuration made from its sibling's; whole words only, one name may begin another."""
    lines = []
    for line in config.splitlines():
        words = [{sibling: name, old_address: address}.get(word, word) for word in line.split(" ")]
        text = " ".join(words)
        lines.append(text.replace(f"/{sibling}\"", f"/{name}\"") if text.endswith(f"/{sibling}\"") else _provider(text, sibling, name))
    return "\n".join(lines) + "\n"


def _provider(line: str, sibling: str, name: str) -> str:
    """Replace the node's name at the end of a provider id."""
    return line[: -len(sibling)] + name if line.endswith(f"/{sibling}") else line
