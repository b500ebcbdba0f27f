# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Applies rendered manifests: each object by server-side apply, on one connection, with a truthful account of what changed."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ..base import failures, waiter
from .cluster import Cluster, ClusterError

Object = dict[str, Any]
T = TypeVar("T")

APPLY = "application/apply-patch+yaml"  # JSON is YAML
# What controllers and the server write is no change of ours.
WRITTEN_BY_OTHERS = ("managedFields", "resourceVersion", "generation")
# Objects of one kind that are applied side by side.
AT_ONCE = 6
# How long an object that is being deleted may take.
ENDING_SECONDS = 60.0


class ManifestError(ValueError):
    """A manifest cannot be used, or the server refused it; the message names the object."""


@dataclass(frozen=True)
class Manifest:
    """``file``: what it was rendered into, for messages."""

    file: str
    body: Object

    @property
    def namespace(self) -> str:
        """The namespace that the manifest names; empty without one."""
        return str(self.body["metadata"].get("namespace") or "")

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.body["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.body['kind']} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass
class Change:
    """``before`` is None for an object that did not exist, ``after`` for one that check mode cannot make."""

    manifest: Manifest
    before: Object | None
    after: Object | None = field(default=None)


def parse(file: str, text: str) -> list[Manifest]:
    """Return the manifests of a file; empty documents are left out. ManifestError names the document that is none."""
    import yaml

    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise ManifestError(f"BK-430: {file} is no YAML: {error}") from error
    return [_checked(file, number, document) for number, document in enumerate(documents, 1) if document is not None]


def _checked(file: str, number: int, document: Any) -> Manifest:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or not all([document.get("apiVersion"), document.get("kind"), metadata.get("name")]):
        raise ManifestError(f"BK-430: document {number} of {file} needs apiVersion, kind and metadata.name")
    manifest = Manifest(file, document)
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError) as error:
        # What YAML makes of a date, for one, where the API has texts.
        raise ManifestError(f"BK-430: {manifest} of {file} has a value that JSON has not; put it into quotes: {error}") from error
    return manifest


class Kinds:
    """What the server calls the kinds, asked for once for each group."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def path(self, manifest: Manifest) -> str | None:
        """Return the path of an object, or None when its kind is not installed. ManifestError when it needs a namespace."""
        version, kind = manifest.body["apiVersion"], manifest.body["kind"]
        if kind not in self._known.get(version, {}):
            # Also when the group is known: a definition may just have been applied.
            self._known[version] = self._ask(version)
        if kind not in self._known[version]:
            return None
        plural, namespaced = self._known[version][kind]
        if namespaced and not manifest.namespace:
            raise ManifestError(f"BK-430: {manifest} of {manifest.file} needs metadata.namespace")
        return "/".join([_group(version), *(["namespaces", quote(manifest.namespace)] if namespaced else []), plural, quote(manifest.name)])

    def _ask(self, version: str) -> dict[str, tuple[str, bool]]:
        try:
            found = json.loads(self._cluster.raw(_group(version)))
        except ClusterError as error:
            if error.status == 404:
                return {}
            raise
        return {entry["kind"]: (entry["name"], entry["namespaced"]) for entry in found["resources"] if "/" not in entry["name"]}


def _group(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def apply(cluster: Cluster, manifests: list[Manifest], manager: str, check: bool) -> Iterator[Change]:
    """Apply all, and yield those that changed (in check mode: would). ManifestError for the first that is refused.

    Their order is kept, but for those of one kind that follow one another: these need none of each other, and go side by side.
    """
    kinds = Kinds(cluster)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for _, group in itertools.groupby(manifests, key=lambda manifest: (manifest.body["apiVersion"], manifest.body["kind"])):
            # Here, because what the server's kinds are is asked once.
            found = [(manifest, named(manifest, functools.partial(kinds.path, manifest))) for manifest in group]
            futures = [
                pool.submit(named, manifest, functools.partial(_apply, cluster, path, manifest, manager, check))
                for manifest, path in found
            ]
            failure: Exception | None = None
            for future in futures:
                try:
                    change = future.result()
                except (ManifestError, ClusterError) as error:
                    failure = failure or error
                    continue
                # Also beside one that was refused: it was changed, and is told.
                if change is not None:
                    yield change
            if failure is not None:
                raise failure


def named(manifest: Manifest, call: Callable[[], T]) -> T:
    """Do what is about a manifest; ManifestError with its name when the server refuses that."""
    try:
        return call()
    except ClusterError as error:
        if not error.status:
            raise  # no answer at all is not about this object
        raise ManifestError(f"BK-431: {manifest} of {manifest.file}: {failures.without_id(error)}") from error


def _apply(cluster: Cluster, path: str | None, manifest: Manifest, manager: str, check: bool) -> Change | None:
    if path is None:
        if check:
            return Change(manifest, None)
        raise ManifestError(
            f"BK-432: {manifest} of {manifest.file}: the cluster has no kind {manifest.body['kind']} of {manifest.body['apiVersion']}; "
            "the role istio installs those of the Gateway API and of the mesh"
        )
    before = get(cluster, path)
    if before is not None and ending(before):
        if check:
            return Change(manifest, before)
        # The server would take what is applied, and the object would vanish with it.
        if not waiter.wait_for(lambda: get(cluster, path), lambda found: not (found and ending(found)), timeout=ENDING_SECONDS).done:
            raise ManifestError(
                f"BK-433: {manifest} of {manifest.file} is being deleted and did not end within {ENDING_SECONDS:.0f} s; "
                f"it waits for {', '.join(before['metadata'].get('finalizers') or ['what belongs to it'])}"
            )
        before = None
    query = {"fieldManager": manager, "force": "true", **({"dryRun": "All"} if check else {})}
    try:
        after = json.loads(cluster.raw(path, "PATCH", manifest.body, query, APPLY))
    except ClusterError as error:
        # The namespace is one that this run would make.
        if check and before is None and error.status == 404:
            return Change(manifest, None)
        raise
    if before is not None and declared(before) == declared(after):
        return None
    return Change(manifest, before, after)


def ending(body: Object) -> bool:
    """Return whether an object is being deleted."""
    return "deletionTimestamp" in body["metadata"]


def get(cluster: Cluster, path: str) -> Object | None:
    """Return an object by its path, or None."""
    try:
        found: Object = json.loads(cluster.raw(path))
    except ClusterError as error:
        if error.status == 404:
            return None
        raise
    return found


def declared(body: Object) -> Object:
    """Return an object without what the server and controllers write."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in WRITTEN_BY_OTHERS}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def difference(changes: list[Change]) -> dict[str, str]:
    """Return before and after as texts, for --diff. Of Secrets, only names."""

    def text(manifest: Manifest, body: Object | None) -> str:
        if body is None:
            return ""
        shown = {"kind": body["kind"], "metadata": {"name": manifest.name}} if body["kind"] == "Secret" else declared(body)
        return f"# {manifest}\n{json.dumps(shown, indent=1, sort_keys=True)}\n"

    return {
        "before": "".join(text(change.manifest, change.before) for change in changes),
        "after": "".join(text(change.manifest, change.after) for change in changes),
    }


def write(folder: str, documents: dict[str, str], check: bool) -> list[str]:
    """Write rendered texts into files, as they are, and return the names of those that were not so before."""
    changed = []
    for name, text in documents.items():
        path = Path(folder) / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed.append(name)
            if not check:
                temporary = path.with_name(f".{name}.{os.getpid()}")
                temporary.write_text(text, encoding="utf-8")
                temporary.chmod(0o644)
                os.replace(temporary, path)
    return changed
