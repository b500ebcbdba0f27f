"""Pictures of pages for the documents: E2E_WORKERS=1 E2E_PICTURES=docs/screenshots tools/e2e -k journey.

Those of the dashboards, the mesh map and PgAdmin are made by ``-k "sees_the_dashboards or who_calls_whom or the_four_servers"``."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from .appearance import SETTLED, settle
from .conftest import DESKTOP, PHONE, PICTURES

SIZES = {"desktop": DESKTOP, "phone": PHONE}
SCHEMES = ("light", "dark")
QUALITY = 75


class Pictures:
    """Keeps each page at two sizes and in two colour schemes; nothing where no folder is asked for."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def word(self, word: str) -> str:
        """A word that makes a title unique, but in pictures, where it would only be strange."""
        return "" if self.folder else f" {word}"

    def genre(self, genre: str) -> str:
        """A genre for pictures; otherwise the one by which books of killed tests are known."""
        return genre if self.folder else "E2e"

    def keep(self, page: Page, name: str) -> None:
        """Write <name>-<size>-<scheme>.jpg; the page is as before afterwards."""
        if not self.folder:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for size, pixels in SIZES.items():
            for scheme in SCHEMES:
                settle(page, pixels, scheme)
                page.evaluate("() => scrollTo(0, 0)")
                page.screenshot(path=self.folder / f"{name}-{size}-{scheme}.jpg", type="jpeg", quality=QUALITY, animations="disabled")
        settle(page, DESKTOP, "light")

    def keep_one(self, page: Page, name: str) -> None:
        """Write <name>.jpg: a page of a tool as it stands, in its light colours."""
        if not self.folder:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.evaluate(SETTLED)
        page.screenshot(path=self.folder / f"{name}.jpg", type="jpeg", quality=QUALITY, animations="disabled")


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """The folder of E2E_PICTURES, if any."""
    return Pictures(Path(PICTURES) if PICTURES else None)
