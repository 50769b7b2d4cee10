"""What a watch reads and asks for next, without a connection."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.client._answers import Answer, NotUnderstood
from st8.client._events import (
    EventParser,
    ResyncEvent,
    RevisionEvent,
    ServerEvent,
    Watching,
)
from st8.client._retry import Failure
from st8.core.documents import Change
from st8.core.errors import (
    Corrupt,
    Forbidden,
    InvalidValue,
    Overloaded,
    St8Error,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from st8.core.ids import Key, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

URL = "http://127.0.0.1:8748"


# --- the parser -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: x\n\n", [("message", "x", "")]),
        (b"data: x\r\n\r\n", [("message", "x", "")]),
        (b"data: x\r\r", [("message", "x", "")]),
        (b"\xef\xbb\xbfdata: x\n\n", [("message", "x", "")]),
        (b"data:x\ndata: y\ndata:  z\n\n", [("message", "x\ny\n z", "")]),
        (b"data\n\n", [("message", "", "")]),
        (b"data\ndata\n\n", [("message", "\n", "")]),
        (b"data: x:y\n\n", [("message", "x:y", "")]),
        (b": comment\ndata: x\n: more\n\n", [("message", "x", "")]),
        (b"event: e\nid: 7\ndata: x\n\n", [("e", "x", "7")]),
        (b"id: 7\n\ndata: x\n\n", [("message", "x", "7")]),
        (b"id: 7\ndata: x\n\nid\ndata: y\n\n", [("message", "x", "7"), ("message", "y", "")]),
        (b"id: 7\nid: a\0b\ndata: x\n\n", [("message", "x", "7")]),
        (b"event: e\n\ndata: x\n\n", [("message", "x", "")]),
        (b"Data: x\ndatax: y\nother: z\n\n", []),
        (b"data: x\n", []),
        (b"data: \xc3\xa9\n\n", [("message", "é", "")]),
    ],
)  # fmt: skip
def test_rules_of_the_format(stream: bytes, events: list[tuple[str, str, str]]) -> None:
    """Lines end in three ways, comments count for nothing, data lines are joined."""
    assert [ServerEvent(*event) for event in events] == EventParser().feed(stream)


def test_position_moves_with_whole_blocks() -> None:
    """An id counts from the empty line on, with data or without."""
    parser = EventParser()
    seen = []
    for piece in (b"id: 5\n", b"\n", b": heartbeat\nid: 6\n", b"\n"):
        parser.feed(piece)
        seen.append((parser.last_id, parser.blocks))

    assert [("", 0), ("5", 1), ("5", 1), ("6", 2)] == seen


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"retry: 250\n", 250),
        (b"retry: 2s\n", None),
        (b"retry: -1\n", None),
        (b"retry:\n", None),
        (b"retry: \xd9\xa1\n", None),
        (b"retry: " + b"9" * 100_000 + b"\n", None),
    ],
)
def test_retry(line: bytes, expected: int | None) -> None:
    """Only a number of a sensible length is one."""
    parser = EventParser()
    parser.feed(line)

    assert expected == parser.retry_ms


_PIECES = st.sampled_from(
    [
        *(b"data: x", b"data", b"data: \xe2\x82\xac", b"id: 3", b"id", b"event: e"),
        *(b": c", b"retry: 10", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf"),
    ]
)


@given(st.lists(_PIECES).map(b"".join), st.lists(st.integers(0, 200)))
def test_pieces_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut, it reads as it does whole."""
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    whole, parts = EventParser(), EventParser()
    expected = whole.feed(stream)
    actual = [
        event
        for start, end in pairwise(places)
        for event in parts.feed(stream[start:end])
    ]

    assert expected == actual
    assert (whole.last_id, whole.retry_ms, whole.blocks) == (
        parts.last_id,
        parts.retry_ms,
        parts.blocks,
    )


@given(st.binary())
def test_any_bytes(stream: bytes) -> None:
    """Whatever comes is read, or refused."""
    parser = EventParser()
    try:
        for place in range(len(stream)):
            parser.feed(stream[place : place + 1])
    except NotUnderstood:
        pass


@pytest.mark.parametrize(
    "piece", [b"x" * 65_536, (b"data: " + b"y" * 57 + b"\n") * 1_024]
)
def test_event_without_an_end(piece: bytes) -> None:
    """More than 8 MiB of one event is refused, in one line or in many."""
    parser = EventParser()
    for _ in range(128):
        assert [] == parser.feed(piece)

    with pytest.raises(NotUnderstood, match="more than 8388608 bytes"):
        parser.feed(piece)


