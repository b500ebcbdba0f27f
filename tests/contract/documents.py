"""OpenAPI documents as contracts: does a recorded request fit one, and which answers does it promise?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bookstore_common.testing.http_stub import RecordedRequest
from jsonschema import Draft202012Validator, FormatChecker

# Of HTTP itself, of the client library, and of every call between services (SPEC 3, 5.1).
_USUAL_HEADERS = frozenset(
    {
        "host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length", "authorization",
        "x-request-id",
    }
)  # fmt: skip


class ContractError(AssertionError):
    """A request or an answer is not what the document says; the text says where."""


@dataclass(frozen=True)
class Operation:
    """One method of one path of a document."""

    document: Document
    method: str
    path: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        name: str = self.content["operationId"]
        return name

    def parameters(self, place: str) -> dict[str, Mapping[str, Any]]:
        """Parameters in path, query or header, by name; header names in lower case."""
        found = [item for item in self.content.get("parameters", []) if item["in"] == place]
        return {item["name"].lower() if place == "header" else item["name"]: item for item in found}

    def request_schema(self) -> Mapping[str, Any] | None:
        """Of the JSON body; None if there is none."""
        body = self.content.get("requestBody")
        return None if body is None else body["content"]["application/json"]["schema"]

    def success(self) -> int:
        """The lowest 2xx status that is documented, except that 201 goes before 200, which is then a repeat's."""
        statuses = [int(status) for status in self.content["responses"] if status.startswith("2")]
        return 201 if 201 in statuses else min(statuses)

    def answer_schema(self) -> Mapping[str, Any] | None:
        """Of the successful answer's body; None if it has none."""
        content = self.content["responses"][str(self.success())].get("content")
        return None if content is None else content["application/json"]["schema"]

    def example(self) -> Any:
        """The documented example of a successful answer; it fits its own schema. None if there is no body."""
        schema = self.answer_schema()
        if schema is None:
            return None
        example = self.document.example(schema)
        self.document.check(example, schema, f"example of {self.name}")
        return example


class Document:
    """An OpenAPI 3.1 document as ``python -m <service>.openapi`` prints it."""

    def __init__(self, text: str) -> None:
        self.content: dict[str, Any] = json.loads(text)

    def operations(self) -> Iterator[Operation]:
        for path, methods in self.content["paths"].items():
            for method, content in methods.items():
                yield Operation(self, method.upper(), path, content)

    def operation(self, method: str, path: str) -> Operation:
        """The operation that serves ``path``; a literal path goes before a template. Raises ContractError."""
        matching = [item for item in self.operations() if _pattern(item.path).fullmatch(path)]
        for operation in sorted(matching, key=lambda item: item.path.count("{")):
            if operation.method == method:
                return operation
        raise ContractError(f"{method} {path}: {self.content['info']['title']} serves no such operation")

    def named(self, name: str) -> Operation:
        return next(item for item in self.operations() if item.name == name)

    def schema(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The component that ``schema`` refers to, or ``schema`` itself."""
        reference = schema.get("$ref")
        found: Mapping[str, Any] = self.content["components"]["schemas"][reference.rsplit("/", 1)[1]] if reference else schema
        return found

    def example(self, schema: Mapping[str, Any]) -> Any:
        """The schema's own example; of a page, a page of its item's."""
        component = self.schema(schema)
        if "example" in component:
            return component["example"]
        if {"items", "page", "pages"} <= set(component.get("properties", {})):
            item = self.example(component["properties"]["items"]["items"])
            return {"items": [item], "page": 1, "size": 12, "total": 1, "pages": 1}
        raise ContractError(f"{component.get('title', schema)}: no example")

    def check(self, value: Any, schema: Mapping[str, Any], what: str) -> None:
        """Raise ContractError unless ``value`` fits ``schema``."""
        errors = list(self._validator(schema).iter_errors(value))
        if errors:
            raise ContractError(f"{what}: " + "; ".join(f"{error.json_path}: {error.message}" for error in errors))

    def accept(self, request: RecordedRequest) -> Operation:
        """The operation that ``request`` fits in path, query, headers, token and body. Raises ContractError."""
        operation = self.operation(request.method, request.path)
        what = f"{request.method} {request.path} ({operation.name})"
        if operation.content.get("security") and not request.headers.get("authorization", "").startswith("Bearer "):
            raise ContractError(f"{what}: no token")
        values = _pattern(operation.path).fullmatch(request.path)
        self._check_parameters(operation.parameters("path"), {} if values is None else values.groupdict(), what)
        self._check_parameters(operation.parameters("query"), {name: text for name, [text] in request.query.items()}, what)
        headers = {name: text for name, text in request.headers.items() if name not in _USUAL_HEADERS}
        self._check_parameters(operation.parameters("header"), headers, what)
        schema = operation.request_schema()
        if schema is None:
            if request.body:
                raise ContractError(f"{what}: a body that is not documented")
        else:
            if request.headers.get("content-type") != "application/json":
                raise ContractError(f"{what}: content-type {request.headers.get('content-type')}")
            self.check(request.json(), schema, f"{what}, body")
        return operation

    def _check_parameters(self, known: Mapping[str, Mapping[str, Any]], sent: Mapping[str, str], what: str) -> None:
        for name, text in sent.items():
            if name not in known:
                raise ContractError(f"{what}: parameter {name} is not documented")
            validator = self._validator(known[name]["schema"])
            if not any(validator.is_valid(value) for value in _readings(text)):
                raise ContractError(f"{what}: parameter {name} may not be {text!r}")
        missing = [name for name, item in known.items() if item.get("required") and name not in sent]
        if missing:
            raise ContractError(f"{what}: lacks {', '.join(missing)}")

    def _validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        root = {"allOf": [schema], "components": self.content["components"]}
        return Draft202012Validator(root, format_checker=FormatChecker())


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(f"(?P<{part}>[^/]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts)))


def _readings(text: str) -> Iterator[Any]:
    """What a parameter's text may mean."""
    yield text
    if re.fullmatch(r"-?[0-9]+", text):
        yield int(text)
    if text in {"true", "false"}:
        yield text == "true"
