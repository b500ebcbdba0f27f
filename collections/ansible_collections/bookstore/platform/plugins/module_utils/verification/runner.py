# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Runs all checks side by side, and turns them into lines and a report."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from ansible_collections.bookstore.platform.plugins.module_utils.kind import bootstrap_tokens, certificates, node_certificates
from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import Certificate
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_proof, mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.verification import (
    access_checks,
    account_checks,
    cluster_checks,
    consumer_checks,
    image_checks,
    pipeline,
    pipeline_checks,
    scraping,
    security_checks,
    tokens,
    web,
    web_checks,
)
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    FAILED,
    PASSED,
    SKIPPED,
    Check,
    Context,
    Finding,
    Object,
)

KINDS = (
    "Node", "Namespace", "Pod", "Service", "PersistentVolumeClaim", "Ingress", "PeerAuthentication",
    *cluster_checks.WORKLOAD_KINDS, *account_checks.ROLES, *account_checks.BINDINGS, *account_checks.POLICIES,
)  # fmt: skip
MARKS = {PASSED: "ok", FAILED: "FAILED", SKIPPED: "skipped"}
STATS_ATTEMPTS = 5
CHECKS_AT_ONCE = 4
NO_EDGE = "no edge of the matrix has both ends deployed"


def _mesh(*kinds: str) -> Callable[[Context], Finding]:
    return security_checks.mesh_edges(*kinds, empty=NO_EDGE)


