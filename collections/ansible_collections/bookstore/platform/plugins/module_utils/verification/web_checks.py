# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what the gateway answers (SPEC 4.1, 4.2)."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.routes import HSTS
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Answer,
    Context,
    Finding,
    Object,
    verdict,
)

DAY_SECONDS = 86400


def patiently(context: Context, faults_of: Callable[[], list[str]]) -> list[str]:
    """Return the faults once there are none, or those left at the deadline that all checks share.

    A route that was just applied reaches the gateway a moment later.
    """
    left = max(0.0, context.patient_until - time.monotonic())
    return waiter.wait_for(faults_of, lambda f: not f, timeout=left, interval=0.5).value


def _name(host: str, path: str, method: str = "GET") -> str:
    return f"{method} {host}{path}"


def routes(context: Context) -> Finding:
    """Each declared route answers as declared, over HTTPS with a verified certificate."""
    declared = context.params["routes"]

    def faults() -> list[str]:
        found = []
        for route in declared:
            host = context.params["hosts"][route["host"]]
            method = route.get("method") or "GET"
            try:
                answer = context.web.https(host, route["path"], method, route.get("headers"))
            except OSError as error:
                found.append(f"{route['id']} {_name(host, route['path'], method)}: {error}")
                continue
            found += [f"{route['id']} {_name(host, route['path'], method)}: {f}" for f in answer_faults(route, answer)]
        return found

    left = patiently(context, faults)
    names = ", ".join(f"{r['id']} {r['path']}" for r in declared)
    return verdict(left, f"{len(declared)} answered with a verified certificate: {names}")


def answer_faults(route: Object, answer: Answer) -> list[str]:
    """Return how an answer differs from a route's status, equals, at_least and lengths (all but status optional)."""
    status = route.get("status") or 200
    if answer.status != status:
        return [f"answered {answer.status}, expected {status}"]
    rules = {name: route.get(name) or {} for name in ("equals", "at_least", "lengths")}
    if not any(rules.values()):
        return []
    try:
        body = json.loads(answer.body)
    except ValueError:
        return [f"answered no JSON but {answer.body[:60]!r}"]
    if not isinstance(body, dict):
        return [f"answered a JSON {type(body).__name__}, expected an object"]
    faults = []
    for key, want in rules["equals"].items():
        if body.get(key) != want:
            faults.append(f"{key} is {body.get(key)!r}, expected {want!r}")
    for key, want in rules["at_least"].items():
        if not isinstance(body.get(key), int) or body[key] < want:
            faults.append(f"{key} is {body.get(key)!r}, expected at least {want}")
    for key, want in rules["lengths"].items():
        if not isinstance(body.get(key), list) or len(body[key]) != want:
            size = len(body[key]) if isinstance(body.get(key), list) else "no list"
            faults.append(f"{key} has {size} entries, expected {want}")
    return faults


def redirects(context: Context) -> Finding:
    """The plain listener redirects each host to itself, with 301, port and path."""
    port = context.params["https_port"]
    hosts = sorted(context.params["hosts"].values())
    path = "/ecom/books?page=2"

    def faults() -> list[str]:
        found = []
        for host in hosts:
            try:
                answer = context.web.http(host, path)
            except OSError as error:
                found.append(f"H8 {_name(host, path)}: {error}")
                continue
            want = f"https://{host}:{port}{path}"
            if answer.status != 301 or answer.headers.get("location") != want:
                found.append(
                    f"H8 {_name(host, path)}: answered {answer.status} to {answer.headers.get('location')}, "
                    f"expected 301 to {want}"
                )
        return found

    return verdict(patiently(context, faults), f"301 for {len(hosts)} hosts, same host and path")


def unrouted(context: Context) -> Finding:
    """Every other path is 404."""
    declared = context.params["unrouted"]

    def faults() -> list[str]:
        found = []
        for entry in declared:
            host, method = context.params["hosts"][entry["host"]], entry.get("method") or "GET"
            try:
                status = context.web.https(host, entry["path"], method).status
            except OSError as error:
                found.append(f"{_name(host, entry['path'], method)}: {error}")
                continue
            if status != 404:
                found.append(f"{_name(host, entry['path'], method)}: answered {status}, expected 404")
        return found

    return verdict(patiently(context, faults), f"{len(declared)} paths are 404")


def headers(context: Context) -> Finding:
    """The security headers of SPEC 4.1 are there, and Server is not."""
    faults, looked = [], 0
    for route in context.params["routes"]:
        host = context.params["hosts"][route["host"]]
        try:
            answer = context.web.https(host, route["path"], route.get("method") or "GET", route.get("headers"))
        except OSError as error:
            faults.append(f"{_name(host, route['path'])}: {error}")
            continue
        looked += 1
        wanted = {**context.params["headers"].get("all", {}), **context.params["headers"].get(route["host"], {})}
        faults += [f"{_name(host, route['path'])}: {fault}" for fault in header_faults(answer.headers, wanted)]
    return verdict(faults, f"present on {looked} routes, Server absent")


def header_faults(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Return how headers differ from the wanted values; Server must be absent, and HSTS unless it is wanted."""
    faults = []
    for name, value in wanted.items():
        if found.get(name.lower()) != value:
            faults.append(f"header {name} is {found.get(name.lower())!r}, expected {value!r}")
    if "server" in found:
        faults.append(f"header Server={found['server']!r} is sent")
    if HSTS not in wanted and HSTS.lower() in found:
        faults.append(f"header {HSTS}={found[HSTS.lower()]!r} is sent, while bookstore_hsts is off")
    return faults


def certificate(context: Context) -> Finding:
    """Verified for each host, valid for longer than the renewal window."""
    faults, days = [], []
    least = context.params["certificate_days"]
    for host in sorted(context.params["hosts"].values()):
        try:
            found = context.web.certificate(host)
        except OSError as error:
            faults.append(f"{host}: {error}")
            continue
        left = (ssl.cert_time_to_seconds(found["notAfter"]) - time.time()) / DAY_SECONDS
        days.append(left)
        if left <= least:
            faults.append(f"{host}: the certificate ends in {left:.0f} days; it must be renewed above {least}")
    return verdict(faults, f"verified for {len(days)} hosts, {min(days, default=0):.0f} days left")


def old_tls(context: Context) -> Finding:
    """TLS below 1.2 is refused."""
    host = context.params["hosts"]["api"]
    try:
        # Without a handshake that works, a refusal would prove nothing.
        context.web.certificate(host)
        reading = context.web.old_tls(host)
    except OSError as error:
        return verdict([f"TLS 1.1 could not be tried, since TLS does not work at all: {error}"], "")
    refused = reading.startswith(("alert", "connection"))
    return verdict([] if refused else [f"TLS 1.1 to {host}: {reading}"], f"TLS 1.1 refused ({reading})")
