#!/usr/bin/python
# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Prove that the running platform is as declared."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: platform_verify
short_description: Prove that the running platform is as declared
version_added: 0.1.0
description:
  - Runs all checks, each with a stable id, and fails at the end if any of them failed, listing all failures
    with their remedies. A check that could not apply is reported as skipped, never as passed.
  - Probes the mesh as M(bookstore.platform.mesh_probe) does when there is an image to do it with.
  - Changes nothing but its own report and summary. In check mode the mesh is not probed and neither is written.
options:
  cluster_name:
    description: Name of the kind cluster.
    type: str
    required: true
  control_planes:
    description: Number of control-plane nodes.
    type: int
    default: 1
  workers:
    description: Number of worker nodes.
    type: int
    default: 2
  namespaces:
    description: Workload namespaces.
    type: list
    elements: str
    required: true
  accounts:
    description:
      - Service accounts that have rights at the API server, each with C(account) (C(<namespace>/<name>)), its C(rules) as in a Role, and
        optionally C(own), the C(resource) and the regular expression of C(names) that it may write.
      - Every other account of O(namespaces) must have none.
    type: list
    elements: dict
    default: []
  workloads:
    description: Workloads that must exist, each with C(kind), C(namespace) and C(name).
    type: list
    elements: dict
    default: []
    suboptions: &workload
      kind:
        description: Kind of the workload.
        type: str
        required: true
        choices: [DaemonSet, Deployment, Job, StatefulSet]
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
  hosts:
    description: Host names of the gateway by short name. V(api) is needed.
    type: dict
    required: true
  https_port:
    description: Host port of the HTTPS listener.
    type: int
    default: 30000
  http_port:
    description: Host port of the redirecting listener.
    type: int
    default: 30080
  tls_namespace:
    description: Namespace of the gateway's certificate.
    type: str
    default: gateway
  tls_secret:
    description: Secret of the gateway's certificate; its key C(ca.crt) is the authority to verify with.
    type: str
    default: bookstore-gateway-tls
  certificate_days:
    description: Days for which the certificate must still be valid.
    type: int
    default: 30
  routes:
    description: Routes to request, each with what its answer must be.
    type: list
    elements: dict
    required: true
    suboptions: &answer
      id: &id
        description: Id of the route or node port, for messages.
        type: str
        required: true
      host: &host
        description: A key of O(hosts).
        type: str
        required: true
      path: &path
        description: Path and query.
        type: str
        required: true
      method: &method
        description: HTTP method.
        type: str
        default: GET
      headers:
        description: Request headers.
        type: dict
      status: &status
        description: Expected status.
        type: int
        default: 200
      equals:
        description: Fields of the JSON answer and their values.
        type: dict
      at_least:
        description: Fields of the JSON answer and their least values.
        type: dict
      lengths:
        description: Lists in the JSON answer and their lengths.
        type: dict
  unrouted:
    description: Requests that must be answered with 404.
    type: list
    elements: dict
    default: []
    suboptions: &request {host: *host, path: *path, method: *method}
  detours:
    description: Other spellings of paths that need a token; without one they must be answered with 400, 401 or 404.
    type: list
    elements: dict
    default: []
    suboptions: *request
  access:
    description: Requests with a token of a client for tests, each with what its answer must be.
    type: list
    elements: dict
    default: []
    suboptions:
      <<: *answer
      client:
        description: The client, a key of the Secret in O(test_tokens).
        type: str
        required: true
  gateway_routes:
    description: All routes, as C(bookstore_routes) in the inventory.
    type: list
    elements: dict
    default: []
  oidc:
    description: The issuer of tokens, as C(bookstore_oidc) in the inventory. With it C(issuer) and C(audience) are needed.
    type: dict
    default: {}
  test_tokens:
    description: Where tokens of clients for tests come from. Without it O(access) is skipped.
    type: dict
    suboptions:
      host:
        description: Host name of the token endpoint.
        type: str
        required: true
      path: *path
      namespace:
        description: Namespace of the Secret.
        type: str
        required: true
      secret:
        description: Secret whose keys are clients and whose values are their secrets.
        type: str
        required: true
  headers:
    description: Response headers and their values, under V(all) or a key of O(hosts).
    type: dict
    default: {}
  nodeports:
    description: Declared node ports, as C(bookstore_nodeports) in the inventory.
    type: list
    elements: dict
    required: true
  nodeports_required:
    description: Ids of the declared node ports that must exist now.
    type: list
    elements: str
    default: []
  nodeport_requests:
    description: Paths that node ports must answer in plain HTTP.
    type: list
    elements: dict
    default: []
    suboptions: {id: *id, path: *path, status: *status}
  images:
    description: Ledger of the image factory, reference to its source and digest.
    type: dict
    required: true
  image_source:
    description: Image source in effect. With V(packages) no image may come from a container registry.
    type: str
    choices: [packages, registry, auto]
    default: auto
  optional_components:
    description: Components that an image source may lack; absent ones are reported as skipped.
    type: list
    elements: dict
    default: []
    suboptions:
      <<: *workload
      workload:
        description: Name of its workload.
        type: str
        required: true
      reason:
        description: Why it may be absent and what to provide.
        type: str
        required: true
  matrix:
    description: Rows of the authorization matrix, as C(bookstore_edges) in the inventory.
    type: list
    elements: dict
    default: []
  probe_image:
    description: Image with python3 for the mesh probes. Defaults to that of O(probe_from).
    type: str
    default: ""
  probe_from:
    description:
      - A workload, C(<namespace>/<name>), whose image holds python3. The mesh checks are skipped when
        it does not run and no O(probe_image) is given.
    type: str
    default: ""
  probe_timeout:
    description: Seconds that all mesh probes together may take.
    type: float
    default: 180.0
  exec_sources:
    description: Sources whose own pods hold python3; their calls are made there.
    type: list
    elements: str
    default: []
  outsider:
    description: A namespace whose pods may reach none of the probed destinations.
    type: str
    default: storefront
  mesh_proof:
    description: File that keeps what the probe pods proved; without it nothing is kept.
    type: path
  mesh_proof_hours:
    description:
      - For how many hours what O(mesh_proof) holds is taken over, as long as no pod, node, Service, policy or row of O(matrix) has changed;
        no probe pod is started then. V(0) proves all anew.
    type: float
    default: 0.0
  pipeline:
    description: What the event pipeline shall hold. Without it, or with empty lists, nothing of it is expected.
    type: dict
    default: {}
    suboptions:
      topics:
        description: Topics with C(name) and C(partitions); those whose name ends in C(.dlq) have to be empty.
        type: list
        elements: dict
        default: []
      groups:
        description: Consumer groups that have to have consumed everything.
        type: list
        elements: str
        default: []
      slots:
        description: Replication slots that are read, each with C(namespace), C(instance), C(database) and C(slot).
        type: list
        elements: dict
        default: []
      doors:
        description: By the C(source) of a slot, the port of its server on the loopback address. How far a new snapshot is, is asked there.
        type: dict
        default: {}
      jobs:
        description: Streaming jobs that run.
        type: list
        elements: str
        default: []
      audit:
        description:
          - Where the results of the standing audit are, as C(namespace), C(instance) and C(database), the audited C(tables), and
            C(oldest_s), the seconds that a result may be old. Not asked without it.
        type: dict
        default: {}
      quarantine:
        description: >-
          Where the change records are that could not be applied, as C(namespace), C(instance) and C(database). Not asked without it.
        type: dict
        default: {}
      capture:
        description: Sources, each with C(source), C(database) and the captured C(tables), as C(debezium_servers) of role debezium.
        type: list
        elements: dict
        default: []
      flink_port:
        description: Port of Flink's REST API on the loopback address; not asked without it.
        type: int
  scraping:
    description: Who scrapes, and what. Without it nothing is asked.
    type: dict
    suboptions:
      namespace:
        description: Where Prometheus runs.
        type: str
        required: true
      workload:
        description: Name of its StatefulSet and container.
        type: str
        required: true
      port:
        description: Where it answers in its own pod.
        type: int
        required: true
      workloads:
        description: Ports that have to be scraped, each with C(workload) and C(namespace); every ready pod counts.
        type: list
        elements: dict
        default: []
  memory_ceiling_mib:
    description: Most memory that the node containers may use, in MiB. 0 means that it is only measured.
    type: int
    default: 0
  patience:
    description: Seconds for which a route that was just applied may be wrong.
    type: float
    default: 15.0
  report:
    description: File for the JSON report.
    type: path
  summary:
    description:
      - ConfigMap for a summary of the report, for those who cannot read O(report), with C(namespace) and C(name). It holds when the checks
        ran, and of each check id, error id, title, status and hint; no details. Not written while the namespace does not exist.
    type: dict
    suboptions:
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
extends_documentation_fragment:
  - bookstore.platform.connection
