"""Superset's dashboards as somebody sees them who looks at a screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

# Its pages are heavy: some megabytes of script for two processors that others use, too.
PATIENCE_MS = 90_000
# Several of them at once keep each other, and the shop's tests, waiting: one worker opens them all.
ONE_AT_A_TIME = pytest.mark.xdist_group("heavy_pages")


def part(scope: Page | Locator, name: str) -> Locator:
    """What Superset's own tests know by this name."""
    return scope.locator(f'[data-test="{name}"]')


def open_dashboard(page: Page, slug: str) -> None:
    """Open a dashboard; it is there as soon as it names itself."""
    page.goto(f"/superset/dashboard/{slug}/", wait_until="commit", timeout=PATIENCE_MS)
    expect(part(page, "dashboard-content-wrapper")).to_be_visible(timeout=PATIENCE_MS)


def chart(page: Page, name: str) -> Locator:
    """A chart of the dashboard that is open."""
    return page.locator(f'[data-test-chart-name="{name}"]')


def drawn(one: Locator) -> Locator:
    """A chart that shows something: a drawing, a table or a number, and no error."""
    shown = part(one, "slice-container").locator("canvas, table, .header-line")
    expect(shown.first).to_be_visible(timeout=PATIENCE_MS)
    expect(one.locator(".ant-alert, .ant-empty")).to_have_count(0)
    return one
