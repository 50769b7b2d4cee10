"""What those who run a daemon ask of it: the part of both clients for upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.client import _core
from st8.client._backups import backup, restore_backup
from st8.client._connection import Deadline
from st8.client._selection import Pick

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from datetime import datetime

    from st8.client._async_transport import AsyncTransport
    from st8.client._results import BackupRestored, Collected, Redacted
    from st8.client._transport import Transport
    from st8.core.backup import Summary
    from st8.core.findings import Event as VerifyEvent
    from st8.core.findings import Head
    from st8.core.ids import Scope

__all__ = ["AsyncUpkeep", "Upkeep"]


class Upkeep:
    """Part of :class:`st8.Client`."""

    _scope: Scope
    _transport: Transport

    def gc(
        self,
        keep: int | None = None,
        *,
        younger_than_s: float | None = None,
        namespace: str | None = None,
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Collected:
        """Remove old revisions, and what only they needed.

        Branch heads, branch bases and checkpoints stay, and what st8d is set to keep.

        Args:
            keep: The newest of each branch that stay, at least 1. This and the next
                take the place of what st8d is set to, but for namespaces of which
                nothing ever goes; 10 if only the next is given.
            younger_than_s: Whatever is younger stays too.
            namespace: Only of this one; all if None.
            dry_run: Change nothing; tell what would go, and what stays and why.
            timeout_s: Seconds it may take; None for no limit, as it takes long
                where there is much.
        """
        return self._transport.send(
            _core.gc(keep, younger_than_s, namespace, dry_run=dry_run),
            Deadline(timeout_s),
        )

    def redact(
        self,
        key: str,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        reason: str = "",
        author: str = "",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Redacted:
        """Take the content that a document has in a revision out of all revisions.

        Wherever it stands, in all namespaces, and for good: a line that says who
        redacted it and when is read in its place, and it can't be stored again.

        Args:
            key: The document.
            revision: In this revision; a negative one is relative to the head.
            checkpoint: Or in what this checkpoint names.
            at: Or in what was the head at a time.
            reason: Why; it stands in the mark that is left.
            author: Who redacts it.
            dry_run: Say where it stands, and change nothing.
            timeout_s: Seconds it may take; None for no limit, as all trees are
                looked through.

        Raises:
            NotFound: The revision is not there, or has no such document.
            ContentInUse: The head of a branch has it; apply another content first.
        """
        return self._transport.send(
            _core.redact(
                self._scope,
                Pick.one_of(revision, checkpoint, at),
                key,
                reason=reason,
                author=author,
                dry_run=dry_run,
            ),
            Deadline(timeout_s),
        )

    def backup(
        self, *, namespace: str | None = None, base: Summary | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes of a backup; it is one only if they come to their end.

        Whoever keeps them feeds them to a :class:`st8.core.backup.Summary`, whose
        ``finish`` says whether they did.

        Args:
            namespace: Only of this one; all if None.
            base: Only what this backup lacks, which was read to its end.

        Raises:
            NamespaceNotFound: There is no such namespace.
            OtherHistory: The base was not made from this store.
        """
        return backup(self._transport, namespace, base)

    def restore_backup(self, pieces: Iterable[bytes]) -> BackupRestored:
        """Restore a backup, and those that stand on it: all of it, or nothing.

        Args:
            pieces: Their bytes, one backup after the other.

        Raises:
            BadBackup: It is not whole, or something in it is not right.
            NamespaceExists: A namespace of it is there already.
            Overtaken: A garbage collection or another restore was begun meanwhile.
        """
        return restore_backup(self._transport, pieces)

    def verify(
        self, *, full: bool = False, heads: bool = False, expected: Sequence[Head] = ()
    ) -> Iterator[VerifyEvent]:
        """Have the daemon read its whole store, and yield what it says of it.

        Findings as they are found, how far it is, and last a summary. Reads and writes
        go on meanwhile. It ends early where the iterator is closed.

        Args:
            full: Read every object too, and have the store check itself.
            heads: Tell the head of every branch.
            expected: Heads of branches that were noted before: each has to be in the
                history of its branch. That alone can tell a store from an earlier copy.

        Raises:
            Conflict: The daemon verifies already.
            St8Error: It could not be verified to the end.
        """
        from st8.client._verification import verify  # noqa: PLC0415 - start-up time

        return verify(self._transport, full=full, heads=heads, expected=expected)


class AsyncUpkeep:
    """Part of :class:`st8.AsyncClient`, which has no backups: they are for scripts."""

    _scope: Scope
    _transport: AsyncTransport

    async def gc(
        self,
        keep: int | None = None,
        *,
        younger_than_s: float | None = None,
        namespace: str | None = None,
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Collected:
        """Remove old revisions, and what only they needed."""
        return await self._transport.send(
            _core.gc(keep, younger_than_s, namespace, dry_run=dry_run),
            Deadline(timeout_s),
        )

    async def redact(
        self,
        key: str,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        reason: str = "",
        author: str = "",
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Redacted:
        """Take the content that a document has in a revision out of all revisions."""
        return await self._transport.send(
            _core.redact(
                self._scope,
                Pick.one_of(revision, checkpoint, at),
                key,
                reason=reason,
                author=author,
                dry_run=dry_run,
            ),
            Deadline(timeout_s),
        )

    def verify(
        self, *, full: bool = False, heads: bool = False, expected: Sequence[Head] = ()
    ) -> AsyncIterator[VerifyEvent]:
        """Have the daemon read its whole store, and yield what it says of it."""
        from st8.client._verification import (  # noqa: PLC0415 - start-up time
            verify_async,
        )

        return verify_async(self._transport, full=full, heads=heads, expected=expected)
