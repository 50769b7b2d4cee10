"""Strict query strings: what is taken, and what is refused with which words."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.errors import (
    InvalidInput,
    InvalidValue,
    LimitExceeded,
    MalformedRequest,
    St8Error,
    UnknownField,
)
from st8.http.queries import LogQuery, NoQuery, StateQuery
from st8.http.query_string import QueryParser

STATE = QueryParser(StateQuery, "the query of GET /v1/state")
LOG = QueryParser(LogQuery, "the query of GET /v1/log")

TAKEN = {
    "nothing": (b"", StateQuery()),
    "only separators": (b"&&", StateQuery()),
    "a name without a value": (b"prefix", StateQuery(prefix="")),
    "an empty value": (b"namespace=", StateQuery()),
    "an escape": (b"namespace=a%2Fb", StateQuery(namespace="a/b")),
    "small hexadecimal digits": (b"namespace=a%2fb", StateQuery(namespace="a/b")),
    "a plus": (b"prefix=a+b", StateQuery(prefix="a b")),
    "an escaped plus": (b"prefix=a%2Bb", StateQuery(prefix="a+b")),
    "an escaped name": (b"pre%66ix=a", StateQuery(prefix="a")),
    "an equals sign": (b"prefix=a=b", StateQuery(prefix="a=b")),
    "a semicolon": (b"prefix=a;limit=1", StateQuery(prefix="a;limit=1")),
    "UTF-8": (b"prefix=%C3%A4", StateQuery(prefix="ä")),
    "UTF-8 as it is": ("prefix=ä".encode(), StateQuery(prefix="ä")),
    "a list": (b"key=a&limit=2&key=b", StateQuery(key=["a", "b"], limit=2)),
    "a negative number": (b"revision=-1", StateQuery(revision=-1)),
    "the largest number": (
        b"revision=9223372036854775807",
        StateQuery(revision=2**63 - 1),
    ),
    "a flag": (b"contents=false", StateQuery(contents=False)),
}


@pytest.mark.parametrize(("query", "expected"), TAKEN.values(), ids=TAKEN)
def test_queries_are_read(query: bytes, expected: StateQuery) -> None:
    """A well-formed query gives what it says."""
    assert expected == STATE.parse(query)


REFUSED: dict[str, tuple[bytes, type[St8Error], str]] = {
    "invalid UTF-8": (b"key=%ff%fe", MalformedRequest, "not valid UTF-8"),
    "raw bytes": (b"key=\xff", MalformedRequest, "not valid UTF-8"),
    "an overlong slash": (b"key=%c0%af", MalformedRequest, "not valid UTF-8"),
    "a surrogate": (b"key=%ed%a0%80", MalformedRequest, "not valid UTF-8"),
    "half an escape": (b"key=%4", MalformedRequest, "%25"),
    "no escape": (b"key=100%", MalformedRequest, "%25"),
    "no hexadecimal digits": (b"key=%zz", MalformedRequest, "%25"),
    "a bad name": (b"%ff=1", MalformedRequest, "not valid UTF-8"),
    "unknown": (b"revison=1", UnknownField, "did you mean 'revision'?"),
    "another case": (b"Revision=1", UnknownField, "did you mean 'revision'?"),
    "nameless": (b"=1", UnknownField, "''"),
    "twice": (b"limit=1&limit=2", InvalidValue, "limit: is given twice"),
    "twice the same": (b"limit=1&limit=1", InvalidValue, "limit: is given twice"),
    "no number": (b"limit=ten", InvalidValue, "'ten' is not a whole number"),
    "an empty number": (b"limit=", InvalidValue, "'' is not a whole number"),
    "a fraction": (b"limit=1.0", InvalidValue, "'1.0' is not a whole number"),
    "a plus sign": (b"limit=%2B1", InvalidValue, "'+1' is not a whole number"),
    "a space": (b"limit=+1", InvalidValue, "' 1' is not a whole number"),
    "other digits": ("limit=١".encode(), InvalidValue, "is not a whole number"),
    "an underscore": (b"limit=1_0", InvalidValue, "'1_0' is not a whole number"),
    "64 bits": (
        b"revision=9223372036854775808",
        MalformedRequest,
        "json_integer_bits_max",
    ),
    "many digits": (
        b"revision=" + b"1" * 5000,
        MalformedRequest,
        "json_integer_bits_max",
    ),
    "many below": (
        b"revision=-" + b"1" * 5000,
        MalformedRequest,
        "json_integer_bits_max",
    ),
    "no flag": (b"contents=1", InvalidValue, "'1' is neither 'true' nor 'false'"),
    "a flag in capitals": (b"contents=True", InvalidValue, "neither"),
}


@pytest.mark.parametrize(("query", "kind", "says"), REFUSED.values(), ids=REFUSED)
def test_queries_are_refused(query: bytes, kind: type[St8Error], says: str) -> None:
    """A query that is not understood to the last byte is refused, with the reason."""
    with pytest.raises(kind) as caught:
        STATE.parse(query)

    assert says in caught.value.detail


def test_words_are_those_that_exist() -> None:
    """A parameter that takes one of some words names it where it is another."""
    with pytest.raises(InvalidValue) as caught:
        LOG.parse(b"changes=all")

    assert "changes: invalid enum value 'all'" == caught.value.detail


def test_where_no_parameters_exist_none_is_taken() -> None:
    """An operation without parameters says so."""
    with pytest.raises(UnknownField) as caught:
        QueryParser(NoQuery, "the query of GET /v1/version").parse(b"a=1")

    assert (
        "the query of GET /v1/version has no field 'a'; it takes none"
        == caught.value.detail
    )


PLANS_REFUSED: dict[str, tuple[bytes, type[St8Error], str]] = {
    "a bad time": (b"at=yesterday", InvalidValue, "at: 'yesterday' is not"),
    "two selectors": (b"revision=1&checkpoint=a", InvalidValue, "can't be combined"),
    "keys and a prefix": (b"key=a&prefix=b", InvalidValue, "can't be combined"),
    "keys and a limit": (b"key=a&limit=1", InvalidValue, "can't be combined"),
    "a dotted key": (b"key=../etc/passwd", InvalidValue, "'.' or '..'"),
    "an escaped dotted key": (b"key=%2e%2e%2fetc", InvalidValue, "'.' or '..'"),
    "a control character": (b"key=a%00b", InvalidValue, "control characters"),
    "an empty key": (b"key=", InvalidValue, "must not be empty"),
    "a long key": (b"key=" + b"a" * 1025, LimitExceeded, "key_bytes_max"),
    "a long prefix": (b"prefix=" + b"a" * 1025, LimitExceeded, "key_bytes_max"),
    "many keys": (b"key=a&" * 1001, LimitExceeded, "read_keys_max"),
    "below 0": (b"limit=-1", InvalidValue, "must not be negative"),
    "a large limit": (b"limit=100001", LimitExceeded, "state_page_documents_max"),
    "a long name": (b"namespace=" + b"a" * 257, LimitExceeded, "name_bytes_max"),
    "a name with space": (b"namespace=+a", InvalidValue, "white space"),
}


@pytest.mark.parametrize(
    ("query", "kind", "says"), PLANS_REFUSED.values(), ids=PLANS_REFUSED
)
def test_what_a_query_asks_is_checked(
    query: bytes, kind: type[St8Error], says: str
) -> None:
    """Values that no store could answer are refused before it is asked."""
    with pytest.raises(kind) as caught:
        STATE.parse(query).plan()

    assert says in caught.value.detail


@given(st.text(), st.booleans())
def test_text_arrives_as_it_was_sent(text: str, plus: bool) -> None:
    """Whatever text a client escapes is what the parameter holds."""
    escaped = quote_plus(text) if plus else quote(text, safe="")

    assert text == STATE.parse(f"prefix={escaped}".encode()).prefix


@given(st.binary())
def test_nothing_but_our_errors_escapes(query: bytes) -> None:
    """Whatever is sent, it is taken or refused by an error of ours."""
    with suppress(InvalidInput):
        STATE.parse(query).plan()
