"""Strict JSON: what is taken, what is refused, and that refusals say where."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.errors import InvalidValue, LimitExceeded, MalformedRequest, UnknownField
from st8.http.json_body import decode
from st8.http.wire import ApplyBody, DiffBody, RollbackBody

NOT_JSON = {
    "nothing": (b"", "empty"),
    "only white space": (b"  \n", "line 2, column 1"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "a broken escape": (b'{"message":"\\x"}', "escape at line 1"),
    "a control character": (b'{"message":"\n"}', "control character"),
    "a trailing comma": (b'{"message":"a",}', "column"),
    "single quotes": (b"{'message':'a'}", "column 2"),
    "a comment": (b"{/**/}", "column 2"),
    "something behind it": (b"{} {}", "Extra data at line 1, column 4"),
    "a second line": (b'{}\n{"message":1}', "line 2, column 1"),
    "an end too early": (b'{"message":"a"', "column 15"),
    "a leading zero": (b'{"revision_id":01}', "column"),
    "a plus sign": (b'{"revision_id":+1}', "column 16"),
    "hexadecimal": (b'{"revision_id":0x1}', "column"),
    "UTF-16": ('{"message":"a"}'.encode("utf-16-le"), "column 2"),
    "Latin-1": (b'{"message":"\xe4"}', "not valid UTF-8 at byte 12"),
    "an overlong form": (b'{"message":"\xc0\x80"}', "not valid UTF-8 at byte 12"),
    "a surrogate in UTF-8": (b'{"message":"\xed\xa0\x80"}', "not valid UTF-8"),
    "NaN": (b'{"revision_id":NaN}', "NaN"),
    "Infinity": (b'{"revision_id":Infinity}', "Infinity"),
    "negative Infinity": (b'{"revision_id":-Infinity}', "-Infinity"),
    "a field twice": (b'{"message":"a","message":"b"}', "$.message more than once"),
    "a field twice, and no JSON further on": (
        b'{"message":"a","message":"b"}}',
        "Extra data at line 1, column 30",
    ),
    "an escaped name twice": (
        b'{"message":"a","mess\\u0061ge":"b"}',
        "$.message more than once",
    ),
    "a field twice further in": (
        b'{"documents":[{"key":"a","content":""},{"key":"b","key":"c"}]}',
        "$.documents[1].key more than once",
    ),
    "half a pair": (
        b'{"message":"a\\ud800b"}',
        "$.message of the body has a lone surrogate",
    ),
    "the other half": (
        b'{"message":"\\uDE00"}',
        "$.message of the body has a lone surrogate",
    ),
    "a pair the wrong way": (b'{"message":"\\udE00\\uD83D"}', "lone surrogate"),
    "half a pair in a name": (b'{"\\ud800":1}', "lone surrogate"),
    "half a pair further in": (
        b'{"documents":[{"key":"a","content":"\\ud83d"}]}',
        "$.documents[0].content of the body has a lone surrogate at character 0",
    ),
    "65 bits": (b'{"revision_id":18446744073709551616}', "64 bits"),
    "64 bits without a sign": (b'{"revision_id":9223372036854775808}', "64 bits"),
    "64 bits below": (b'{"revision_id":-9223372036854775809}', "64 bits"),
    "5,000 digits": (b'{"revision_id":' + b"9" * 5000 + b"}", "json_integer_bits_max"),
}


@pytest.mark.parametrize(("body", "says"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused(body: bytes, says: str) -> None:
    """Text that is not JSON by the letter, or means two things, says where."""
    with pytest.raises(MalformedRequest) as caught:
        decode(body, RollbackBody if b"revision_id" in body else ApplyBody)

    assert says in caught.value.detail


WRONG = {
    "an array": (b"[]", "$", "expected `object`, got `array`"),
    "null": (b"null", "$", "expected `object`, got `null`"),
    "a string": (b'"apply"', "$", "expected `object`, got `str`"),
    "a number for text": (b'{"message":1}', "$.message", "got `int`"),
    "text for a number": (b'{"expect_revision":"1"}', "$.expect_revision", "`str`"),
    "a fraction": (b'{"expect_revision":1.5}', "$.expect_revision", "`float`"),
    "a whole float": (b'{"expect_revision":1.0}', "$.expect_revision", "`float`"),
    "a huge float": (b'{"expect_revision":1e999}', "$.expect_revision", "`float`"),
    "a negative one": (b'{"expect_revision":-1}', "$.expect_revision", ">= 0"),
    "a number for a flag": (b'{"dry_run":1}', "$.dry_run", "`int`"),
    "no word of ours": (b'{"changes":"some"}', "$.changes", "'some'"),
    "an object for a list": (b'{"documents":{}}', "$.documents", "`object`"),
    "null in a list": (b'{"documents":[null]}', "$.documents[0]", "`null`"),
    "null for a content": (
        b'{"documents":[{"key":"a","content":null}]}',
        "$.documents[0].content",
        "`null`",
    ),
    "no content": (b'{"documents":[{"key":"a"}]}', "$.documents[0].content", "requi"),
    "no key": (b'{"documents":[{"content":"a"}]}', "$.documents[0].key", "required"),
    "a number for a key": (b'{"deletes":["a",2]}', "$.deletes[1]", "`int`"),
}


@pytest.mark.parametrize(("body", "field", "says"), WRONG.values(), ids=WRONG)
def test_wrong_types_name_the_path(body: bytes, field: str, says: str) -> None:
    """A field of the wrong type, or missing, is named by its JSON path."""
    with pytest.raises(InvalidValue) as caught:
        decode(body, ApplyBody)

    assert field == caught.value.field
    assert says in caught.value.detail


UNKNOWN = {
    "at the top": (b'{"mesage":""}', "mesage", "did you mean 'message'?", None),
    "in the scope": (
        b'{"scope":{"namspace":"a"}}',
        "namspace",
        "did you mean 'namespace'?",
        ["branch", "namespace"],
    ),
    "in a list": (
        b'{"documents":[{"key":"a","content":"","value":""}]}',
        "value",
        "$.documents[0] of the body",
        ["content", "key"],
    ),
    "another case": (b'{"Message":""}', "Message", "did you mean 'message'?", None),
    "null": (b'{"branch":null}', "branch", "", None),
}


@pytest.mark.parametrize(
    ("body", "field", "says", "known"), UNKNOWN.values(), ids=UNKNOWN
)
def test_unknown_fields_are_named_with_the_nearest(
    body: bytes, field: str, says: str, known: list[str] | None
) -> None:
    """A field that does not exist is refused, and the nearest one offered."""
    with pytest.raises(UnknownField) as caught:
        decode(body, ApplyBody)

    assert field == caught.value.field
    assert says in caught.value.detail
    if known is not None:
        assert known == caught.value.fields["known"]


def test_unknown_fields_of_a_selector_are_looked_up_there() -> None:
    """The fields of a renamed field's object are those that it has."""
    with pytest.raises(UnknownField) as caught:
        decode(b'{"from":{"revison":1}}', DiffBody)

    assert "did you mean 'revision'?" in caught.value.detail


