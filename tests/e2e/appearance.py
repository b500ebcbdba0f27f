"""How a state of the shop is looked at: axe-core's rules at two sizes and in two colour schemes; focus that can be seen."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from .conftest import DESKTOP, PHONE

APPEARANCES = [(size, scheme) for size in (DESKTOP, PHONE) for scheme in ("light", "dark")]
# WCAG 2.2 A and AA, and axe-core's own best practices.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "resultTypes": ["violations"]}
# More than the most links that stand before anything on one of our pages.
TABS = 120
RING = """node => {
  const style = getComputedStyle(node);
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  return node.matches(':focus-visible') && (outlined || style.boxShadow !== 'none');
}"""
# A change of colours is not judged half-way: a frame is drawn, and what moves to an end has come to it.
SETTLED = """async () => {
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const ending = document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < Infinity);
  await Promise.allSettled(ending.map((one) => one.finished));
}"""


def settle(page: Page, size: dict[str, int], scheme: str) -> None:
    """Show a page in an appearance, without motion, and wait until it looks so."""
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.evaluate(SETTLED)


def violations(page: Page) -> list[str]:
    """What axe-core finds on a page as it stands, in each appearance; one line per rule."""
    found: list[str] = []
    for size, scheme in APPEARANCES:
        settle(page, size, scheme)
        results: dict[str, Any] = Axe().run(page, options=RULES).response
        found += [f"{size['width']} px, {scheme}: {one['id']}: {nodes_of(one)}" for one in results["violations"]]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{size['width']} px: the page is wider than the screen")
    return found


def nodes_of(violation: dict[str, Any]) -> str:
    """Where a rule is broken, and how."""
    return "; ".join(f"{node['target'][0]} ({node['failureSummary'].splitlines()[-1].strip()})" for node in violation["nodes"][:3])


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the target has the focus, which everyone can see."""
    expect(target).to_be_visible()
    for _ in range(TABS):
        page.keyboard.press("Tab")
        if target.evaluate("node => node === document.activeElement"):
            break
    expect(target).to_be_focused()
    assert target.evaluate(RING), f"nothing shows that {target} has the focus"
