"""Policies over rendered manifests (SPEC 2, 4, 10.4): one pure function each, manifests in, faults out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.verification.security_checks import pod_faults
from ansible_collections.bookstore.platform.plugins.plugin_utils.image_references import is_pinned

Manifest = dict[str, Any]
Rule = Callable[[list[Manifest]], list[str]]

# Namespaces of the cluster's and the mesh's own parts (SPEC 2, exempt).
PLATFORM_NAMESPACES = frozenset({"kube-system", "istio-system"})
WORKLOAD_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"})
# What ztunnel can enforce; anything else in a rule makes it deny everything (Istio: L7 fields need a waypoint).
L4_SOURCE = frozenset({"namespaces", "notNamespaces", "principals", "notPrincipals", "ipBlocks", "notIpBlocks"})
L4_OPERATION = frozenset({"ports", "notPorts"})
# Accounts whose process talks to the API server (SPEC 2).
TOKEN_NEEDED = frozenset({"kube-system/node-network", "analytics/flink", "observability/prometheus", "observability/kiali",
                          "observability/mesh-map"})  # fmt: skip
IMAGE_PREFIX = "bookstore.local/"
# Given by Kubernetes to the pods of a StatefulSet; the probes of verify carry the other labels of a workload, and are never ready.
POD_NAME = "statefulset.kubernetes.io/pod-name"
# Containers of one pod that all serve, and are of no use without each other: Flink's door shows what the JobManager answers, and whoever
# needs one that is not ready finds it, for that Service publishes addresses that are not ready.
SERVE_TOGETHER = frozenset({("StatefulSet analytics/flink-jobmanager", "jobmanager", "tools")})


def name_of(manifest: Manifest) -> str:
    """Return <kind> <namespace>/<name>."""
    metadata = manifest.get("metadata") or {}
    return f"{manifest.get('kind')} {metadata.get('namespace', '')}/{metadata.get('name')}".replace(" /", " ")


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of the given kinds."""
    return [manifest for manifest in manifests if manifest.get("kind") in kinds]


def _namespace(manifest: Manifest) -> str:
    return str((manifest.get("metadata") or {}).get("namespace", ""))


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield (name, workload, pod spec) of each workload outside the platform's own namespaces."""
    for manifest in of_kind(manifests, *WORKLOAD_KINDS):
        if _namespace(manifest) in PLATFORM_NAMESPACES:
            continue
        yield name_of(manifest), manifest, pod_spec(manifest)


def pod_spec(workload: Manifest) -> Manifest:
    """Return the pod spec of a workload."""
    spec: Manifest = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec if workload["kind"] == "Pod" else spec["template"]["spec"]


def containers_of(spec: Manifest) -> list[Manifest]:
    """Return all containers of a pod spec, init containers first."""
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def authorization_is_l4(manifests: list[Manifest]) -> list[str]:
    """Policies of mesh workloads name namespace, principal, address and port only (SPEC 4)."""
    faults = []
    for policy in of_kind(manifests, "AuthorizationPolicy"):
        spec = policy.get("spec") or {}
        targets = [*(spec.get("targetRefs") or []), *([spec["targetRef"]] if "targetRef" in spec else [])]
        if targets and all(target.get("kind") == "Gateway" for target in targets):
            continue  # the gateway is Envoy, which reads L7 (SPEC 4)
        for rule in spec.get("rules") or []:
            used = {f"when.{condition['key']}" for condition in rule.get("when") or []}
            used |= {f"source.{key}" for origin in rule.get("from") or [] for key in set(origin["source"]) - L4_SOURCE}
            used |= {f"operation.{key}" for target in rule.get("to") or [] for key in set(target["operation"]) - L4_OPERATION}
            faults += [f"{name_of(policy)}: {field} is not L4; ztunnel would deny everything" for field in sorted(used)]
    return faults


def allow_rules_are_closed(manifests: list[Manifest]) -> list[str]:
    """An ALLOW rule names its source and port: an empty list would mean everybody or everything."""
    faults = []
    for policy in of_kind(manifests, "AuthorizationPolicy"):
        spec = policy.get("spec") or {}
        if spec.get("targetRefs"):
            continue
        for rule in spec.get("rules") or []:
            if not rule.get("from") or any(not any((origin.get("source") or {}).values()) for origin in rule["from"]):
                faults.append(f"{name_of(policy)}: a rule without a source allows everybody")
            if not rule.get("to") or any(not (target.get("operation") or {}).get("ports") for target in rule["to"]):
                faults.append(f"{name_of(policy)}: a rule without a port allows every port")
    return faults


