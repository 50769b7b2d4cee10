"""Reads answers: bodies into results, problems into errors.

An answer that no st8 daemon gives (a proxy's page, half a body) is never taken for
data: it raises :class:`NotUnderstood`, and what that means is decided where it is
known whether something was to be written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from st8.client._results import (
    BackupRestored,
    Branch,
    Checkpoint,
    Collected,
    CollectedNamespace,
    CollectedRange,
    Diff,
    Kind,
    LogEntry,
    LogPage,
    NamespaceInfo,
    Place,
    Redacted,
    ServerVersion,
    State,
    StatePage,
    Written,
)
from st8.core.documents import Change, ChangeType
from st8.core.errors import St8Error
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Answer",
    "NotUnderstood",
    "Page",
    "branches",
    "checkpoint",
    "checkpoints",
    "collected",
    "created_branch",
    "diff",
    "error_of",
    "log_page",
    "namespaces",
    "nothing",
    "redacted",
    "restored",
    "server_version",
    "state",
    "state_page",
    "told_problem",
    "told_resync",
    "told_revision",
    "written",
]

T = TypeVar("T")

_OK = 200
_ERRORS_FROM = 400
_REDIRECTS_FROM = 300
_NOT_THE_DAEMONS = (502, 503, 504)
"""Statuses that a proxy gives when the daemon behind it did not answer; the
daemon's own 503 says why."""

_REASON_MAX = 4_096
"""Characters of a text answer that are worth repeating; the Go client's number."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status.
        headers: Header fields, names in lower case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotUnderstood(Exception):
    """The answer is not one that a st8 daemon gives.

    Attributes:
        refused: Whoever answered did not do what was asked.
        passing: It may be otherwise soon.
    """

    def __init__(
        self, problem: str, *, refused: bool = False, passing: bool = False
    ) -> None:
        """Say what came instead."""
        super().__init__(problem)
        self.refused = refused
        self.passing = passing


class Page(NamedTuple, Generic[T]):
    """A page of a list: what it holds, and the name to go on after."""

    items: tuple[T, ...]
    next: str | None


# --- errors --------------------------------------------------------------------


def error_of(answer: Answer) -> St8Error:
    """Return the error that ``answer`` stands for; it is no 200.

    Raises:
        NotUnderstood: It comes from something that is not the daemon.
    """
    status = answer.status
    if status < _ERRORS_FROM:
        raise NotUnderstood(_odd_status(answer), refused=status >= _REDIRECTS_FROM)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("json"):
        try:
            problem = cast("object", json.loads(answer.body))
        except (ValueError, RecursionError):
            problem = None
        if isinstance(problem, dict) and "code" in problem:
            known = cast("dict[str, object]", problem)
            return St8Error.from_problem({"status": status, **known})
    if status in _NOT_THE_DAEMONS:
        raise NotUnderstood(
            f"answered {status} in place of the daemon behind it", passing=True
        )
    reason = answer.body[:_REASON_MAX].decode("utf-8", "replace").strip()
    if kind != "text/plain" or not reason:
        reason = f"answered {status} without saying why; is this a st8 daemon?"
    return St8Error.from_problem({"detail": reason, "status": status})


def _odd_status(answer: Answer) -> str:
    location = answer.headers.get("location", "").partition("?")[0][:256]
    if location:
        return (
            f"answered {answer.status} and points to {location!r}; st8 follows no "
            "redirects: use the final address"
        )
    return f"answered {answer.status}, as no st8 daemon does"


# --- fields --------------------------------------------------------------------


class _Fields:
    """A JSON object whose fields are read with their types checked."""

    __slots__ = ("_object",)

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise NotUnderstood("the answer is not the JSON object expected")
        self._object = cast("dict[str, object]", value)

    def all(self) -> Mapping[str, object]:
        """Return all fields, unchecked."""
        return self._object

    def has(self, name: str) -> bool:
        """Return whether there is such a field, and it is not null."""
        return self._object.get(name) is not None

    def text(self, name: str) -> str:
        """Return a text; absent or null is empty, as older daemons omit some."""
        value = self._object.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _wrong(name)
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None where it is absent or null."""
        return None if self._object.get(name) is None else self.text(name)

    def number(self, name: str) -> int:
        """Return a number that must be there."""
        value = self._object.get(name)
        if type(value) is not int:
            raise _wrong(name)
        return value

    def optional_number(self, name: str) -> int | None:
        """Return a number, or None where it is absent or null."""
        return None if self._object.get(name) is None else self.number(name)

    def flag(self, name: str) -> bool:
        """Return a truth value that must be there."""
        value = self._object.get(name)
        if not isinstance(value, bool):
            raise _wrong(name)
        return value

    def optional_flag(self, name: str) -> bool:
        """Return a truth value; absent or null is false."""
        return self._object.get(name) is not None and self.flag(name)

    def items(self, name: str) -> list[object]:
        """Return a list that must be there; null is an empty one."""
        if name not in self._object:
            raise _wrong(name)
        return self.optional_items(name)

    def optional_items(self, name: str) -> list[object]:
        """Return a list; absent or null is an empty one."""
        value = self._object.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _wrong(name)
        return cast("list[object]", value)

    def numbers(self, name: str) -> dict[str, int]:
        """Return an object of numbers that must be there."""
        value = self._object.get(name)
        if not isinstance(value, dict):
            raise _wrong(name)
        numbers = cast("dict[str, object]", value)
        if not all(type(number) is int for number in numbers.values()):
            raise _wrong(name)
        return cast("dict[str, int]", numbers)

    def texts(self, name: str) -> dict[str, str]:
        """Return an object of texts that must be there."""
        value = self._object.get(name)
        if not isinstance(value, dict):
            raise _wrong(name)
        texts = cast("dict[str, object]", value)
        if not all(type(text) is str for text in texts.values()):
            raise _wrong(name)
        return cast("dict[str, str]", texts)


