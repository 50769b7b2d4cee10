"""Writes large answers piece by piece.

Each function yields parts of one JSON text, about ``_PIECE_BYTES`` at a time, and
reads what it needs only then, so an answer costs memory for a piece and not for
the whole. Whoever iterates may be on another thread each time.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from st8.core import limits
from st8.core.key_set import ALL_KEYS
from st8.core.revisions import format_time
from st8.http.shapes import ChangeInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from st8.core.ids import Scope
    from st8.core.key_set import KeySet
    from st8.core.revisions import Revision
    from st8.engine.history import LogPage
    from st8.engine.results import Diff, WriteResult
    from st8.engine.state import ChangeList, RawChange, State
    from st8.http.plans import Detail, DiffPlan, Selection, WritePlan

__all__ = [
    "Tally",
    "diff_pieces",
    "encode",
    "event_data",
    "log_pieces",
    "result_pieces",
    "state_pieces",
]

_PIECE_BYTES: Final = 32 * 1024

_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)
"""The hook is for names: msgspec knows str itself, but no class derived from it."""


class Tally:
    """Counts the changes of an answer while it is written."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        """Begin at nothing."""
        self.changes = 0


def encode(value: object) -> bytes:
    """Return ``value`` as one line of JSON."""
    return _ENCODER.encode(value) + b"\n"


def state_pieces(state: State, selection: Selection) -> Iterator[bytes]:
    """Yield a :class:`st8.http.shapes.State`."""
    revision = state.revision
    yield _open_object(
        revision=state.number,
        digest=None if revision is None else revision.digest.hex(),
        root=state.root.hex(),
        count=state.count,
    )
    cursor = _Cursor(selection.limit)
    after = selection.after or None
    if selection.contents:
        yield b',"objects":{'
        items = (
            _named(state, selection)
            if selection.keys
            else state.items(selection.prefix, after)
        )
        yield from _objects(cursor.page(items))
        yield b"}"
    else:
        yield b',"keys":['
        keys = (
            (key for key, _ in _named(state, selection))
            if selection.keys
            else state.keys(selection.prefix, after)
        )
        yield from _array(key for key, _ in cursor.page((key, key) for key in keys))
        yield b"]"
    yield _close_object(next=cursor.next)


def result_pieces(
    result: WriteResult, plan: WritePlan, tally: Tally
) -> Iterator[bytes]:
    """Yield a :class:`st8.http.shapes.Result`."""
    revision = result.revision
    yield _open_object(
        revision=result.number,
        noop=result.noop,
        digest=None if revision is None else revision.digest.hex(),
        root=result.root.hex(),
        created_at=None if revision is None else format_time(revision.time_ns),
        dry_run=result.dry_run,
    )
    if result.noop:
        yield b',"changes":null'
    else:
        yield from _changes(result.changes, plan.changes, tally, plan.shown)
    kept = [key for key in result.kept if plan.shown.has(key.encode())]
    yield _close_object(kept=kept or None)


def diff_pieces(diff: Diff, plan: DiffPlan, tally: Tally) -> Iterator[bytes]:
    """Yield a :class:`st8.http.shapes.Diff`."""
    yield _open_object(
        from_revision=diff.from_number,
        to_revision=diff.to_number,
        from_root=diff.from_root.hex(),
        to_root=diff.to_root.hex(),
    )
    cursor = _Cursor(plan.limit)
    yield b',"changes":['
    if plan.changes != "none":
        changes = diff.changes.iter(contents=plan.changes == "full", after=plan.after)
        page = cursor.page((change.key, change) for change in changes)
        yield from _array(_change_infos((c for _, c in page), tally), _change_size)
    yield b"]"
    yield _close_object(next=cursor.next)


def log_pieces(page: LogPage, detail: Detail, tally: Tally) -> Iterator[bytes]:
    """Yield a :class:`st8.http.shapes.Log`."""
    if not page.entries:
        yield b'{"entries":null'
    else:
        separator = b'{"entries":['
        for entry in page.entries:
            yield separator + _open_object(**_entry_fields(entry.revision))
            yield from _changes(entry.changes, detail, tally)
            yield b"}"
            separator = b","
        yield b"]"
    yield _close_object(next=page.next, collected=page.collected)


def event_data(
    scope: Scope,
    revision: Revision,
    changes: ChangeList,
    prefix: str,
    *,
    contents: bool,
) -> bytes | None:
    """Return a revision as one line of JSON, as watchers of ``scope`` are told of it.

    It may have been made on another branch, which this one began on. Of its changes
    only those under ``prefix``. None if there are none, and not
    every key is watched. Where they are too large (``watch_event_bytes_max``) the
    field ``changes`` is null.
    """
    found: list[ChangeInfo] = []
    size = 0
    raw = changes.iter(contents=contents, prefix=prefix)
    for info in _change_infos(raw, Tally()):
        found.append(info)
        size += _change_size(info)
        if size > limits.WATCH_EVENT_BYTES.maximum:
            break
    if not found and (prefix or not changes.visible.is_all):
        return None
    return encode(
        {
            "scope": scope._asdict(),
            "namespace": scope.namespace,
            **_entry_fields(revision),
            "changes": found if size <= limits.WATCH_EVENT_BYTES.maximum else None,
        }
    )


def _entry_fields(revision: Revision) -> dict[str, object]:
    return {
        "id": revision.number,
        "parent_id": revision.parent_number,
        "message": revision.message,
        "created_at": format_time(revision.time_ns),
        "branch": revision.scope.branch,
        "author": revision.author,
        "kind": revision.kind,
        "digest": revision.digest.hex(),
        "root": revision.root.hex(),
        "parents": [parent.number for parent in revision.parents],
    }


def _open_object(**fields: object) -> bytes:
    """Return an object of these fields without the brace that ends it."""
    return _ENCODER.encode(fields)[:-1]


def _close_object(**fields: object) -> bytes:
    """Return the last fields of an object, those that are not None, and its end."""
    given = {name: value for name, value in fields.items() if value is not None}
    return b"," + _ENCODER.encode(given)[1:] + b"\n" if given else b"}\n"


class _Cursor:
    """Cuts a page off a sequence and knows where the next one begins.

    Attributes:
        next: The last name of the page, if there is more behind it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.next: str | None = None

    def page(self, items: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Yield the first ``limit`` items, all if it is 0."""
        if not self.limit:
            yield from items
            return
        name = ""
        for name, value in islice(items, self.limit):
            yield name, value
        if next(items, None) is not None:
            self.next = name


def _named(state: State, selection: Selection) -> Iterator[tuple[str, bytes]]:
    """Yield those of the named documents that are there."""
    for key, content in state.get_many(selection.keys):
        yield str(key), content


def _objects(items: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the inside of an object of documents."""
    separator = b""
    batch: dict[str, str] = {}
    size = 0
    for key, content in items:
        batch[key] = content.decode()
        size += len(key) + len(content) + 6
        if size >= _PIECE_BYTES:
            yield _piece(separator, batch)
            separator = b","
            size = 0
    if batch:
        yield _piece(separator, batch)


def _changes(
    changes: ChangeList, detail: Detail, tally: Tally, shown: KeySet = ALL_KEYS
) -> Iterator[bytes]:
    """Yield the field ``changes`` and the comma before it.

    Contents of keys that are not ``shown`` are left out.
    """
    yield b',"changes":['
    if detail != "none":
        raw = changes.iter(contents=detail == "full")
        if not shown.is_all:
            raw = (
                change
                if shown.has(change.key.encode())
                else change._replace(before=None, after=None)
                for change in raw
            )
        yield from _array(_change_infos(raw, tally), _change_size)
    yield b"]"


def _change_infos(changes: Iterable[RawChange], tally: Tally) -> Iterator[ChangeInfo]:
    for key, kind, before, after in changes:
        tally.changes += 1
        yield ChangeInfo(
            key=key,
            type=kind,
            before=UNSET if before is None else before.decode(),
            after=UNSET if after is None else after.decode(),
        )


def _change_size(change: ChangeInfo) -> int:
    before = 0 if change.before is UNSET else len(change.before)
    after = 0 if change.after is UNSET else len(change.after)
    return len(change.key) + before + after + 48


def _array(items: Iterable[Any], size_of: Any = len) -> Iterator[bytes]:
    """Yield the inside of an array."""
    separator = b""
    batch: list[Any] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item) + 3
        if size >= _PIECE_BYTES:
            yield _piece(separator, batch)
            separator = b","
            size = 0
    if batch:
        yield _piece(separator, batch)


def _piece(separator: bytes, batch: list[Any] | dict[str, str]) -> bytes:
    """Return the inside of a JSON text, and empty ``batch``: nobody holds both."""
    text = _ENCODER.encode(batch)
    batch.clear()
    return b"".join((separator, memoryview(text)[1:-1]))
