"""Stock Envoy, with the selection and the labels that Istio's agent gives it: its counters have the names that edges.yml reads."""

from __future__ import annotations

import http.server
import json
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[3]
WHEELS = Path.home() / ".cache/bookstore-platform/wheels"
SECRET = "kubernetes://bookstore-gateway-tls"
DAYS = 10
CLUSTER = "outbound|8000||ecom-api.ecom.svc.cluster.local"
# Of the agent's bootstrap: how a name is taken apart.
TAGS = [
    {"tag_name": "cluster_name", "regex": r"^cluster(\.(.+);)"},
    {"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"},
    {"tag_name": "response_code_class", "regex": r"_rq(_(\dxx))$"},
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


def address(port: int) -> dict[str, object]:
    """A socket of the loopback address, as Envoy writes it."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def certificate() -> tuple[str, str]:
    """Key and certificate of both ends, which trust it and nothing else; it ends in ten days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), made.public_bytes(serialization.Encoding.PEM).decode()


def tls(side: str, **more: object) -> dict[str, object]:
    """The settings of one end of mutual TLS: upstream or downstream."""
    kind = {"upstream": "UpstreamTlsContext", "downstream": "DownstreamTlsContext"}[side]
    common = {"tls_certificate_sds_secret_configs": [{"name": SECRET}], "validation_context_sds_secret_config": {"name": "authority"}}
    settings = {"@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": settings}


def passing(cluster: str) -> dict[str, object]:
    """A filter chain that passes requests on."""
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        ],
    }  # fmt: skip
    return {"filters": [{"name": "http", "typed_config": manager}]}


