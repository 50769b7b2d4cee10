"""A local copy of a state that a thread keeps current.

The copy is one immutable value, replaced as a whole, so whoever reads it sees one
revision. It is changed by what a watch tells, each change held against what is there;
where that does not fit, or the daemon says that the history is another one, the state
is read anew. Each new connection begins with the question whether the daemon still
has the revision that the copy is of, by its digest: a daemon that was restored from an
old backup is not taken for one where nothing has happened.

What an outage, a daemon without the branch, or an error takes away is never the copy:
it stays as it was, and grows old.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast, overload

from st8.client._events import SILENCE_S, ResyncEvent, Watching
from st8.client._kept import Copy, read_copy, write_copy
from st8.client._retry import Failure
from st8.client._transport import chance
from st8.client._watch import LOST
from st8.core.documents import Change
from st8.core.errors import (
    KeyNotFound,
    NotFound,
    NothingApplied,
    TimedOut,
    Unavailable,
)
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from st8.client._connection import Stream
    from st8.client._events import WatchEvent
    from st8.client._sync import Client
    from st8.client._transport import Transport
    from st8.core.errors import St8Error
    from st8.core.ids import Scope

__all__ = ["LiveState"]

D = TypeVar("D")
T = TypeVar("T")

_LOG: Final = logging.getLogger("st8.live")
_WRITE_EVERY_S: Final = 1.0
_CLOSE_GRACE_S: Final = 5.0
_LOADED_MAX: Final = 1_000
"""Values that are remembered, so that one function a call costs no memory."""


class _Callback(NamedTuple):
    """Whom to tell of what."""

    subject: str
    function: Callable[[tuple[Change, ...]], object]

    def wants(self, key: str) -> bool:
        """Return whether a document is what it is about."""
        subject = self.subject
        whole = not subject or subject.endswith("/")
        return key.startswith(subject) if whole else key == subject


class LiveState:
    """The documents of a branch, or those under a prefix, as they are now.

    Get one from :meth:`st8.Client.live`, and use it as a context manager, or
    :meth:`start` and :meth:`close` it. A daemon thread keeps it; all methods are for
    any thread, and none but :meth:`wait` waits for the network.

    Example::

        with client.live("app/", file="app.kept") as live:
            live.wait(timeout_s=10)
            live["app/limits.json"]
    """

    def __init__(
        self,
        client: Client,
        transport: Transport,
        scope: Scope,
        prefix: str,
        *,
        file: str | os.PathLike[str] | None,
        jitter: Callable[[], float] = chance,
    ) -> None:
        """Prepare; see :meth:`st8.Client.live`."""
        self._client = client
        self._transport = transport
        self._scope = scope
        self._prefix = prefix
        self._file = None if file is None else os.fspath(file)
        self._watching = Watching(
            scope, transport.url, prefix, contents=True, jitter=jitter
        )
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._copy: Copy | None = None
        self._problem: St8Error | None = None
        self._current_at: float | None = None
        self._connected = False
        self._behind = True  # what there is is known not to be the daemon's state
        self._stream: Stream | None = None
        self._callbacks: list[_Callback] = []
        self._loaded: dict[tuple[str, object], tuple[str, object]] = {}
        self._threads: list[threading.Thread] = []
        self._dirty = False  # not in the file yet

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Take what the file has, if there is one, and begin to follow the daemon.

        Raises:
            RuntimeError: It was started before.
        """
        if self._threads or self._closing.is_set():
            raise RuntimeError("a live state is started once")
        if self._file is not None:
            kept = read_copy(self._file, self._scope, self._prefix)
            if kept is not None:
                documents = MappingProxyType(dict(kept.documents))
                self._copy = kept._replace(documents=documents)
            self._threads.append(
                threading.Thread(
                    target=self._keep,
                    args=(self._file,),
                    name="st8-live-file",
                    daemon=True,
                )
            )
        self._threads.append(
            threading.Thread(target=self._run, name="st8-live", daemon=True)
        )
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Follow the daemon no more; what is there stays, and is in the file.

        It waits for a callback that runs, or a request, 5 seconds at most.
        """
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        stream = self._stream
        if stream is not None:
            stream.interrupt()
        for thread in reversed(self._threads):
            if thread is not threading.current_thread():
                thread.join(_CLOSE_GRACE_S)

    # --- what is there --------------------------------------------------------------

    @property
    def documents(self) -> Mapping[str, str]:
        """All documents, of one revision, in a mapping that never changes.

        Take it once to read several that belong together.

        Raises:
            Unavailable: Nothing was loaded yet.
        """
        return self._here().documents

    @property
    def revision(self) -> int:
        """Up to which revision of the branch the documents are the state.

        Raises:
            Unavailable: Nothing was loaded yet.
        """
        return self._here().revision

    @property
    def connected(self) -> bool:
        """Whether the daemon tells of changes now, as far as is known."""
        return self._connected

    @property
    def age_s(self) -> float:
        """Seconds since the documents were last known to be the daemon's.

        Up to 15 or so while there is a connection and nothing happens; infinite if
        they are from the file and no daemon has said so yet.
        """
        at = self._current_at
        return math.inf if at is None else monotonic() - at

    @property
    def problem(self) -> St8Error | None:
        """Why it is not connected, or not current; None if it is both."""
        return self._problem

    def __getitem__(self, key: str) -> str:
        """Return the content of a document.

        Raises:
            KeyNotFound: There is no such document.
            Unavailable: Nothing was loaded yet.
        """
        copy = self._here()
        content = copy.documents.get(key)
        if content is None:
            raise KeyNotFound(key, copy.revision)
        return content

    def __contains__(self, key: object) -> bool:
        return key in self._here().documents

    @overload
    def get(self, key: str) -> str | None: ...

    @overload
    def get(self, key: str, default: D) -> str | D: ...

    def get(self, key: str, default: object = None) -> object:
        """Return the content of a document, or ``default`` if there is none.

        Raises:
            Unavailable: Nothing was loaded yet.
        """
        return self._here().documents.get(key, default)

    def load(self, key: str, kind: Callable[..., T]) -> T:
        """Return a document of JSON as a value of ``kind``.

        As long as the document does not change it is the same value.

        Args:
            key: The document's key.
            kind: A dataclass or a ``msgspec.Struct``, whose fields are checked, or any
                function that takes the parsed JSON.

        Raises:
            KeyNotFound: There is no such document.
            InvalidValue: It is not JSON, or does not fit.
            Unavailable: Nothing was loaded yet.
        """
        from st8.client._typed import convert  # noqa: PLC0415 - not everybody needs it

        content = self[key]
        found = self._loaded.get((key, kind))
        if found is None or found[0] != content:
            found = content, convert(key, content, kind)
            if len(self._loaded) >= _LOADED_MAX:
                self._loaded.clear()
            self._loaded[key, kind] = found
        return cast("T", found[1])

    def wait(self, timeout_s: float | None = None, *, revision: int = 0) -> None:
        """Return when something is loaded, from the daemon or from the file.

        Args:
            timeout_s: Wait so many seconds at most; None for no limit.
            revision: Wait until this revision is there, too, such as the one that an
                apply has made. Where it changed nothing under the prefix, that takes
                up to 15 seconds.

        Raises:
            TimedOut: It took too long, or it was closed meanwhile.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_at(revision) or self._closing.is_set(), timeout_s
            )
            if not self._is_at(revision):
                why = f": {self._problem.detail}" if self._problem else ""
                what = f"revision {revision} of " if revision else ""
                raise TimedOut(f"{what}{self._name()} is not there yet{why}")

    def on_change(
        self, subject: str, function: Callable[[tuple[Change, ...]], object]
    ) -> Callable[[], None]:
        """Have ``function`` called with each change, and return what ends that.

        It is called by the thread that follows the daemon, once for each revision, in
        order, after the documents were replaced; while it runs, nothing else happens
        to them. Several revisions may come as one after an outage. What it raises is
        logged.

        Args:
            subject: A key, or a prefix that ends in ``/``; ``""`` for everything.
            function: Takes the changes, with their contents, in key order.
        """
        callback = _Callback(subject, function)
        with self._changed:
            self._callbacks = [*self._callbacks, callback]

        def end() -> None:
            with self._changed:
                self._callbacks = [c for c in self._callbacks if c is not callback]

        return end

    def _here(self) -> Copy:
        copy = self._copy
        if copy is None:
            why = f": {self._problem.detail}" if self._problem else ""
            raise Unavailable(f"{self._name()} is not loaded yet{why}; wait() for it")
        return copy

    def _is_at(self, revision: int) -> bool:
        return self._copy is not None and self._copy.revision >= revision

    def _name(self) -> str:
        namespace, branch = self._scope
        return f"namespace {namespace!r}, branch {branch!r}"

    # --- following the daemon ----------------------------------------------------------

    def _run(self) -> None:
        """Follow until closed."""
        while not self._closing.is_set():
            try:
                self._catch_up()
                self._follow()
            except LOST as end:
                self._lost(self._watching.error(end))
            except Exception as error:  # noqa: BLE001 - it is told, and goes on
                _LOG.exception("%s: can't go on", self._name())
                self._lost(Unavailable(f"{type(error).__name__}: {error}"))
            self._closing.wait(self._watching.delay_s())

    def _lost(self, problem: St8Error) -> None:
        """Take note that there is no connection."""
        if self._closing.is_set():
            return
        told = self._problem is not None and not self._connected
        self._connected = False
        self._problem = problem
        if not told:
            at = "nothing" if self._copy is None else f"revision {self._copy.revision}"
            _LOG.warning("%s: %s; going on with %s", self._name(), problem.detail, at)

    def _catch_up(self) -> None:
        """See that the copy is of the daemon's history, and go on behind it.

        Raises:
            St8Error: The daemon can't say.
        """
        if not self._is_known():
            self._read()
        copy = self._copy
        self._watching.go_on_after(0 if copy is None or self._behind else copy.base)

    def _is_known(self) -> bool:
        """Return whether the daemon has the revision that the copy is of."""
        copy = self._copy
        if copy is None or not copy.digest:
            return False
        try:
            entries = self._client.log(1, revision=copy.base).entries
        except NotFound:
            return False
        known = (copy.base, copy.digest) in {(e.revision, e.digest) for e in entries}
        self._behind = not known
        return known

    def _read(self) -> None:
        """Read the whole state.

        Raises:
            St8Error: The daemon does not give it.
        """
        try:
            state = self._client.state(prefix=self._prefix)
        except NothingApplied as nothing:
            # What was good is not thrown away because a branch is not there.
            self._behind = True
            self._problem = nothing
            return
        copy = Copy(
            state.revision,
            MappingProxyType(state.documents),
            state.revision,
            state.digest,
        )
        before: Mapping[str, str] = self._copy.documents if self._copy else {}
        self._replace(copy, _differences(before, copy.documents))

    def _follow(self) -> None:
        """Take what the daemon tells, until the connection is lost or closed."""
        stream = self._transport.stream(self._watching.call())
        self._stream = stream
        if self._problem is not None and not self._connected:
            _LOG.info("%s: connected again", self._name())
        self._connected = True
        try:
            while not self._closing.is_set():
                data = stream.read(SILENCE_S)
                if not data:
                    raise Failure("the stream ended", "answer")
                blocks = self._watching.blocks
                for event in self._watching.feed(data):
                    self._take(event)
                if self._watching.blocks > blocks:
                    self._alive()
        finally:
            self._stream = None
            stream.close()

    def _alive(self) -> None:
        """Take note that up to its position nothing is missing."""
        copy, position = self._copy, self._watching.revision
        if self._behind or copy is None or position is None:
            return
        with self._changed:
            self._problem = None
            self._current_at = monotonic()
            if position > copy.revision:
                self._copy = copy._replace(revision=position)
            self._changed.notify_all()

    def _take(self, event: WatchEvent) -> None:
        """Bring the copy to where an event says that the branch is."""
        copy = self._copy
        if copy is None or self._behind or isinstance(event, ResyncEvent):
            self._read()
            return
        entry = event.entry
        if entry.revision <= copy.base:
            return  # the state was read after it was made
        if event.changes_omitted:
            self._read()
            return
        documents = dict(copy.documents)
        for change in entry.changes:
            if documents.get(change.key) != change.before:
                self._read()  # it is not what the copy is of
                return
            if change.after is None:
                del documents[change.key]
            else:
                documents[change.key] = change.after
        self._replace(
            Copy(
                entry.revision,
                MappingProxyType(documents),
                entry.revision,
                entry.digest,
            ),
            entry.changes,
        )

    def _replace(self, copy: Copy, changes: Sequence[Change]) -> None:
        """Put ``copy`` in place of what there was, and tell of it."""
        with self._changed:
            self._copy = copy
            self._behind = False
            self._dirty = True
            self._current_at = monotonic()
            if self._connected:
                self._problem = None
            self._changed.notify_all()
        for callback in self._callbacks:
            wanted = tuple(c for c in changes if callback.wants(c.key))
            if wanted and not self._closing.is_set():
                try:
                    callback.function(wanted)
                except Exception:  # noqa: BLE001 - it is theirs, and is told
                    _LOG.exception(
                        "%s: what was to be told of %r at revision %d failed",
                        self._name(),
                        callback.subject,
                        copy.revision,
                    )

    # --- the file -------------------------------------------------------------------------

    def _keep(self, file: str) -> None:
        """Write the file after each change, once a second at most, until closed."""
        told = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._dirty or self._closing.is_set())
                copy, dirty, self._dirty = self._copy, self._dirty, False
            if copy is not None and dirty:
                try:
                    write_copy(file, self._scope, self._prefix, copy)
                    told = False
                except OSError as error:
                    self._dirty = True
                    if not told:
                        _LOG.warning("can't write %r: %s", file, error)
                    told = True
            if self._closing.is_set():
                return
            self._closing.wait(_WRITE_EVERY_S)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """Return what has to change to make ``after`` of ``before``, in key order."""
    changes: list[Change] = []
    for name in sorted({*before, *after}, key=str.encode):
        key = str.__new__(Key, name)
        old, new = before.get(name), after.get(name)
        if old is None:
            changes.append(Change(key, "create", None, new))
        elif new is None:
            changes.append(Change(key, "delete", old, None))
        elif old != new:
            changes.append(Change(key, "update", old, new))
    return changes
