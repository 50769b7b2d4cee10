"""The table of operations as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from st8.core import limits
from st8.core.errors import LimitExceeded, St8Error
from st8.http.links import links_of
from st8.http.operations import EVERY_METHOD, OPERATIONS, Operation
from st8.http.shapes import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["document"]

_REFS: Final = "#/components/schemas/{name}"
_PROBLEM: Final = "application/problem+json"

_INTEGER: Final = {
    "format": "int64",
    "minimum": -(1 << (limits.JSON_INTEGER_BITS.maximum - 1)),
    "maximum": (1 << (limits.JSON_INTEGER_BITS.maximum - 1)) - 1,
}
_ETAG_HEADER: Final = {
    "description": "Strong; from the revision and the selection.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name for this change, 1 to "
    f"{limits.IDEMPOTENCY_KEY_BYTES.maximum} printable ASCII characters. The same key "
    "with the same request within a day answers the same, and is done once.",
    "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The ETag that the client has; 304 if it still holds.",
    "schema": {"type": "string"},
}


def document(version: str) -> dict[str, Any]:
    """Return the description of the API that a daemon of ``version`` serves."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        method = "get" if operation.method == EVERY_METHOD else operation.method.lower()
        path = paths.setdefault(operation.path, {})
        path[method] = _operation(operation, schemas)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "st8",
            "version": version,
            "description": "Versioned configuration and operational state.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    _bound(described)
    return described


def _bound(described: object) -> None:
    """Say of every integer in a description that it has 64 bits."""
    if isinstance(described, list):
        for each in cast("list[object]", described):
            _bound(each)
    elif isinstance(described, dict):
        fields = cast("dict[str, object]", described)
        for each in fields.values():
            _bound(each)
        if fields.get("type") == "integer":
            for name, value in _INTEGER.items():
                fields.setdefault(name, value)


def _schemas() -> dict[str, Any]:
    """Return the schema of every body and answer, by name."""
    kinds: list[type[msgspec.Struct]] = [Problem]
    for operation in OPERATIONS:
        if operation.body is not None:
            kinds.append(operation.body)
        if not isinstance(operation.answer, str):
            kinds.append(operation.answer)
    _, schemas = msgspec.json.schema_components(
        dict.fromkeys(kinds), ref_template=_REFS
    )
    return schemas


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.verb],
        "parameters": _parameters(operation),
        "responses": {**_success(operation), **_failures(operation.all_errors())},
        "security": [] if operation.verb == "open" else [{"token": []}],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "description": schemas[operation.body.__name__].get("description", ""),
            "content": {
                "application/json": {"schema": _reference(operation.body.__name__)}
            },
        }
    if operation.upload is not None:
        described["requestBody"] = {
            "required": True,
            "content": {operation.upload: {"schema": {"type": "string"}}},
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    """Return the query parameters and headers of an operation."""
    (_,), components = msgspec.json.schema_components(
        [operation.query], ref_template=_REFS
    )
    found: list[dict[str, Any]] = []
    for name, schema in components[operation.query.__name__]["properties"].items():
        described = dict(schema)
        found.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": described.pop("description", ""),
                "schema": described,
            }
        )
    if operation.idempotent:
        found.append(_IDEMPOTENCY_KEY)
    if operation.conditional:
        found.append(_IF_NONE_MATCH)
    return found


def _success(operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    if isinstance(answer, str):
        schema = {"type": "object" if answer.endswith("json") else "string"}
        content = {answer: {"schema": schema}}
    else:
        content = {"application/json": {"schema": _reference(answer.__name__)}}
    done: dict[str, Any] = {"description": "Done.", "content": content}
    if links := links_of(operation.name):
        done["links"] = links
    if not operation.conditional:
        return {"200": done}
    done["headers"] = {"ETag": _ETAG_HEADER}
    return {
        "200": done,
        "304": {
            "description": "What the client has still holds.",
            "headers": {"ETag": _ETAG_HEADER},
        },
    }


def _failures(kinds: Iterable[type[St8Error]]) -> dict[str, Any]:
    """Return the error responses, those of one status together."""
    by_status: dict[int, list[type[St8Error]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.http_status, []).append(kind)
    return {
        str(status): {
            "description": " ".join(_described(kind) for kind in group),
            "content": {_PROBLEM: {"schema": _problem_schema(group)}},
        }
        for status, group in sorted(by_status.items())
    }


def _described(kind: type[St8Error]) -> str:
    summary = (kind.__doc__ or kind.title).partition("\n")[0]
    return f"`{kind.code}`: {summary}"


def _problem_schema(group: list[type[St8Error]]) -> dict[str, Any]:
    """Return the schema of a problem that is one of ``group``."""
    properties: dict[str, Any] = {"code": {"enum": [kind.code for kind in group]}}
    if any(issubclass(kind, LimitExceeded) for kind in group):
        properties["limit"] = {
            "type": "string",
            "enum": sorted(limit.name for limit in limits.ALL),
        }
        properties["maximum"] = {"type": "integer"}
    return {"allOf": [_reference("Problem"), {"properties": properties}]}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _REFS.format(name=name)}
