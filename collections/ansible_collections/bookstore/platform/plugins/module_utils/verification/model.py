# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What a check is, what it finds, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import Certificate

Object = dict[str, Any]

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Finding:
    """Result of a check. ``detail``: one line. ``faults``: what is wrong, one entry each. ``data``: measurements."""

    status: str
    detail: str
    faults: list[str] = field(default_factory=list)
    data: Object = field(default_factory=dict)


def verdict(faults: list[str], detail: str, data: Object | None = None) -> Finding:
    """Return passed with ``detail``, or failed with the faults."""
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return Finding(FAILED, f"{faults[0]}{more}", faults, data or {})
    return Finding(PASSED, detail, [], data or {})


def skipped(reason: str) -> Finding:
    """Return a finding of a check that could not apply; never counted as passed."""
    return Finding(SKIPPED, reason)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case, several of one name joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


class Web:
    """Requests to the gateway; tests put their own in its place."""

    def https(
        self, host: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> Answer:
        """Return the answer of the HTTPS listener, its certificate verified against the platform's authority."""
        raise NotImplementedError

    def http(self, host: str, path: str, port: int | None = None) -> Answer:
        """Return the answer of a port of this host in plain HTTP; without ``port`` that of the redirecting listener."""
        raise NotImplementedError

    def certificate(self, host: str) -> Object:
        """Return the verified certificate as ssl.SSLSocket.getpeercert() does."""
        raise NotImplementedError

    def old_tls(self, host: str) -> str:
        """Offer TLS 1.1 at most; return accepted, or how it was refused."""
        raise NotImplementedError


class Tokens:
    """Access tokens of the clients for tests. They are secrets: no finding, report or message may hold one."""

    def of(self, client: str) -> str:
        """Return a token of a client; ClusterError or OSError when none can be had."""
        raise NotImplementedError


@dataclass
class Context:
    """What checks may look at. ``objects``: kind to objects, fetched once. ``params``: the module's.

    ``patient_until``: until when (time.monotonic) a wrong answer of the gateway may still become right.
    ``certificates``: all of the platform; None in check mode.
    ``scraping``: what Prometheus has to scrape, and what scraping.observe() saw; None in check mode.
    ``tokens``: None on a platform without clients for tests. ``pipeline``: what pipeline.observe() saw; None in check mode.
    """

    params: Object
    objects: dict[str, list[Object]]
    web: Web
    mesh: Future[Object] | None
    memory: Future[dict[str, int]] | None
    patient_until: float = 0.0
    tokens: Tokens | None = None
    pipeline: Future[Object] | None = None
    certificates: Future[list[Certificate]] | None = None
    scraping: tuple[set[tuple[str, str]], Future[Object]] | None = None


@dataclass(frozen=True)
class Check:
    """``id`` and ``error`` are stable: tests, reports and docs/errors.md name them. ``hint``: what to do about it."""

    id: str
    error: str
    title: str
    function: Callable[[Context], Finding]
    hint: str
