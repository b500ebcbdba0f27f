"""Whatever anybody sends: no 5xx, and every answer is one that the OpenAPI document promises (issue 4, "Bad input").

Requests are generated from the documents, well-formed and malformed ones, the same in every run. They go to real processes
(stack.py) with a token that may call the operation, so that the input is what is refused and not the caller.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from admin.openapi import document as admin_document
from bookstore_common.testing.postgres import Postgres, postgres
from bookstore_common.testing.redis import RedisServer, _redis_process
from bookstore_common.testing.tokens import Issuer, _issuer
from ecom.openapi import document as ecom_document
from inventory.openapi import document as inventory_document
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.stack import Stack, running

__all__ = ["_issuer", "_redis_process", "postgres"]

EXAMPLES = 25
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance,
    ignored_auth, negative_data_rejection,
]  # fmt: skip


@pytest.fixture(scope="module")
def stack(postgres: Postgres, _redis_process: RedisServer, _issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    _redis_process.flush()
    _issuer.reset()
    with running(postgres, _redis_process, _issuer, tmp_path_factory.mktemp("logs")) as stack:
        yield stack


@pytest.fixture(scope="module")
def csrf(stack: Stack) -> str:
    return stack.csrf()


def schema(text: str) -> schemathesis.BaseSchema:
    """The document, to generate from; the security scheme is ours to fill."""
    config = SchemathesisConfig(seed=4)
    config.projects.default.generation.update(max_examples=EXAMPLES, deterministic=True, with_security_parameters=False, database="none")
    return schemathesis.openapi.from_dict(json.loads(text), config=config)


ecom_public, ecom_internal = schema(ecom_document("public")), schema(ecom_document("internal"))
inventory_public, inventory_internal = schema(inventory_document("public")), schema(inventory_document("internal"))
admin_public = schema(admin_document())


def check(case: schemathesis.Case[Any], stack: Stack, csrf: str, service: str, listener: str) -> None:
    """A new customer or administrator each time: rate limits are counted by person."""
    headers = stack.headers(case.operation.definition.raw, str(uuid.uuid4()), csrf)
    case.call_and_validate(base_url=stack.urls[service, listener], headers=headers, checks=CHECKS, timeout=20)


@ecom_public.parametrize()
def test_ecom_public(case: schemathesis.Case[Any], stack: Stack, csrf: str) -> None:
    check(case, stack, csrf, "ecom", "public")


@ecom_internal.parametrize()
def test_ecom_internal(case: schemathesis.Case[Any], stack: Stack, csrf: str) -> None:
    check(case, stack, csrf, "ecom", "internal")


@inventory_public.parametrize()
def test_inventory_public(case: schemathesis.Case[Any], stack: Stack, csrf: str) -> None:
    check(case, stack, csrf, "inventory", "public")


@inventory_internal.parametrize()
def test_inventory_internal(case: schemathesis.Case[Any], stack: Stack, csrf: str) -> None:
    check(case, stack, csrf, "inventory", "internal")


@admin_public.parametrize()
def test_admin_public(case: schemathesis.Case[Any], stack: Stack, csrf: str) -> None:
    check(case, stack, csrf, "admin", "public")