def test_a_long_unknown_name_is_not_repeated_whole() -> None:
    """An answer does not grow with what was sent."""
    with pytest.raises(UnknownField) as caught:
        decode(b'{"' + b"x" * 100_000 + b'":1}', ApplyBody)

    assert len(caught.value.detail) < 1_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"message":' + b'{"a":' * 70 + b"1" + b"}" * 71,
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b"[" * 500 + b"]" * 500,
    ],
    ids=["arrays", "objects", "10,000 arrays", "10,000 objects", "500 arrays"],
)
def test_deep_nesting_names_its_limit(body: bytes) -> None:
    """What is nested deeper than 64 levels says so, in a body of 64 KiB at most."""
    with pytest.raises(LimitExceeded) as caught:
        decode(body, ApplyBody)

    assert ("json_depth_max", 64) == (caught.value.limit, caught.value.maximum)


@pytest.mark.parametrize(
    "fault", [b'"\\ud800"', b'{"a":1,"a":2}'], ids=["half a pair", "a field twice"]
)
def test_saying_where_costs_no_more_than_what_was_sent(fault: bytes) -> None:
    """The way to a value is written for the one that is wrong, not for each."""
    levels = 60
    opening = b'{"' + b"n" * 100 + b'":'
    values = b"[" + fault + b",0" * 5_000 + b',""' * 5_000 + b"]"
    body = opening * levels + values + b"}" * levels
    tracemalloc.start()
    try:
        with pytest.raises(MalformedRequest, match=r"n\[0\]"):
            decode(body, ApplyBody)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 20 * len(body)


