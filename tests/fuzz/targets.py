"""What is fuzzed: one function for each parser that reads what others wrote.

Each takes any bytes and returns, or raises if the parser has a bug: an exception it
does not document, or a value that is not what the bytes say. New ones are found here
by their name, ``fuzz_…``, and want a corpus of that name.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from st8.auth.globs import Glob
from st8.auth.policy_file import read_policy
from st8.cli.globs import pattern_of
from st8.client import _answers
from st8.client._answers import Answer, NotUnderstood
from st8.client._events import EventParser
from st8.config.sources import from_file
from st8.core import node, revisions
from st8.core.durations import format_age, parse_age, parse_duration
from st8.core.error import St8Error
from st8.core.errors import Corrupt, InvalidInput
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
)
from st8.http import json_body
from st8.http.etag import matches
from st8.http.queries import StateQuery
from st8.http.query_string import QueryParser
from st8.http.wire import ApplyBody
from st8.store import codec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TARGETS"]

_SERVER_FAULT: Final = 500
_NAMES: Final = (Namespace, BranchName, CheckpointName, Key, IdempotencyKey)
_TEXTS: Final = (Author, Message)
_QUERIES: Final = QueryParser(StateQuery, "a query")
_ETAG: Final = b'"0123456789abcdef0123456789abcdef"'
_ANSWERS: Final[tuple[Callable[[Answer], object], ...]] = (
    _answers.state,
    _answers.checkpoints,
    _answers.branches,
    _answers.namespaces,
    _answers.collected,
    _answers.redacted,
    _answers.server_version,
)
_STATUSES: Final = (400, 404, 409, 413, 422, 500, 502, 503)


def fuzz_names(data: bytes) -> None:
    """A name or key is refused, or is the text that was given, whole."""
    text = data.decode(errors="surrogateescape")
    for kind in (*_NAMES, *_TEXTS):
        with contextlib.suppress(InvalidInput):
            made = kind(text)
            if kind in _NAMES:
                assert text == made
            assert made == kind(made)
            made.encode()


def fuzz_node(data: bytes) -> None:
    """A node is refused, or its bytes are the ones it was read from."""
    with contextlib.suppress(Corrupt):
        assert data == node.encode(node.decode(data))


def fuzz_revision(data: bytes) -> None:
    """A revision is refused, or its bytes are the ones it was read from."""
    with contextlib.suppress(Corrupt):
        assert data == revisions.encode(revisions.decode(data))


def fuzz_packed(data: bytes) -> None:
    """Stored bytes are refused or unpacked; anything can be packed and is the same."""
    with contextlib.suppress(Corrupt):
        codec.unpack(data)
    with contextlib.suppress(Corrupt, IndexError):
        node.decode(data)
        assert data == codec.unpack(codec.pack(data))


def fuzz_query(data: bytes) -> None:
    """A query is understood or refused as a mistake of the client."""
    _refused_as_a_mistake(lambda: _QUERIES.parse(data))


def fuzz_json(data: bytes) -> None:
    """A body is understood or refused as a mistake of the client."""
    _refused_as_a_mistake(lambda: json_body.decode(data, ApplyBody))


def fuzz_etag(data: bytes) -> None:
    """A header names a tag that stands in it, or does not."""
    if matches(data, _ETAG):
        assert data.strip() == b"*" or _ETAG in data


def fuzz_time(data: bytes) -> None:
    """Durations, ages and times are refused, or are what they are written as."""
    text = data.decode(errors="replace")
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= 0
    with contextlib.suppress(ValueError):
        age = parse_age(text)
        assert age >= 0
        if age == int(age) < 1e9:
            assert age == parse_age(format_age(age))
    with contextlib.suppress(InvalidInput):
        time_ns = revisions.parse_time(text)
        assert time_ns == revisions.parse_time(revisions.format_time(time_ns))


def fuzz_policy(data: bytes) -> None:
    """A policy file is read, or refused in a sentence that says where."""
    with contextlib.suppress(InvalidInput):
        read_policy(_file(data))


def fuzz_settings(data: bytes) -> None:
    """A file of settings is read, or what is wrong with it is said."""
    from_file(_file(data), [])


def fuzz_events(data: bytes) -> None:
    """A stream tells the same however it is cut, or is refused."""
    whole, pieces = EventParser(), EventParser()
    try:
        expected = whole.feed(data)
    except NotUnderstood:
        return
    actual = [
        event for at in range(len(data)) for event in pieces.feed(data[at : at + 1])
    ]
    assert expected == actual
    assert (whole.last_id, whole.retry_ms) == (pieces.last_id, pieces.retry_ms)


def fuzz_answer(data: bytes) -> None:
    """An answer is understood or refused, and a problem becomes an error."""
    kind = {"content-type": "application/json"}
    for read in _ANSWERS:
        with contextlib.suppress(NotUnderstood, St8Error):
            read(Answer(200, kind, data))
    problem = {"content-type": "application/problem+json"}
    for status in _STATUSES:
        with contextlib.suppress(NotUnderstood):
            error = _answers.error_of(Answer(status, problem, data))
            assert isinstance(error, St8Error)
            str(error)
    with contextlib.suppress(NotUnderstood, St8Error):
        _answers.told_revision(data.decode(errors="replace"), contents=True)


def fuzz_globs(data: bytes) -> None:
    """A pattern is refused, or matches some names and not others, at once."""
    pattern, _, name = data.decode(errors="replace").partition("\n")
    with contextlib.suppress(ValueError):
        Glob(pattern).matches(name)
    with contextlib.suppress(InvalidInput):
        found = pattern_of(pattern)
        if "*" not in pattern:  # several stars may try a name in many ways
            found.fullmatch(name)


def _refused_as_a_mistake(read: Callable[[], Any]) -> None:
    try:
        read()
    except St8Error as error:
        assert error.http_status < _SERVER_FAULT, error  # noqa: PT017


def _file(data: bytes) -> Path:
    """Return a file that holds ``data``, until the next one is asked for."""
    path = Path(_FOLDER.name) / "file"
    path.write_bytes(data)
    return path


_FOLDER: Final = tempfile.TemporaryDirectory(prefix="st8-fuzz-")

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    name.removeprefix("fuzz_"): target
    for name, target in list(globals().items())
    if name.startswith("fuzz_")
}
