"""Metrics of the standing audit."""

from prometheus_client import Counter, Gauge

from bookstore_common.metrics import Metrics


class AuditMetrics:
    """Per captured table: what differs, when that was last looked at, and how often the look failed."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.divergent = Gauge(
            "cdc_audit_divergent_buckets", "Buckets of 64 that differ from the source.", ["table"], registry=registry
        )
        self.last_success = Gauge(
            "cdc_audit_last_success_timestamp", "When an audit was last completed, Unix time.", ["table"],
            registry=registry,
        )  # fmt: skip
        self.total = Counter(
            "cdc_audit_total", "Audits: equal, divergent, behind (not completed).", ["table", "result"],
            registry=registry,
        )  # fmt: skip