@pytest.mark.parametrize(
    ("begin", "many", "end"),
    [
        (b"[", b"[],", b"[]]"),
        (b'{"message":"\\ud800","x":[', b"[],", b"[]]}"),
        (b'{"x":[', b"{},", b"{}]}"),
        (b'{"documents":[', b"[],", b"[]]}"),
        (b'{"message":NaN,"deletes":[', b"{},", b"{}]}"),
    ],
    ids=[
        "an array",
        "half a pair",
        "an unknown field",
        "wrong items",
        "no JSON",
    ],
)
def test_what_is_no_request_is_never_built(
    begin: bytes, many: bytes, end: bytes
) -> None:
    """A long body is refused where it is wrong first, not when all of it was read."""
    body = begin + many * 50_000 + end
    tracemalloc.start()
    try:
        with pytest.raises((InvalidValue, MalformedRequest, UnknownField)):
            decode(body, ApplyBody)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 3 * len(body)


def test_a_long_wrong_value_is_not_repeated_whole() -> None:
    """The error stays as short as one of a short value."""
    body = json.dumps({"changes": "x - at `$.y`" * 10_000}).encode()

    with pytest.raises(InvalidValue) as caught:
        decode(body, ApplyBody)

    assert "$.changes" == caught.value.field
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"message":1,', r"\$\.message"),
        ('{"message":"\\ud800",', "not valid JSON"),
        ('{"message":"a","message":"b",', r"\$\.message more than once"),
        ('{"message":"\xe4",', "not valid UTF-8 at byte 12"),
        ('{"message":NaN,', "not valid JSON"),
        ('{"expect_revision":1e400,', r"\$\.expect_revision"),
    ],
)
def test_a_long_body_is_refused_for_the_same_reasons(text: str, says: str) -> None:
    """What is wrong with a short body is wrong with a long one."""
    body = text.encode("latin-1") + b'"deletes":["' + b"a" * 70_000 + b'"]}'

    with pytest.raises((InvalidValue, MalformedRequest), match=says):
        decode(body, ApplyBody)


def test_brackets_in_strings_are_no_nesting() -> None:
    """Only structure counts, not what contents are made of."""
    content = "[{" * 10_000
    document = {"key": "a", "content": content}

    body = decode(json.dumps({"documents": [document]}).encode(), ApplyBody)

    assert body.documents is not None
    assert content == body.documents[0].content


def test_the_largest_number_is_taken() -> None:
    """All of 64 bits can be used."""
    assert (
        9223372036854775807
        == decode(b'{"revision_id":9223372036854775807}', RollbackBody).revision_id
    )
    assert (
        -9223372036854775808
        == decode(b'{"revision_id":-9223372036854775808}', RollbackBody).revision_id
    )


def test_a_pair_of_surrogates_is_one_character() -> None:
    """What JSON writes as two halves arrives as the character."""
    assert "😀" == decode(b'{"message":"\\ud83d\\uDE00"}', ApplyBody).message
    assert "\\ud800" == decode(b'{"message":"\\\\ud800"}', ApplyBody).message


def test_null_stands_for_not_given() -> None:
    """Go writes null for what is not set; it takes the default."""
    body = decode(b'{"scope":null,"documents":null,"dry_run":null}', ApplyBody)

    assert ApplyBody() == body


@given(st.text(), st.text(), st.booleans())
def test_text_arrives_as_it_was_sent(key: str, content: str, ascii_only: bool) -> None:
    """Whatever text a client encodes is what the request holds."""
    sent = {"documents": [{"key": key, "content": content}]}

    body = decode(json.dumps(sent, ensure_ascii=ascii_only).encode(), ApplyBody)

    assert body.documents is not None
    assert (key, content) == (body.documents[0].key, body.documents[0].content)


@given(st.binary() | st.text().map(str.encode))
def test_nothing_but_our_errors_escapes(body: bytes) -> None:
    """Whatever is sent, it is taken or refused by an error of ours."""
    with suppress(InvalidValue, LimitExceeded, MalformedRequest, UnknownField):
        decode(body, ApplyBody)
