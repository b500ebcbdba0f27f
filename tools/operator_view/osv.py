"""Asks an advisory service that answers as OSV does. What it did not answer, or not wholly, is told as such: it is never "no finding"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom.packages import UNKNOWN, Package

# The service's own bound is 1000.
BATCH = 500
MOST_PAGES = 50
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
LONGEST_WAIT = 30
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SIDE_BY_SIDE = 8
ECOSYSTEMS = {"pypi": "PyPI", "npm": "npm", "maven": "Maven", "golang": "Go", "cargo": "crates.io"}
ID = re.compile(r"[A-Za-z0-9][\w.:+-]*")


@dataclass(frozen=True, order=True)
class Question:
    """A package as the service names it."""

    ecosystem: str
    name: str
    version: str

    def body(self, page: str | None) -> dict[str, Any]:
        """Return the question as a part of a batch; ``page`` is the token of a following page."""
        asked: dict[str, Any] = {"package": {"ecosystem": self.ecosystem, "name": self.name}, "version": self.version}
        return {**asked, "page_token": page} if page else asked


@dataclass
class Answers:
    """``found``: ids of the advisories of each question that was wholly answered, and of those that were answered in part.

    ``unanswered``: why a question has no whole answer. ``records``: the advisories themselves; one that could not be read is not there.
    """

    found: dict[Question, set[str]] = field(default_factory=dict)
    unanswered: dict[Question, str] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)


def questions(package: Package, known_as: Iterable[Mapping[str, str]]) -> list[Question]:
    """Return under which names a package is asked for; none where no ecosystem of the service has it."""
    found = []
    if package.kind == "deb":
        ecosystem = _distribution(dict(package.qualifiers).get("distro", ""))
        if ecosystem:
            found.append(Question(ecosystem, package.note("bookstore:deb:source"), package.note("bookstore:deb:source-version")))
    elif package.kind in ECOSYSTEMS:
        separator = ":" if package.kind == "maven" else "/"
        name = f"{package.group}{separator}{package.name}" if package.group else package.name
        version = package.version.removeprefix("v") if package.kind == "golang" else package.version
        found.append(Question(ECOSYSTEMS[package.kind], name, version))
    if package.kind != UNKNOWN:
        plain = package.purl.to_string().partition("?")[0].rpartition("@")[0]
        found += [Question(other["ecosystem"], other["name"], package.version) for other in known_as if other["package"] == plain]
    return found


def _distribution(distro: str) -> str:
    """Return the service's name of a distribution's release, such as debian-13; empty when it has none."""
    vendor, _, version = distro.partition("-")
    if vendor == "debian" and version.isdigit():
        return f"Debian:{version}"
    match = re.fullmatch(r"(\d+)\.(04|10)", version)
    if vendor == "ubuntu" and match:
        return f"Ubuntu:{version}:LTS" if match[2] == "04" and int(match[1]) % 2 == 0 else f"Ubuntu:{version}"
    return ""


class Service:
    """A service at ``address``; each request is tried ``attempts`` times, with a growing pause."""

    def __init__(self, address: str, attempts: int = 4, pause: float = 1.0) -> None:
        self.address = address.rstrip("/")
        patience = Retry(
            total=attempts - 1, backoff_factor=pause, backoff_max=LONGEST_WAIT, retry_after_max=LONGEST_WAIT, allowed_methods=None,
            status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False,
        )
        self.session = requests.Session()
        # The host's authorities, as all other clients here; REQUESTS_CA_BUNDLE names others.
        if CERTIFICATES.is_file():
            self.session.verify = str(CERTIFICATES)
        self.session.mount("http://", HTTPAdapter(max_retries=patience, pool_maxsize=SIDE_BY_SIDE))
        self.session.mount("https://", HTTPAdapter(max_retries=patience, pool_maxsize=SIDE_BY_SIDE))

    def ask(self, asked: Iterable[Question]) -> Answers:
        """Return what the service says of every question."""
        answers = Answers()
        waiting: list[tuple[Question, str | None]] = [(question, None) for question in sorted(set(asked))]
        for _ in range(MOST_PAGES):
            following: list[tuple[Question, str | None]] = []
            for begin in range(0, len(waiting), BATCH):
                following += self._batch(waiting[begin:begin + BATCH], answers)
            waiting = following
            if not waiting:
                break
        for question, _ in waiting:
            answers.unanswered[question] = f"it gave more than {MOST_PAGES} pages"
        self._read(answers)
        return answers

    def _batch(self, batch: list[tuple[Question, str | None]], answers: Answers) -> list[tuple[Question, str | None]]:
        """Ask one batch; returns what has a following page."""
        try:
            body = self._json("POST", "/v1/querybatch", {"queries": [question.body(page) for question, page in batch]})
            results = body.get("results")
            if not isinstance(results, list) or len(results) != len(batch):
                given = f"{len(results)} answers" if isinstance(results, list) else "no list of answers"
                raise _UnusableError(f"{given} to {len(batch)} questions")
        except (requests.RequestException, _UnusableError) as error:
            answers.unanswered.update({question: _reason(error) for question, _ in batch})
            return []
        following: list[tuple[Question, str | None]] = []
        for (question, _), result in zip(batch, results, strict=True):
            try:
                ids, page = _ids(result)
            except _UnusableError as error:
                answers.unanswered[question] = _reason(error)
                continue
            answers.found.setdefault(question, set()).update(ids)
            if page:
                following.append((question, page))
        return following

    def _read(self, answers: Answers) -> None:
        """Read each advisory that was named."""
        ids = sorted({name for found in answers.found.values() for name in found})
        with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
            for name, record in zip(ids, pool.map(self._record, ids), strict=True):
                if record is not None:
                    answers.records[name] = record

    def _record(self, name: str) -> dict[str, Any] | None:
        try:
            record = self._json("GET", f"/v1/vulns/{quote(name, safe='')}")
        except (requests.RequestException, _UnusableError):
            return None
        return record if record.get("id") == name else None

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        patience = (CONNECT_SECONDS, READ_SECONDS)
        response = self.session.request(method, self.address + path, json=body, timeout=patience, allow_redirects=False)
        if response.status_code != 200:
            raise _UnusableError(f"status {response.status_code}")
        try:
            answer = response.json()
        except ValueError as error:
            raise _UnusableError("an answer that is no JSON") from error
        if not isinstance(answer, dict):
            raise _UnusableError("an answer that is no JSON object")
        return answer


class _UnusableError(Exception):
    """An answer that says nothing."""


def _ids(result: Any) -> tuple[set[str], str | None]:
    if not isinstance(result, dict) or not isinstance(result.get("vulns", []), list):
        raise _UnusableError("an answer of another form")
    ids = [entry.get("id") if isinstance(entry, dict) else None for entry in result.get("vulns", [])]
    page = result.get("next_page_token")
    if not all(isinstance(name, str) and ID.fullmatch(name) for name in ids) or not isinstance(page, str | None):
        raise _UnusableError("an answer of another form")
    return {str(name) for name in ids}, page or None


def _reason(error: Exception) -> str:
    """Return why there is no answer, in a few words."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return f"not reachable: {_deepest(error)}"
    return str(error)[:200]


def _deepest(error: BaseException) -> str:
    """Return the words of the first cause."""
    inner = getattr(error, "reason", None) or next((part for part in error.args if isinstance(part, BaseException)), None)
    return _deepest(inner) if isinstance(inner, BaseException) and inner is not error else str(error)[:200]
