# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP to this host's own loopback address, which no proxy of the environment may come between.

Python's urllib sends even requests to 127.0.0.1 through ``http_proxy`` unless ``no_proxy`` names that address.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def head(url: str, headers: Mapping[str, str], timeout: float = 10) -> dict[str, str] | None:
    """Return the headers (lower-case names) of a successful answer, or None for an answer with an error status.

    Raises OSError when nothing answers.
    """
    request = urllib.request.Request(url, method="HEAD", headers=dict(headers))
    try:
        with _DIRECT.open(request, timeout=timeout) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        error.close()
        return None


def get(url: str, headers: Mapping[str, str], timeout: float = 10) -> bytes | None:
    """Return the body of a successful answer, or None for an answer with an error status. Raises OSError when nothing answers."""
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        with _DIRECT.open(request, timeout=timeout) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        error.close()
        return None


def failure(url: str, timeout: float = 2) -> str | None:
    """Return None when ``url`` answers 200, else what happened instead, in words for an operator."""
    try:
        with _DIRECT.open(url, timeout=timeout) as answer:
            return None if answer.status == 200 else f"HTTP status {answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error)
