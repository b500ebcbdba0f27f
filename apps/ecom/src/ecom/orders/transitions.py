"""Which status may follow which (SPEC 5.3, E-16 and E-22)."""

from enum import StrEnum


class Status(StrEnum):
    """State of an order; DELIVERED and CANCELLED are final."""

    CONFIRMED = "CONFIRMED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"


_NEXT: dict[Status, frozenset[Status]] = {
    Status.CONFIRMED: frozenset({Status.SHIPPED, Status.CANCELLED}),
    Status.SHIPPED: frozenset({Status.DELIVERED}),
    Status.DELIVERED: frozenset(),
    Status.CANCELLED: frozenset(),
}


def following(status: Status) -> frozenset[Status]:
    """The statuses that an order in ``status`` may take next; not ``status`` itself."""
    return _NEXT[status]
