"""What Prometheus says: asked in its own pod, for it has no door to the outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, look

from ..declared import WORKLOADS
from ..waiting import until
from .conftest import report

# The image has a shell that opens sockets, and no client.
ASK = r"""exec 3<>"/dev/tcp/127.0.0.1/$0" && printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3 && sed '1,/^\r*$/d' <&3"""
# Two scrapes and an evaluation beyond what the rule itself asks for, on a machine that has other things to do.
SLACK_S = 150.0
Labels = Mapping[str, str]


class Alarms:
    """Alerts that fire, by name and labels."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name

    def firing(self, alert: str, labels: Labels) -> bool:
        """Whether an alert of this name with these labels, and maybe others, fires now."""
        return any(
            one["state"] == "firing" and one["labels"]["alertname"] == alert and labels.items() <= one["labels"].items()
            for one in self._ask("alerts")["alerts"]
        )

    def sees(self, expression: str) -> bool:
        """Whether a query has an answer."""
        return bool(self._ask(f"query?query={quote(expression)}")["result"])

    def quiet(self, alert: str, labels: Labels) -> None:
        """Nothing can be said of a fault that was there before."""
        assert not self.firing(alert, labels), f"{alert} {labels} fires before the fault"

    def fires(self, alert: str, labels: Labels, seconds: float, began: float, during: Callable[[], object] = lambda: None) -> None:
        """Wait until it fires; ``during`` is done again and again meanwhile. Reports the time since ``began`` (monotonic)."""

        def asked() -> bool:
            during()
            return self.firing(alert, labels)

        until(asked, f"{alert} {labels} to fire", seconds + SLACK_S, pause=3)
        report(f"{self._name}: {alert} fires", {"seconds": round(time.monotonic() - began, 1)})

    def clears(self, alert: str, labels: Labels, seconds: float) -> None:
        """Wait until it fires no more after the fault was mended."""
        began = time.monotonic()
        until(lambda: not self.firing(alert, labels), f"{alert} {labels} to clear", seconds + SLACK_S, pause=3)
        report(f"{self._name}: {alert} clears", {"seconds": round(time.monotonic() - began, 1)})

    def _ask(self, path: str) -> Any:
        row = WORKLOADS["prometheus"]
        command = ["bash", "-c", ASK, str(row["ports"]["http"]["number"]), f"/api/v1/{path}"]
        return json.loads(look(self._cluster, row["namespace"], "prometheus-0", "prometheus", command, 30))["data"]
