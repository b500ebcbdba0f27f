"""Alerts: each says how bad it is, what happened and what to do, is in the documents' table, and asks for metrics that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Series that others export: where a program's own source is not here to be asked for the name.
FOREIGN = {
    "Prometheus": {"up", "prometheus_rule_evaluation_failures_total", "prometheus_tsdb_wal_writes_failed_total",
                   "prometheus_tsdb_compactions_failed_total", "prometheus_config_last_reload_successful"},
    "kubelets": {"container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds",
                 "container_spec_memory_limit_bytes"},
    "istiod and the agent of a proxy": {"citadel_server_root_cert_expiry_timestamp", "istio_agent_cert_expiry_seconds"},
    "Envoy": {"envoy_http_rbac", "envoy_tcp", "envoy_cluster_ssl_handshake", "envoy_cluster_upstream_cx_connect_ms_count",
              "envoy_cluster_upstream_cx_total", "envoy_cluster_upstream_cx_rx_bytes_total", "envoy_cluster_upstream_cx_tx_bytes_total",
              "envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket"},
    "PostgreSQL's exporter": {
        "pg_up", "pg_replication_slot_slot_is_active", "pg_slot_retained_bytes", "pg_slot_lost",
        "pg_long_running_transactions_oldest_timestamp_seconds",
    },
    "Redis' exporter": {"redis_up"},
    "Kafka's exporter": {"kafka_log_log_logendoffset", "kafka_consumergroup_lag_sum"},
    "Debezium": {"debezium_metrics_MilliSecondsBehindSource"},
    "Flink": {"flink_jobmanager_job_runningTime", "flink_jobmanager_job_numberOfFailedCheckpoints",
              "flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_records_lag_max"},
    "Keycloak": {"keycloak_user_events_total"},
}  # fmt: skip
# What labels may be: none of them names a person, a book or a query.
LABELS = re.compile(r"email|mail|title|query|user_id|username|\bsub\b")
_SEVERITIES = {"critical", "warning"}
# A name is what a selector, a range or an operator follows, and what is no function, keyword or label list.
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")


@dataclass(frozen=True)
class Alert:
    """One alert as its file has it."""

    file: str
    rule: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.rule["alert"])


def load(folder: Path) -> tuple[list[Alert], list[dict[str, Any]]]:
    """Alerts, and recording rules."""
    alerts, records = [], []
    for file in sorted(folder.glob("*.yml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    alerts.append(Alert(file.name, rule))
                else:
                    records.append(rule)
    return alerts, records


def metrics_of(expression: str) -> set[str]:
    """Names of the series that an expression reads."""
    named = set(re.findall(r'__name__=~"([^"]+)"', expression))
    text = re.sub(r'"[^"]*"', '""', expression)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\{[^}]*\}", " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    words = set()
    for match in _NAME.finditer(text):
        called, within_a_number = re.match(r"\s*\(", text[match.end() :]), text[: match.start()][-1:].isdigit()
        if not called and not within_a_number:
            words.add(match.group())
    return words - {"and", "or", "unless", "bool", "offset"} - named


def faults(alerts: Iterable[Alert], records: Iterable[dict[str, Any]], sources: str, errors: str) -> list[str]:
    """What is wrong with the rules. ``sources``: the text of our own programs; ``errors``: docs/errors.md."""
    alerts, records = list(alerts), list(records)
    names = [alert.name for alert in alerts]
    found = [f"{name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    known = {name for group in FOREIGN.values() for name in group} | {record["record"] for record in records}
    for alert in alerts:
        rule = alert.rule
        if set(rule) != {"alert", "expr", "for", "labels", "annotations"}:
            found.append(f"{alert.file}: {alert.name} has {sorted(rule)}")
            continue
        if set(rule["labels"]) != {"severity"} or rule["labels"]["severity"] not in _SEVERITIES:
            found.append(f"{alert.file}: {alert.name}: severity is one of {sorted(_SEVERITIES)}")
        if set(rule["annotations"]) != {"summary", "remedy", "action"}:
            found.append(f"{alert.file}: {alert.name}: annotations are summary, remedy and action")
        elif f"| {rule['annotations']['remedy']} |" not in errors:
            found.append(f"{alert.file}: {alert.name}: docs/errors.md does not list {rule['annotations']['remedy']}")
    for rule in [*(alert.rule for alert in alerts), *records]:
        name = rule.get("alert") or rule["record"]
        for metric in sorted(metrics_of(rule["expr"])):
            base = re.sub(r"_(bucket|count|sum)$", "", metric)
            if metric not in known and f'"{metric}"' not in sources and f'"{base}"' not in sources:
                found.append(f"{name}: nobody exports {metric}")
        if match := LABELS.search(rule["expr"] + str(rule.get("annotations", "")) + str(rule.get("labels", ""))):
            found.append(f"{name}: {match.group()} is nothing for a label")
    return found


def table(alerts: Iterable[Alert]) -> str:
    """The table that docs/alerts.md must hold."""
    lines = ["| Alert | Severity | After | What it says | Do first | Remedy |", "|---|---|---|---|---|---|"]
    for alert in sorted(alerts, key=lambda one: (one.file, list(one.rule["labels"]), one.name)):
        rule, notes = alert.rule, alert.rule["annotations"]
        says = re.sub(r"\{\{ \$(?:labels\.)?(\w+)(?: \| \w+)? \}\}", r"*\1*", notes["summary"])
        after = "at once" if rule["for"] in {"0m", "0s"} else str(rule["for"])
        lines.append(f"| {alert.name} | {rule['labels']['severity']} | {after} | {says} | {notes['action']} | {notes['remedy']} |")
    return "\n".join(lines)
