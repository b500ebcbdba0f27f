# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What Superset's assets shall be, what they are, and where they differ; and the way to Superset inside of its pod.

Superset's own bundle format with one convenience: a chart's query context is written as YAML, without the form data, which
are the chart's parameters.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Clock, wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, answer_of

Object = dict[str, Any]
KINDS = {"databases": "database", "datasets": "dataset", "charts": "chart", "dashboards": "dashboard"}
NAMES = {"database": "database_name", "dataset": "table_name", "chart": "slice_name", "dashboard": "dashboard_title"}
# Superset takes these in and does not give them out.
NOT_EXPORTED = ("is_managed_externally", "external_url")
# Lists whose order means nothing, and what names their elements.
KEYED = {"columns": "column_name", "metrics": "metric_name"}
# Parts in which every key counts; of others only those that are declared.
WHOLE = ("params", "query_context", "position")
SHOWN = 60


class AssetError(ValueError):
    """A declaration that cannot be carried out."""


@dataclass(frozen=True)
class Asset:
    """One asset: its kind, the path of its file below the folder, and the content."""

    kind: str
    path: str
    body: Object

    @property
    def uuid(self) -> str:
        """The identity, which never changes."""
        return str(self.body["uuid"])

    @property
    def title(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind} {self.body.get(NAMES[self.kind])}"


def parse(files: dict[str, str]) -> list[Asset]:
    """Return the assets of a bundle {path: text}; AssetError for a file that is none. Other files are left out."""
    found = []
    for path, text in sorted(files.items()):
        kind = KINDS.get(path.split("/", 1)[0])
        if kind is None:
            continue
        try:
            body = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise AssetError(f"BK-244: {path} is not YAML: {error}") from error
        if not isinstance(body, dict) or not body.get("uuid") or not body.get(NAMES[kind]):
            raise AssetError(f"BK-244: {path} must be a mapping with uuid and {NAMES[kind]}")
        found.append(Asset(kind, path, body))
    return found


def load(folder: Path) -> list[Asset]:
    """Return the declared assets of a folder; AssetError when a uuid occurs twice or names nothing."""
    if not (folder / "metadata.yaml").is_file():
        raise AssetError(f"BK-244: path={folder} holds no metadata.yaml; name the folder with Superset's assets")
    files = {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in folder.rglob("*.yaml")}
    assets = parse(files)
    known: dict[str, Asset] = {}
    for asset in assets:
        if asset.uuid in known:
            raise AssetError(f"BK-244: {asset.path} and {known[asset.uuid].path} have the same uuid={asset.uuid}; write another")
        known[asset.uuid] = asset
    for asset in assets:
        for field, uuid in references(asset):
            if uuid not in known:
                raise AssetError(f"BK-244: {asset.path}: {field}={uuid} is no uuid of this folder")
    return assets


def references(asset: Asset) -> list[tuple[str, str]]:
    """Return what an asset refers to as (field, uuid)."""
    found = [(field, str(asset.body[field])) for field in ("database_uuid", "dataset_uuid") if field in asset.body]
    return found + [("position", uuid) for uuid in charts_of(asset)]


def charts_of(asset: Asset) -> list[str]:
    """Return the uuids of the charts that a dashboard shows."""
    cells = [cell for cell in (asset.body.get("position") or {}).values() if isinstance(cell, dict)]
    return [str(cell["meta"]["uuid"]) for cell in cells if cell.get("type") == "CHART"]


def bundle(assets: list[Asset]) -> dict[str, str]:
    """Return the files that Superset imports: JSON is YAML as well, so nothing is formatted twice."""
    files = {"metadata.yaml": json.dumps({"version": "1.0.0", "type": "assets", "timestamp": "1970-01-01T00:00:00+00:00"})}
    for asset in assets:
        body = json.loads(json.dumps(asset.body))
        if asset.kind == "chart":
            context = {**body["query_context"], "form_data": body["params"]}
            body["query_context"] = json.dumps(context, sort_keys=True)
        for number, cell in enumerate((body.get("position") or {}).values()):
            if isinstance(cell, dict) and cell.get("type") == "CHART":
                # Superset puts the chart's own number here, and needs one to replace.
                cell["meta"]["chartId"] = number
        files[asset.path] = json.dumps(body, sort_keys=True)
    return files


def digest(assets: list[Asset]) -> str:
    """Return a hash of all content, independent of how the files are written."""
    content = {asset.uuid: normal(asset) for asset in assets}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def normal(asset: Asset) -> Object:
    """Return what decides about an asset, declared or exported: without numbers that Superset gives out."""
    body: Object = {key: value for key, value in json.loads(json.dumps(asset.body)).items() if key not in NOT_EXPORTED}
    if asset.kind == "chart":
        context = body.get("query_context")
        if isinstance(context, str):
            context = json.loads(context)
        if isinstance(context, dict):
            form = context.pop("form_data", None)
            context.pop("datasource", None)
            if form is not None and without(form, "datasource") != without(body.get("params") or {}, "datasource"):
                # The two are saved as one; otherwise somebody changed one of them.
                context["form_data"] = form
        body["query_context"] = context
        body["params"] = without(body.get("params") or {}, "datasource")
    for cell in (body.get("position") or {}).values():
        if isinstance(cell, dict) and isinstance(cell.get("meta"), dict):
            cell["meta"].pop("chartId", None)
    return body