author: The Bookstore Platform authors (@bookstore)
"""

EXAMPLES = r"""
- name: Verify
  bookstore.platform.platform_verify:
    kubeconfig: "{{ bookstore_kubeconfig }}"
    cluster_name: bookstore
    namespaces: [gateway, ecom]
    hosts: {api: api.bookstore.test}
    routes:
      - {id: H2, host: api, path: /ecom/books, lengths: {items: 12}}
    nodeports: "{{ bookstore_nodeports }}"
    images: "{{ lookup('file', bookstore_state_dir ~ '/ledger.json') | from_json }}"
    report: "{{ bookstore_state_dir }}/reports/verify.json"
"""

RETURN = r"""
report_lines:
  description: One line for each check, and the counts. The callback bookstore.platform.progress shows them.
  type: list
  elements: str
  returned: when the checks ran
counts:
  description: Number of checks by status.
  type: dict
  returned: when the checks ran
  sample: {passed: 20, failed: 0, skipped: 2}
checks:
  description: All checks with id, error, title, status, detail, faults, hint, seconds and data.
  type: list
  elements: dict
  returned: when the checks ran
measurements:
  description: What was measured; C(memory_mib) is the memory in use, in MiB.
  type: dict
  returned: when the checks ran
seconds:
  description: How long it took.
  type: float
  returned: when the checks ran
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.bookstore.platform.plugins.module_utils.base import failures
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import CONNECTION_SPEC, Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.verification import runner, summary

