"""Fixtures of the end-to-end tests: Debian's Chromium in front of the running platform, trusting its certificate authority alone.

Each worker of pytest-xdist signs its people in once; tests reuse the cookies of the single sign-on, in memory, never the tokens.
Nothing is retried. A failed test leaves a picture of each page and a trace in ``reports/e2e`` of the state folder. The trace tells
what was done and what the console said; it has no network traffic, so that no token lands in a file, and no film: drawing each
frame for it without a graphics card cost a quarter of the time of all tests.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.live.conftest import (  # noqa: F401 (fixtures)
    API,
    CONSOLE,
    PLACES,
    SHOP_ORIGIN,
    STATE,
    analytics_sql,
    api,
    cluster,
    ecom_sql,
    inventory_sql,
    secret,
    swept,
    trust,
)  # fmt: skip
from tests.live.dashboards import URL as SUPERSET
from tests.live.dashboards import Dashboards, signed_in
from tests.live.goods import Goods, Sql
from tests.live.people import Account, People
from tests.live.signin import Hidden, Shopper
from tests.live.tls import Trust

from .shelf import shelf  # noqa: F401 (fixture)
from .window import Window, cookies_for

REPORTS = STATE / "reports" / "e2e"
# Chromium's own patience ends after 30 s, which is what a shopper's would not do.
PATIENCE_MS = 10_000
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
# The folder for pictures, if any are taken; who buys in them and who keeps the shop has a person's name.
PICTURES = os.environ.get("E2E_PICTURES")
CUSTOMERS, ADMINISTRATORS = (("ada", "mary", "emmy"), ("grace", "hedy", "joan")) if PICTURES else ((), ())

expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: it needs the running platform and a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the fixtures know, when they end, how the test went."""
    report = yield
    item.stash.setdefault(REPORT, {})[report.when] = report
    return report


REPORT = pytest.StashKey[dict[str, pytest.TestReport]]()


def failed(item: pytest.Item) -> bool:
    return any(report.failed for report in item.stash.get(REPORT, {}).values())