def cluster(name: str, port: int, **more: object) -> dict[str, object]:
    """A cluster of one server."""
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}
    assignment = {"cluster_name": name, "endpoints": [endpoint]}
    return {"name": name, "alt_stat_name": f"{name};", "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment, **more}


def selection() -> list[dict[str, object]]:
    """What role istio asks the agent to include."""
    template = (ROOT / "roles/istio/templates/operator.yml.j2").read_text(encoding="utf-8")
    block = re.search(r"^ {6}proxyStatsMatcher:\n((?: {8}.*\n)+)", template, re.MULTILINE)
    assert block, "roles/istio/templates/operator.yml.j2 has no proxyStatsMatcher"
    return [{"safe_regex": {"regex": one}} for one in yaml.safe_load(block.group(1))["inclusionRegexps"]]


@pytest.fixture(scope="module")
def counters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What an Envoy tells Prometheus after two good answers and a bad one."""
    programs = sorted(path for path in WHEELS.glob("envoy-*/**/envoy") if path.is_file())
    if not programs:
        pytest.skip("Envoy comes with the first make up")
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    plain, secure, admin = free_port(), free_port(), free_port()
    key, chain = certificate()
    pair = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
    inbound = {**passing("local"), "transport_socket": tls("downstream", require_client_certificate=True)}
    bootstrap = {
        "admin": {"address": address(admin)},
        "stats_config": {"use_all_default_tags": False, "stats_tags": TAGS, "stats_matcher": {"inclusion_list": {"patterns": selection()}}},
        "static_resources": {
            "secrets": [
                {"name": SECRET, "tls_certificate": pair},
                {"name": "authority", "validation_context": {"trusted_ca": {"inline_string": chain}}},
            ],
            "listeners": [
                {"address": address(plain), "filter_chains": [passing(CLUSTER)]},
                {"address": address(secure), "filter_chains": [inbound]},
            ],
            "clusters": [cluster(CLUSTER, secure, transport_socket=tls("upstream")), cluster("local", upstream.server_port)],
        },
    }
    file = tmp_path_factory.mktemp("envoy") / "bootstrap.json"
    file.write_text(json.dumps(bootstrap), encoding="utf-8")
    log = file.with_name("log")
    with log.open("w") as output:
        envoy = subprocess.Popen([programs[-1], "--config-path", file, "--concurrency", "1", "--base-id", str(admin)], stderr=output)
    try:
        ask(admin, "ready", envoy, log)
        assert [ask(plain, status, envoy, log)[0] for status in ("200", "200", "503")] == [200, 200, 503]
        # Envoy adds to its histograms every five seconds.
        deadline, shown = time.monotonic() + 30, ""
        while f'envoy_cluster_upstream_rq_time_count{{cluster_name="{CLUSTER}"}} 3' not in shown:
            assert time.monotonic() < deadline, f"no histogram of three answers: {shown}"
            time.sleep(0.2)
            shown = ask(admin, "stats/prometheus", envoy, log)[1]
        yield shown
    finally:
        envoy.terminate()
        envoy.wait(30)
        upstream.shutdown()


def ask(port: int, path: str, envoy: subprocess.Popen[bytes], log: Path) -> tuple[int, str]:
    """Status and body; waits until somebody listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            if path != "ready":
                return error.code, ""
        except OSError:
            pass
        assert envoy.poll() is None, f"Envoy ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"no answer to {path}: {log.read_text()[-2000:]}"
        time.sleep(0.1)


def test_the_counters_of_an_edge_have_the_names_that_the_rules_read(counters: str) -> None:
    of = f'{{cluster_name="{CLUSTER}"'
    assert f'envoy_cluster_upstream_rq{{response_code="200",cluster_name="{CLUSTER}"}} 2' in counters or (
        f'envoy_cluster_upstream_rq{of},response_code="200"}} 2' in counters
    ), counters
    for name in ("upstream_cx_total", "upstream_cx_connect_ms_count", "upstream_cx_rx_bytes_total", "upstream_cx_tx_bytes_total"):
        value = re.search(rf"^envoy_cluster_{name}{re.escape(of)}}} (\d+)$", counters, re.MULTILINE)
        assert value, f"{name}: {counters}"
        assert int(value.group(1)) > 0, name
    assert re.search(rf'^envoy_cluster_upstream_rq_time_bucket{re.escape(of)},le="\+Inf"}} 3$', counters, re.MULTILINE), counters


def test_handshakes_are_as_many_as_connections(counters: str) -> None:
    """What the rule calls mutual_tls: each connection proved both ends."""
    of = re.escape(f'{{cluster_name="{CLUSTER}"}}')
    shown = {
        name: int(re.search(rf"^envoy_cluster_{name}{of} (\d+)$", counters, re.MULTILINE).group(1))  # type: ignore[union-attr]
        for name in ("ssl_handshake", "upstream_cx_connect_ms_count")
    }
    assert shown["ssl_handshake"] == shown["upstream_cx_connect_ms_count"] > 0, shown


def test_the_end_of_a_listeners_certificate_is_told(counters: str) -> None:
    """By the pattern of CertificateEnds."""
    rules = yaml.safe_load((ROOT / "roles/observability/files/rules/alerts-platform.yml").read_text(encoding="utf-8"))
    rule = next(one["expr"] for group in rules["groups"] for one in group["rules"] if one["alert"] == "CertificateEnds")
    pattern = re.search(r'__name__=~"([^"]+)"', rule)
    assert pattern
    shown = re.findall(rf"^({pattern.group(1)})(?:\{{.*\}})? (\S+)$", counters, re.MULTILINE)
    assert any("bookstore_gateway_tls" in name for name, _ in shown), counters
    assert all(float(end) == pytest.approx(time.time() + DAYS * 86400, abs=600) for _, end in shown), shown


def test_nothing_else_of_a_cluster_is_told(counters: str) -> None:
    """Each would be a series for each service that each proxy might call."""
    names = set(re.findall(r"^(envoy_cluster_\w+)\{", counters, re.MULTILINE))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    read = {"rq", "rq_time", "cx_total", "cx_connect_ms", "cx_rx_bytes_total", "cx_tx_bytes_total"}
    assert families == {"envoy_cluster_ssl_handshake", *(f"envoy_cluster_upstream_{name}" for name in read)}
