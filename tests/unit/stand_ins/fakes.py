"""Stand-ins for time and for the cluster."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeCluster:
    """Answers from ``store``: kind to a list of objects, or to a list of such lists, one for each poll."""

    def __init__(self, store: dict[str, Any] | None = None) -> None:
        self.store = store or {}
        self.event_lines: dict[str, list[str]] = {}
        self.log_lines: dict[tuple[str, str], list[str]] = {}
        self.calls: list[tuple[str, str | None]] = []
        self.created: list[Object] = []
        self.deleted: list[str] = []

    def objects(self, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        self.calls.append((kind, namespace))
        found = self.store.get(kind, [])
        if isinstance(found, Exception):
            raise found
        if found and isinstance(found[0], (list, Exception)):
            found = found.pop(0) if len(found) > 1 else found[0]
            if isinstance(found, Exception):
                raise found
        selector = query.get("labelSelector", "")
        return [
            o
            for o in found
            if (namespace is None or o["metadata"].get("namespace") == namespace) and _selected(o, selector)
        ]

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        return next((o for o in self.objects(kind, namespace) if o["metadata"]["name"] == name), None)

    def create(self, kind: str, body: Object) -> Object:
        self.created.append(body)
        return body

    def delete(self, kind: str, namespace: str | None, name: str, grace_seconds: int | None = None) -> bool:
        self.deleted.append(name)
        return True

    def events(self, namespace: str, name: str, limit: int = 5) -> list[str]:
        return self.event_lines.get(name, [])

    def logs(self, namespace: str, pod: str, container: str, lines: int = 10, previous: bool = False) -> list[str]:
        return self.log_lines.get((pod, container), [])


def _selected(obj: Object, selector: str) -> bool:
    if not selector:
        return True
    key, _, value = selector.partition("=")
    labels = obj["metadata"].get("labels") or {}
    return key in labels and (not value or labels[key] == value)