@pytest.fixture(scope="session")
def authority(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The certificate of the platform's authority, as a file."""
    found = cluster.get("Secret", "gateway", "bookstore-gateway-tls")
    assert found is not None, "gateway/bookstore-gateway-tls does not exist; run make up"
    path = tmp_path_factory.mktemp("authority") / "ca.crt"
    path.write_bytes(base64.b64decode(found["data"]["ca.crt"]))
    return path


@pytest.fixture(scope="session")
def playwright(authority: Path) -> Iterator[Playwright]:
    """Playwright, whose own requests (``route.fetch``) trust that authority, too."""
    os.environ["NODE_EXTRA_CA_CERTS"] = str(authority)
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser_home(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder whose certificate store trusts the platform's authority; Chromium looks nowhere else."""
    home = tmp_path_factory.mktemp("home")
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for command in (["-N", "--empty-password"], ["-A", "-n", "bookstore", "-t", "C,,", "-i", str(authority)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *command], check=True, capture_output=True)
    return home


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_home: Path) -> dict[str, Any]:
    """Debian's Chromium without windows, which takes half the processor time of the whole one.

    Its sandbox cannot be had by root, nor in a container without user namespaces.
    """
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {"executable_path": "/usr/bin/chromium-headless-shell", "args": arguments, "env": {**os.environ, "HOME": str(browser_home)}}


# An account of this worker, its browser cookies, and an API client of the same session.
@pytest.fixture(scope="session")
def everyone(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[People]:  # noqa: F811
    """Makes users that live as long as the worker."""
    made = People(trust, PLACES, CONSOLE, secret("keycloak-clients", "e2e-provisioner"), ADMINISTRATORS)
    yield made
    made.close()


@pytest.fixture
def people(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[People]:  # noqa: F811
    """Makes users for one test."""
    made = People(trust, PLACES, CONSOLE, secret("keycloak-clients", "e2e-provisioner"), CUSTOMERS)
    yield made
    made.close()


@pytest.fixture(scope="session")
def customer(everyone: People) -> Shopper:
    """The worker's customer as an API client, whose single sign-on the pages of ``shop`` share."""
    return everyone.customer()


@pytest.fixture(scope="session")
def admin(everyone: People) -> Shopper:
    """The worker's administrator, as an API client."""
    return everyone.administrator()


@pytest.fixture(scope="session")
def superset(cluster: Cluster) -> Iterator[Dashboards]:  # noqa: F811
    """The worker's session at Superset as an API client, whose cookie the pages of ``boards`` share."""
    with signed_in(cluster) as session:
        yield session


@pytest.fixture
def goods(admin: Shopper, ecom_sql: Sql, inventory_sql: Sql) -> Iterator[Goods]:  # noqa: F811
    """Makes books for one test; removed afterwards with everything that refers to them."""
    made = Goods(admin, ecom_sql, inventory_sql)
    yield made
    made.close()


Open = Callable[..., Window]


@pytest.fixture
def window(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens a visitor's browser: ``window()`` a guest's, ``window(shopper)`` that of somebody who is signed in already.

    ``origin``: whose pages, if not the shop's; ``ours``: see ``Window``. Further arguments are Playwright's for a context
    (``viewport``, ``color_scheme``, ...).
    """
    opened: list[Window] = []

    def open_window(shopper: Shopper | None = None, *, origin: str = SHOP_ORIGIN, ours: bool = True, **options: Any) -> Window:
        context = browser.new_context(**{"base_url": origin, "viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MS)
        if shopper is not None:
            # Before the trace begins, for it lists what is done.
            context.add_cookies(cookies_for(shopper.client.cookies.jar))  # type: ignore[arg-type]
        context.tracing.start(screenshots=False, snapshots=False, sources=False)
        opened.append(Window(context, origin, ours=ours))
        return opened[-1]

    yield open_window
    wrong = failed(request.node)
    try:
        if not wrong:
            for one in opened:
                one.check()
    except AssertionError:
        wrong = True
        raise
    finally:
        for number, one in enumerate(opened):
            keep(one, REPORTS / f"{re.sub(r'[^0-9A-Za-z_.-]+', '-', request.node.name)}-{number}", wrong)


def keep(one: Window, name: Path, wrong: bool) -> None:
    """Close a context; of a failed test, keep each page's picture and the trace."""
    if wrong:
        REPORTS.mkdir(parents=True, exist_ok=True)
        for number, page in enumerate(one.context.pages):
            page.screenshot(path=f"{name}-{number}.png")
    one.context.tracing.stop(**({"path": f"{name}.zip"} if wrong else {}))
    one.context.close()


@pytest.fixture
def guest(window: Open) -> Page:
    """A page of somebody who is not signed in, nothing loaded yet."""
    return window().page()


@pytest.fixture
def shop(window: Open, customer: Shopper) -> Page:
    """A page of the worker's customer, nothing loaded yet; the first page signs in silently. The cart is empty."""
    customer.send("DELETE", "/ecom/cart")
    return window(customer).page()


@pytest.fixture
def office(window: Open, admin: Shopper) -> Page:
    """A page of the administrator, nothing loaded yet."""
    return window(admin).page()


@pytest.fixture
def boards(window: Open, superset: Dashboards) -> Page:
    """A page of Superset's, signed in, nothing loaded yet. So high that all charts of a dashboard are in sight: others are not drawn."""
    visit = window(origin=SUPERSET, ours=False, viewport={"width": 1400, "height": 2200})
    visit.context.add_cookies([
        {"name": one.name, "value": one.value or "", "url": SUPERSET, "httpOnly": True, "sameSite": "Lax"}
        for one in superset.client.cookies.jar
    ])  # fmt: skip
    return visit.page()


def sign_in(page: Page, account: Account | Shopper, password: Hidden) -> None:
    """Fill in Keycloak's form; the page is on it, or about to be."""
    page.locator("#username").fill(account.username)
    page.locator("#password").fill(password)
    page.locator("#kc-login").click()
