"""The documents from which clients are generated, and answers that keep to them."""

import json
import subprocess
import sys
from typing import Any, Literal

import pytest

from inventory.openapi import document


def api(listener: Literal["public", "internal"]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(document(listener))
    return loaded


def operations(listener: Literal["public", "internal"]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in api(listener)["paths"].items()
        for method, operation in methods.items()
    }


def test_operation_ids_are_stable() -> None:
    """A changed id renames a function in every generated client."""
    assert {path: operation["operationId"] for path, operation in operations("public").items()} == {
        "GET /inven/health": "getHealth",
        "GET /inven/stock/bulk": "getStockOfMany",
        "GET /inven/stock/{book_id}": "getStock",
    }
    assert {path: operation["operationId"] for path, operation in operations("internal").items()} == {
        "POST /internal/reservations": "reserve",
        "GET /internal/reservations/{order_id}": "getReservation",
        "DELETE /internal/reservations/{order_id}": "release",
        "GET /internal/admin/stock": "listStock",
        "GET /internal/admin/stock/{book_id}": "getStockForAdmin",
        "PUT /internal/admin/stock/{book_id}": "setStock",
        "POST /internal/admin/stock/{book_id}/adjust": "adjustStock",
        "GET /internal/admin/stock/{book_id}/movements": "listStockMovements",
    }


@pytest.mark.parametrize("listener", ["public", "internal"])
def test_errors_are_problems(listener: Literal["public", "internal"]) -> None:
    for path, operation in operations(listener).items():
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (path, status)
    assert "HTTPValidationError" not in api(listener)["components"]["schemas"]


def test_stated_errors() -> None:
    """The further errors of SPEC 5.4's table, and those that every operation of its kind has."""
    stated = {name: set(operation["responses"]) for name, operation in operations("internal").items()}
    assert {"201", "200", "409", "422", "503"} <= stated["POST /internal/reservations"]
    assert {"200", "404"} <= stated["GET /internal/reservations/{order_id}"]
    assert {"204", "409"} <= stated["DELETE /internal/reservations/{order_id}"]
    assert {"200", "409", "412", "422", "428"} <= stated["PUT /internal/admin/stock/{book_id}"]
    assert {"200", "404", "409", "422"} <= stated["POST /internal/admin/stock/{book_id}/adjust"]
    assert {"200", "404"} <= stated["GET /internal/admin/stock/{book_id}/movements"]
    assert all({"401", "403"} <= statuses for statuses in stated.values())
    assert "404" in operations("public")["GET /inven/stock/{book_id}"]["responses"]
    assert all("security" not in operation for operation in operations("public").values())


@pytest.mark.parametrize("listener", ["public", "internal"])
def test_models_have_examples(listener: Literal["public", "internal"]) -> None:
    ours = {"Stock", "AdminStock", "Movement", "StockSetting", "StockAdjustment", "Reservation", "ReservationRequest"}
    schemas = api(listener)["components"]["schemas"]
    assert {name for name in schemas if name in ours} == ({"Stock"} if listener == "public" else ours - {"Stock"})
    for name in set(schemas) & ours:
        assert "example" in schemas[name], name


def test_every_operation_is_described() -> None:
    for listener in ("public", "internal"):
        for path, operation in operations(listener).items():
            assert operation["summary"], path


@pytest.mark.parametrize("arguments", [[], ["public"], ["internal"]])
def test_printed_without_any_environment(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; import runpy; "
         f"sys.argv[1:] = {arguments!r}; runpy.run_module('inventory.openapi', run_name='__main__', alter_sys=True)"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(result.stdout) == api("internal" if arguments == ["internal"] else "public")
