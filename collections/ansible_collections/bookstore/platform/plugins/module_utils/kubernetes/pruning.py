# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Deletes what a set of manifests had applied and no longer declares.

A ConfigMap records what a set applied, so that a run with nothing to prune costs one request, and objects need no label of ours. It is
written before anything is applied and after the last deletion: a run that is killed leaves no object behind that the next one does not
know. Whether an object is ours says the server, which keeps the field manager of each apply; controllers copy labels, but not that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from . import manifests
from .cluster import Cluster, ClusterError, path_of
from .manifests import Kinds, Manifest, ManifestError, Object

NAMESPACE = "kube-system"
# Of the records: which set it is of.
LABEL = "bookstore.platform/set"
MANAGER = "bookstore-pruning"
# Neither recorded nor deleted: what holds data, or takes other objects with it.
NEVER = frozenset({"Namespace", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition", "Secret"})
# In a cluster that has no record of a set yet, what the set's manager applied of these kinds, and of no others, counts as recorded. A
# manager's other objects may be of calls that record nothing: the definitions of the Gateway API, for one.
FOUND_BY_MANAGER = ("NetworkPolicy", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")

# Group, kind, namespace and name: another version of the API shows the same object.
Key = tuple[str, str, str, str]


def record_name(name: str) -> str:
    """Return the name of the ConfigMap that records the set ``name``."""
    return f"bookstore-applied-{name.replace('_', '-')}"


def key_of(manifest: Manifest) -> Key:
    """Return what identifies an object."""
    group, slash, _ = manifest.body["apiVersion"].partition("/")
    return group if slash else "", manifest.body["kind"], manifest.namespace, manifest.name


def why_kept(found: Object, kind: str, manager: str) -> str:
    """Return why an object must stay, though it is not declared; empty when it may be deleted."""
    metadata = found["metadata"]
    if kind in NEVER:
        return "objects of this kind are never deleted"
    if metadata.get("ownerReferences"):
        return "another object owns it"
    applied = {
        entry["manager"]
        for entry in metadata.get("managedFields") or []
        if entry.get("operation") == "Apply" and not entry.get("subresource")
    }
    if manager not in applied:
        return f"{manager} did not apply it"
    return f"{', '.join(sorted(applied - {manager}))} applied it too" if applied - {manager} else ""


class Pruning:
    """Of one set: begin() before it is applied, finish() after that. ``left``: undeclared objects that stay, with the reason."""

    def __init__(self, cluster: Cluster, name: str, manager: str, declared: list[Manifest], check: bool) -> None:
        self._cluster, self._kinds, self._name, self._manager, self._check = cluster, Kinds(cluster), name, manager, check
        self._declared = {key_of(manifest): manifest for manifest in declared if manifest.body["kind"] not in NEVER}
        self._stale: list[Manifest] = []
        # What the ConfigMap says; None without one.
        self._recorded: str | None = None
        self.left: list[str] = []

    def begin(self) -> bool:
        """Find what is no longer declared, and record what will be applied; return whether there was no record before."""
        record = self._cluster.get("ConfigMap", NAMESPACE, record_name(self._name))
        if record is None:
            known = self._found_by_manager()
        else:
            self._recorded = (record.get("data") or {}).get("objects", "")
            known = [self._parsed(line) for line in self._recorded.splitlines()]
        before = {key_of(manifest): manifest for manifest in known}
        self._stale = [manifest for key, manifest in before.items() if key not in self._declared]
        self._record({**before, **self._declared})
        return record is None

    def finish(self) -> Iterator[Manifest]:
        """Delete what is no longer declared, and yield it (in check mode: what would be)."""
        for manifest in self._stale:
            if manifests.named(manifest, functools.partial(self._delete, manifest)):
                yield manifest
        self._record(self._declared)

    def forget(self) -> None:
        """Delete the record of a set that nobody declares any more."""
        if not self._check:
            self._cluster.delete("ConfigMap", NAMESPACE, record_name(self._name))

    def _found_by_manager(self) -> list[Manifest]:
        return [
            _entry(path_of(kind).removeprefix("/apis/").rpartition("/")[0], kind, found["metadata"]["namespace"], found["metadata"]["name"])
            for kind in FOUND_BY_MANAGER
            for found in self._cluster.objects(kind)
            if not why_kept(found, kind, self._manager)
        ]

    def _parsed(self, line: str) -> Manifest:
        match line.split(" "):
            case [version, kind, namespace, name] if all([version, kind, namespace, name]):
                return _entry(version, kind, namespace, name)
        raise ManifestError(
            f"BK-443: ConfigMap {NAMESPACE}/{record_name(self._name)} has the line {line!r}, which names no object; delete the ConfigMap: "
            "it is written anew, and of what it recorded only policies are then found again"
        )

    def _delete(self, manifest: Manifest) -> bool:
        path = self._kinds.path(manifest)
        if path is None:
            return False  # the kind was removed, and its objects with it
        found = manifests.get(self._cluster, path)
        if found is None or manifests.ending(found):
            return False
        reason = why_kept(found, manifest.body["kind"], self._manager)
        if reason:
            self.left.append(f"{manifest} is no longer declared by {self._name}, and stays: {reason}")
            return False
        if not self._check:
            # The object that was judged, and no other of its name. Its pods and the like go with it.
            options = {"preconditions": {"uid": found["metadata"]["uid"]}, "propagationPolicy": "Background"}
            try:
                self._cluster.raw(path, "DELETE", options)
            except ClusterError as error:
                if error.status == 404:
                    return False
                raise
        return True

    def _record(self, objects: dict[Key, Manifest]) -> None:
        lines = sorted(
            f"{manifest.body['apiVersion']} {manifest.body['kind']} {manifest.namespace or '-'} {manifest.name}"
            for manifest in objects.values()
        )
        text = "".join(f"{line}\n" for line in lines)
        if self._check or text == self._recorded:
            return
        body = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": record_name(self._name), "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/part-of": "bookstore", LABEL: self._name},
            },
            "data": {"manager": self._manager, "objects": text},
        }  # fmt: skip
        query = {"fieldManager": MANAGER, "force": "true"}
        self._cluster.raw(path_of("ConfigMap", NAMESPACE, record_name(self._name)), "PATCH", body, query, manifests.APPLY)
        self._recorded = text


def _entry(version: str, kind: str, namespace: str, name: str) -> Manifest:
    place = {} if namespace == "-" else {"namespace": namespace}
    return Manifest("what was applied before", {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}})


def abandoned(cluster: Cluster, known: list[str], check: bool) -> list[Pruning]:
    """Return the recorded sets that are not in ``known``, each with nothing declared."""
    if not known:
        raise ManifestError("BK-444: known_sets is empty, and all that was ever applied would be deleted; name the sets that are declared")
    records = cluster.objects("ConfigMap", NAMESPACE, labelSelector=LABEL)
    sets = {record["metadata"]["labels"][LABEL]: (record.get("data") or {}).get("manager", "") for record in records}
    return [Pruning(cluster, name, manager, [], check) for name, manager in sorted(sets.items()) if name not in known]
