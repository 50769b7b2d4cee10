"""What a watch receives and what it asks for next; no I/O.

:class:`EventParser` reads Server-Sent Events out of bytes, however these are cut.
:class:`Watching` is one watch over any number of connections: it knows the position,
makes the request that goes on behind it, turns events into results, and says how long
to wait before the next attempt and which errors end it. A position moves only with a
whole event, so a connection may break at any byte: what it had of an event is
forgotten, and told anew by the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from st8.client import _answers
from st8.client._answers import NotUnderstood
from st8.client._calls import get
from st8.client._retry import Attempts, Failure
from st8.core.errors import InvalidValue, St8Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from st8.client._answers import Answer
    from st8.client._calls import Call
    from st8.client._results import LogEntry
    from st8.core.ids import Scope

__all__ = [
    "SILENCE_S",
    "EventParser",
    "ResyncEvent",
    "RevisionEvent",
    "ServerEvent",
    "WatchEvent",
    "Watching",
]

SILENCE_S: Final = 45.0
"""A connection on which nothing comes for so long is lost: the daemon gives a sign of
life every 15 seconds."""

_EVENT_BYTES_MAX: Final = 8 * 1024 * 1024
"""What one event may take; the daemon's are about 1 MiB at most."""

_DELAY_S: Final = 0.2
_DELAY_MAX_S: Final = 30.0
_DOUBLINGS_MAX: Final = 10
_RETRY_DIGITS_MAX: Final = 9
_POSITION_DIGITS_MAX: Final = 19
_OK: Final = 200
_CLIENT_ERRORS: Final = range(400, 500)
_PASSING: Final = (408, 425, 429)
"""Statuses of the 400s that say nothing against the request itself."""

_BOM: Final = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """An event of a stream, whatever it is about.

    Attributes:
        name: Its type; ``message`` if the stream did not say.
        data: What it carries.
        id: The id that the stream had given last.
    """

    name: str
    data: str
    id: str


