"""The document from which clients are generated."""

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from ecom.openapi import document

LISTENERS = ("public", "internal")
# A changed id renames a function in every generated client.
OPERATIONS = {
    "GET /ecom/health": "getHealth",
    "GET /ecom/books": "listBooks",
    "GET /ecom/books/search": "searchBooks",
    "GET /ecom/books/{book_id}": "getBook",
    "GET /ecom/genres": "listGenres",
    "GET /ecom/csrf-token": "issueCsrfToken",
    "GET /ecom/cart": "getCart",
    "DELETE /ecom/cart": "clearCart",
    "POST /ecom/cart/items": "addCartItem",
    "PUT /ecom/cart/items/{item_id}": "setCartItemQuantity",
    "DELETE /ecom/cart/items/{item_id}": "removeCartItem",
    "POST /ecom/cart/merge": "mergeCart",
    "POST /ecom/checkout": "checkout",
    "GET /ecom/orders": "listOrders",
    "GET /ecom/orders/{order_id}": "getOrder",
    "POST /ecom/orders/{order_id}/cancel": "cancelOrder",
    "GET /internal/admin/books": "listBooksForAdmin",
    "GET /internal/admin/books/{book_id}": "getBookForAdmin",
    "POST /internal/admin/books": "createBook",
    "PUT /internal/admin/books/{book_id}": "editBook",
    "DELETE /internal/admin/books/{book_id}": "withdrawBook",
    "GET /internal/admin/orders": "listOrdersForAdmin",
    "GET /internal/admin/orders/{order_id}": "getOrderForAdmin",
    "PATCH /internal/admin/orders/{order_id}/status": "setOrderStatus",
    "POST /internal/backchannel-logout": "backchannelLogout",
}
# SPEC 5.3: the errors of each row beside those of every operation.
ERRORS = {
    "getBook": {404},
    "addCartItem": {404, 409},
    "setCartItemQuantity": {404},
    "mergeCart": {409},
    "checkout": {400, 409, 503},
    "getOrder": {404},
    "cancelOrder": {404, 409},
    "getBookForAdmin": {404},
    "createBook": {409},
    "editBook": {404, 409, 412, 428},
    "withdrawBook": {404},
    "getOrderForAdmin": {404},
    "setOrderStatus": {404, 409},
    "backchannelLogout": {400},
}


@pytest.fixture(scope="module")
def apis() -> list[dict[str, Any]]:
    return [json.loads(document(listener)) for listener in LISTENERS]


@pytest.fixture(scope="module")
def operations(apis: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Operations by method and path."""
    return {
        f"{method.upper()} {path}": operation
        for api in apis
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    }


def test_operation_ids_are_stable(operations: dict[str, dict[str, Any]]) -> None:
    assert {name: operation["operationId"] for name, operation in operations.items()} == OPERATIONS
    assert len(set(OPERATIONS.values())) == len(OPERATIONS)


def test_errors_are_problems(apis: list[dict[str, Any]], operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        found = {int(status) for status in operation["responses"]}
        for status in found:
            if status >= 400:
                content = operation["responses"][str(status)]["content"]
                assert list(content) == ["application/problem+json"], (name, status)
        assert ERRORS.get(operation["operationId"], set()) <= found
        assert operation["operationId"] == "getHealth" or 503 in found
        assert not operation.get("security") or {401, 403} <= found
        usual = {200, 201, 204, 304, 401, 403, 413, 422, 429, 503}
        assert found <= usual | ERRORS.get(operation["operationId"], set()), name
    assert not any("HTTPValidationError" in api["components"]["schemas"] for api in apis)


def test_models_have_examples(apis: list[dict[str, Any]], operations: dict[str, dict[str, Any]]) -> None:
    """Everything that is sent or answered; parts of it are shown within."""
    for name, operation in operations.items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                if media_type != "application/json":
                    continue
                reference = json.dumps(content["schema"])
                models = [model for api in apis for model in api["components"]["schemas"].items()]
                shown = [model for model, schema in models if f'/{model}"' in reference and "example" not in schema]
                assert all(model.startswith("Page_") or model == "Health" for model in shown), (name, shown)


def test_examples_obey_their_schemas(apis: list[dict[str, Any]]) -> None:
    for api in apis:
        for name, schema in api["components"]["schemas"].items():
            if "example" in schema and name != "Problem":
                whole = {**schema, "components": api["components"]}
                jsonschema.Draft202012Validator(whole).validate(schema["example"])


def test_printed_without_any_environment() -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; import runpy; "
         "runpy.run_module('ecom.openapi', run_name='__main__')"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(result.stdout) == json.loads(document("public"))
