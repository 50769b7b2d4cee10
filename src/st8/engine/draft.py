"""What a batch of writes will make of the store, before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.core.ids import (
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Namespace,
    RevisionNumber,
    Scope,
)
from st8.core.ports import Answer, Batch, Record, Stale
from st8.core.revisions import Branch, Checkpoint, Kind, Revision, make_revision
from st8.engine.history import follow
from st8.engine.unfinished import check_free

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.core.ids import Author, Message
    from st8.engine.guesses import Guesses
    from st8.engine.refs import Refs

__all__ = ["Draft"]


class Draft:
    """A batch that grows by one request after the other.

    Reads show the store with the requests before, so each request of a batch finds
    what it would find had they been committed one by one. A request reads, and
    raises, first; only then it writes, and no write here fails: so a refused
    request leaves nothing behind.

    Used by one thread.
    """

    def __init__(self, refs: Refs | Guesses, epoch: int, now_ns: int) -> None:
        """Begin an empty batch for the store behind ``refs``."""
        self._refs = refs
        self._last: dict[Namespace, RevisionNumber] = {}
        self._new: dict[tuple[Namespace, RevisionNumber], Revision] = {}
        self._branches: dict[tuple[Namespace, BranchName], Branch | None] = {}
        self._checkpoints: dict[
            tuple[Namespace, CheckpointName], Checkpoint | None
        ] = {}
        self.now_ns = now_ns
        self.batch = Batch(epoch, now_ns)

    # --- reads ---------------------------------------------------------------

    def last_revision(self, namespace: Namespace) -> RevisionNumber:
        """Return the newest number of a namespace."""
        last = self._last.get(namespace)
        if last is None:
            state = self._refs.namespace(namespace)
            if state.epoch != self.batch.epoch:
                raise Stale
            last = self._last[namespace] = state.last_revision
        return last

    def check_may_begin(self, namespace: Namespace) -> None:
        """Return if a branch may begin in a namespace, with a revision of its own.

        Raises:
            BeingRestored: It would be the first revision, and one is being restored.
        """
        if not self.last_revision(namespace):
            check_free(self._refs, namespace)

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """Return a branch, or None."""
        at = (namespace, name)
        if at in self.batch.branches:
            return self.batch.branches[at][1]
        if at not in self._branches:
            self._branches[at] = self._refs.branch(namespace, name)
        return self._branches[at]

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """Return a checkpoint, or None."""
        at = (namespace, name)
        if at in self.batch.checkpoints:
            return self.batch.checkpoints[at][1]
        if at not in self._checkpoints:
            self._checkpoints[at] = self._refs.checkpoint(namespace, name)
        return self._checkpoints[at]

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """Return what an idempotency key was answered with, if not too long ago."""
        answer = self.batch.answers.get((namespace, key))
        if answer is None:
            answer = self._refs.answer(namespace, key)
        if answer is None or answer.expires_ns < self.now_ns:
            return None
        return answer

    def revision(self, namespace: Namespace, number: RevisionNumber) -> Revision | None:
        """Return a revision, or None."""
        new = self._new.get((namespace, number))
        return self._refs.revision(namespace, number) if new is None else new

    def is_proven(self, revision: Revision) -> bool:
        """Return whether the revision's digest is known to stand in the chain."""
        return self._refs.is_proven(revision)

    def prove(self, revision: Revision) -> None:
        """Note that a ref or a later revision names this one by its digest."""
        self._refs.prove(revision)

    # --- writes --------------------------------------------------------------

    def revise(
        self,
        scope: Scope,
        parent: Revision | None,
        *,
        root: Digest,
        kind: Kind,
        message: Message,
        author: Author,
        objects: Mapping[Digest, bytes],
    ) -> Revision:
        """Add a revision after ``parent``, with its objects, and move the branch."""
        namespace = scope.namespace
        last = self.last_revision(namespace)
        number = RevisionNumber(last + 1)
        revision, data = make_revision(
            number,
            scope,
            parent,
            follow(self, parent, parent.skip)
            if parent is not None and parent.skip is not None
            else None,
            root=root,
            kind=kind,
            message=message,
            author=author,
            time_ns=self.now_ns,
        )
        branch = self.branch(*scope)
        self.batch.objects.update(objects)
        first, _ = self.batch.namespaces.get(namespace, (last, last))
        self.batch.namespaces[namespace] = (first, number)
        self.batch.revisions.setdefault(namespace, []).append(Record(number, data))
        self._last[namespace] = number
        self._new[namespace, number] = revision
        if branch is None:
            branch = Branch(
                scope.branch, RevisionNumber(0), last, number, revision.digest
            )
        self.set_branch(
            namespace,
            scope.branch,
            branch._replace(head=number, head_digest=revision.digest),
        )
        return revision

    def set_branch(
        self, namespace: Namespace, name: BranchName, new: Branch | None
    ) -> None:
        """Make, move or take away a branch, which was read before."""
        at = (namespace, name)
        expected = self._branches[at]
        if expected is None and new is None:
            del self.batch.branches[at]
            return
        self.batch.branches[at] = (expected, new)

    def set_checkpoint(
        self, namespace: Namespace, name: CheckpointName, new: Checkpoint | None
    ) -> None:
        """Make, move or take away a checkpoint, which was read before."""
        at = (namespace, name)
        expected = self._checkpoints[at]
        if expected is None and new is None:
            del self.batch.checkpoints[at]
            return
        self.batch.checkpoints[at] = (expected, new)

    def remember(
        self, namespace: Namespace, key: IdempotencyKey, answer: Answer
    ) -> None:
        """Keep the answer to an idempotency key."""
        last = self.last_revision(namespace)
        self.batch.namespaces.setdefault(namespace, (last, last))
        self.batch.answers[namespace, key] = answer

    def new_branches(self) -> dict[tuple[Namespace, BranchName], Branch | None]:
        """Return the branches that the batch moves, as they will be."""
        return {at: new for at, (_, new) in self.batch.branches.items()}

    def new_revisions(self) -> list[Revision]:
        """Return the revisions that the batch makes."""
        return list(self._new.values())
