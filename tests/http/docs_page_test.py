"""The page at /docs: all of the API, readable anywhere, and nothing that runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.errors import CLASSES
from st8.core.limits import ALL as ALL_LIMITS
from st8.http.openapi import document
from st8.http.operations import EVERY_METHOD, OPERATIONS, Operation
from st8.http.page import make_page
from st8.http.page.examples import EXAMPLES
from st8.http.page.markup import element, prose, render

if TYPE_CHECKING:
    from tests.http.asgi import Answer, Api

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.styles = ""
        self.words: dict[str, str] = {}
        self._open: list[str] = []
        self._section = ""
        self.feed(text)
        self.close()
        assert [] == self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= given.keys()
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag == "section":
            self._section = given["id"] or ""
        self.targets += [
            given[name] or "" for name in ("href", "src", "action") if name in given
        ]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        """Note a text, under the section it stands in."""
        if self._open[-1:] == ["style"]:
            self.styles += data
        self.words[self._section] = self.words.get(self._section, "") + data


@pytest.fixture
def served(api: Api) -> Answer:
    """The page as a daemon serves it."""
    return api.get("/docs")


@pytest.fixture
def page(served: Answer) -> Page:
    """The page, read."""
    return Page(served.body.decode())


def test_everybody_may_read_it(guarded: Api) -> None:
    """It needs no token, and says nothing of the state."""
    guarded.apply({"secret-key": "secret-content"}, message="secret-message")

    answer = guarded.get("/docs", authorization="")

    assert 200 == answer.status
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert b"secret" not in answer.body.replace(b"secrets", b"")


def test_it_is_made_once(api: Api) -> None:
    """Asking again answers the same bytes, which were kept."""
    assert api.get("/docs").body == api.get("/docs").body
    assert api.app.service.docs is api.app.service.docs


def test_nothing_on_it_runs_or_comes_from_elsewhere(served: Answer, page: Page) -> None:
    """No script, no handler, no other host; and its policy would allow none."""
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in served.headers["content-security-policy"].split(";")
    )
    digest = base64.b64encode(hashlib.sha256(page.styles.encode()).digest()).decode()

    assert "'none'" == policy["default-src"]
    assert f"'sha256-{digest}'" == policy["style-src"]
    assert {"default-src", "style-src", "img-src", "base-uri", "form-action"} | {
        "frame-ancestors"
    } == set(policy)
    assert set() == page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert set() == {name for name in page.attributes if name.startswith("on")}
    assert "style" not in page.attributes
    assert {"openapi.json", "data:,"} == {
        target for target in page.targets if not target.startswith("#")
    }
    assert None is re.search(r"url\(|@import|https?:", page.styles)
    assert "nosniff" == served.headers["x-content-type-options"]


def test_links_lead_somewhere(page: Page) -> None:
    """Each link within the page has its target, and no target is there twice."""
    targets = {target[1:] for target in page.targets if target.startswith("#")}

    assert set() == targets - set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_operation_is_on_it(operation: Operation, page: Page) -> None:
    """Path, permission, parameters, fields, answer, errors and example are there."""
    words = page.words[operation.name]
    described = document("1.2.3")
    method = "get" if operation.method == EVERY_METHOD else operation.method.lower()
    schemas = described["components"]["schemas"]
    entry: dict[str, Any] = described["paths"][operation.path][method]
    expected = {operation.path, operation.summary, operation.verb}
    expected |= {parameter["name"] for parameter in entry["parameters"]}
    expected |= {kind.code for kind in operation.errors}
    for kind in (operation.body, operation.answer):
        if kind is not None and not isinstance(kind, str):
            expected |= schemas[kind.__name__]["properties"].keys()

    assert set() == {text for text in expected if text not in words}
    assert EXAMPLES[operation.name].curl(operation.method) in words
    assert EXAMPLES[operation.name].answer in words


def test_every_error_and_limit_is_on_it(page: Page) -> None:
    """The lists at the end are whole."""
    errors, limits = page.words["errors"], page.words["limits"]

    assert [] == [code for code in CLASSES if code not in errors]
    assert [] == [limit.name for limit in ALL_LIMITS if limit.name not in limits]


def test_every_operation_has_an_example() -> None:
    """No example is missing, and none is of an operation that is not there."""
    assert {operation.name for operation in OPERATIONS} == set(EXAMPLES)


def test_examples_are_answered_as_shown(api: Api) -> None:
    """Sent in their order, the examples have the answers that stand beside them."""
    api.apply({"limits.json": "100"}, scope={"namespace": "shop/prod"})
    methods = {operation.name: operation.method for operation in OPERATIONS}
    for name, example in EXAMPLES.items():
        if name == "watch":  # has no end; watch_test.py compares it
            continue
        if "backup" in name:  # is no text; backups_test.py compares it
            continue
        method = "GET" if methods[name] == EVERY_METHOD else methods[name]
        body = example.body.encode() if example.body else None
        answer = api.call(method, example.target, body)
        shown, actual = example.answer, answer.body.decode()
        assert 200 == answer.status, (name, actual)
        if shown.endswith("…") or not shown.startswith("{"):
            assert actual.startswith(shown.removesuffix("…")), name
        else:
            assert shown.endswith("}")
            _compare(json.loads(shown), json.loads(actual))


def _compare(shown: Any, actual: Any, name: str = "") -> None:
    """Compare what is shown with what came, digests of revisions and times apart."""
    if isinstance(shown, dict):
        assert shown.keys() == actual.keys()
        for key, value in shown.items():
            _compare(value, actual[key], key)
    elif isinstance(shown, list):
        assert len(shown) == len(actual)
        for one, other in zip(shown, actual, strict=True):
            _compare(one, other, name)
    elif name not in {"created_at", "digest", "head_digest"}:
        if isinstance(shown, str) and shown.endswith("…"):
            shown, actual = shown[:-1], actual[: len(shown) - 1]
        assert shown == actual, name


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_commands_send_the_examples(operation: Operation) -> None:
    """Pasted into a shell, a command sends the example: address, token and body."""
    example = EXAMPLES[operation.name]
    words = shlex.split(example.curl(operation.method).replace("\\\n", ""))

    assert "curl" == words[0]
    assert f"$ST8_SERVER{example.target}" in words
    assert "Authorization: Bearer $ST8_TOKEN" in words
    assert (example.body in words) == bool(example.body)
    sent = "POST" if example.body else "GET"
    if "-X" in words:
        sent = words[words.index("-X") + 1]
    assert operation.method in {sent, EVERY_METHOD}


def test_text_never_becomes_markup() -> None:
    """What a description says is shown as it is, markup included."""
    hostile = document("<script>alert(1)</script>")
    hostile["info"]["description"] = '"><img src=x onerror=alert(1)> &amp; `<b>`'

    page = Page(make_page(hostile).body.decode())

    assert set() == page.tags & {"script", "img", "b"}
    assert '"><img src=x onerror=alert(1)> &amp; `<b>`' in page.words[""]


def test_backticks_make_code() -> None:
    """One or two backticks around a text make it code, and white space is plain."""
    text = "a `b` and\n   ``c``, not ` alone"

    assert (
        "<!doctype html>\n<p>a <code>b</code> and <code>c</code>, not ` alone</p>"
        == render(element("p", *prose(text)))
    )
