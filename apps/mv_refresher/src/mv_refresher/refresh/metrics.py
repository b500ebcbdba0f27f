"""Metrics of the refresher (SPEC 5.1)."""

from prometheus_client import Counter, Gauge, Histogram

from bookstore_common.metrics import Metrics

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class RefreshMetrics:
    """How long refreshes take, when each view's last one was, and how many failed."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.duration = Histogram(
            "mv_refresh_duration_seconds", "Duration of a refresh.", ["view"], registry=registry, buckets=_BUCKETS
        )
        self.last_success = Gauge(
            "mv_last_success_timestamp", "When the view was last refreshed, Unix time.", ["view"], registry=registry
        )
        self.failures = Counter("mv_refresh_failures_total", "Refreshes that failed.", ["view"], registry=registry)
        self.lag = Gauge(
            "mv_summaries_lag_seconds", "Age of the oldest change that is not summed up; 0 without a backlog.",
            registry=registry,
        )  # fmt: skip
        self.leading = Gauge("mv_refresher_leading", "1 while this process refreshes, 0 in wait.", registry=registry)