def _wrong(name: str) -> NotUnderstood:
    return NotUnderstood(f"the answer's {name!r} is missing or of the wrong type")


def _fields(answer: Answer) -> _Fields:
    """Return the fields of a 200 answer, or raise the error that it is."""
    if answer.status != _OK:
        raise error_of(answer)
    try:
        value = cast("object", json.loads(answer.body))
    except (ValueError, RecursionError):
        raise NotUnderstood("the answer is not JSON") from None
    return _Fields(value)


# --- results -------------------------------------------------------------------


def nothing(answer: Answer) -> None:
    """Read an answer that says only that it was done."""
    _fields(answer)


def written(answer: Answer, *, contents: bool) -> Written:
    """Read what an apply, a rollback or a restore did."""
    fields = _fields(answer)
    return Written(
        fields.number("revision"),
        _changes(fields, contents),
        fields.flag("noop"),
        fields.optional_flag("dry_run"),
        fields.text("digest"),
        fields.text("root"),
        fields.text("created_at"),
        tuple(_text(key, "kept") for key in fields.optional_items("kept")),
    )


def state(answer: Answer) -> State:
    """Read a state, or the documents of it that were asked for."""
    fields = _fields(answer)
    documents = fields.texts("objects")
    count = fields.optional_number("count")
    return State(
        fields.number("revision"),
        documents,
        len(documents) if count is None else count,
        fields.text("digest"),
        fields.text("root"),
        answer.headers.get("etag", ""),
    )


def state_page(answer: Answer, *, contents: bool) -> StatePage:
    """Read one page of a state, or of its keys."""
    fields = _fields(answer)
    items: tuple[tuple[str, str], ...]
    if contents:
        items = tuple(fields.texts("objects").items())
    else:
        items = tuple((_text(key, "keys"), "") for key in fields.items("keys"))
    return StatePage(
        fields.number("revision"),
        fields.text("root"),
        items,
        fields.optional_text("next"),
    )


def diff(answer: Answer, *, contents: bool) -> Diff:
    """Read the difference of two states."""
    fields = _fields(answer)
    return Diff(
        fields.number("from_revision"),
        fields.number("to_revision"),
        _changes(fields, contents),
        fields.text("from_root"),
        fields.text("to_root"),
        fields.optional_text("next"),
    )


def log_page(answer: Answer, *, contents: bool) -> LogPage:
    """Read a page of the log."""
    fields = _fields(answer)
    return LogPage(
        tuple(_log_entry(_Fields(e), contents) for e in fields.items("entries")),
        fields.optional_number("next"),
        fields.optional_number("collected"),
    )


def _log_entry(fields: _Fields, contents: bool) -> LogEntry:
    parent = fields.number("parent_id")
    kind = fields.text("kind") or "apply"
    if kind not in {"apply", "rollback", "restore"}:
        raise _wrong("kind")
    parents = tuple(_number(p, "parents") for p in fields.optional_items("parents"))
    return LogEntry(
        fields.number("id"),
        parent,
        fields.text("message"),
        fields.text("created_at"),
        fields.text("branch"),
        _changes(fields, contents),
        fields.text("author"),
        cast("Kind", kind),
        fields.text("digest"),
        fields.text("root"),
        parents or ((parent,) if parent else ()),
    )


def _changes(fields: _Fields, contents: bool) -> tuple[Change, ...]:
    return tuple(_change(_Fields(c), contents) for c in fields.items("changes"))


def _change(fields: _Fields, contents: bool) -> Change:
    """Read a change. On the wire an empty content is left out; here it is ``""``."""
    # The daemon checked the key when it was applied; a key of an older one that
    # today's rules refuse must still be shown.
    key = str.__new__(Key, fields.text("key"))
    kind = fields.text("type")
    if kind not in {"create", "update", "delete"}:
        raise _wrong("type")
    return Change(
        key,
        cast("ChangeType", kind),
        fields.text("before") if contents and kind != "create" else None,
        fields.text("after") if contents and kind != "delete" else None,
    )


