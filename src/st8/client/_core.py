"""Every operation as a call: what to send and how to read the answer; no I/O.

Both clients, and the command line through them, are made of these, so what an
operation means is said once. Names, keys and contents are checked before anything
is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from st8.client import _answers
from st8.client._answers import NotUnderstood
from st8.client._calls import Call, Steps, Walk, get, send
from st8.client._results import LogPage
from st8.client._selection import (
    Filter,
    Pick,
    Select,
    document_list,
    key_list,
    scope_fields,
)
from st8.core import limits
from st8.core.documents import Document
from st8.core.durations import format_age
from st8.core.errors import Conflict, InvalidValue, KeyNotFound, NothingApplied
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Key,
    Message,
    Namespace,
    Scope,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from st8.client._answers import Answer, Page
    from st8.client._results import (
        Branch,
        Checkpoint,
        Collected,
        Diff,
        LogEntry,
        NamespaceInfo,
        Redacted,
        ServerVersion,
        State,
        StatePage,
        Written,
    )

__all__ = [
    "PAGE_CHANGES",
    "PAGE_DOCUMENTS",
    "PAGE_KEYS",
    "apply",
    "branches",
    "checkpoint",
    "checkpoints",
    "create_branch",
    "create_checkpoint",
    "delete_branch",
    "delete_checkpoint",
    "diff",
    "diff_pages",
    "document",
    "document_batches",
    "documents",
    "gc",
    "key_pages",
    "keys",
    "log",
    "log_pages",
    "namespaces",
    "redact",
    "reset",
    "state",
    "state_if_changed",
    "version",
]

P = TypeVar("P")
T = TypeVar("T")

PAGE_DOCUMENTS: Final = 500
PAGE_KEYS: Final = 10_000
PAGE_CHANGES: Final = 500
"""What a client asks for at a time, and so holds in memory."""

_KEYS_TARGET_BYTES: Final = limits.TARGET_BYTES.maximum - 4 * 1024
"""What keys may take of a request line; names, prefix and time take the rest."""

_NOT_MODIFIED: Final = 304


# --- writes --------------------------------------------------------------------


def apply(
    scope: Scope,
    documents: Mapping[str, str] | Iterable[Document],
    *,
    deletes: Collection[str],
    message: str,
    author: str,
    expect_revision: int | None,
    dry_run: bool,
    contents: bool,
    idempotency_key: str,
) -> Call[Written]:
    """Puts and deletes documents as one revision."""
    body: dict[str, object] = {
        "scope": scope_fields(scope),
        "documents": document_list(documents),
        "deletes": key_list(deletes) or None,
    }
    return _write(
        "apply",
        body,
        message,
        author,
        expect_revision,
        dry_run=dry_run,
        contents=contents,
        idempotency_key=idempotency_key,
    )


def reset(
    scope: Scope,
    kind: str,
    target: Pick,
    *,
    branch: str | None,
    message: str,
    author: str,
    expect_revision: int | None,
    dry_run: bool,
    contents: bool,
    idempotency_key: str,
) -> Call[Written]:
    """Takes over an earlier state (``rollback``) or any other (``restore``).

    Raises:
        InvalidValue: Nothing says which state; the wire would answer a no-op.
    """
    fields = target.fields()
    if not fields and branch is None:
        raise InvalidValue(
            "revision", f"a {kind} needs a target: a revision, a checkpoint or a time"
        )
    if kind == "restore":
        body = {f"from_{name}": value for name, value in fields.items()}
        body["from_branch"] = None if branch is None else BranchName(branch)
    else:
        names = {"revision": "revision_id", "checkpoint": "checkpoint_name"}
        body = {names.get(name, name): value for name, value in fields.items()}
    return _write(
        kind,
        {"scope": scope_fields(scope), **body},
        message,
        author,
        expect_revision,
        dry_run=dry_run,
        contents=contents,
        idempotency_key=idempotency_key,
    )


def _write(
    operation: str,
    body: Mapping[str, object],
    message: str,
    author: str,
    expect_revision: int | None,
    *,
    dry_run: bool,
    contents: bool,
    idempotency_key: str,
) -> Call[Written]:
    return send(
        operation,
        "POST",
        f"/v1/{operation}",
        {
            **body,
            "message": Message(message) or None,
            "author": Author(author) or None,
            "expect_revision": expect_revision,
            "dry_run": dry_run or None,
            "changes": "full" if contents else "keys",
        },
        lambda answer: _answers.written(answer, contents=contents),
        effect="read",  # a dry run; with an idempotency key it is a write
        idempotency_key=None if dry_run else idempotency_key,
    )


def gc(
    keep: int | None,
    younger_than_s: float | None,
    namespace: str | None,
    *,
    dry_run: bool,
) -> Call[Collected]:
    """Removes old revisions, and what only they needed."""
    if keep is not None and keep < 1:
        raise InvalidValue("keep", "must be at least 1")
    if younger_than_s is not None and younger_than_s < 0:
        raise InvalidValue("younger_than_s", "must not be negative")
    body = {
        "keep": keep,
        "younger_than": format_age(younger_than_s) if younger_than_s else None,
        "namespace": None if namespace is None else Namespace(namespace),
        "dry_run": dry_run or None,
    }
    return send("gc", "POST", "/v1/gc", body, _answers.collected)


def redact(
    scope: Scope, pick: Pick, key: str, *, reason: str, author: str, dry_run: bool
) -> Call[Redacted]:
    """Takes a content out of all revisions."""
    body = {
        "scope": scope_fields(scope),
        "key": Key(key),
        **pick.fields(),
        "reason": Message(reason) or None,
        "author": Author(author) or None,
        "dry_run": dry_run or None,
    }
    return send("redact", "POST", "/v1/redact", body, _answers.redacted)


# --- reads of a state ------------------------------------------------------------


def document(scope: Scope, pick: Pick, key: str) -> Call[str]:
    """Reads one document's content."""

    def read(answer: Answer) -> str:
        found = _some_state(scope, _answers.state(answer))
        content = found.documents.get(key)
        if content is None:
            raise KeyNotFound(key, found.revision)
        return content

    return get("get", "/v1/state", read, [*_where(scope, pick), ("key", Key(key))])