NEEDED = {"type": "str", "required": True}
WORKLOAD_SPEC = {
    "kind": {**NEEDED, "choices": ["DaemonSet", "Deployment", "Job", "StatefulSet"]},
    "namespace": NEEDED,
    "name": NEEDED,
}
COMPONENT_SPEC = {**WORKLOAD_SPEC, "workload": NEEDED, "reason": NEEDED}
REQUEST_SPEC = {"host": NEEDED, "path": NEEDED, "method": {"type": "str", "default": "GET"}}
STATUS = {"type": "int", "default": 200}
ROUTE_SPEC = {
    **REQUEST_SPEC,
    "id": NEEDED,
    "headers": {"type": "dict"},
    "status": STATUS,
    "equals": {"type": "dict"},
    "at_least": {"type": "dict"},
    "lengths": {"type": "dict"},
}
ACCESS_SPEC = {**ROUTE_SPEC, "client": NEEDED}
# The name of a Secret, not a secret.
TOKENS_SPEC = {"host": NEEDED, "path": NEEDED, "namespace": NEEDED, "secret": {**NEEDED, "no_log": False}}
LIST_OF_DICTS = {"type": "list", "elements": "dict", "default": []}
LIST_OF_NAMES = {"type": "list", "elements": "str", "default": []}
PIPELINE_SPEC = {
    "topics": LIST_OF_DICTS,
    "groups": LIST_OF_NAMES,
    "slots": LIST_OF_DICTS,
    "doors": {"type": "dict", "default": {}},
    "jobs": LIST_OF_NAMES,
    "audit": {"type": "dict", "default": {}},
    "quarantine": {"type": "dict", "default": {}},
    "capture": LIST_OF_DICTS,
    "flink_port": {"type": "int"},
}
SCRAPING_SPEC = {
    "namespace": NEEDED,
    "workload": NEEDED,
    "port": {"type": "int", "required": True},
    "workloads": LIST_OF_DICTS,
}
ARGUMENTS = {
    "cluster_name": {"type": "str", "required": True},
    "control_planes": {"type": "int", "default": 1},
    "workers": {"type": "int", "default": 2},
    "namespaces": {"type": "list", "elements": "str", "required": True},
    "accounts": {"type": "list", "elements": "dict", "default": []},
    "workloads": {"type": "list", "elements": "dict", "default": [], "options": WORKLOAD_SPEC},
    "hosts": {"type": "dict", "required": True},
    "https_port": {"type": "int", "default": 30000},
    "http_port": {"type": "int", "default": 30080},
    "tls_namespace": {"type": "str", "default": "gateway"},
    # The name of a Secret, not a secret.
    "tls_secret": {"type": "str", "default": "bookstore-gateway-tls", "no_log": False},
    "certificate_days": {"type": "int", "default": 30},
    "routes": {"type": "list", "elements": "dict", "required": True, "options": ROUTE_SPEC},
    "unrouted": {"type": "list", "elements": "dict", "default": [], "options": REQUEST_SPEC},
    "detours": {"type": "list", "elements": "dict", "default": [], "options": REQUEST_SPEC},
    "access": {"type": "list", "elements": "dict", "default": [], "options": ACCESS_SPEC},
    "gateway_routes": {"type": "list", "elements": "dict", "default": []},
    "oidc": {"type": "dict", "default": {}},
    # Says where tokens come from; holds none.
    "test_tokens": {"type": "dict", "options": TOKENS_SPEC, "no_log": False},
    "headers": {"type": "dict", "default": {}},
    "nodeports": {"type": "list", "elements": "dict", "required": True},
    "nodeports_required": {"type": "list", "elements": "str", "default": []},
    "nodeport_requests": {
        "type": "list", "elements": "dict", "default": [], "options": {"id": NEEDED, "path": NEEDED, "status": STATUS},
    },
    "images": {"type": "dict", "required": True},
    "image_source": {"type": "str", "choices": ["packages", "registry", "auto"], "default": "auto"},
    "optional_components": {"type": "list", "elements": "dict", "default": [], "options": COMPONENT_SPEC},
    "matrix": {"type": "list", "elements": "dict", "default": []},
    "probe_image": {"type": "str", "default": ""},
    "probe_from": {"type": "str", "default": ""},
    "probe_timeout": {"type": "float", "default": 180.0},
    "exec_sources": {"type": "list", "elements": "str", "default": []},
    "outsider": {"type": "str", "default": "storefront"},
    "mesh_proof": {"type": "path"},
    "mesh_proof_hours": {"type": "float", "default": 0.0},
    "pipeline": {"type": "dict", "default": {}, "options": PIPELINE_SPEC, "apply_defaults": True},
    "scraping": {"type": "dict", "options": SCRAPING_SPEC},
    "memory_ceiling_mib": {"type": "int", "default": 0},
    "patience": {"type": "float", "default": 15.0},
    "report": {"type": "path"},
    "summary": {"type": "dict", "options": {"namespace": NEEDED, "name": NEEDED}},
}


