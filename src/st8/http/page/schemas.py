"""Schemas of the description of the API, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from st8.http.page.markup import code, element, joined, link, prose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from st8.http.page.markup import Child, Element

__all__ = ["field_table", "names_within", "parameter_table", "resolved", "title_of"]

_REFERENCE: Final = "#/components/schemas/"
_NULL: Final = {"type": "null"}
_WORDS: Final = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}


def resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference leads to; a schema that is none is returned itself."""
    name = _name(schema)
    found: dict[str, Any] = schema if name is None else schemas[name]
    return found


def names_within(schema: object) -> Iterator[str]:
    """Yield the name of every schema that ``schema`` refers to."""
    if isinstance(schema, dict):
        for key, value in cast("dict[str, object]", schema).items():
            if key == "$ref":
                yield str(value).removeprefix(_REFERENCE)
            else:
                yield from names_within(value)
    elif isinstance(schema, list):
        for value in cast("list[object]", schema):
            yield from names_within(value)


def _name(schema: dict[str, Any]) -> str | None:
    """Return the name that a reference gives, None for a schema that is none."""
    reference: str | None = schema.get("$ref")
    return None if reference is None else reference.removeprefix(_REFERENCE)


def title_of(name: str) -> str:
    """Return what people call a schema: ``Scope`` for ``ScopeBody``."""
    return name.removesuffix("Body").removesuffix("Info")


def type_of(schema: dict[str, Any]) -> list[Child]:
    """Return what a value may be, in words, with links to objects."""
    name = _name(schema)
    if name is not None:
        return [link(f"#object-{name}", title_of(name))]
    if "enum" in schema:
        return joined((code(str(value)) for value in schema["enum"]), " | ")
    if "anyOf" in schema:
        kinds = [element("span", *type_of(choice)) for choice in schema["anyOf"]]
        return joined(kinds, " or ")
    if schema.get("type") == "array":
        return ["list of ", *type_of(schema["items"])]
    if isinstance(schema.get("additionalProperties"), dict):
        return ["object of ", *type_of(schema["additionalProperties"])]
    return [_WORDS.get(schema.get("type", ""), "anything")]


def field_table(
    schema: dict[str, Any], schemas: dict[str, Any], *, asked: bool
) -> Element:
    """Return the fields of an object.

    Args:
        schema: The object's.
        schemas: Every schema by its name.
        asked: True for what clients send, where null stands for "not given" and a
            field may be required.
    """
    required = set(schema.get("required", ())) if asked else set[str]()
    rows = [
        _row(
            name,
            _without_null(field) if asked else field,
            _description(field, schemas),
            required=name in required,
        )
        for name, field in schema.get("properties", {}).items()
    ]
    return _table("field", rows)


def parameter_table(parameters: Iterable[dict[str, Any]]) -> Element:
    """Return the parameters of a query and the headers that count."""
    rows = [
        _row(
            parameter["name"],
            parameter["schema"],
            parameter["description"],
            note="header" if parameter["in"] == "header" else "",
        )
        for parameter in parameters
    ]
    return _table("parameter", rows)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that may be null without that choice."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != _NULL]
    if len(choices) != 1:
        return schema
    outer = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**choices[0], **outer}


def _description(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return what is said of a value, or else of what it refers to or holds."""
    found: str = resolved(schema, schemas).get("description", "")
    if found:
        return found
    inner = [*schema.get("anyOf", ())]
    if "items" in schema:
        inner.append(schema["items"])
    return next(filter(None, (_description(part, schemas) for part in inner)), "")


def _row(
    name: str,
    schema: dict[str, Any],
    description: str,
    *,
    required: bool = False,
    note: str = "",
) -> Element:
    kind = element("span", *type_of(schema), class_="type")
    head = element("td", code(name), " ", kind)
    if required:
        head.append(element("span", "required", class_="required"))
    if note:
        head.append(element("span", note, class_="note"))
    return element("tr", head, element("td", *prose(description)))


def _table(first: str, rows: Iterable[Element]) -> Element:
    head = element("tr", element("th", first), element("th", "meaning"))
    return element("table", element("thead", head), element("tbody", *rows))
