"""Entity tags: what they tell apart, and what If-None-Match says of them."""

from __future__ import annotations

import pytest

from st8.core.ids import Key, Scope
from st8.http.etag import etag_of, matches, selection_tag
from st8.http.plans import Selection

ETAG = b'"a1"'

HEADERS = {
    "the tag": (b'"a1"', True),
    "another": (b'"a2"', False),
    "weak": (b'W/"a1"', True),
    "a list": (b'"x", "a1" , "y"', True),
    "a list without spaces": (b'"x","a1"', True),
    "a list of weak ones": (b'W/"x",W/"a1"', True),
    "a list without it": (b'"x", "y"', False),
    "a comma in a tag": (b'"x,y", "a1"', True),
    "the tag inside another": (b'"\\"a1\\""', False),
    "anything": (b"*", True),
    "anything with spaces": (b" * ", True),
    "anything in quotes": (b'"*"', False),
    "without quotes": (b"a1", False),
    "half a quote": (b'"a1', False),
    "nothing": (b"", False),
    "only the beginning": (b'"a"', False),
    "a small w": (b'w/"a1"', False),
    "a broken list": (b'"a1" "x"', False),
    "rubbish behind it": (b'"a1", x', False),
}


@pytest.mark.parametrize(("header", "expected"), HEADERS.values(), ids=HEADERS)
def test_headers_name_tags(header: bytes, expected: bool) -> None:
    """Lists, weak tags and ``*`` count; what can't be read counts for nothing."""
    assert expected == matches(header, ETAG)


def test_a_selection_has_a_tag_of_its_own() -> None:
    """Every part of a selection is told apart from every other."""
    selections = [
        Selection(),
        Selection(keys=(Key("a"),)),
        Selection(keys=(Key("a"), Key("b"))),
        Selection(keys=(Key("a,b"),)),
        Selection(prefix="a"),
        Selection(after="a"),
        Selection(limit=1),
        Selection(contents=False),
    ]

    assert len(selections) == len({selection_tag(s) for s in selections})


def test_empty_scopes_are_two_resources() -> None:
    """Where nothing was applied the scope is what tells states apart."""
    tag = selection_tag(Selection())
    scopes = [
        Scope.parse("a", "b"),
        Scope.parse("a/b", "main"),
        Scope.parse("a", "b/main"),
        Scope.parse("', '", "b"),
    ]

    assert len(scopes) == len({etag_of(None, scope, tag, 0) for scope in scopes})