def wrong_hosts(params: dict[str, object]) -> str:
    """Return what is wrong with the host keys of requests, or an empty text."""
    hosts: dict[str, str] = params["hosts"]  # type: ignore[assignment]
    if "api" not in hosts:
        return f"hosts={hosts} lacks the key api; write hosts: {{api: <host name>}}"
    for option in ("routes", "unrouted", "detours", "access", "gateway_routes"):
        for entry in params.get(option) or []:  # type: ignore[attr-defined]
            if entry["host"] not in hosts:
                return f"{option}: host={entry['host']} is not a key of hosts; use one of {', '.join(sorted(hosts))}"
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**ARGUMENTS, **CONNECTION_SPEC}, supports_check_mode=True)
    p = module.params
    fault = wrong_hosts(p)
    if fault:
        module.fail_json(msg=f"BK-110: {fault}")
    try:
        cluster = Cluster.of(p)
        result = runner.verify(cluster, p, module.check_mode)
        if p["report"] and not module.check_mode:
            runner.write_report(result, Path(p["report"]))
        if p["summary"] and not module.check_mode:
            summary.publish(cluster, result, p["summary"]["namespace"], p["summary"]["name"])
    except (ClusterError, OSError) as error:
        module.fail_json(msg=failures.message(error))
    values = {key: result[key] for key in ("counts", "checks", "measurements", "seconds")}
    problems = runner.explain(result)
    if problems:
        module.fail_json(msg=problems, report_lines=result["lines"], **values)
    module.exit_json(changed=False, report_lines=result["lines"], **values)


if __name__ == "__main__":
    main()
