"""A browser's context under watch: what pages asked for, said on the console and kept, so that no test has to look by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError

# A JSON Web Token, signed or not: header and claims are base64url of a JSON object.
TOKEN = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*")
# Parameters that carry a token, a code excepted: it is worth nothing without the verifier, and the callback's address has to have it.
PARAMETER = re.compile(r"(access_token|refresh_token|id_token|id_token_hint)=")
STORED = """async () => JSON.stringify([
  {...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state, window.name,
  await indexedDB.databases(), await caches.keys(),
])"""


class Window:
    """One visitor's browser. ``check`` ends each test: no token anywhere, no script error, nothing refused by the page's policy.

    ``ours``: the page is this project's own; of Superset, PgAdmin and Flink nobody here answers for tokens and scripts.
    """

    def __init__(self, context: BrowserContext, shop: str, *, ours: bool = True) -> None:
        self.context = context
        self.shop = shop
        self.ours = ours
        self.requests: list[Request] = []
        self.said: list[str] = []
        self.errors: list[str] = []
        context.on("request", lambda one: self.requests.append(one))
        context.on("console", self._listen)
        context.on("weberror", self._fail)

    def page(self) -> Page:
        """A new tab."""
        return self.context.new_page()

    def asked(self, method: str, path: str) -> list[Request]:
        """Requests whose method is this and whose address ends so, its query aside."""
        return [one for one in self.requests if one.method == method and one.url.partition("?")[0].endswith(path)]

    def stored(self) -> list[str]:
        """Per open page of the shop, everything that it keeps, as text."""
        return [str(page.evaluate(STORED)) for page in self.context.pages if page.url.startswith(self.shop)]

    def leaks(self) -> list[str]:
        """Where a token was seen outside of memory; the place, never the token."""
        found = [f"storage of {page_of(text)}" for text in self.stored() if shows_token(text)]
        found += [f"address of {one.method} {one.url.partition('?')[0]}" for one in self.requests if shows_token(unquote(one.url))]
        found += ["console" for text in self.said if shows_token(text)]
        ours = [cookie for cookie in self.context.cookies(self.shop) if shows_token(str(cookie.get("value", "")))]
        return found + [f"cookie {cookie.get('name')} of the shop" for cookie in ours]

    def check(self) -> None:
        """Fail for what no test may cause."""
        if not self.ours:
            return
        assert self.leaks() == [], "a token left memory"
        assert self.errors == [], "a script of the page failed"
        assert [text for text in self.said if "Content Security Policy" in text or "TrustedHTML" in text] == []

    def _listen(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")

    def _fail(self, error: WebError) -> None:
        self.errors.append(str(error.error))


def shows_token(text: str) -> bool:
    """Whether a token, or the name of a parameter that carries one, is in a text."""
    return TOKEN.search(text) is not None or PARAMETER.search(text) is not None


def page_of(text: str) -> str:
    """The path of the page that a text of ``stored`` came from."""
    found = re.search(r'https://[^"?#]+', text)
    return found.group() if found else "a page"


def cookies_for(jar: Iterable[Any]) -> list[dict[str, Any]]:
    """An HTTP client's cookies as a browser context takes them; Keycloak's are Secure, for its host only."""
    return [
        {"name": one.name, "value": one.value, "domain": one.domain, "path": one.path, "secure": True, "httpOnly": True, "sameSite": "None"}
        for one in jar
    ]
