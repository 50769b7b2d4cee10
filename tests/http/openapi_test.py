"""The description of the API is complete, well-formed and true."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import schemathesis
from schemathesis.core.result import Ok

from st8.core.errors import CLASSES
from st8.http.openapi import document
from st8.http.operations import ALWAYS, EVERY_METHOD, OPERATIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http.asgi import Api

DOCUMENT = document("1.2.3")


def described(operation: Operation) -> dict[str, Any]:
    """Return what the document says of an operation."""
    method = "get" if operation.method == EVERY_METHOD else operation.method.lower()
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][method]
    return found


def walk(value: Any) -> Iterator[Any]:
    """Yield every object below ``value``."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def test_the_daemon_serves_it(api: Api) -> None:
    """What is served is the document, with the daemon's version."""
    answer = api.get("/openapi.json")

    assert json.loads(msgspec.json.encode(DOCUMENT)) == answer.json
    assert ("3.1.0", "1.2.3") == (
        answer.json["openapi"],
        answer.json["info"]["version"],
    )
    assert "application/json" == answer.headers["content-type"]


def test_links_lead_to_what_there_is() -> None:
    """Each names an operation, its parameters or fields, and fields of the answer."""
    schemas = DOCUMENT["components"]["schemas"]
    operations = {operation.name: operation for operation in OPERATIONS}
    links = 0
    for operation in OPERATIONS:
        done = described(operation)["responses"]["200"]
        for link in done.get("links", {}).values():
            target = described(operations[link["operationId"]])
            names = {parameter["name"] for parameter in target["parameters"]}
            asked = {**link.get("parameters", {}), **link.get("requestBody", {})}
            if "requestBody" in link:
                body = target["requestBody"]["content"]["application/json"]["schema"]
                names |= set(schemas[body["$ref"].rpartition("/")[2]]["properties"])
            answer = done["content"]["application/json"]["schema"]["$ref"]
            said = schemas[answer.rpartition("/")[2]]["properties"]
            used = re.findall(r"\$response\.body#/(\w+)", json.dumps(link))

            assert set(asked) <= names, link
            assert set(used) <= set(said), link
            links += 1

    assert links > 20


def test_an_integer_has_64_bits() -> None:
    """No larger one is described as what the daemon takes."""
    integers = [found for found in walk(DOCUMENT) if found.get("type") == "integer"]

    assert integers
    for found in integers:
        assert -(2**63) <= found["minimum"] <= found["maximum"] <= 2**63 - 1, found


def test_every_operation_is_in_it_and_nothing_else() -> None:
    """Paths and methods are those of the table."""
    expected = {(operation.path, operation.name) for operation in OPERATIONS}

    actual = {
        (path, operation["operationId"])
        for path, methods in DOCUMENT["paths"].items()
        for operation in methods.values()
    }

    assert expected == actual
    assert len(OPERATIONS) == len(expected)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_parameter_is_in_it(operation: Operation) -> None:
    """Each query parameter and header is described, with a type and a sentence."""
    expected = {f.encode_name for f in msgspec.structs.fields(operation.query)}
    if operation.idempotent:
        expected.add("Idempotency-Key")
    if operation.conditional:
        expected.add("If-None-Match")

    parameters = described(operation)["parameters"]

    assert expected == {parameter["name"] for parameter in parameters}
    for parameter in parameters:
        assert parameter["description"].endswith("."), parameter
        assert parameter["schema"].keys() & {"type", "enum", "anyOf"}, parameter


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_error_is_in_it(operation: Operation) -> None:
    """Each error class of an operation is under its status, with its code."""
    responses = described(operation)["responses"]

    for kind in operation.all_errors():
        response = responses[str(kind.http_status)]
        schema = response["content"]["application/problem+json"]["schema"]
        assert {"$ref": "#/components/schemas/Problem"} == schema["allOf"][0]
        assert kind.code in schema["allOf"][1]["properties"]["code"]["enum"]
        assert f"`{kind.code}`" in response["description"]


def test_every_error_of_the_api_is_in_it() -> None:
    """No code that a request can get is missing from the document."""
    codes = {
        code
        for value in walk(DOCUMENT["paths"])
        for code in value.get("properties", {}).get("code", {}).get("enum", ())
    }
    # No operation has these: they say that there is none, or are a client's own.
    others = {
        *("error", "invalid", "refused", "not_found"),
        *("route_not_found", "method_not_allowed"),
        *("nothing_applied", "unreachable", "timed_out"),
        *("state_directory_in_use", "newer_format"),
    }

    assert set(CLASSES) - others == codes


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_bodies_and_answers_are_described(operation: Operation) -> None:
    """A body is required where there is one, and every answer has a schema."""
    found = described(operation)

    takes = operation.body is not None or operation.upload is not None
    assert takes == ("requestBody" in found)
    assert (operation.verb == "open") == (found["security"] == [])
    assert found["summary"]
    success = found["responses"]["200"]["content"]
    assert all("schema" in media for media in success.values())
    assert operation.conditional == ("304" in found["responses"])
    assert set(ALWAYS) <= set(operation.all_errors())


def test_every_reference_leads_somewhere() -> None:
    """Each ``$ref`` names a schema that is there, and each schema is used."""
    used = {value["$ref"] for value in walk(DOCUMENT) if "$ref" in value}
    there = {
        f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]
    }

    assert there == used


def test_every_field_has_a_schema() -> None:
    """Objects describe their fields, and bodies take no other."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert "object" == schema["type"], name
        assert schema["description"], name
        if name.endswith("Body"):
            assert schema["additionalProperties"] is False, name


def test_the_document_is_openapi() -> None:
    """A reader of OpenAPI takes it, with every operation."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)

    taken = [isinstance(result, Ok) for result in schema.get_all_operations()]
    assert [True] * len(OPERATIONS) == taken
