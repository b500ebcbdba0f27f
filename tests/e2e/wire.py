"""What a page sent, read from its requests. Tokens stay hidden: pytest prints what an assertion compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Page, Request

from tests.live.conftest import API, PLACES
from tests.live.signin import Hidden, unpadded

from .window import Window

TOKEN_PATH = urlsplit(PLACES.endpoint("token")).path
AUTH_PATH = urlsplit(PLACES.endpoint("auth")).path


def query_of(request: Request) -> dict[str, Hidden]:
    """The parameters in a request's address."""
    return _hidden(urlsplit(request.url).query)


def form_of(request: Request) -> dict[str, Hidden]:
    """The fields of a form that was posted."""
    return _hidden(request.post_data or "")


def _hidden(text: str) -> dict[str, Hidden]:
    return {name: Hidden(value) for name, value in parse_qsl(text)}


def token_requests(window: Window, grant: str) -> list[dict[str, Hidden]]:
    """What the pages asked Keycloak's token endpoint for with this grant, in order."""
    forms = [form_of(one) for one in window.asked("POST", TOKEN_PATH)]
    return [form for form in forms if form["grant_type"] == grant]


def access_token(window: Window) -> Hidden:
    """The token that the pages sent to the APIs last."""
    sent = (one.header_value("authorization") for one in reversed(window.requests) if one.url.startswith(API))
    found = next((header for header in sent if header is not None), None)
    assert found is not None, "no page asked an API as somebody who is signed in"
    return Hidden(found.removeprefix("Bearer "))


def claim(token: str, name: str) -> object:
    """One claim of a token."""
    return json.loads(unpadded(token.split(".")[1])).get(name)


def documents(page: Page, requests: Iterable[Request]) -> list[str]:
    """Where a page went as a whole, redirects included: addresses without their query."""
    # A request that was aborted or is under way has no frame to ask for.
    return [one.url.partition("?")[0] for one in requests if one.is_navigation_request() and one.frame == page.main_frame]
