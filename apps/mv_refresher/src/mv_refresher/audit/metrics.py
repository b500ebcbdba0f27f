"""Metrics of the standing audit."""

from prometheus_client import Counter, Gauge

from bookstore_common.metrics import Metrics
from mv_refresher.audit.repository import Conclusion


class AuditMetrics:
    """Per captured table: what differs, when that was last looked at, and how often the look failed."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.divergent = Gauge(
            "cdc_audit_divergent_buckets", "Buckets of 64 that differ from the source.", ["table"], registry=registry
        )
        self.unsettled = Gauge(
            "cdc_audit_unsettled_buckets", "Buckets of 64 that could not be compared: their rows keep changing.",
            ["table"], registry=registry,
        )  # fmt: skip
        self.persistent = Gauge(
            "cdc_audit_persistent_buckets", "Buckets of 64 that differed from the source in two audits running.",
            ["table"], registry=registry,
        )  # fmt: skip
        self.last_success = Gauge(
            "cdc_audit_last_success_timestamp", "When an audit was last completed, Unix time.", ["table"],
            registry=registry,
        )  # fmt: skip
        self.total = Counter(
            "cdc_audit_total",
            "Audits: equal, divergent, unsettled (in part), behind or failed (not completed), refused (of no table),"
            " superseded (by a later one).",
            ["table", "result"], registry=registry,
        )  # fmt: skip

    def show(self, table: str, moment: float, found: Conclusion) -> None:
        """Show what an audit that was completed at ``moment`` (Unix time) found."""
        self.last_success.labels(table).set(moment)
        self.divergent.labels(table).set(len(found.divergent))
        self.unsettled.labels(table).set(len(found.unsettled))
        self.persistent.labels(table).set(len(found.persistent))
