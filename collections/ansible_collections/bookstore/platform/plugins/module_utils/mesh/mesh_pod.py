# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The pods from which the mesh is probed."""

from __future__ import annotations

from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_plan import PROBE_LABEL, Object, Probe

# Never true: keeps a probe with a workload's labels out of that workload's Services.
NEVER_READY = "platform.bookstore/never-ready"


def pod_manifest(
    probe: Probe, name: str, run: str, image: str, interpreter: str, script: str, request: str, mode: str
) -> Object:
    """Return the manifest of a probe pod: short-lived, restricted, never Ready and so never in a Service."""
    labels = {**probe.labels, PROBE_LABEL: run}
    if mode == "ambient":
        labels["istio.io/dataplane-mode"] = "ambient" if probe.meshed else "none"
    else:
        labels["sidecar.istio.io/inject"] = "true" if probe.meshed else "false"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": probe.namespace, "labels": labels},
        "spec": {
            **({"nodeName": probe.pin} if probe.pin else {}),
            "serviceAccountName": probe.account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 180,
            "terminationGracePeriodSeconds": 0,
            "readinessGates": [{"conditionType": NEVER_READY}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": [interpreter, "-c", script, request],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "500m", "memory": "96Mi"},
                    },
                }
            ],
        },
    }