CHECKS = (
    Check("V-NODES", "BK-301", "Nodes ready", cluster_checks.nodes,
          "make recover starts stopped node containers; it leaves cordoned nodes so: kubectl uncordon NODE"),
    Check("V-WORKLOADS", "BK-302", "Workloads ready", cluster_checks.workloads,
          "make status shows restarts and memory; make up applies what is missing"),
    Check("V-VOLUMES", "BK-303", "Claims bound", cluster_checks.volumes, "compare the claim with bookstore_volumes"),
    Check("V-ROUTES", "BK-304", "Routes answer", web_checks.routes,
          "look at the HTTPRoute's status and the service's log"),
    Check("V-REDIRECT", "BK-305", "HTTP redirects", web_checks.redirects, "look at HTTPRoute H8 of the gateway"),
    Check("V-UNROUTED", "BK-306", "Other paths are 404", web_checks.unrouted, "an HTTPRoute matches too much"),
    Check("V-HEADERS", "BK-307", "Security headers", web_checks.headers, "look at the filters of the HTTPRoute"),
    Check("V-CERTIFICATE", "BK-308", "Certificate", web_checks.certificate,
          "make up renews the certificate within 30 days of its end"),
    Check("V-CERTIFICATES", "BK-389", "All certificates", security_checks.certificates_last,
          "make up renews it; a new authority of Kubernetes comes with a new cluster: bootstrap.yml -e rebuild=true, which keeps the data"),
    Check("V-TLS", "BK-309", "TLS below 1.2 refused", web_checks.old_tls, "look at the TLS options of the listener"),
    Check("V-BOOTSTRAP", "BK-300", "No bootstrap token", security_checks.bootstrap_tokens, "make up deletes them"),
    Check("V-STRICT-POLICY", "BK-310", "STRICT declared", security_checks.strict_policy, "run the role istio"),
    Check("V-DATA-PLANE", "BK-491", "Data plane", security_checks.what_carries_traffic,
          "make up; pods that keep another data plane than the mode's are renewed by it"),
    Check("V-MESH-EDGES", "BK-311", "Allowed edges work", _mesh("allowed"),
          "make recover probes again and restarts only what is broken"),
    Check("V-MESH-IDENTITY", "BK-312", "Identities proven", _mesh("principal", "identity", "port"),
          "compare AuthorizationPolicies with bookstore_matrix"),
    Check("V-STRICT", "BK-313", "Plaintext refused", _mesh("plaintext"), "look for PeerAuthentications below STRICT"),
    Check("V-NETPOL", "BK-314", "Forbidden packets dropped", _mesh("dropped", "control"),
          "look at the NetworkPolicies and at the node-network agent"),
    Check("V-PSS", "BK-315", "Restricted enforced", security_checks.pod_security, "run the role kind"),
    Check("V-PODS", "BK-316", "Pods hardened", security_checks.restricted_pods, "correct the workload's template"),
    Check("V-NODEPORTS", "BK-317", "Node ports as declared", cluster_checks.node_ports,
          "bookstore_nodeports is the only source of node ports"),
    Check("V-INGRESS", "BK-318", "No Ingress", cluster_checks.no_ingress, "use an HTTPRoute instead"),
    Check("V-IMAGES", "BK-319", "Images are ours", image_checks.made_by_the_factory,
          "take the image's reference from bookstore_images"),
    Check("V-DIGESTS", "BK-405", "Images run as pushed", image_checks.digests,
          "make up names every image by digest; delete a pod that runs something else, and find out who wrote to the nodes' registry"),
    Check("V-TOKENLESS", "BK-321", "No token, no entry", access_checks.tokenless,
          "compare the HTTPRoutes with bookstore_routes; look at storefront-web, which answers for H9"),
    Check("V-FORGED", "BK-322", "Forged tokens refused", access_checks.forged,
          "look at RequestAuthentication gateway/bookstore-tokens"),
    Check("V-ROLES", "BK-323", "Roles decide", access_checks.roles,
          "look at AuthorizationPolicy gateway/bookstore-gateway-roles, and at the token's roles in Keycloak"),
    Check("V-CONSOLES", "BK-324", "Node ports answer", access_checks.node_port_answers,
          "look at the Service's endpoints and at the NetworkPolicy's node blocks"),
    Check("V-TOPICS", "BK-325", "Topics exist", pipeline_checks.topics, "make up makes what bookstore_topics declares"),
    Check("V-CONSUMERS", "BK-326", "Events consumed", pipeline_checks.consumers,
          "look at the logs of ecom-worker and inventory-worker"),
    Check("V-DLQ", "BK-327", "No dead letters", consumer_checks.dead_letters,
          "mend the cause, then make replay; with ARGS='-e acknowledge=true' for what is no event (docs/reliability.md)"),
    Check("V-GAPS", "BK-275", "No event unread", consumer_checks.gaps,
          "make up publishes them again from the outbox (docs/reliability.md)"),
    Check("V-SLOTS", "BK-328", "Changes captured", pipeline_checks.slots,
          "look at /q/health and the log of the Debezium Server; make up repairs it"),
    Check("V-FLINK", "BK-329", "Streaming jobs run", pipeline_checks.jobs, "make up submits what is missing"),
    Check("V-AUDIT", "BK-330", "Audits find no difference", pipeline_checks.audit,
          "look for cdc_divergence in the log of analytics/mv-refresher; make up starts jobs anew where a snapshot asks for it"),
    Check("V-ACCOUNTS", "BK-340", "Accounts have their rights and no others", account_checks.accounts,
          "compare the Roles, bindings and admission policies with bookstore_accounts; make up applies what is declared"),
    Check("V-QUARANTINE", "BK-366", "Changes applied", pipeline_checks.quarantine,
          'correct the row in its source if it is wrong, then make up ARGS="--tags flink_repair" brings it back'),
    Check("V-SUMMARIES", "BK-450", "Views' sums are right", pipeline_checks.summaries,
          "look for orders_counted_wrongly and sums_differ in the log of analytics/mv-refresher; docs/errors.md has how to count all anew"),
    Check("V-CAPTURE", "BK-367", "Capture as declared", pipeline_checks.capture,
          "make up restores identities and publications, and brings back what they left out"),
    Check("V-TARGETS", "BK-465", "Everything is scraped", scraping.targets,
          "look at the workload that is named; for all of them at the log of observability/prometheus-0"),
    Check("V-MEMORY", "BK-320", "Memory in use", cluster_checks.memory, "make status shows memory by workload"),
)  # fmt: skip


def checks_for(params: Object) -> list[Check]:
    """Return all checks, and one for each component that may be absent because no image source offers it."""
    extra = [
        Check(f"V-{entry['name'].upper()}", "BK-390", f"Component {entry['name']}", cluster_checks.component(entry),
              entry["reason"])
        for entry in params["optional_components"]
    ]  # fmt: skip
    return [*CHECKS, *extra]