# --- events of a watch ---------------------------------------------------------


def told_revision(data: str, *, contents: bool) -> tuple[str, LogEntry, bool]:
    """Read the data of a ``revision``: namespace, entry, whether it lacks changes."""
    fields = _event_fields(data)
    omitted = not fields.has("changes")
    return fields.text("namespace"), _log_entry(fields, contents), omitted


def told_resync(data: str) -> tuple[str, str, int, str]:
    """Read the data of a ``resync``: namespace, branch, revision, reason."""
    fields = _event_fields(data)
    return (
        fields.text("namespace"),
        fields.text("branch"),
        fields.number("revision"),
        fields.text("reason"),
    )


def told_problem(data: str) -> Mapping[str, object]:
    """Read the data of an ``error``: a problem, for :meth:`St8Error.from_problem`."""
    return _event_fields(data).all()


def _event_fields(data: str) -> _Fields:
    try:
        return _Fields(cast("object", json.loads(data)))
    except (ValueError, RecursionError):
        raise NotUnderstood("sent an event that is not JSON") from None


# --- lists ---------------------------------------------------------------------


def checkpoints(answer: Answer) -> Page[Checkpoint]:
    """Read a page of checkpoints."""
    fields = _fields(answer)
    return Page(
        tuple(_checkpoint(_Fields(c)) for c in fields.items("checkpoints")),
        fields.optional_text("next"),
    )


def checkpoint(answer: Answer) -> Checkpoint:
    """Read the one checkpoint that was made."""
    return _checkpoint(_fields(answer))


def _checkpoint(fields: _Fields) -> Checkpoint:
    return Checkpoint(
        fields.text("name"),
        fields.number("revision_id"),
        fields.text("branch"),
        fields.text("description"),
        fields.text("created_at"),
        fields.text("author"),
    )


def branches(answer: Answer) -> Page[Branch]:
    """Read a page of branches."""
    fields = _fields(answer)
    return Page(
        tuple(_branch(_Fields(b)) for b in fields.items("branches")),
        fields.optional_text("next"),
    )


def created_branch(answer: Answer) -> Branch:
    """Read the branch that was made."""
    return _branch(_fields(answer))


def _branch(fields: _Fields) -> Branch:
    return Branch(
        fields.text("name"),
        fields.number("base_revision"),
        fields.number("head_revision"),
        fields.optional_flag("current"),
        fields.text("head_digest"),
    )


def namespaces(answer: Answer) -> Page[NamespaceInfo]:
    """Read a page of namespaces."""
    fields = _fields(answer)
    found = [_Fields(n) for n in fields.items("namespaces")]
    return Page(
        tuple(NamespaceInfo(n.text("name"), n.number("last_revision")) for n in found),
        fields.optional_text("next"),
    )


def collected(answer: Answer) -> Collected:
    """Read what a collection removed."""
    fields = _fields(answer)
    dry_run = fields.optional_flag("dry_run")
    shares = [_Fields(n) for n in fields.items("namespaces")] if dry_run else []
    return Collected(
        fields.number("pruned"),
        fields.optional_number("objects_deleted") or 0,
        fields.optional_number("bytes_freed") or 0,
        dry_run,
        tuple(map(_collected_namespace, shares)),
        fields.optional_number("namespaces_all") or 0,
    )


def _collected_namespace(fields: _Fields) -> CollectedNamespace:
    ranges = [_Fields(n) for n in fields.items("ranges")]
    return CollectedNamespace(
        fields.text("namespace"),
        fields.text("retention"),
        fields.number("pruned"),
        fields.numbers("kept"),
        tuple(
            CollectedRange(n.number("first"), n.number("last"), n.number("revisions"))
            for n in ranges
        ),
        fields.number("ranges_all"),
    )


def restored(answer: Answer) -> BackupRestored:
    """Read what the restore of a backup has put there."""
    fields = _fields(answer)
    return BackupRestored(*map(fields.number, BackupRestored._fields))


def redacted(answer: Answer) -> Redacted:
    """Read what was redacted."""
    fields = _fields(answer)
    places = [_Fields(place) for place in fields.items("places")]
    return Redacted(
        fields.text("digest"),
        tuple(Place(place.text("namespace"), place.text("key")) for place in places),
        fields.flag("dry_run"),
    )


def server_version(answer: Answer) -> ServerVersion:
    """Read what the daemon says of itself."""
    fields = _fields(answer)
    return ServerVersion(
        fields.text("version"), fields.text("api"), fields.text("store")
    )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(name)
    return value


def _number(value: object, name: str) -> int:
    if type(value) is not int:
        raise _wrong(name)
    return value