def mesh_is_strict(manifests: list[Manifest]) -> list[str]:
    """STRICT for the mesh; below it only single ports may be PERMISSIVE."""
    policies = of_kind(manifests, "PeerAuthentication")
    faults = []
    root = [p for p in policies if _namespace(p) == "istio-system" and not p["spec"].get("selector")]
    if [p["spec"]["mtls"]["mode"] for p in root] != ["STRICT"]:
        faults.append("istio-system has not exactly one PeerAuthentication without selector and with mode STRICT")
    for policy in policies:
        if (policy["spec"].get("mtls") or {}).get("mode", "STRICT") != "STRICT":
            faults.append(f"{name_of(policy)}: mode {policy['spec']['mtls']['mode']}; only single ports may be excepted")
    return faults


def pods_are_restricted(manifests: list[Manifest]) -> list[str]:
    """Every workload keeps level restricted and the product's stricter rules: fixed uid, read-only root, no capability."""
    return [f"{name}: {fault}" for name, _, spec in pod_specs(manifests) for fault in pod_faults(spec)]


def resources_are_bounded(manifests: list[Manifest]) -> list[str]:
    """Requests and limits of CPU and memory stand on every container."""
    faults = []
    for name, _, spec in pod_specs(manifests):
        for container in containers_of(spec):
            for kind in ("requests", "limits"):
                missing = {"cpu", "memory"} - set((container.get("resources") or {}).get(kind) or {})
                faults += [f"{name}: container {container['name']}: resources.{kind}.{key} is missing" for key in sorted(missing)]
    return faults


def containers_are_probed(manifests: list[Manifest]) -> list[str]:
    """Long-running containers have a liveness probe; one that is alone in its pod, or serves a Service's port, a readiness probe too."""
    faults = []
    for name, workload, spec in pod_specs(manifests):
        if workload["kind"] in ("Job", "CronJob", "Pod"):
            continue
        for container in spec["containers"]:
            needed = ["livenessProbe"]
            if len(spec["containers"]) == 1 or _serves(container, _services(manifests, workload)):
                needed.append("readinessProbe")
            faults += [f"{name}: container {container['name']}: {probe} is missing" for probe in needed if probe not in container]
    return faults


def readiness_is_of_what_serves(manifests: list[Manifest]) -> list[str]:
    """A container beside the one that serves the Services' ports, such as an exporter, has no readiness probe.

    A pod is as ready as the least of its containers, so one that hangs would take a healthy server out of its Services. One that is
    being started again would, without any probe: so these Services publish addresses that are not ready, of that one pod alone.
    """
    faults = []
    for name, workload, spec in pod_specs(manifests):
        services = _services(manifests, workload)
        if len(spec["containers"]) == 1:
            continue
        serving = [container["name"] for container in spec["containers"] if _serves(container, services)]
        faults += [
            f"{name}: container {container['name']}: its readinessProbe takes the pod out of Services whose ports it does not serve"
            for container in spec["containers"]
            if "readinessProbe" in container and container["name"] not in serving
        ]
        if len(serving) < len(spec["containers"]):
            faults += [
                f"{name}: a Service of it must publish addresses that are not ready, and select the pod by its name"
                for service in services
                if any(_serves(container, [service]) for container in spec["containers"])
                and not (service.get("publishNotReadyAddresses") and POD_NAME in service["selector"])
            ]
        if len(serving) > 1 and (name, *sorted(serving)) not in SERVE_TOGETHER:
            faults.append(f"{name}: containers {', '.join(serving)} serve ports of Services: each takes the others out of them")
    return faults