def node_memory(cluster_name: str) -> dict[str, int]:
    """Return MiB in use by each container of the cluster, without the inactive page cache; empty where there is none.

    Just after a start the engine may have no figures yet (docker prints ``--`` after two seconds); it is asked again,
    and what has none after STATS_ATTEMPTS is 0.
    """
    listing = ["docker", "ps", "--format", '{{.Names}}\t{{.Label "io.x-k8s.kind.cluster"}}']
    lines = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    running = [line.split("\t") for line in lines if "\t" in line]
    # The nodes' registry belongs to the platform, but not to kind.
    names = [name for name, cluster in running if cluster == cluster_name or name == f"{cluster_name}-registry"]
    if not names:
        return {}
    used = dict.fromkeys(names, 0)
    for _ in range(STATS_ATTEMPTS):
        unknown = [name for name, mib in used.items() if not mib]
        if not unknown:
            break
        stats = ["docker", "stats", "--no-stream", "--format", "{{.Name}}\t{{.MemUsage}}", *unknown]
        lines = subprocess.run(stats, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        found = [line.split("\t") for line in lines if "\t" in line]
        used.update({n: max(to_mib(usage.split("/")[0]), 1) for n, usage in found if not usage.startswith("--")})
    return used


def to_mib(text: str) -> int:
    """Return a size as docker prints it (1.5GiB, 300MiB, 12kB) in MiB; ValueError when it is none."""
    units = {
        "kib": 1 / 1024,
        "mib": 1,
        "gib": 1024,
        "kb": 1e3 / 2**20,
        "mb": 1e6 / 2**20,
        "gb": 1e9 / 2**20,
        "b": 2**-20,
    }
    text = text.strip().lower()
    unit = next((u for u in units if text.endswith(u)), "")
    if not unit:
        raise ValueError(f"docker reports the size {text!r}, which has none of the units {', '.join(units)}")
    return round(float(text.removesuffix(unit)) * units[unit])


def authority(cluster: Cluster, namespace: str, secret: str) -> str:
    """Return the PEM of the platform's certificate authority; ClusterError when it is not there."""
    found = cluster.get("Secret", namespace, secret)
    if found is None or "ca.crt" not in (found.get("data") or {}):
        raise ClusterError(f"BK-308: Secret {namespace}/{secret} with key ca.crt does not exist; `make up` makes it")
    return base64.b64decode(found["data"]["ca.crt"]).decode("ascii")


def tokens_to_join(cluster: Cluster) -> list[Object]:
    """Return the names of the Secrets of all bootstrap tokens; no token gets any further than here."""
    found = cluster.objects("Secret", "kube-system", fieldSelector=f"type={bootstrap_tokens.TYPE}")
    return [
        {"metadata": {key: secret["metadata"][key] for key in ("name", "namespace")}}
        for secret in found if secret.get("type") == bootstrap_tokens.TYPE
    ]  # fmt: skip


# Secrets with certificates, and their keys. Of istiod's own authority one of the last two exists.
CERTIFICATE_SECRETS = (
    ("gateway", "bookstore-ca", "tls.crt"), ("gateway", "bookstore-gateway-tls", "tls.crt"),
    ("istio-system", "istio-ca-secret", "ca-cert.pem"), ("istio-system", "cacerts", "ca-cert.pem"),
)  # fmt: skip


def all_certificates(cluster: Cluster, cluster_name: str, kubeconfig: str) -> list[Certificate]:
    """Return the certificates of nodes, proxies, Secrets and the kubeconfig; no key gets any further than here."""
    nodes = node_certificates.running_nodes(cluster_name)
    found = [one for held in node_certificates.read(nodes).values() for one in held.values()]
    found += node_certificates.read_proxies(nodes)
    found.append(certificates.of_kubeconfig(Path(kubeconfig).read_text(encoding="utf-8"), kubeconfig))
    for namespace, name, key in CERTIFICATE_SECRETS:
        secret = cluster.get("Secret", namespace, name)
        data = ((secret or {}).get("data") or {}).get(key)
        if data:
            found.append(certificates.parse(base64.b64decode(data).decode("ascii"), f"Secret {namespace}/{name}"))
    return found


def verify(cluster: Cluster, params: Object, check_mode: bool) -> Object:
    """Run all checks; return the report (see report())."""
    started = time.time()
    with ThreadPoolExecutor(max_workers=5) as pool:
        mesh: Future[Object] | None = None
        memory: Future[dict[str, int]] | None = None
        held: Future[list[Certificate]] | None = None
        if not check_mode:
            memory = pool.submit(node_memory, params["cluster_name"])
            held = pool.submit(all_certificates, cluster, params["cluster_name"], params["kubeconfig"])
            image = params["probe_image"] or mesh_run.workload_image(cluster, params["probe_from"])
            if image:
                proof = mesh_proof.Store(Path(params["mesh_proof"]), params["mesh_proof_hours"]) if params["mesh_proof"] else None
                mesh = pool.submit(probe, cluster, params["matrix"], probe_settings(params, image), proof)
        objects = dict(zip(KINDS, pool.map(cluster.objects, KINDS), strict=True))
        objects["BootstrapToken"] = tokens_to_join(cluster)
        pem = authority(cluster, params["tls_namespace"], params["tls_secret"])
        live = web.LiveWeb(pem, params["https_port"], params["http_port"])
        source = params["test_tokens"]
        clients = tokens.ClientTokens(live, cluster, source) if source else None
        patient_until = time.monotonic() + params["patience"]
        seen: Future[Object] | None = None
        if not check_mode and any(params["pipeline"].values()):
            seen = pool.submit(pipeline.observe, cluster, live, params["pipeline"], time.monotonic() + pipeline.PATIENCE)
        scraped: tuple[set[scraping.Target], Future[Object]] | None = None
        if not check_mode and params["scraping"]:
            wanted = scraping.expected(params["scraping"]["workloads"], objects["Pod"], objects["Node"])
            ask = scraping.asker(cluster, params["scraping"])
            scraped = (wanted, pool.submit(scraping.observe, ask, wanted, time.monotonic() + scraping.PATIENCE))
        context = Context(params, objects, live, mesh, memory, patient_until, clients, seen, held, scraped)
        return report(run_checks(checks_for(params), context), started)


def probe_settings(params: Object, image: str) -> mesh_run.Settings:
    """Return the probes' settings from the module's parameters."""
    return mesh_run.Settings(
        image=image,
        outsider=params["outsider"],
        exec_sources=params["exec_sources"],
        timeout=params["probe_timeout"],
    )


def probe(cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings, proof: mesh_proof.Store | None) -> Object:
    """Probe the mesh, or take over what ``proof`` holds and nothing has changed since."""
    return mesh_proof.prove(cluster, matrix, settings, proof) if proof else mesh_run.probe_mesh(cluster, matrix, settings)


def run_checks(checks: list[Check], context: Context) -> list[tuple[Check, Finding, float]]:
    """Return each check with its finding and seconds, in their order. A check that raises has failed; the others still run.

    Most of them wait for answers of the gateway: some run side by side.
    """

    def run(check: Check) -> tuple[Check, Finding, float]:
        start = time.monotonic()
        try:
            finding = check.function(context)
        except Exception as error:  # whatever it is, the other checks and the report must not be lost
            text = f"the check itself failed: {type(error).__name__}: {error}"
            finding = Finding(FAILED, text, [text])
        return check, finding, round(time.monotonic() - start, 1)

    with ThreadPoolExecutor(max_workers=CHECKS_AT_ONCE) as pool:
        return list(pool.map(run, checks))


def line(check: Check, finding: Finding) -> str:
    """Return a check as one line of output."""
    detail = finding.detail if len(finding.detail) <= 160 else f"{finding.detail[:157]}..."
    return f"{MARKS[finding.status]:<8}{check.id:<18}{check.title}: {detail}"


def report(results: list[tuple[Check, Finding, float]], started: float) -> Object:
    """Return {started, seconds, counts, measurements, checks, lines}; the JSON report is all but the lines."""
    counts = {status: sum(1 for _, f, _ in results if f.status == status) for status in (PASSED, FAILED, SKIPPED)}
    measurements: Object = {}
    for _, finding, _ in results:
        measurements.update({k: v for k, v in finding.data.items() if k.endswith("_mib")})
    checks = [
        {"id": c.id, "error": c.error, "title": c.title, "status": f.status, "detail": f.detail, "faults": f.faults,
         "hint": c.hint if f.status == FAILED else "", "seconds": s, "data": f.data}
        for c, f, s in results
    ]  # fmt: skip
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 1),
        "counts": counts,
        "measurements": measurements,
        "checks": checks,
        "lines": [line(c, f) for c, f, _ in results]
        + [f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[SKIPPED]} skipped"],
    }


def explain(result: Object) -> str:
    """Return all failures with their faults and remedies, or an empty text."""
    lines: list[str] = []
    failed = [c for c in cast(list[Object], result["checks"]) if c["status"] == FAILED]
    for check in failed:
        lines.append(f"{check['error']} {check['id']} {check['title']}:")
        lines += [f"  {fault}" for fault in check["faults"][:10]]
        if len(check["faults"]) > 10:
            lines.append(f"  ... and {len(check['faults']) - 10} more, see the report")
        lines.append(f"  FIX: {check['hint']}")
    return "\n".join([f"{len(failed)} of {len(result['checks'])} checks failed:", *lines]) if lines else ""


def write_report(result: Object, path: Path) -> None:
    """Write the JSON report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    document = {key: value for key, value in result.items() if key != "lines"}
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    os.replace(temporary, path)