def test_comments_without_an_end_cost_nothing() -> None:
    """Lines that are no data are not kept."""
    parser = EventParser()
    for _ in range(20):
        assert [] == parser.feed(b": comment\nid: 1\nevent: e\n" * 2_000)

    assert [ServerEvent("e", "x", "1")] == parser.feed(b"data: x\n\n")


def test_what_is_not_utf8() -> None:
    """It is refused, not mended: a document may be in it."""
    with pytest.raises(NotUnderstood, match="not UTF-8"):
        EventParser().feed(b"data: \xff\n")


# --- the watch ------------------------------------------------------------------------


def watching(after: int | None = None, jitter: float = 1.0, **more: Any) -> Watching:
    """Return a watch of the default scope."""
    return Watching(
        Scope.parse("a/b", "main"), URL, after=after, jitter=lambda: jitter, **more
    )


def revision(number: int, changes: Sequence[object] | None = ()) -> bytes:
    """Return the event of a revision."""
    data = {
        "id": number,
        "parent_id": number - 1,
        "message": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "branch": "main",
        "namespace": "a/b",
        "changes": None if changes is None else list(changes),
    }
    return b"id: %d\nevent: revision\ndata: %s\n\n" % (
        number,
        json.dumps(data).encode(),
    )


START = b'retry: 2000\nid: 3\nevent: start\ndata: {"positions": []}\n\n'
HEAD = Answer(200, {"content-type": "text/event-stream; charset=utf-8"}, b"")
RESYNC = (
    b"id: 9\nevent: resync\ndata: "
    b'{"namespace": "a/b", "branch": "main", "revision": 9, "reason": "history"}\n\n'
)


def numbers(told: Sequence[object]) -> list[int]:
    """Return the revisions that are told of."""
    return [e.entry.revision for e in told if isinstance(e, RevisionEvent)]


def test_what_is_asked_for() -> None:
    """Scope, prefix, start and contents; what is not given is left out."""
    plain = watching().call().request
    full = watching(0, prefix="app/", contents=True).call().request

    assert "/v1/watch?namespace=a%2Fb&branch=main" == plain.target
    assert (
        "/v1/watch?namespace=a%2Fb&branch=main&prefix=app%2F&after=0&contents=true"
    ) == full.target
    assert {"Accept": "text/event-stream"} == plain.headers
    with pytest.raises(InvalidValue, match="after: -1"):
        watching(-1)


def test_each_revision_once() -> None:
    """What comes again, or behind what was told, is not told again."""
    watch = watching(3)
    watch.call()
    told = list(watch.feed(START + revision(4) + revision(5)))
    again = watch.call().request.headers["Last-Event-ID"]
    told += watch.feed(START + revision(4) + revision(5) + revision(7))

    assert ([4, 5, 7], "5", 7) == (numbers(told), again, watch.revision)


def test_half_an_event_is_forgotten() -> None:
    """A connection that breaks off within an event goes on before it."""
    event = revision(4)
    for cut in range(len(event)):
        watch = watching(3)
        watch.call()
        told = list(watch.feed(START + event[:cut]))
        assert ([], "3") == (told, watch.call().request.headers["Last-Event-ID"])
        assert [4] == numbers(list(watch.feed(START + event)))


def test_signs_of_life_move_the_position() -> None:
    """A comment with an id says up to where nothing is missing."""
    watch = watching(3)
    watch.call()
    assert [] == list(watch.feed(START + b": heartbeat\nid: 8\n\n"))

    assert (8, 2) == (watch.revision, watch.blocks)
    assert "8" == watch.call().request.headers["Last-Event-ID"]


def test_resync_moves_the_position_back() -> None:
    """After one, revisions count from where it says."""
    watch = watching(12)
    watch.call()
    told = list(watch.feed(RESYNC + revision(10)))

    assert ResyncEvent("a/b", "main", 9, "history") == told[0]
    assert [10] == numbers(told)


def test_going_on_elsewhere() -> None:
    """What was read otherwise is the position from then on."""
    watch = watching()
    watch.call()
    list(watch.feed(START))
    watch.go_on_after(40)
    request = watch.call().request

    assert "Last-Event-ID" not in request.headers
    assert request.target.endswith("&after=40")


def test_contents_and_large_changes() -> None:
    """Changes have contents if asked for; those that were too large are told so."""
    change = {"key": "k", "type": "update", "after": "x"}
    with_contents, without = watching(contents=True), watching()
    told = list(with_contents.feed(revision(1, [change]) + revision(2, None)))
    (bare,) = without.feed(revision(1, [change]))
    first, second = told
    assert isinstance(first, RevisionEvent)
    assert isinstance(second, RevisionEvent)
    assert isinstance(bare, RevisionEvent)

    assert (Change(Key("k"), "update", "", "x"),) == first.entry.changes
    assert (Change(Key("k"), "update"),) == bare.entry.changes
    assert (False, True, ()) == (
        first.changes_omitted,
        second.changes_omitted,
        second.entry.changes,
    )