def _services(manifests: list[Manifest], workload: Manifest) -> list[Manifest]:
    """Return the specs of the Services that find the pods of a workload; the label of a StatefulSet's single pod is given by Kubernetes."""
    labels = dict(((workload["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {})
    if workload["kind"] == "StatefulSet":
        labels[POD_NAME] = f"{workload['metadata']['name']}-0"
    return [
        service["spec"]
        for service in of_kind(manifests, "Service")
        if _namespace(service) == _namespace(workload)
        and service["spec"].get("selector")
        and service["spec"]["selector"].items() <= labels.items()
    ]


def _serves(container: Manifest, services: list[Manifest]) -> bool:
    """Tell whether a port of a container, by name or number, is the target of a port of the Services. Being scraped is no service."""
    targets = {port.get("targetPort", port["port"]) for service in services for port in service["ports"]}
    ports = [port for port in container.get("ports") or [] if port.get("name") != "metrics"]
    return any(port.get("name") in targets or port["containerPort"] in targets for port in ports)


def accounts_are_own(manifests: list[Manifest]) -> list[str]:
    """A workload runs under its own account, on which the matrix is built."""
    accounts = {f"{_namespace(m)}/{m['metadata']['name']}" for m in of_kind(manifests, "ServiceAccount")}
    faults = []
    for name, workload, spec in pod_specs(manifests):
        account = spec.get("serviceAccountName", "default")
        if account == "default":
            faults.append(f"{name}: serviceAccountName is missing; name an account of its own")
        elif f"{_namespace(workload)}/{account}" not in accounts:
            faults.append(f"{name}: serviceAccountName={account} is not among the manifests")
    return faults


def tokens_are_off(manifests: list[Manifest]) -> list[str]:
    """No account token is mounted unless the process talks to the API server."""
    faults = []
    for name, workload, spec in pod_specs(manifests):
        needed = f"{_namespace(workload)}/{spec.get('serviceAccountName', 'default')}" in TOKEN_NEEDED
        if spec.get("automountServiceAccountToken") is not False and not needed:
            faults.append(f"{name}: automountServiceAccountToken must be false")
    return faults


def images_are_pinned(manifests: list[Manifest]) -> list[str]:
    """Images are the factory's and named by tag and digest, those of the cluster's own parts, Jobs and init containers, too."""
    faults = []
    for manifest in of_kind(manifests, *WORKLOAD_KINDS):
        for container in containers_of(pod_spec(manifest)):
            image = str(container.get("image", ""))
            if not image.startswith(IMAGE_PREFIX):
                faults.append(f"{name_of(manifest)}: image {image} is not the factory's; take it from bookstore_images")
            elif not is_pinned(image):
                faults.append(f"{name_of(manifest)}: image {image} has no tag and digest; use the filter pinned_image")
    return faults


def nothing_is_ingress(manifests: list[Manifest]) -> list[str]:
    """Ingress is by HTTPRoutes only (R-064)."""
    return [f"{name_of(m)}: use an HTTPRoute" for m in of_kind(manifests, "Ingress", "IngressClass")]


def secrets_are_not_written(manifests: list[Manifest]) -> list[str]:
    """No manifest holds a secret: they are generated in memory and referred to by name (R-091)."""
    word = re.compile(r"passw|secret|token|credential|private_?key", re.IGNORECASE)
    faults = [f"{name_of(m)}: data of a Secret in a template" for m in of_kind(manifests, "Secret") if m.get("data") or m.get("stringData")]
    for m in of_kind(manifests, "ConfigMap"):
        # A URL says where a secret is fetched, and holds none.
        faults += [
            f"{name_of(m)}: key {key} belongs into a Secret"
            for key, value in (m.get("data") or {}).items()
            if word.search(key) and not (key.endswith("_URL") and re.match(r"https?://[^@]+$", value))
        ]
    for name, _, spec in pod_specs(manifests):
        for container in containers_of(spec):
            faults += [
                f"{name}: container {container['name']}: {entry['name']} has a literal value; use secretKeyRef"
                for entry in container.get("env") or []
                if word.search(entry["name"]) and entry.get("value")
            ]
    return faults


def namespaces_are_closed(manifests: list[Manifest]) -> list[str]:
    """Each workload namespace enforces restricted, denies all traffic by default, and allows no caller by default."""
    faults = []
    names = {m["metadata"]["name"] for m in of_kind(manifests, "Namespace")} - PLATFORM_NAMESPACES
    enforced = {
        m["metadata"]["name"]
        for m in of_kind(manifests, "Namespace")
        if (m["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce") == "restricted"
    }
    denied = {
        _namespace(m)
        for m in of_kind(manifests, "NetworkPolicy")
        if m["spec"].get("podSelector") == {}
        and set(m["spec"].get("policyTypes") or []) == {"Ingress", "Egress"}
        and not m["spec"].get("ingress")
        and not m["spec"].get("egress")
    }
    nothing = {_namespace(m) for m in of_kind(manifests, "AuthorizationPolicy") if not m.get("spec")}
    for name in sorted(names):
        faults += [f"Namespace {name}: does not enforce level restricted"] if name not in enforced else []
        faults += [f"Namespace {name}: no NetworkPolicy denies all by default"] if name not in denied else []
        faults += [f"Namespace {name}: no AuthorizationPolicy allows nothing by default"] if name not in nothing else []
    return faults


def routes_use_the_gateway(manifests: list[Manifest]) -> list[str]:
    """HTTPRoutes attach to one listener of bookstore-gateway and name their hosts."""
    faults = []
    for route in of_kind(manifests, "HTTPRoute"):
        spec = route["spec"]
        for parent in spec.get("parentRefs") or [{}]:
            if parent.get("name") != "bookstore-gateway" or parent.get("sectionName") not in ("https", "http"):
                faults.append(f"{name_of(route)}: parentRefs must name bookstore-gateway and its listener https or http")
        if not spec.get("hostnames"):
            faults.append(f"{name_of(route)}: hostnames is missing: it would match every host")
    return faults


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        authorization_is_l4, allow_rules_are_closed, mesh_is_strict, pods_are_restricted, resources_are_bounded, containers_are_probed,
        readiness_is_of_what_serves, accounts_are_own, tokens_are_off, images_are_pinned, nothing_is_ingress, secrets_are_not_written,
        namespaces_are_closed, routes_use_the_gateway,
    )
}  # fmt: skip
