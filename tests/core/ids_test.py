"""What may be a name, a key, an author, a message or an idempotency key."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.errors import InvalidValue, LimitExceeded, St8Error
from st8.core.ids import (
    DEFAULT_BRANCH,
    DEFAULT_NAMESPACE,
    Author,
    BranchName,
    CheckpointName,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    Scope,
    digest_of,
    digest_prefix,
)

Text = Author | BranchName | CheckpointName | IdempotencyKey | Key | Message | Namespace

NAMES = (Namespace, BranchName, CheckpointName)
TYPES = (*NAMES, Key, Author, Message, IdempotencyKey)
LIMITS = {
    Namespace: ("name_bytes_max", 256),
    BranchName: ("name_bytes_max", 256),
    CheckpointName: ("name_bytes_max", 256),
    Key: ("key_bytes_max", 1024),
    Author: ("author_bytes_max", 256),
    Message: ("message_bytes_max", 16 * 1024),
    IdempotencyKey: ("idempotency_key_bytes_max", 255),
}

GOOD_NAMES = [
    "a",
    "payments/prod",
    "/",
    "//",
    "a/",
    "/a",
    "..",
    "a/../b",
    "release 1.0",
    "Ünïcödé",
    "e\u0301",
    "\U0001f680",
    "\U0010ffff",
    "%2f",
    "%",
    "_",
    "*",
    "'; DROP TABLE branches; --",
    '"',
    "\\",
    "-1",
    "0",
    "x" * 256,
    "é" * 128,
]
BAD_NAMES = [
    "",
    " ",
    "\t",
    " a",
    "a ",
    "\u00a0a",
    "a\u2003",
    "a\nb",
    "a\0b",
    "a\x7f",
    "a\x85b",
    "\x1b[31m",
    "\ud800",
    "a\udfff",
]
GOOD_KEYS = [
    "a",
    "a/b/c",
    "/etc/passwd",
    "a//b",
    "a/",
    "/",
    " ",
    " a ",
    "...",
    ".a",
    "a.",
    "..a/b..",
    "a/.b/c.",
    "\U0001f680/\U0010ffff",
    "e\u0301",
    "%2e%2e",
    "\u2028",
    "\ufeff",
    "x" * 1024,
    "é" * 512,
]
BAD_KEYS = [
    "",
    ".",
    "..",
    "./a",
    "../a",
    "a/.",
    "a/..",
    "a/./b",
    "a/../b",
    "/.",
    "/..",
    "/../",
    "a\0",
    "a\nb",
    "\r",
    "\t",
    "\x7f",
    "\x80",
    "a\x9fb",
    "\ud83d",
]


@pytest.mark.parametrize("value", GOOD_NAMES, ids=ascii)
@pytest.mark.parametrize("kind", NAMES)
def test_names_are_kept_unchanged(kind: type[Text], value: str) -> None:
    """What may be a name is kept character by character."""
    assert value == kind(value)


@pytest.mark.parametrize("value", BAD_NAMES, ids=ascii)
@pytest.mark.parametrize("kind", NAMES)
def test_bad_names_are_refused(kind: type[Namespace], value: str) -> None:
    """What can't be told apart on a screen is no name; the error names the field."""
    with pytest.raises(InvalidValue) as caught:
        kind(value)
    assert kind.field == caught.value.field


@pytest.mark.parametrize("value", GOOD_KEYS, ids=ascii)
def test_keys_are_kept_unchanged(value: str) -> None:
    """What may be a key is kept character by character."""
    assert value == Key(value)


