"""``reservation_total{result}`` (SPEC 5.1)."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import event

from bookstore_common.db import Session


class Result(StrEnum):
    """What became of a request about a reservation."""

    HELD = "held"
    REPEATED = "repeated"
    INSUFFICIENT_STOCK = "insufficient_stock"
    MISMATCH = "mismatch"
    RELEASED = "released"


class ReservationMetrics:
    """Counts what was committed or refused, not what was tried."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "reservation_total",
            "Requests to hold or release stock: held, repeated, insufficient_stock, mismatch, released.",
            ["result"],
            registry=registry,
        )
        for result in Result:  # visible before the first of its kind
            self._total.labels(result)

    def refused(self, result: Result) -> None:
        self._total.labels(result).inc()

    def when_committed(self, session: Session, result: Result) -> None:
        """Count once the session's transaction is durable."""
        counter = self._total.labels(result)
        event.listen(session.sync_session, "after_commit", lambda _session: counter.inc(), once=True)
