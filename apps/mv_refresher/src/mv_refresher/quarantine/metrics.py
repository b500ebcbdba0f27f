"""Metrics of the quarantine."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from bookstore_common.metrics import Metrics
from mv_refresher.quarantine.repository import TABLES


class QuarantineMetrics:
    """Per captured table: how many records wait, and how many were resolved, and how."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.open = Gauge(
            "quarantined_records", "Change records that are not applied and not resolved.", ["table"], registry=registry
        )
        self.resolved = Counter(
            "quarantined_records_resolved_total", "Quarantined records that were resolved.", ["table", "resolution"],
            registry=registry,
        )  # fmt: skip

    def show(self, waiting: Mapping[str, int]) -> None:
        """Show how many wait in each table."""
        for table in TABLES:
            self.open.labels(table).set(waiting.get(table, 0))
