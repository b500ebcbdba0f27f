"""A psql that stays: one session in a database's pod through the API server, so that a statement costs a round trip and no process."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import PLACES

END = "--end-of-answer--"


class PsqlError(RuntimeError):
    """A statement failed, or was not answered in time."""


class Session:
    """Runs SQL as the database's superuser, one answer at a time. PsqlError when psql complains; close it at the end."""

    def __init__(self, cluster: Cluster, place: str, timeout: float = 30) -> None:
        kubernetes: Any = import_module("kubernetes")
        namespace, instance, database = PLACES[place]
        core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(cluster.kubeconfig))
        command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={database}", "--no-psqlrc", "-tAq", "--no-readline"]
        self._place, self._timeout = place, timeout
        self._stream = kubernetes.stream.stream(
            core.connect_get_namespaced_pod_exec, f"{instance}-0", namespace, container="postgresql", command=command,
            stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
        )  # fmt: skip

    def run(self, statements: str) -> list[str]:
        """Run statements, each with its semicolon, and return the lines they answer."""
        self._stream.write_stdin(f"{statements}\n\\echo {END}\n")
        text, deadline = "", time.monotonic() + self._timeout
        while f"{END}\n" not in text:
            self._stream.update(timeout=1)
            if self._stream.peek_stdout():
                text += self._stream.read_stdout()
            if self._stream.peek_stderr():
                raise PsqlError(f"{self._place}: {self._stream.read_stderr().strip()}")
            if time.monotonic() > deadline or not self._stream.is_open():
                raise PsqlError(f"{self._place}: no answer within {self._timeout:.0f} s")
        return text.partition(f"{END}\n")[0].splitlines()

    def close(self) -> None:
        """End psql."""
        self._stream.close()
