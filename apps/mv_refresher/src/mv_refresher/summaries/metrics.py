"""Metrics of the audit of summaries."""

from prometheus_client import Counter, Gauge

from bookstore_common.metrics import Metrics


class SummaryMetrics:
    """What was looked at, what differed, and when a look at everything was last completed."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.looked = Counter(
            "mv_audited_orders_total", "Orders whose counted figures were compared with their rows.", registry=registry
        )
        self.orders = Counter(
            "mv_divergent_orders_total", "Orders that were counted wrongly, and are counted again.", registry=registry
        )
        self.sums = Counter(
            "mv_divergent_sums_total", "Looks at a summary that differed from the counted orders, and was rebuilt.",
            ["table"], registry=registry,
        )  # fmt: skip
        self.last_pass = Gauge(
            "mv_audit_last_pass_timestamp", "When all of it had been looked at, Unix time.", ["what"], registry=registry
        )
