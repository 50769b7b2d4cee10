"""Makes the page at ``/docs`` from the description of the API."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from st8.core import errors
from st8.core.limits import ALL as ALL_LIMITS
from st8.http.operations import ALWAYS, EVERY_METHOD, OPERATIONS, Operation
from st8.http.page.examples import EXAMPLES
from st8.http.page.markup import code, element, joined, link, prose, render
from st8.http.page.schemas import (
    field_table,
    names_within,
    parameter_table,
    resolved,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from st8.core.errors import St8Error
    from st8.http.page.markup import Child, Element

__all__ = ["DocsPage", "make_page"]

_ALLOWED: Final = {
    "open": "open to everybody",
    "read": "needs read",
    "write": "needs write",
    "admin": "needs admin",
}
_BASICS: Final = """\
Success is 200 with JSON. Everything else is a problem as RFC 9457 has it, with a
stable `code` and, in `detail`, one sentence that says what was wrong and what would be
right.

Fields and parameters are optional unless they are marked. An unknown one is refused.
Where an answer has a `next`, pass it as `after` for what follows.

A revision is named by its number; by a negative number, counted from the head; by a
checkpoint; or by a time. A scope is a namespace and a branch: `default` and `main`
where nothing is said.

The examples want the daemon's address in `ST8_SERVER`, and in `ST8_TOKEN` a token, if
the daemon asks for one. They are about the namespace `shop/prod`."""


class DocsPage(NamedTuple):
    """The page, ready to be sent.

    Attributes:
        body: Its bytes.
        headers: What it needs beside the headers of every response.
    """

    body: bytes
    headers: list[tuple[bytes, bytes]]


def make_page(description: dict[str, Any]) -> DocsPage:
    """Return the page for the API that an OpenAPI ``description`` describes.

    No script runs on it, nothing is loaded from elsewhere, and the one style that
    counts is its own: its policy names that style's digest.
    """
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    ]
    return DocsPage(render(_page(description, style)).encode(), headers)


def _page(description: dict[str, Any], style: str) -> Element:
    schemas: dict[str, Any] = description["components"]["schemas"]
    operations = [_operation(operation, description) for operation in OPERATIONS]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "st8: the HTTP API"),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    )
    main = element(
        "main",
        _introduction(description),
        *operations,
        _objects(schemas),
        _errors(),
        _limits(),
    )
    body = element("body", _navigation(description), main)
    return element("html", head, body, lang="en")


def _navigation(description: dict[str, Any]) -> Element:
    """Return the list of what is on the page."""
    entries = [
        element(
            "li",
            link(
                f"#{operation.name}",
                _method(operation),
                " ",
                element("span", operation.path.removeprefix("/v1"), class_="path"),
            ),
        )
        for operation in OPERATIONS
    ]
    others = [
        element("li", link(f"#{name}", title))
        for name, title in (
            ("objects", "Objects"),
            ("errors", "Errors"),
            ("limits", "Limits"),
        )
    ]
    return element(
        "nav",
        element("p", link("#top", "st8"), class_="brand"),
        element("p", f"version {description['info']['version']}", class_="quiet"),
        element("ul", *entries),
        element("ul", *others),
        **{"aria-label": "Contents"},
    )


def _introduction(description: dict[str, Any]) -> Element:
    texts = [element("p", *prose(text)) for text in _BASICS.split("\n\n")]
    always = joined((_error_link(kind) for kind in ALWAYS), ", ")
    return element(
        "header",
        element("h1", "The HTTP API"),
        element("p", description["info"]["description"], class_="lead"),
        *texts,
        element("p", "Any request may be answered with ", *always, "."),
        element(
            "p", "For programs: ", link("openapi.json", "openapi.json"), " (OpenAPI)."
        ),
        id="top",
    )


def _operation(operation: Operation, description: dict[str, Any]) -> Element:
    method = "get" if operation.method == EVERY_METHOD else operation.method.lower()
    described: dict[str, Any] = description["paths"][operation.path][method]
    schemas: dict[str, Any] = description["components"]["schemas"]
    title = element(
        "h2",
        _method(operation),
        " ",
        element("span", operation.path, class_="path"),
        element("span", _ALLOWED[operation.verb], class_=f"verb {operation.verb}"),
    )
    words = element(
        "div",
        element("p", operation.summary, ".", class_="lead"),
        *(
            [element("p", *prose(operation.description))]
            if operation.description
            else []
        ),
        *_asked(described, schemas),
        *_answered(described, schemas),
        *_refused(operation),
        class_="words",
    )
    return element(
        "section", title, words, *_example(operation), id=operation.name, class_="split"
    )


def _asked(described: dict[str, Any], schemas: dict[str, Any]) -> list[Element]:
    """Return what a request may have: parameters, headers and the fields of a body."""
    found: list[Element] = []
    if described["parameters"]:
        found += (
            element("h3", "Parameters"),
            parameter_table(described["parameters"]),
        )
    if "requestBody" in described:
        found.append(element("h3", "Body"))
        ((media, content),) = described["requestBody"]["content"].items()
        if media != "application/json":
            found.append(element("p", *prose(f"`{media}`, of any length.")))
            return found
        body = resolved(content["schema"], schemas)
        found += (
            element("p", *prose(body["description"])),
            field_table(body, schemas, asked=True),
        )
    return found


def _answered(described: dict[str, Any], schemas: dict[str, Any]) -> list[Element]:
    """Return what comes back when all is well."""
    ((media, content),) = described["responses"]["200"]["content"].items()
    schema = resolved(content["schema"], schemas)
    found = [element("h3", "Answer")]
    if schema is content["schema"]:
        found.append(element("p", code(media), "."))
    else:
        found.append(element("p", *prose(schema["description"])))
    if "properties" in schema:
        found.append(field_table(schema, schemas, asked=False))
    if "304" in described["responses"]:
        found.append(
            element("p", "304 without a body, if what the client has still holds.")
        )
    return found


def _refused(operation: Operation) -> list[Element]:
    """Return what may be answered instead, beside what any request may be."""
    kinds = [kind for kind in operation.all_errors() if kind not in ALWAYS]
    if not kinds:
        return []
    links = joined((_error_link(kind) for kind in dict.fromkeys(kinds)), ", ")
    return [element("h3", "Errors"), element("p", *links, class_="errors")]


def _example(operation: Operation) -> list[Element]:
    example = EXAMPLES.get(operation.name)
    if example is None:
        return []
    method = "GET" if operation.method == EVERY_METHOD else operation.method
    return [
        element(
            "div",
            element("pre", code(example.curl(method)), tabindex="0"),
            element("pre", code(example.answer), class_="answer", tabindex="0"),
            class_="example",
        )
    ]


def _objects(schemas: dict[str, Any]) -> Element:
    """Return the objects that stand in others."""
    within = {name for schema in schemas.values() for name in names_within(schema)}
    parts: list[Child] = [element("h2", "Objects")]
    for name, schema in schemas.items():
        if name not in within and name != "Problem":
            continue
        parts += (
            element("h3", title_of(name), id=f"object-{name}"),
            element("p", *prose(schema["description"])),
            field_table(schema, schemas, asked=name.endswith("Body")),
        )
    return element("section", *parts, id="objects")


def _errors() -> Element:
    """Return every error of the API."""
    rows = [
        element(
            "tr",
            element("td", code(name), id=f"error-{name}"),
            element("td", str(kind.http_status)),
            element("td", "yes" if kind.retryable else ""),
            element("td", *prose((kind.__doc__ or kind.title).partition("\n")[0])),
        )
        for name, kind in errors.CLASSES.items()
    ]
    return _list_section(
        "errors",
        "Errors",
        "What may be tried again as it was is marked; after the others something has "
        "to change first.",
        ("code", "status", "again", "meaning"),
        rows,
    )


def _limits() -> Element:
    """Return every limit of the API."""
    rows = [
        element(
            "tr",
            element("td", code(limit.name)),
            element("td", f"{limit.maximum:,}"),
            element("td", *prose(limit.reason)),
        )
        for limit in ALL_LIMITS
    ]
    return _list_section(
        "limits",
        "Limits",
        "What is over one is refused with its name and its number.",
        ("limit", "number", "reason"),
        rows,
    )


def _list_section(
    name: str, title: str, text: str, heads: tuple[str, ...], rows: Iterable[Element]
) -> Element:
    head = element("tr", *(element("th", head) for head in heads))
    table = element("table", element("thead", head), element("tbody", *rows))
    return element(
        "section",
        element("h2", title),
        element("p", text),
        element("div", table, class_="wide"),
        id=name,
    )


def _method(operation: Operation) -> Element:
    name = "any" if operation.method == EVERY_METHOD else operation.method
    return element("span", name, class_=f"method {name.lower()}")


def _error_link(kind: type[St8Error]) -> Element:
    return link(f"#error-{kind.code}", code(kind.code))
