"""Metrics of the refresher (SPEC 5.1)."""

import time
from collections.abc import Iterable

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
        self.dirty_since = Gauge(
            "mv_dirty_since_timestamp", "Since when the view does not show all changes, Unix time; 0 if it does.",
            ["view"], registry=registry,
        )  # fmt: skip
        self._dirty: set[str] = set()
        self.lag = Gauge(
            "mv_summaries_lag_seconds", "Age of the oldest change that is not summed up; 0 without a backlog.",
            registry=registry,
        )  # fmt: skip
        self.leading = Gauge("mv_refresher_leading", "1 while this process refreshes, 0 in wait.", registry=registry)

    def know(self, views: Iterable[str]) -> None:
        """Show views that are not known to be dirty."""
        for view in views:
            if view not in self._dirty:
                self.dirty_since.labels(view).set(0)

    def note_dirty(self, views: Iterable[str]) -> None:
        """These do not show all changes; of those that did not before, the time stays."""
        for view in views:
            if view not in self._dirty:
                self._dirty.add(view)
                self.dirty_since.labels(view).set(time.time())

    def note_fresh(self, view: str, seconds: float) -> None:
        """A refresh succeeded."""
        self.duration.labels(view).observe(seconds)
        self.last_success.labels(view).set_to_current_time()
        self._dirty.discard(view)
        self.dirty_since.labels(view).set(0)