@pytest.mark.parametrize(
    "data", [b"nonsense", b"[]", b"{}", b'{"id": "1"}', b"[" * 100_000]
)
@pytest.mark.parametrize("name", [b"revision", b"resync", b"error"])
def test_events_of_no_daemon(name: bytes, data: bytes) -> None:
    """What is not as it has to be is never taken for an event."""
    watch = watching()
    with pytest.raises((NotUnderstood, St8Error)):
        list(watch.feed(b"event: %s\ndata: %s\n\n" % (name, data)))

    assert None is watch.revision


def test_what_came_before_an_error_is_told() -> None:
    """A stream that ends with an error has told what it told."""
    watch = watching(3)
    problem = b'event: error\ndata: {"code": "forbidden", "status": 403}\n\n'
    events = watch.feed(START + revision(4) + problem)

    assert [4] == numbers([next(events)])
    with pytest.raises(Forbidden) as caught:
        next(events)
    assert watch.final(caught.value)


# --- when to try again ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "final"),
    [
        (401, "unauthenticated", Unauthenticated, True),
        (403, "forbidden", Forbidden, True),
        (404, "route_not_found", St8Error, True),
        (422, "invalid_value", St8Error, True),
        (418, "unheard_of", St8Error, True),
        (408, "request_timeout", St8Error, False),
        (429, "unheard_of", St8Error, False),
        (503, "overloaded", Overloaded, False),
        (500, "corrupt", Corrupt, False),
    ],
)
def test_which_answers_end_a_watch(
    status: int, code: str, kind: type[St8Error], final: bool
) -> None:
    """What the daemon would say again does; what passes does not."""
    body = json.dumps({"code": code, "detail": "so"}).encode()
    head = Answer(status, {"content-type": "application/problem+json"}, body)
    for established in (False, True):
        watch = watching()
        if established:
            watch.accept(HEAD)
        with pytest.raises(kind) as caught:
            watch.accept(head)
        assert final == watch.final(caught.value)
        assert "so" == watch.error(caught.value).detail


@pytest.mark.parametrize(
    ("problem", "kind", "final"),
    [
        (Failure("refused", "connect"), Unreachable, False),
        (Failure("no such name", "connect", hopeless=True), Unreachable, True),
        (Failure("the answer broke off", "answer"), Unreachable, False),
        (NotUnderstood("answered 502", passing=True), Unavailable, False),
        (NotUnderstood("is a portal"), Unavailable, True),
    ],
)
def test_which_failures_end_a_watch(
    problem: Exception, kind: type[St8Error], final: bool
) -> None:
    """What can't be right at the first attempt; once a daemon has answered, nothing."""
    watch = watching()
    actual = [watch.final(problem)]
    watch.accept(HEAD)
    actual.append(watch.final(problem))

    assert [final, False] == actual
    assert kind is type(watch.error(problem))


@pytest.mark.parametrize("kind", ["text/html", "application/json", ""])
def test_answers_that_are_no_stream(kind: str) -> None:
    """A 200 of something else is no watch."""
    with pytest.raises(NotUnderstood, match="is this a st8 daemon"):
        watching().accept(Answer(200, {"content-type": kind}, b""))


def test_delays_grow_and_end() -> None:
    """They double up to 30 seconds, and begin anew once something was told."""
    watch = watching()
    delays = [watch.delay_s() for _ in range(2_000)]
    list(watch.feed(RESYNC))
    list(watch.feed(b": heartbeat\nid: 9\n\n"))

    assert [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0] == delays[:9]
    assert 30.0 == delays[-1]
    assert 0.2 == watch.delay_s()


def test_a_start_alone_is_no_success() -> None:
    """A stream that ends right after its beginning is tried less and less often."""
    watch = watching()
    delays = []
    for _ in range(6):
        watch.call()
        list(watch.feed(START))
        delays.append(watch.delay_s())

    assert [2.0, 2.0, 2.0, 2.0, 3.2, 6.4] == delays


def test_chance_and_what_the_daemon_asks_for() -> None:
    """Chance decides between none and all of it, Retry-After and ``retry`` included."""
    busy = Answer(
        503,
        {"content-type": "application/problem+json", "retry-after": "7"},
        b'{"code": "overloaded"}',
    )
    for jitter in (0.0, 0.5, 1.0):
        watch = watching(jitter=jitter)
        with pytest.raises(Overloaded):
            watch.accept(busy)
        assert 7 * jitter == watch.delay_s()
        list(watch.feed(START))
        assert 2 * jitter == watch.delay_s()
        list(watch.feed(b"retry: 999999999\n\n"))
        assert 30 * jitter == watch.delay_s()
