"""The document from which clients are generated."""

import json
import subprocess
import sys
from typing import Any

import pytest

from admin.openapi import document

OPERATIONS = {
    ("get", "/admin/health"): "getHealth",
    ("get", "/admin/summary"): "getSummary",
    ("get", "/admin/books"): "listBooks",
    ("post", "/admin/books"): "createBook",
    ("get", "/admin/books/{book_id}"): "getBook",
    ("put", "/admin/books/{book_id}"): "editBook",
    ("delete", "/admin/books/{book_id}"): "withdrawBook",
    ("get", "/admin/stock"): "listStock",
    ("get", "/admin/stock/{book_id}"): "getStock",
    ("put", "/admin/stock/{book_id}"): "setStock",
    ("post", "/admin/stock/{book_id}/adjust"): "adjustStock",
    ("get", "/admin/stock/{book_id}/movements"): "listStockMovements",
    ("get", "/admin/orders"): "listOrders",
    ("get", "/admin/orders/{order_id}"): "getOrder",
    ("patch", "/admin/orders/{order_id}/status"): "setOrderStatus",
}
# SPEC 5.5, further errors.
ERRORS = {
    "getSummary": set(),
    "listBooks": {"502", "504"},
    "createBook": {"409", "502"},
    "getBook": {"404", "502", "504"},
    "editBook": {"404", "409", "412", "428"},
    "withdrawBook": {"404"},
    "listStock": {"502", "504"},
    "getStock": {"404"},
    "setStock": {"409", "412", "428"},
    "adjustStock": {"404", "409"},
    "listStockMovements": {"404"},
    "getOrder": {"404"},
    "setOrderStatus": {"404", "409"},
}


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(document())
    return loaded


def operations(api: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["operationId"]: item for methods in api["paths"].values() for item in methods.values()}


def test_operation_ids_are_stable(api: dict[str, Any]) -> None:
    """A changed id renames a function in every generated client."""
    found = {
        (method, path): item["operationId"]
        for path, methods in api["paths"].items()
        for method, item in methods.items()
    }
    assert found == OPERATIONS


def test_everything_is_for_admins(api: dict[str, Any]) -> None:
    for name, operation in operations(api).items():
        if name == "getHealth":
            assert "security" not in operation
            continue
        assert operation["security"] == [{"bearer": []}], name
        assert operation["x-roles"] == ["admin"], name
        assert {"401", "403", "429"} <= set(operation["responses"]), name


def test_limits_are_those_of_the_product(api: dict[str, Any]) -> None:
    for methods in api["paths"].values():
        for method, operation in methods.items():
            if "security" in operation:
                wanted = 300 if method == "get" else 120
                assert operation["x-rate-limit"]["per_minute"] == wanted
                assert operation["x-csrf"] == (method != "get")


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_the_product_are_documented(api: dict[str, Any], name: str) -> None:
    assert ERRORS[name] <= set(operations(api)[name]["responses"])


def test_errors_are_problems(api: dict[str, Any]) -> None:
    for name, operation in operations(api).items():
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (name, status)
    assert "HTTPValidationError" not in api["components"]["schemas"]


def test_models_have_examples(api: dict[str, Any]) -> None:
    for name in (
        "Book", "BookWithWarnings", "StockedBook", "NewBook", "BookEdit", "Stock", "StockRow", "StockSetting",
        "StockAdjustment", "Movement", "OrderSummary", "OrderDetail", "NewStatus", "Summary", "WarningNote",
    ):  # fmt: skip
        assert "example" in api["components"]["schemas"][name], name


def test_printed_without_any_environment() -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; import runpy; "
         "runpy.run_module('admin.openapi', run_name='__main__')"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(result.stdout) == json.loads(document())
