"""What each write means: from a request and a draft to the draft's next state.

Each function reads what it needs from the draft, raises if the request can't be
done, and only then writes to the draft. It returns the answer for when the batch
is durable.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from st8.core import limits, tree
from st8.core.errors import (
    BranchExists,
    BranchNotFound,
    CheckpointExists,
    CheckpointNotFound,
    ContentRedacted,
    HeadMoved,
    IdempotencyMismatch,
    LimitExceeded,
    RevisionCollected,
    St8Error,
)
from st8.core.failpoints import failpoint
from st8.core.ids import Key, Message, RevisionNumber, Scope
from st8.core.node import EMPTY_ROOT
from st8.core.ports import Answer
from st8.core.revisions import Branch, Checkpoint, Revision
from st8.engine.history import head_of, resolve, walk_to_number
from st8.engine.objects import OverlaidObjects
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Reset,
    WriteRequest,
)
from st8.engine.results import WriteResult
from st8.engine.state import ChangeList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.core.ids import Digest, IdempotencyKey
    from st8.core.key_set import KeySet
    from st8.engine.draft import Draft
    from st8.engine.objects import Objects, ObjectSource

__all__ = ["Written", "write"]

Written = WriteResult | Branch | Checkpoint | None
"""The answer to a write."""


def write(draft: Draft, objects: Objects, request: WriteRequest) -> Written:
    """Do ``request`` in ``draft``, or raise and leave the draft as it was."""
    match request:
        case Apply() | Reset():
            return _revise(draft, objects, request)
        case CreateBranch():
            return _create_branch(draft, objects, request)
        case DeleteBranch():
            _delete_branch(draft, request)
        case PutCheckpoint():
            return _put_checkpoint(draft, request)
        case DeleteCheckpoint():
            _delete_checkpoint(draft, request)
    return None


def _revise(draft: Draft, objects: Objects, request: Apply | Reset) -> WriteResult:
    """Apply or reset, once for each idempotency key."""
    key = request.idempotency_key
    if key is None or request.dry_run:
        return _make(draft, objects, request)
    namespace = request.scope.namespace
    # First: if an earlier attempt is made after its answer was looked for, on another
    # daemon, the number is another one, and the commit of this attempt notices.
    draft.last_revision(namespace)
    given = _given(draft, objects, request, key)
    if given is not None:
        return given
    try:
        result = _make(draft, objects, request)
    except St8Error:
        # What refuses it may be what that attempt has made.
        given = _given(draft, objects, request, key)
        if given is None:
            raise
        return given
    expires_ns = draft.now_ns + limits.IDEMPOTENCY_SECONDS.maximum * 1_000_000_000
    answer = Answer(request.fingerprint(), result.number, result.noop, expires_ns)
    draft.remember(namespace, key, answer)
    return result


def _make(draft: Draft, objects: Objects, request: Apply | Reset) -> WriteResult:
    if isinstance(request, Apply):
        return _apply(draft, objects, request)
    return _reset(draft, objects, request)


def _given(
    draft: Draft, objects: Objects, request: Apply | Reset, key: IdempotencyKey
) -> WriteResult | None:
    """Return what an earlier attempt was answered, None if there is no answer.

    Raises:
        IdempotencyMismatch: It was another request that had the key.
    """
    answer = draft.answer(request.scope.namespace, key)
    if answer is None:
        return None
    if answer.request != request.fingerprint():
        raise IdempotencyMismatch
    return _answer_again(draft, objects, request.scope, answer)


def _answer_again(
    draft: Draft, objects: Objects, scope: Scope, answer: Answer
) -> WriteResult:
    """Return the answer that was given before, read from its revision."""
    revision = None
    if answer.revision:
        revision = draft.revision(scope.namespace, answer.revision)
        if revision is None:
            raise RevisionCollected(scope.namespace, answer.revision)
    root = EMPTY_ROOT if revision is None else revision.root
    before = root if answer.noop or revision is None else revision.parent_root
    return WriteResult(
        answer.revision,
        revision,
        noop=answer.noop,
        dry_run=False,
        changes=ChangeList(objects.of(revision), before, root),
    )


def _apply(draft: Draft, objects: Objects, request: Apply) -> WriteResult:
    head = _expected_head(draft, request.scope, request.expect_revision)
    root = EMPTY_ROOT if head is None else head.root
    failpoint("write.before_tree")
    edit = tree.edit(objects, root, request.overlay.edits)
    failpoint("write.after_tree")
    if edit.root == root:
        return _noop(objects, head, dry_run=request.dry_run)
    _check_contents(draft, objects, edit.differences)
    contents = request.overlay.contents
    if request.dry_run:
        source = OverlaidObjects(objects.of(head), edit.nodes, contents)
        return _dry_run(head, ChangeList(source, root, edit.root, edit.differences))
    if head is None:
        draft.check_may_begin(request.scope.namespace)
    new_contents: dict[Digest, bytes] = {
        difference.after: contents[difference.after]
        for difference in edit.differences
        if difference.after is not None
    }
    new_objects = {digest: new.data for digest, new in edit.nodes.items()}
    new_objects.update(new_contents)
    revision = draft.revise(
        request.scope,
        head,
        root=edit.root,
        kind="apply",
        message=_or_default(request.message, "apply"),
        author=request.author,
        objects=new_objects,
    )
    # Later requests of the batch, and the first readers, find them here.
    objects.add(edit.nodes, new_contents)
    return WriteResult(
        revision.number,
        revision,
        noop=False,
        dry_run=False,
        changes=ChangeList(objects.of(revision), root, edit.root, edit.differences),
    )


def _check_contents(
    draft: Draft, objects: Objects, differences: Sequence[tree.Difference]
) -> None:
    """Return if nothing that was redacted would come back.

    Raises:
        ContentRedacted: It would, in every revision that had it.
    """
    marks = objects.redactions.at(draft.batch.epoch).marks
    for key, _, after in differences if marks else ():
        if after is not None and after in marks:
            raise ContentRedacted(
                f"the content of {key.decode()!r} can't be stored: it was redacted; "
                "what is read where it stood says when, by whom and why",
                key=key.decode(),
            )


def _reset(draft: Draft, objects: Objects, request: Reset) -> WriteResult:
    head = _expected_head(draft, request.scope, request.expect_revision)
    if head is None:
        raise BranchNotFound(*request.scope)
    target, visible = resolve(draft, request.scope, request.target)
    if target is None:
        return _noop(objects, head, dry_run=request.dry_run)
    guard = request.guard if target.root != head.root else None
    if guard is not None and _had(draft, head, target):
        guard(request.scope.branch)
    both = objects.of(head, target)
    changes = ChangeList(both, head.root, target.root, visible=visible & request.keys)
    if changes.visible.is_all:
        edit = tree.Edit(target.root, {}, [])
    else:
        edit = _partly(objects, changes)
    edit, kept = _keep_redacted(draft, objects, head, edit)
    if edit.nodes:
        source = OverlaidObjects(both, edit.nodes, {})
        changes = ChangeList(source, head.root, edit.root)
    if edit.root == head.root:
        return _noop(objects, head, dry_run=request.dry_run)._replace(kept=kept)
    if request.dry_run:
        return _dry_run(head, changes)._replace(kept=kept)
    revision = draft.revise(
        request.scope,
        head,
        root=edit.root,
        kind=request.kind,
        message=_or_default(request.message, request.kind),
        author=request.author,
        objects={digest: new.data for digest, new in edit.nodes.items()},
    )
    objects.add(edit.nodes, {})
    changes = ChangeList(objects.of(revision), head.root, edit.root)
    return WriteResult(
        revision.number, revision, noop=False, dry_run=False, changes=changes, kept=kept
    )


def _had(draft: Draft, head: Revision, target: Revision) -> bool:
    """Return whether ``target`` is in the history of ``head``, or may have been."""
    try:
        found = walk_to_number(draft, head, target.number)
    except RevisionCollected:
        return True
    return found is not None and found.number == target.number


def _partly(objects: Objects, changes: ChangeList) -> tree.Edit:
    """Return the earlier state with those changes made that are visible.

    Raises:
        LimitExceeded: There are more than ``apply_documents_max``.
    """
    maximum = limits.APPLY_DOCUMENTS.maximum
    edits = {
        difference.key: difference.after
        for difference in islice(changes.differences(), maximum + 1)
    }
    if len(edits) > maximum:
        raise LimitExceeded(limits.APPLY_DOCUMENTS, "changes of part of a state")
    return tree.edit(objects, changes.before, edits)


def _keep_redacted(
    draft: Draft, objects: Objects, head: Revision, edit: tree.Edit
) -> tuple[tree.Edit, list[Key]]:
    """Return the same edit but for what was redacted, which stays as in the head.

    And the keys for which that is so.
    """
    source = OverlaidObjects(objects, edit.nodes, {})
    kept = _redacted_keys(draft, objects, source, head.scope, edit.root)
    if not kept:
        return edit, []
    edits = {key.encode(): tree.get(objects, head.root, key.encode()) for key in kept}
    again = tree.edit(source, edit.root, edits)
    return tree.Edit(again.root, {**edit.nodes, **again.nodes}, []), kept


def _redacted_keys(
    draft: Draft, objects: Objects, source: ObjectSource, scope: Scope, root: Digest
) -> list[Key]:
    """Return the keys of a state whose contents were redacted."""
    places = objects.redactions.at(draft.batch.epoch).places
    return [
        key
        for key, digest in places.get(scope.namespace, ())
        if tree.get(source, root, key.encode()) == digest
    ]


def _create_branch(draft: Draft, objects: Objects, request: CreateBranch) -> Branch:
    namespace = request.scope.namespace
    source, visible = _existing(draft, request)
    redacted = _redacted_keys(draft, objects, objects, request.scope, source.root)
    if redacted:
        seen = next((key for key in redacted if visible.has(key.encode())), Key("?"))
        raise ContentRedacted(
            f"a branch can't begin at revision {source.number}: there the content of "
            f"{seen!r} was redacted; make it at a newer one, and restore onto it what "
            "you need",
            key=seen,
        )
    if draft.branch(namespace, request.name) is not None:
        raise BranchExists(namespace, request.name)
    since = draft.last_revision(namespace)
    branch = Branch(request.name, source.number, since, source.number, source.digest)
    draft.set_branch(namespace, request.name, branch)
    return branch


def _delete_branch(draft: Draft, request: DeleteBranch) -> None:
    branch = draft.branch(*request.scope)
    if branch is None:
        raise BranchNotFound(*request.scope)
    if request.expect_revision not in (None, branch.head):
        raise HeadMoved(*request.scope, request.expect_revision or 0, branch.head)
    draft.set_branch(*request.scope, None)


def _put_checkpoint(draft: Draft, request: PutCheckpoint) -> Checkpoint:
    namespace = request.scope.namespace
    source, _ = _existing(draft, request)
    found = draft.checkpoint(namespace, request.name)
    if found is not None:
        same = (found.revision, found.description) == (
            source.number,
            request.description,
        )
        sight = request.source.sight
        own = found.branch == (request.source.branch or request.scope.branch)
        if same and (own or sight is None or sight(found.branch)):
            return found
        if request.guard is not None:
            request.guard(found.branch)
        if not request.replace:
            raise CheckpointExists(namespace, request.name, found.revision)
    checkpoint = Checkpoint(
        request.name,
        source.number,
        source.digest,
        request.source.branch or request.scope.branch,
        request.description,
        request.author,
        draft.now_ns,
    )
    draft.set_checkpoint(namespace, request.name, checkpoint)
    return checkpoint


def _delete_checkpoint(draft: Draft, request: DeleteCheckpoint) -> None:
    found = draft.checkpoint(request.namespace, request.name)
    if found is None:
        raise CheckpointNotFound(request.namespace, request.name)
    if request.guard is not None:
        request.guard(found.branch)
    draft.set_checkpoint(request.namespace, request.name, None)


def _existing(
    draft: Draft, request: CreateBranch | PutCheckpoint
) -> tuple[Revision, KeySet]:
    """Return the revision that is meant; a head without one is not there.

    And what may be seen of it.
    """
    source, visible = resolve(draft, request.scope, request.source)
    if source is None:
        raise BranchNotFound(*request.scope)
    return source, visible


def _expected_head(draft: Draft, scope: Scope, expected: int | None) -> Revision | None:
    branch = draft.branch(*scope)
    actual = 0 if branch is None else branch.head
    if expected not in (None, actual):
        raise HeadMoved(*scope, expected or 0, actual)
    return None if branch is None else head_of(draft, scope, branch)


def _noop(objects: Objects, head: Revision | None, *, dry_run: bool) -> WriteResult:
    root = EMPTY_ROOT if head is None else head.root
    return WriteResult(
        RevisionNumber(0) if head is None else head.number,
        head,
        noop=True,
        dry_run=dry_run,
        changes=ChangeList(objects, root, root, ()),
    )


def _dry_run(head: Revision | None, changes: ChangeList) -> WriteResult:
    number = RevisionNumber(0) if head is None else head.number
    return WriteResult(number, head, noop=False, dry_run=True, changes=changes)


def _or_default(message: Message, default: str) -> Message:
    stripped = message.strip()
    return Message(stripped) if stripped else Message(default)