def without(mapping: Object, key: str) -> Object:
    """Return a copy that lacks ``key``."""
    return {name: value for name, value in mapping.items() if name != key}


def differences(declared: list[Asset], found: list[Asset]) -> list[str]:
    """Return in words what is missing or other than declared; empty when nothing has to be done."""
    by_uuid = {asset.uuid: asset for asset in found}
    told: list[str] = []
    for asset in declared:
        other = by_uuid.get(asset.uuid)
        if other is None:
            told.append(f"{asset.title}: is missing")
        else:
            told += [f"{asset.title}: {line}" for line in unlike(normal(asset), normal(other), "")]
    return told


def unlike(wanted: Any, found: Any, path: str, whole: bool = False) -> list[str]:
    """Return where two values differ, as lines ``path: found -> wanted``; ``whole`` makes keys count that are not wanted."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        lines = []
        for key in [*wanted, *([key for key in found if key not in wanted] if whole else [])]:
            place = f"{path}.{key}" if path else str(key)
            if key not in wanted:
                lines.append(f"{place}: {brief(found[key])} -> absent")
            elif key not in found:
                lines += [] if wanted[key] is None else [f"{place}: absent -> {brief(wanted[key])}"]
            else:
                lines += unlike(wanted[key], found[key], place, whole or key in WHOLE)
        return lines
    name = KEYED.get(path)
    if name is not None and isinstance(wanted, list) and isinstance(found, list):
        return unlike_named({row[name]: row for row in wanted}, {row[name]: row for row in found}, path)
    return [] if wanted == found else [f"{path}: {brief(found)} -> {brief(wanted)}"]


def unlike_named(wanted: dict[str, Object], found: dict[str, Object], path: str) -> list[str]:
    """Compare columns or metrics by their names."""
    lines = [f"{path}.{name}: unknown -> absent" for name in found if name not in wanted]
    for name, row in wanted.items():
        place = f"{path}.{name}"
        lines += unlike(row, found[name], place) if name in found else [f"{place}: is missing"]
    return lines


def brief(value: Any) -> str:
    """Return a value for a message."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def unknown(declared: list[Asset], found: list[Asset]) -> list[str]:
    """Return assets that nobody declared; they are left alone."""
    uuids = {asset.uuid for asset in declared}
    return sorted(asset.title for asset in found if asset.uuid not in uuids)


@dataclass(frozen=True)
class Result:
    """What was found before anything was changed, and the hash of what is declared."""

    differences: list[str]
    unknown: list[str]
    hash: str


def reconcile(tool: AssetTool, declared: list[Asset], timeout: float, *, apply: bool, clock: Clock = time) -> Result:
    """Compare, import when something differs, and compare again; wait for a ready pod for at most ``timeout`` seconds."""
    ready = wait_for(tool.pod, bool, timeout=timeout, interval=1.0, clock=clock)
    if not ready.done:
        raise ClusterError(f"BK-246: no pod of Superset was ready within {timeout:.0f} s; see `make status`")
    found = tool.export()
    result = Result(differences(declared, found), unknown(declared, found), digest(declared))
    if result.differences and apply:
        tool.replace(declared)
        left = differences(declared, tool.export())
        if left:
            raise AssetError(
                f"BK-249: {len(left)} differences remain after the import: {'; '.join(left[:5])}; "
                "write these fields as Superset gives them out"
            )
    return result


class AssetTool:
    """The tool inside of Superset's pod, which speaks to the server as its administrator; ClusterError when it fails."""

    COMMAND = ("python3", "/etc/superset/assets_door.py")

    def __init__(self, cluster: Cluster, timeout: float, namespace: str = "analytics", workload: str = "superset") -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._namespace = namespace
        self._workload = workload

    def pod(self) -> str:
        """Return the name of a pod that is ready; empty when there is none."""
        for pod in self._cluster.objects("Pod", self._namespace, labelSelector=f"app.kubernetes.io/name={self._workload}"):
            conditions = pod.get("status", {}).get("conditions") or []
            ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
            if ready and "deletionTimestamp" not in pod["metadata"]:
                return str(pod["metadata"]["name"])
        return ""

    def export(self) -> list[Asset]:
        """Return every asset there is."""
        return parse(answer_of(self._call("export"), f"{self._namespace}/{self._workload}"))

    def replace(self, assets: list[Asset]) -> None:
        """Import assets over those with the same uuids."""
        packed = gzip.compress(json.dumps(bundle(assets), sort_keys=True).encode(), mtime=0)
        self._call("import", base64.b64encode(packed).decode("ascii"))

    def _call(self, *arguments: str) -> str:
        pod = self.pod()
        if not pod:
            raise ClusterError(f"BK-246: no pod of {self._namespace}/{self._workload} is ready; see `make status`")
        return self._cluster.execute(self._namespace, pod, self._workload, [*self.COMMAND, *arguments], self._timeout)
