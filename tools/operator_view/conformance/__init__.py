"""`make conformance`: Kubernetes' own test suite judges the running platform."""

from __future__ import annotations


class ConformanceError(Exception):
    """The run cannot begin or go on; the message has an id and says what to do."""
