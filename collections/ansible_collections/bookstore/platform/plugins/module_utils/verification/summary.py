# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""A summary of the report in the cluster, for the mesh map, which cannot read the host's files."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, path_of

Object = dict[str, Any]
FIELD_MANAGER = "bookstore-verify"
# No details and no faults: they quote what was found, which is not for everybody who may look at the map.
CHECK_KEYS = ("id", "error", "title", "status", "hint")


def summarized(result: Object) -> Object:
    """Return what of a report (runner.report) is summarized."""
    checks = [{key: check[key] for key in CHECK_KEYS} for check in result["checks"]]
    return {"started": result["started"], "seconds": result["seconds"], "counts": result["counts"], "checks": checks}


def publish(cluster: Cluster, result: Object, namespace: str, name: str) -> bool:
    """Write the summary; return False when the namespace does not exist (yet)."""
    body = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "bookstore"}},
        "data": {"summary": json.dumps(summarized(result), sort_keys=True)},
    }  # fmt: skip
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    try:
        cluster.raw(path_of("ConfigMap", namespace, name), "PATCH", body, query, "application/apply-patch+yaml")
    except ClusterError as error:
        if error.status == 404:
            return False
        raise
    return True
