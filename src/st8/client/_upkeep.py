"""What those who run a daemon ask of it: the part of both clients for upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.client import _core
from st8.client._connection import Deadline
from st8.client._selection import Pick

if TYPE_CHECKING:
    from datetime import datetime

    from st8.client._async_transport import AsyncTransport
    from st8.client._results import Collected, Redacted
    from st8.client._transport import Transport
    from st8.core.ids import Scope

__all__ = ["AsyncUpkeep", "Upkeep"]


class Upkeep:
    """Part of :class:`st8.Client`."""

    _scope: Scope
    _transport: Transport

    def gc(
        self,
        keep: int = 10,
        *,
        namespace: str | None = None,
        timeout_s: float | None = None,
    ) -> Collected:
        """Remove old revisions, and what only they needed.

        Branch heads, branch bases, checkpoints and the newest ``keep`` revisions of
        each branch stay.

        Args:
            keep: At least 1.
            namespace: Only of this one; all if None.
            timeout_s: Seconds it may take; None for no limit, as it takes long
                where there is much.
        """
        return self._transport.send(_core.gc(keep, namespace), Deadline(timeout_s))

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


class AsyncUpkeep:
    """Part of :class:`st8.AsyncClient`."""

    _scope: Scope
    _transport: AsyncTransport

    async def gc(
        self,
        keep: int = 10,
        *,
        namespace: str | None = None,
        timeout_s: float | None = None,
    ) -> Collected:
        """Remove old revisions, and what only they needed."""
        return await self._transport.send(
            _core.gc(keep, namespace), Deadline(timeout_s)
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