class EventParser:
    """Reads one stream of Server-Sent Events by the rules of the WHATWG.

    It is stricter in two points: what is not UTF-8 is refused instead of mended, and
    an event larger than 8 MiB is too.

    Attributes:
        last_id: The id up to which the stream is known, as of the last empty line.
        retry_ms: How long the stream asks to wait before it is opened anew; None if
            it did not say.
        blocks: How many empty lines there were: signs of life, with an event or
            without.
    """

    def __init__(self) -> None:
        """Begin at the first byte of a stream."""
        self.last_id = ""
        self.retry_ms: int | None = None
        self.blocks = 0
        self._rest = bytearray()  # of a line that has not ended
        self._after_return = False
        self._first = True
        self._name = ""
        self._id = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that ``data`` completes, in order.

        Raises:
            NotUnderstood: It is not UTF-8, or an event is too large. The stream can't
                be read any further.
        """
        if self._after_return and data[:1] == b"\n":
            data = data[1:]  # the second half of a line end
            self._after_return = False
        if not data:
            return []
        self._after_return = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = data.split(b"\n")
        self._rest += first
        events: list[ServerEvent] = []
        for following in others:
            event = self._line(bytes(self._rest))
            if event is not None:
                events.append(event)
            self._rest[:] = following
        if len(self._rest) + self._size > _EVENT_BYTES_MAX:
            raise _too_large()
        return events

    def _line(self, line: bytes) -> ServerEvent | None:
        """Take a whole line; return the event that it ends."""
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        if len(line) + self._size > _EVENT_BYTES_MAX:
            raise _too_large()
        try:
            name, _, value = line.decode().partition(":")
        except UnicodeDecodeError:
            raise NotUnderstood("sent an event that is not UTF-8") from None
        if name:  # else it is a comment
            self._field(name, value.removeprefix(" "), len(line) + 1)
        return None

    def _field(self, name: str, value: str, size: int) -> None:
        if name == "data":
            self._data.append(value)
            self._size += size
        elif name == "event":
            self._name = value
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif (
            name == "retry"
            and value.isascii()
            and value.isdigit()
            and len(value) <= _RETRY_DIGITS_MAX
        ):
            self.retry_ms = int(value)

    def _dispatch(self) -> ServerEvent | None:
        """Return the event whose fields have come, if it has data."""
        self.blocks += 1
        self.last_id = self._id
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        if not data:
            return None
        return ServerEvent(name or "message", "\n".join(data), self.last_id)


class RevisionEvent(NamedTuple):
    """A revision was made.

    Attributes:
        namespace: Where.
        entry: The revision, as the log has it; of its changes those that are watched.
        changes_omitted: They are too large for an event, and ``entry`` has none: they
            are to be read as a diff.
    """

    namespace: str
    entry: LogEntry
    changes_omitted: bool = False


class ResyncEvent(NamedTuple):
    """What was known can't be gone on from: the state has to be read anew.

    What follows goes on from ``revision``.

    Attributes:
        namespace: Where.
        branch: On which branch.
        revision: The branch's head; 0 where it has nothing.
        reason: ``collected``, where garbage collection has removed what lies between,
            or ``history``, where the branch does not have what was known: it was
            deleted, or made anew.
    """

    namespace: str
    branch: str
    revision: int
    reason: str


WatchEvent = RevisionEvent | ResyncEvent
"""What a watch tells."""


class Watching:
    """One watch of a branch, over as many connections as it takes.

    Before each connection, :meth:`call` gives the request; then :meth:`accept` looks
    at the head of the answer, and :meth:`feed` at each piece of its body. After a
    connection, :meth:`final` says whether there is to be another one, and
    :meth:`delay_s` when.

    Attributes:
        revision: The newest revision up to which nothing is missing; None before the
            first connection has said so.
        blocks: How many signs of life there were on this connection.
    """

    def __init__(
        self,
        scope: Scope,
        url: str,
        prefix: str = "",
        *,
        after: int | None = None,
        contents: bool = False,
        jitter: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            scope: What to watch.
            url: The daemon's, for error texts.
            prefix: Only revisions that changed a key under it.
            after: The revision that is known; None for the head as it is then.
            contents: Changes with their contents.
            jitter: Returns a number from 0 to 1, so that many clients that were cut
                off together don't come back together.

        Raises:
            InvalidValue: ``after`` is negative.
        """
        if after is not None and after < 0:
            raise InvalidValue("after", f"{after} must not be negative")
        self.revision = after
        self.blocks = 0
        self._scope = scope
        self._url = url
        self._prefix = prefix
        self._after = after
        self._contents = contents
        self._jitter = jitter
        self._parser = EventParser()
        self._resumed = ""  # the id to go on behind
        self._established = False  # a daemon has answered at some time
        self._failed = 0  # attempts in a row that came to nothing
        self._wait_s = 0.0  # what the daemon asks to wait
        self._refused = False  # what it said last, it would say again

    def go_on_after(self, revision: int) -> None:
        """Continue behind ``revision``, which was read otherwise, from now on."""
        self.revision = self._after = revision
        self._resumed = ""

    def call(self) -> Call[None]:
        """Return the request of the next connection, and expect its first byte."""
        self._parser = EventParser()
        self.blocks = 0
        return self._call()

    def _call(self) -> Call[None]:
        headers = {"Accept": "text/event-stream"}
        if self._resumed:
            headers["Last-Event-ID"] = self._resumed
        return get(
            "watch",
            "/v1/watch",
            self.accept,
            [
                ("namespace", self._scope.namespace),
                ("branch", self._scope.branch),
                ("prefix", self._prefix),
                ("after", self._after),
                ("contents", "true" if self._contents else None),
            ],
            headers,
        )

    def accept(self, head: Answer) -> None:
        """Look at the answer; of a stream its head, of anything else all of it.

        Raises:
            St8Error: The daemon refuses.
            NotUnderstood: It is no stream of a daemon.
        """
        self._wait_s = _retry_after_s(head.headers)
        if head.status != _OK:
            error = _answers.error_of(head)
            self._note(error, head.status)
            raise error
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/event-stream":
            raise NotUnderstood(
                f"answered a watch with {kind[:80]!r}, which is no stream of events; "
                "is this a st8 daemon?"
            )
        self._established = True

    def feed(self, data: bytes) -> Iterator[WatchEvent]:
        """Yield what is told by ``data``, the next piece of the stream.

        It is to be taken to its end before the next call.

        Raises:
            St8Error: The daemon ends the stream, and says why.
            NotUnderstood: It is no stream of a daemon.
        """
        events = self._parser.feed(data)
        self.blocks = self._parser.blocks
        if self.blocks > 1:  # the first one is the start
            self._failed = 0
        for event in events:
            if event.name == "revision":
                found = RevisionEvent(
                    *_answers.told_revision(event.data, contents=self._contents)
                )
                if self.revision is None or found.entry.revision > self.revision:
                    self.revision = found.entry.revision
                    yield found
            elif event.name == "resync":
                resync = ResyncEvent(*_answers.told_resync(event.data))
                self.revision = resync.revision
                yield resync
            elif event.name == "error":
                raise self._told_error(event.data)
        self._keep(self._parser.last_id)
        if self._parser.retry_ms is not None:
            self._wait_s = self._parser.retry_ms / 1000

    def _told_error(self, data: str) -> St8Error:
        """Return the error that an event carries.

        Raises:
            NotUnderstood: It carries none.
        """
        problem = _answers.told_problem(data)
        error = St8Error.from_problem(problem)
        status = problem.get("status")
        self._note(error, status if isinstance(status, int) else error.http_status)
        return error

    def _note(self, error: St8Error, status: int) -> None:
        """Take note of whether the daemon would answer the same again."""
        refused = status in _CLIENT_ERRORS and status not in _PASSING
        self._refused = refused and not error.retryable

    def _keep(self, position: str) -> None:
        """Take note of where the stream is, if it says so."""
        digits = position.isascii() and position.isdigit()
        if digits and len(position) <= _POSITION_DIGITS_MAX:
            self._resumed = position
            self.revision = int(position)

    def error(self, problem: Exception) -> St8Error:
        """Return how the end of a connection is told to people."""
        call = cast("Call[object]", self._call())
        attempts = Attempts(call, self._url, retries=0, jitter=self._jitter)
        try:
            if isinstance(problem, Failure):
                attempts.after_failure(problem, None)
            elif isinstance(problem, NotUnderstood):
                attempts.after_odd_answer(problem, None)
        except St8Error as error:
            return error
        return problem if isinstance(problem, St8Error) else St8Error(str(problem))

    def final(self, problem: Exception) -> bool:
        """Return whether trying again is of no use after ``problem``.

        Once a daemon has answered, only its own refusals are: everything else may be
        a proxy or a name server that will be right again.
        """
        if isinstance(problem, Failure):
            return problem.hopeless and not self._established
        if isinstance(problem, NotUnderstood):
            return not problem.passing and not self._established
        return self._refused or not isinstance(problem, St8Error)

    def delay_s(self) -> float:
        """Return the seconds to wait before the next connection.

        Chance decides between none and what grows with each failure, or what the
        daemon asks for if that is more; never more than 30 seconds.
        """
        delay_s = _DELAY_S * (1 << min(self._failed, _DOUBLINGS_MAX))
        self._failed += 1
        wait_s, self._wait_s = self._wait_s, 0.0
        return self._jitter() * min(_DELAY_MAX_S, max(delay_s, wait_s))


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    usable = text.isascii() and text.isdigit() and len(text) <= _RETRY_DIGITS_MAX
    return float(text) if usable else 0.0


def _too_large() -> NotUnderstood:
    return NotUnderstood(f"sent an event of more than {_EVENT_BYTES_MAX} bytes")
