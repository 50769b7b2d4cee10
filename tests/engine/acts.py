"""Short ways to ask the engine, so that a test shows what it is about."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal

from st8.core.documents import Document
from st8.core.errors import St8Error
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    Scope,
)
from st8.engine.requests import (
    HEAD,
    Apply,
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Reset,
    Selector,
    Side,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from st8.core.revisions import Branch, Checkpoint
    from st8.engine.engine import Engine
    from st8.engine.requests import WriteRequest
    from st8.engine.results import WriteResult
    from st8.engine.state import ChangeList
    from st8.engine.writes import Written

SCOPE = Scope()
DEV = Scope(Namespace("default"), BranchName("dev"))

Changes = list[tuple[str, str, str | None, str | None]]


def scope(namespace: str = "default", branch: str = "main") -> Scope:
    """Return a scope."""
    return Scope(Namespace(namespace), BranchName(branch))


def apply_request(
    documents: Mapping[str, str],
    deletes: Iterable[str] = (),
    *,
    at: Scope = SCOPE,
    message: str = "",
    author: str = "",
    expect: int | None = None,
    dry_run: bool = False,
    key: str | None = None,
) -> Apply:
    """Return a request to apply."""
    return Apply(
        at,
        tuple(Document(Key(name), content) for name, content in documents.items()),
        tuple(map(Key, deletes)),
        message=Message(message),
        author=Author(author),
        expect_revision=expect,
        dry_run=dry_run,
        idempotency_key=None if key is None else IdempotencyKey(key),
    )


def apply(
    engine: Engine,
    documents: Mapping[str, str],
    deletes: Iterable[str] = (),
    *,
    at: Scope = SCOPE,
    message: str = "",
    author: str = "",
    expect: int | None = None,
    dry_run: bool = False,
    key: str | None = None,
) -> WriteResult:
    """Apply, and return the result."""
    return engine.apply(
        apply_request(
            documents,
            deletes,
            at=at,
            message=message,
            author=author,
            expect=expect,
            dry_run=dry_run,
            key=key,
        )
    )


def applied(engine: Engine, *contents: str, at: Scope = SCOPE, name: str = "k") -> None:
    """Apply one document with each of the contents, one revision after the other."""
    for content in contents:
        apply(engine, {name: content}, at=at)


def selector(
    revision: int | None = None,
    *,
    checkpoint: str | None = None,
    at_ns: int | None = None,
    branch: str | None = None,
) -> Selector:
    """Return a selector."""
    return Selector(
        revision,
        None if checkpoint is None else CheckpointName(checkpoint),
        at_ns,
        None if branch is None else BranchName(branch),
    )


def reset(
    engine: Engine,
    target: Selector,
    *,
    kind: Literal["rollback", "restore"] = "rollback",
    at: Scope = SCOPE,
    message: str = "",
    author: str = "",
    expect: int | None = None,
    dry_run: bool = False,
    key: str | None = None,
) -> WriteResult:
    """Roll back or restore, and return the result."""
    return engine.reset(
        Reset(
            at,
            target,
            kind,
            message=Message(message),
            author=Author(author),
            expect_revision=expect,
            dry_run=dry_run,
            idempotency_key=None if key is None else IdempotencyKey(key),
        )
    )


def branch(
    engine: Engine, name: str, source: Selector = HEAD, *, at: Scope = SCOPE
) -> Branch:
    """Create a branch."""
    return engine.create_branch(CreateBranch(at, BranchName(name), source))


def delete_branch(
    engine: Engine, name: str, *, expect: int | None = None, namespace: str = "default"
) -> None:
    """Delete a branch."""
    engine.delete_branch(DeleteBranch(scope(namespace, name), expect))


def checkpoint(
    engine: Engine,
    name: str,
    source: Selector = HEAD,
    *,
    at: Scope = SCOPE,
    description: str = "",
    author: str = "",
    replace: bool = False,
) -> Checkpoint:
    """Create a checkpoint."""
    return engine.put_checkpoint(
        PutCheckpoint(
            at,
            CheckpointName(name),
            source,
            Message(description),
            Author(author),
            replace=replace,
        )
    )


def delete_checkpoint(engine: Engine, name: str, namespace: str = "default") -> None:
    """Delete a checkpoint."""
    engine.delete_checkpoint(
        DeleteCheckpoint(Namespace(namespace), CheckpointName(name))
    )


def contents(
    engine: Engine, at: Scope = SCOPE, source: Selector = HEAD
) -> dict[str, str]:
    """Return a whole state as text."""
    state = engine.state(at, source)
    return {key: content.decode() for key, content in state.items()}


def changes(of: ChangeList) -> Changes:
    """Return changes as text."""
    return [
        (
            change.key,
            change.type,
            None if change.before is None else change.before.decode(),
            None if change.after is None else change.after.decode(),
        )
        for change in of.iter()
    ]


def diff(
    engine: Engine,
    source: Selector = HEAD,
    target: Selector = HEAD,
    *,
    at: Scope = SCOPE,
) -> Changes:
    """Return the changes from one selected state to another."""
    return changes(engine.diff(at, Side(source), Side(target)).changes)


def log_numbers(engine: Engine, at: Scope = SCOPE, limit: int = 100) -> list[int]:
    """Return the numbers of a log, newest first."""
    return [e.revision.number for e in engine.log(at, limit=limit).entries]


def branch_names(engine: Engine, namespace: str = "default") -> list[str]:
    """Return the names of all branches."""
    page = engine.branches(Namespace(namespace), limit=1000)
    return [branch.name for branch in page.items]


def submit(engine: Engine, request: WriteRequest) -> Future[Written]:
    """Queue a write, and return a future of its end."""
    future: Future[Written] = Future()

    def done(answer: Written | St8Error) -> None:
        if isinstance(answer, St8Error):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    engine.submit(request, done)
    return future


def read_everything(engine: Engine) -> dict[str, dict[str, str]]:
    """Return every state that a head, a checkpoint or a log still reaches.

    Raises:
        Corrupt: Something that should be there is not.
    """
    found: dict[str, dict[str, str]] = {}
    for info in engine.namespaces().items:
        namespace = Namespace(info.name)
        first = Scope(namespace)
        for cp in engine.checkpoints(namespace, limit=1000).items:
            name = f"{namespace}: checkpoint {cp.name}"
            found[name] = contents(engine, first, selector(checkpoint=cp.name))
        for branch in engine.branches(namespace, limit=1000).items:
            at = Scope(namespace, BranchName(branch.name))
            for entry in engine.log(at, limit=1000).entries:
                number = entry.revision.number
                found[f"{at}: {number}"] = contents(engine, at, selector(number))
                changes(entry.changes)
    return found
