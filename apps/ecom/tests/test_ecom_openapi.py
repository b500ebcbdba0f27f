"""The document from which clients are generated."""

import json
import subprocess
import sys
from typing import Any

import pytest

from ecom.openapi import document


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(document())
    return loaded


def test_operation_ids_are_stable(api: dict[str, Any]) -> None:
    """A changed id renames a function in every generated client."""
    ids = {path: operation["get"]["operationId"] for path, operation in api["paths"].items()}
    assert ids == {
        "/ecom/health": "getHealth",
        "/ecom/books": "listBooks",
        "/ecom/books/search": "searchBooks",
        "/ecom/books/{book_id}": "getBook",
        "/ecom/genres": "listGenres",
    }


def test_errors_are_problems(api: dict[str, Any]) -> None:
    for path, operations in api["paths"].items():
        for status, response in operations["get"]["responses"].items():
            if status != "200":
                assert list(response["content"]) == ["application/problem+json"], (path, status)
    assert {"404", "422", "503"} <= set(api["paths"]["/ecom/books/{book_id}"]["get"]["responses"])
    assert "HTTPValidationError" not in api["components"]["schemas"]


def test_models_have_examples(api: dict[str, Any]) -> None:
    assert "example" in api["components"]["schemas"]["Book"]
    assert "example" in api["components"]["schemas"]["GenreCount"]


def test_printed_without_any_environment() -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; import runpy; "
         "runpy.run_module('ecom.openapi', run_name='__main__')"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(result.stdout) == json.loads(document())