@pytest.mark.parametrize("value", BAD_KEYS, ids=ascii)
def test_bad_keys_are_refused(value: str) -> None:
    """Dot segments, control characters and nothing at all are no keys."""
    with pytest.raises(InvalidValue) as caught:
        Key(value)
    assert "key" == caught.value.field


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (Author, ["", "Žluté ops <ops@example.org>", "\U0001f680", " a "]),
        (Message, ["", "two\nlines\tand a tab", " a ", "\x07"]),
        (IdempotencyKey, ["a", "9f1c-44", "!~", "x" * 255]),
    ],
)
def test_other_texts_are_kept_unchanged(kind: type[Text], good: list[str]) -> None:
    """Authors are one line, messages any text, idempotency keys fit a header."""
    assert good == [kind(value) for value in good]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((Author, value) for value in ["a\nb", "\0", "\x7f", "\ud800"]),
        *((Message, value) for value in ["\0", "a\0b", "\udc80"]),
        *((IdempotencyKey, value) for value in ["", " ", "a b", "é", "\x7f", "a\n"]),
    ],
    ids=ascii,
)
def test_other_bad_texts_are_refused(kind: type[Author], value: str) -> None:
    """What would break a log line, a terminal or a header is refused."""
    with pytest.raises(InvalidValue) as caught:
        kind(value)
    assert kind.field == caught.value.field


@pytest.mark.parametrize("kind", TYPES)
def test_limits_are_in_bytes_and_named(kind: type[Text]) -> None:
    """A text of its limit is accepted, a byte more answers with name and number."""
    name, maximum = LIMITS[kind]

    assert maximum == len(kind("x" * maximum))
    with pytest.raises(LimitExceeded) as caught:
        kind("x" * (maximum + 1))
    fields = caught.value.fields
    assert {"limit": name, "maximum": maximum, "actual": maximum + 1} == fields


@pytest.mark.parametrize("kind", [*NAMES, Key, Author, Message])
def test_limits_count_utf8(kind: type[Text]) -> None:
    """What is too long only in UTF-8 is too long."""
    _, maximum = LIMITS[kind]

    with pytest.raises(LimitExceeded):
        kind("é" * (maximum // 2 + 1))


@given(value=st.text())
@pytest.mark.parametrize("kind", TYPES)
def test_any_text_is_kept_or_refused(kind: type[Text], value: str) -> None:
    """Whatever the text, it is kept unchanged or refused with an error of ours."""
    try:
        made = kind(value)
    except St8Error:
        return
    assert value == made
    assert value.encode() == made.encode()


@given(
    segments=st.lists(st.sampled_from(["", ".", "..", "a", "...", ".a"]), min_size=1)
)
def test_no_key_has_a_dot_segment(segments: list[str]) -> None:
    """A key is refused exactly if one of its segments is a dot or two."""
    value = "/".join(segments)
    try:
        Key(value)
    except InvalidValue:
        assert not value or {".", ".."} & set(segments)
    else:
        assert not {".", ".."} & set(segments)


@pytest.mark.parametrize(
    ("namespace", "branch", "scope"),
    [
        ("", "", (DEFAULT_NAMESPACE, DEFAULT_BRANCH)),
        ("  ", "\t", ("default", "main")),
        ("a/b", "", ("a/b", "main")),
        ("", "x", ("default", "x")),
    ],
)
def test_blank_names_take_their_defaults(
    namespace: str, branch: str, scope: tuple[str, str]
) -> None:
    """A blank namespace is 'default', a blank branch is 'main'."""
    assert scope == Scope.parse(namespace, branch)


@pytest.mark.parametrize(("namespace", "branch"), [(" prod", ""), ("", "x ")])
def test_only_blank_names_take_their_defaults(namespace: str, branch: str) -> None:
    """A name with white space around it is refused, not trimmed."""
    with pytest.raises(InvalidValue):
        Scope.parse(namespace, branch)


@pytest.mark.parametrize("character", "\x1c\x1d\x1e\x1f\0\x7f", ids=ascii)
def test_control_characters_do_not_take_defaults(character: str) -> None:
    """A control character is refused, also where Python takes it for white space."""
    for name in (character, f" {character}"):
        with pytest.raises(InvalidValue):
            Scope.parse(name)
        with pytest.raises(InvalidValue):
            Scope.parse("", name)


@given(data=st.binary())
def test_digests_are_sha_256(data: bytes) -> None:
    """A digest is the SHA-256 of the bytes, and its prefix the first eight bytes."""
    digest = digest_of(data)

    assert hashlib.sha256(data).digest() == digest
    assert digest[:8] == digest_prefix(digest).to_bytes(8, "big", signed=True)