def document_batches(
    scope: Scope, pick: Pick, keys: Collection[str]
) -> Walk[State, tuple[str, str]]:
    """Reads the documents of ``keys`` that there are, all at one revision.

    Keys go into the request line, so many are asked for in several requests.
    """
    batches = list(_batches(keys))

    def call(number: int, pick: Pick, seen: State | None) -> Call[State]:
        def read(answer: Answer) -> State:
            found = _some_state(scope, _answers.state(answer))
            if seen:
                _check_unmoved(seen.revision, found.revision)
            return found

        pairs = [("key", key) for key in batches[number]]
        return get("get", "/v1/state", read, [*_where(scope, pick), *pairs])

    numbers = iter(range(1, len(batches)))

    def after(seen: State) -> Call[State] | None:
        number = next(numbers, None)
        if number is None:
            return None
        return call(number, _pinned(pick, seen.revision), seen)

    return Walk(call(0, pick, None), _document_items, after)


def _batches(keys: Collection[str]) -> Iterator[list[Key]]:
    batch: list[Key] = []
    size = 0
    for key in dict.fromkeys(key_list(keys)):
        length = len("&key=") + len(quote(key, safe=""))
        full = len(batch) == limits.READ_KEYS.maximum
        if full or (batch and size + length > _KEYS_TARGET_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += length
    if batch:
        yield batch


def state(scope: Scope, pick: Pick, prefix: str) -> Call[State]:
    """Reads a whole state, or what is under ``prefix``, in one answer."""
    return get(
        "get",
        "/v1/state",
        lambda answer: _some_state(scope, _answers.state(answer)),
        [*_where(scope, pick), ("prefix", prefix)],
    )


def state_if_changed(scope: Scope, etag: str, prefix: str) -> Call[State | None]:
    """Reads the head's state unless it is the one that ``etag`` names."""
    if not etag.isascii() or not etag.isprintable():
        raise InvalidValue("etag", "must be one that a daemon gave")

    def read(answer: Answer) -> State | None:
        if answer.status == _NOT_MODIFIED:
            return None
        return _some_state(scope, _answers.state(answer))

    return get(
        "get",
        "/v1/state",
        read,
        [*_where(scope, Pick()), ("prefix", prefix)],
        {"If-None-Match": etag} if etag else {},
    )


def documents(
    scope: Scope, pick: Pick, prefix: str, page_size: int
) -> Walk[StatePage, Document]:
    """Reads the documents of a state page by page, all at the first page's revision."""
    return _state_walk(
        scope,
        pick,
        [("prefix", prefix), ("limit", page_size)],
        lambda page: (
            Document(str.__new__(Key, key), content) for key, content in page.items
        ),
        contents=True,
    )


def key_pages(
    scope: Scope, pick: Pick, prefix: str, page_size: int
) -> Walk[StatePage, StatePage]:
    """Reads the keys of a state page by page, all at the first page's revision."""
    return _state_walk(
        scope,
        pick,
        [("prefix", prefix), ("limit", page_size), ("contents", "false")],
        _itself,
        contents=False,
    )


def keys(scope: Scope, pick: Pick, prefix: str) -> Walk[StatePage, str]:
    """Reads the keys of a state as :func:`key_pages`, one by one."""
    pages = key_pages(scope, pick, prefix, PAGE_KEYS)
    return Walk(pages.first, _keys, pages.after)


def _state_walk(
    scope: Scope,
    pick: Pick,
    selection: list[tuple[str, object]],
    items: Callable[[StatePage], Iterable[T]],
    *,
    contents: bool,
) -> Walk[StatePage, T]:
    def call(pick: Pick, seen: StatePage | None) -> Call[StatePage]:
        def read(answer: Answer) -> StatePage:
            page = _answers.state_page(answer, contents=contents)
            if not page.revision:
                raise NothingApplied(*scope)
            _check_forward(after, page.next)
            if seen:
                _check_unmoved(seen.revision, page.revision)
            return page

        after = seen.next if seen else None
        pairs = [*_where(scope, pick), *selection, ("after", after)]
        return get("get", "/v1/state", read, pairs)

    def after(page: StatePage) -> Call[StatePage] | None:
        if page.next is None:
            return None
        return call(_pinned(pick, page.revision), page)

    return Walk(call(pick, None), items, after)


def _some_state(scope: Scope, found: State) -> State:
    """Return ``found``; revision 0 is no state but a scope nobody has used."""
    if not found.revision:
        raise NothingApplied(*scope)
    return found


def _pinned(pick: Pick, revision: int) -> Pick:
    """Return what picks ``revision`` again.

    A checkpoint is asked for by name again: its revision may be of a branch other
    than the one that is read.
    """
    return pick if pick.checkpoint else Pick(revision)


def _check_unmoved(expected: int, actual: int) -> None:
    """Raise if a later page is of another revision than the first.

    Raises:
        Conflict: A checkpoint was moved, or a first revision made, meanwhile.
    """
    if actual != expected:
        raise Conflict(
            f"what was being read moved from revision {expected} to {actual}; "
            "read it again"
        )


def _check_forward(after: object, following: object) -> None:
    """Raise if a page leads to itself: a daemon's never does."""
    if following is not None and following == after:
        raise NotUnderstood("the answer's next page is the page itself")


# --- diff and log ----------------------------------------------------------------


def diff(
    scope: Scope,
    source: Select,
    target: Select,
    *,
    contents: bool,
    limit: int = 0,
    after: str | None = None,
) -> Call[Diff]:
    """Compares two states."""
    from_fields, to_fields = source.fields(), target.fields()
    laid_over = any(s.documents or s.deletes or s.exact for s in (source, target))

    def read(answer: Answer) -> Diff:
        found = _answers.diff(answer, contents=contents)
        if not (found.from_revision or found.to_revision or laid_over):
            raise NothingApplied(*scope)
        return found

    body: dict[str, object] = {
        "scope": scope_fields(scope),
        "changes": "full" if contents else "keys",
        "limit": limit or None,
        "after": after,
    }
    if not from_fields and to_fields.keys() == {"documents"}:
        body.update(to_fields)  # the Go daemon's form, which it understands too
    else:
        body.update({"from": from_fields, "to": to_fields})
    return send("diff", "POST", "/v1/diff", body, read, effect="read")


def diff_pages(
    scope: Scope, source: Select, target: Select, page_size: int
) -> Walk[Diff, Diff]:
    """Compares two states page by page, each page with its changes' contents.

    Where documents are given there are no more changes than documents, and they
    come in one page.
    """

    def call(source: Select, target: Select, seen: Diff | None) -> Call[Diff]:
        once = source.documents or target.documents
        step = diff(
            scope,
            source,
            target,
            contents=True,
            limit=0 if once else page_size,
            after=seen.next if seen else None,
        )
        if seen is None:
            return step

        def read(answer: Answer) -> Diff:
            page = step.read(answer)
            _check_forward(seen.next, page.next)
            _check_unmoved(seen.from_revision, page.from_revision)
            _check_unmoved(seen.to_revision, page.to_revision)
            return page

        return step._replace(read=read)

    def after(page: Diff) -> Call[Diff] | None:
        if page.next is None:
            return None
        return call(
            _pinned_side(source, page.from_revision),
            _pinned_side(target, page.to_revision),
            page,
        )

    return Walk(call(source, target, None), _itself, after)


def _pinned_side(side: Select, revision: int) -> Select:
    if side.checkpoint or not revision:
        return side
    return side._replace(revision=revision, at=None)


def log_pages(
    scope: Scope,
    start: Pick,
    wanted: Filter,
    *,
    page_size: int,
    after: int | None,
    contents: bool,
) -> Walk[LogPage, LogEntry]:
    """Reads the log page by page, newest first, from one starting point.

    Pages without entries say only that none was wanted, not that there are none.
    """

    def call(after: int | None) -> Call[LogPage]:
        def read(answer: Answer) -> LogPage:
            page = _answers.log_page(answer, contents=contents)
            if wanted.wants_all() and after is None and not page.entries:
                raise NothingApplied(*scope)
            _check_forward(after, page.next)
            return page

        pairs: list[tuple[str, object]] = [
            *_where(scope, start),
            ("limit", page_size),
            ("after", after),
            *wanted.pairs(),
            ("changes", "full" if contents else "keys"),
        ]
        return get("log", "/v1/log", read, pairs)

    def following(page: LogPage) -> Call[LogPage] | None:
        return None if page.next is None else call(page.next)

    return Walk(call(after), _entries, following)


def log(
    scope: Scope,
    start: Pick,
    wanted: Filter,
    *,
    limit: int,
    after: int | None,
    contents: bool,
) -> Steps[LogPage, LogPage]:
    """Reads ``limit`` entries of the log, in as many pages as that takes.

    Where nothing was wanted of what there is, it asks whether there is anything.
    """
    if limit < 1:
        raise InvalidValue("limit", "must be at least 1")
    entries: list[LogEntry] = []
    following = after
    while True:
        page = yield log_pages(
            scope,
            start,
            wanted,
            page_size=min(limits.PAGE_ENTRIES.maximum, limit - len(entries)),
            after=following,
            contents=contents,
        ).first
        entries += page.entries
        following = page.next
        if following is None or len(entries) >= limit:
            break
    if not entries and after is None:
        yield log_pages(
            scope, Pick(), Filter(), page_size=1, after=None, contents=False
        ).first
    return LogPage(tuple(entries), page.next, page.collected)


# --- checkpoints, branches, namespaces -----------------------------------------


def create_checkpoint(
    scope: Scope,
    name: str,
    pick: Pick,
    *,
    description: str,
    author: str,
    replace: bool,
) -> Call[Checkpoint]:
    """Names a revision."""
    body: dict[str, object] = {
        "scope": scope_fields(scope),
        "name": CheckpointName(name),
        "description": Message(description) or None,
        "author": Author(author) or None,
        "replace": replace or None,
        **pick.fields(),
    }
    return send(
        "checkpoint create", "POST", "/v1/checkpoints", body, _answers.checkpoint
    )


def checkpoint(scope: Scope, name: str) -> Call[Checkpoint]:
    """Reads one checkpoint; the daemon answers 404 if there is none."""

    def read(answer: Answer) -> Checkpoint:
        page = _answers.checkpoints(answer)
        if len(page.items) != 1:
            raise NotUnderstood("the answer is not the one checkpoint asked for")
        return page.items[0]

    pairs = [("namespace", scope.namespace), ("name", CheckpointName(name))]
    return get("checkpoint get", "/v1/checkpoints", read, pairs)


def checkpoints(scope: Scope, prefix: str) -> Walk[Page[Checkpoint], Checkpoint]:
    """Reads the namespace's checkpoints, by name."""
    return _name_walk(
        "checkpoint list",
        "/v1/checkpoints",
        [("namespace", scope.namespace), ("prefix", prefix)],
        _answers.checkpoints,
    )


def delete_checkpoint(scope: Scope, name: str) -> Call[None]:
    """Takes a checkpoint's name away; the revision stays."""
    body = {"namespace": scope.namespace, "name": CheckpointName(name)}
    return send(
        "checkpoint delete", "DELETE", "/v1/checkpoints", body, _answers.nothing
    )


def create_branch(scope: Scope, name: str, pick: Pick) -> Call[Branch]:
    """Makes a branch that starts at a revision of the scope."""
    body: dict[str, object] = {
        "scope": scope_fields(scope),
        "name": BranchName(name),
        **pick.fields("from_"),
    }
    return send("branch create", "POST", "/v1/branches", body, _answers.created_branch)


def branches(scope: Scope, prefix: str) -> Walk[Page[Branch], Branch]:
    """Reads the namespace's branches, by name."""

    def read(answer: Answer) -> Page[Branch]:
        page = _answers.branches(answer)
        if not page.items and not prefix:
            raise NothingApplied(*scope)
        return page

    return _name_walk(
        "branch list", "/v1/branches", [*_where(scope), ("prefix", prefix)], read
    )


def delete_branch(scope: Scope, name: str, expect_revision: int | None) -> Call[None]:
    """Takes a branch away; its revisions stay while something else holds them."""
    body = {
        "namespace": scope.namespace,
        "name": BranchName(name),
        "expect_revision": expect_revision,
    }
    return send("branch delete", "DELETE", "/v1/branches", body, _answers.nothing)


def namespaces(prefix: str) -> Walk[Page[NamespaceInfo], NamespaceInfo]:
    """Reads the names of all namespaces."""
    return _name_walk(
        "namespace list", "/v1/namespaces", [("prefix", prefix)], _answers.namespaces
    )


def version() -> Call[ServerVersion]:
    """Reads what the daemon is."""
    return get("version", "/v1/version", _answers.server_version)


def _name_walk(
    operation: str,
    path: str,
    pairs: list[tuple[str, object]],
    read: Callable[[Answer], Page[T]],
) -> Walk[Page[T], T]:
    def call(after: str | None) -> Call[Page[T]]:
        def read_page(answer: Answer) -> Page[T]:
            page = read(answer)
            _check_forward(after, page.next)
            return page

        return get(operation, path, read_page, [*pairs, ("after", after)])

    def following(page: Page[T]) -> Call[Page[T]] | None:
        return None if page.next is None else call(page.next)

    return Walk(call(None), _names, following)


def _where(scope: Scope, pick: Pick | None = None) -> list[tuple[str, object]]:
    """Return the query parameters that name a scope and a state of it."""
    fields = pick.fields() if pick else {}
    return [
        ("namespace", scope.namespace),
        ("branch", scope.branch),
        *fields.items(),
    ]


def _document_items(page: State) -> Iterable[tuple[str, str]]:
    return page.documents.items()


def _keys(page: StatePage) -> Iterable[str]:
    return (key for key, _ in page.items)


def _itself(page: P) -> Iterable[P]:
    return (page,)


def _entries(page: LogPage) -> Iterable[LogEntry]:
    return page.entries


def _names(page: Page[T]) -> Iterable[T]:
    return page.items
