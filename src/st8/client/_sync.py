"""The client that blocks: what most programs, and ``st8ctl``, use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from st8.client import _core
from st8.client._retry import RETRIES, TIMEOUT_S
from st8.client._selection import Filter, Pick, sides
from st8.client._transport import Transport, new_key
from st8.client._upkeep import Upkeep
from st8.core.ids import Scope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime
    from typing import Self

    from st8.client._live import LiveState
    from st8.client._results import (
        Branch,
        Checkpoint,
        Diff,
        LogEntry,
        LogPage,
        NamespaceInfo,
        ServerVersion,
        State,
        StatePage,
        Written,
    )
    from st8.client._selection import Select
    from st8.client._watch import Watch
    from st8.core.documents import Document

__all__ = ["Client"]


class Client(Upkeep):
    """A daemon, as seen from one namespace and branch.

    Every method is one operation of the daemon, which is atomic; it returns a plain
    value or raises a :class:`st8.core.errors.St8Error`. Methods may be called from
    many threads at once. Nothing is connected before the first call.

    Reads are repeated when the connection fails; so are apply, rollback and
    restore, which carry an idempotency key, so that the daemon does them once. If
    no answer settles what became of a write, OutcomeUnknown is raised; what is
    raised otherwise says that nothing was changed.

    An error that any method may raise, beside those it names: Unreachable, TimedOut
    and Unavailable (no answer), OutcomeUnknown (writes), Unauthenticated, Forbidden,
    InvalidInput (a name, key or text that no daemon takes).

    Example::

        with Client("http://127.0.0.1:8748", namespace="payments/prod") as st8:
            st8.apply({"config.json": text}, message="longer timeout")
            st8.get("config.json")
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        namespace: str = "",
        branch: str = "",
        timeout_s: float | None = TIMEOUT_S,
        retries: int = RETRIES,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Name the daemon and the scope.

        Args:
            url: Where the daemon is, such as ``http://127.0.0.1:8748``, or
                ``unix:/run/st8/st8d.sock`` for a socket of this machine.
            token: What it knows this client by. It shows in no text or repr.
            namespace: The namespace that methods are about; ``default`` if blank.
            branch: The branch that methods are about; ``main`` if blank.
            timeout_s: Seconds that one call may take, its retries included; None
                for no limit.
            retries: How often a call that may be repeated is, at most.
            ca_file: PEM file of the authorities that may have signed the daemon's
                certificate; the system's if None.
            cert_file: PEM file of the certificate to show, for a daemon that asks for
                one; None for none.
            key_file: PEM file of its private key; None if ``cert_file`` has it.

        Raises:
            InvalidInput: The URL, the token or a name can't be right.
        """
        self._transport = Transport(
            url,
            token=token,
            timeout_s=timeout_s,
            retries=retries,
            ca_file=None if ca_file is None else os.fspath(ca_file),
            cert_file=None if cert_file is None else os.fspath(cert_file),
            key_file=None if key_file is None else os.fspath(key_file),
        )
        self._scope = Scope.parse(namespace, branch)

    def __repr__(self) -> str:
        namespace, branch = self._scope
        return f"Client({self._transport.url!r}, namespace={namespace!r}, branch={branch!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls after it raise RuntimeError."""
        self._transport.close()

    @property
    def namespace(self) -> str:
        """The namespace that methods are about."""
        return self._scope.namespace

    @property
    def branch(self) -> str:
        """The branch that methods are about."""
        return self._scope.branch

    def scope(self, namespace: str | None = None, branch: str | None = None) -> Client:
        """Return a client for another scope of the same daemon.

        It shares the connections: closing the one closes the other.

        Args:
            namespace: Its namespace; this client's if None.
            branch: Its branch; this client's if None.

        Raises:
            InvalidInput: A name can't be right.
        """
        other = object.__new__(Client)
        other.__dict__.update(self.__dict__)
        other._scope = Scope.parse(
            self.namespace if namespace is None else namespace,
            self.branch if branch is None else branch,
        )
        return other

    # --- writes ------------------------------------------------------------------

    def apply(
        self,
        documents: Mapping[str, str] | Iterable[Document] = (),
        *,
        deletes: Collection[str] = (),
        message: str = "",
        author: str = "",
        expect_revision: int | None = None,
        dry_run: bool = False,
        contents: bool = False,
        idempotency_key: str | None = None,
    ) -> Written:
        """Put and delete documents as one revision; others stay as they are.

        If that changes nothing, no revision is made (``noop``). The branch is made
        by its first apply.

        Args:
            documents: Key to content; of two with one key the last counts.
            deletes: Keys to delete.
            message: Why; ``apply`` if blank.
            author: Who, if the daemon does not know better.
            expect_revision: Do it only if this is the head; 0 if nothing was ever
                applied.
            dry_run: Say what would change, and change nothing.
            contents: Return the changes with their contents.
            idempotency_key: Names this change: a day long, the same call with the
                same key does nothing more and returns the same. One is made up
                if None.

        Raises:
            HeadMoved: The head is not ``expect_revision``.
            IdempotencyMismatch: The key was used for something else.
            LimitExceeded: It is more than one apply may hold.
        """
        return self._transport.send(
            _core.apply(
                self._scope,
                documents,
                deletes=deletes,
                message=message,
                author=author,
                expect_revision=expect_revision,
                dry_run=dry_run,
                contents=contents,
                idempotency_key=idempotency_key or new_key(),
            )
        )

    def rollback(
        self,
        revision: int | None = None,
        *,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        message: str = "",
        author: str = "",
        expect_revision: int | None = None,
        dry_run: bool = False,
        contents: bool = False,
        idempotency_key: str | None = None,
    ) -> Written:
        """Make a new revision whose state is an earlier one of this branch.

        Args:
            revision: A number, or a negative one relative to the head.
            checkpoint: Or a checkpoint of the namespace.
            at: Or a time: what was the head then.
            message: Why; ``rollback`` if blank.
            author: Who, if the daemon does not know better.
            expect_revision: Do it only if this is the head.
            dry_run: Say what would change, and change nothing.
            contents: Return the changes with their contents.
            idempotency_key: As for :meth:`apply`.

        Raises:
            InvalidValue: Not exactly one target is given.
            NotFound: The branch or the target is not there; nothing was changed.
            HeadMoved: The head is not ``expect_revision``.
        """
        return self._transport.send(
            _core.reset(
                self._scope,
                "rollback",
                Pick.one_of(revision, checkpoint, at),
                branch=None,
                message=message,
                author=author,
                expect_revision=expect_revision,
                dry_run=dry_run,
                contents=contents,
                idempotency_key=idempotency_key or new_key(),
            )
        )

    def restore(
        self,
        *,
        branch: str | None = None,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        message: str = "",
        author: str = "",
        expect_revision: int | None = None,
        dry_run: bool = False,
        contents: bool = False,
        idempotency_key: str | None = None,
    ) -> Written:
        """Make a new revision whose state is that of another branch, or any other.

        Args:
            branch: The branch to take it from, at its head if nothing else is given.
            revision: A revision of that branch, or of this one.
            checkpoint: Or a checkpoint of the namespace.
            at: Or a time: what was the head then.
            message: Why; ``restore`` if blank.
            author: Who, if the daemon does not know better.
            expect_revision: Do it only if this is the head.
            dry_run: Say what would change, and change nothing.
            contents: Return the changes with their contents.
            idempotency_key: As for :meth:`apply`.

        Raises:
            InvalidValue: No source is given, or more than one.
            NotFound: A branch or the source is not there; nothing was changed.
            HeadMoved: The head is not ``expect_revision``.
        """
        return self._transport.send(
            _core.reset(
                self._scope,
                "restore",
                Pick.one_of(revision, checkpoint, at),
                branch=branch,
                message=message,
                author=author,
                expect_revision=expect_revision,
                dry_run=dry_run,
                contents=contents,
                idempotency_key=idempotency_key or new_key(),
            )
        )

    # --- reads of a state ----------------------------------------------------------

    def get(
        self,
        key: str,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        min_revision: int = 0,
        max_stale_s: float = 0.0,
    ) -> str:
        """Return the content of one document, byte for byte as it was applied.

        Args:
            key: The document's key.
            revision: A number, or a negative one relative to the head; the head if
                nothing is given.
            checkpoint: Or a checkpoint of the namespace.
            at: Or a time: what was the head then.
            min_revision: Only a head that is this revision or a later one.
            max_stale_s: What was the head so long ago will do, if it is at hand.

        Raises:
            KeyNotFound: That state has no such document.
            NotReached: The branch has not come to ``min_revision``.
            NothingApplied: The scope has no state at all; it may be mistyped.
            NotFound: The revision or checkpoint is not there.
        """
        pick = Pick.one_of(revision, checkpoint, at).fresh(min_revision, max_stale_s)
        return self._transport.send(_core.document(self._scope, pick, key))

    def get_many(
        self,
        keys: Collection[str],
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
    ) -> dict[str, str]:
        """Return those documents of ``keys`` that there are, all of one revision.

        Args:
            keys: The documents' keys; many take several requests.
            revision: As for :meth:`get`.
            checkpoint: As for :meth:`get`.
            at: As for :meth:`get`.

        Raises:
            NothingApplied: The scope has no state at all; it may be mistyped.
            NotFound: The revision or checkpoint is not there.
            Conflict: The checkpoint was moved between two requests.
        """
        pick = Pick.one_of(revision, checkpoint, at)
        if not keys:
            return {}
        return dict(
            self._transport.each(_core.document_batches(self._scope, pick, keys))
        )

    def state(
        self,
        *,
        prefix: str = "",
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        min_revision: int = 0,
        max_stale_s: float = 0.0,
    ) -> State:
        """Return a whole state, or what is under ``prefix``, in one piece.

        It is held in memory; :meth:`documents` reads one of any size.

        Args:
            prefix: Only keys that begin with it.
            revision: As for :meth:`get`.
            checkpoint: As for :meth:`get`.
            at: As for :meth:`get`.
            min_revision: As for :meth:`get`.
            max_stale_s: As for :meth:`get`.

        Raises:
            NotReached: The branch has not come to ``min_revision``.
            NothingApplied: The scope has no state at all; it may be mistyped.
            NotFound: The revision or checkpoint is not there.
        """
        pick = Pick.one_of(revision, checkpoint, at).fresh(min_revision, max_stale_s)
        return self._transport.send(_core.state(self._scope, pick, prefix))

    def state_if_changed(self, etag: str, *, prefix: str = "") -> State | None:
        """Return the head's state, or None if it is the one that ``etag`` names.

        Args:
            etag: The ``etag`` of a state that this method returned with the same
                prefix; ``""`` the first time.
            prefix: Only keys that begin with it.

        Raises:
            NothingApplied: The scope has no state at all; it may be mistyped.
        """
        return self._transport.send(_core.state_if_changed(self._scope, etag, prefix))

    def documents(
        self,
        prefix: str = "",
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        page_size: int = _core.PAGE_DOCUMENTS,
    ) -> Iterator[Document]:
        """Yield the documents of a state in key order, whatever its size.

        They are read page by page, all at the revision of the first page, whatever
        is applied meanwhile.

        Args:
            prefix: Only keys that begin with it.
            revision: As for :meth:`get`.
            checkpoint: As for :meth:`get`.
            at: As for :meth:`get`.
            page_size: Documents held in memory at a time.

        Raises:
            NothingApplied: The scope has no state at all; it may be mistyped.
            NotFound: The revision or checkpoint is not there.
            Conflict: The checkpoint was moved between two pages.
        """
        pick = Pick.one_of(revision, checkpoint, at)
        return self._transport.each(
            _core.documents(self._scope, pick, prefix, page_size)
        )

    def keys(
        self,
        prefix: str = "",
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
    ) -> Iterator[str]:
        """Yield the keys of a state in order; otherwise as :meth:`documents`."""
        pages = self.key_pages(prefix, revision=revision, checkpoint=checkpoint, at=at)
        return (key for page in pages for key, _ in page.items)

    def key_pages(
        self,
        prefix: str = "",
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        page_size: int = _core.PAGE_KEYS,
    ) -> Iterator[StatePage]:
        """Yield the keys of a state page by page, with the revision they are of.

        Otherwise as :meth:`documents`; there is always a first page.
        """
        pick = Pick.one_of(revision, checkpoint, at)
        return self._transport.each(
            _core.key_pages(self._scope, pick, prefix, page_size)
        )

    # --- diff and log ----------------------------------------------------------------

    def diff(
        self,
        documents: Mapping[str, str] | None = None,
        *,
        deletes: Collection[str] = (),
        source: Select | None = None,
        target: Select | None = None,
        contents: bool = True,
    ) -> Diff:
        """Compare two states; changes nothing.

        ``diff(documents)`` says what applying them would change. ``diff(target=…)``
        says what a rollback to it would. Without a ``source`` the head is compared.

        Args:
            documents: Laid over ``source`` to make the later side.
            deletes: Taken away from it.
            source: The earlier side; the head if None.
            target: The later side; the head if None. Not together with documents
                or deletes.
            contents: Return the changes with their contents.

        Raises:
            NothingApplied: There is nothing to compare; the scope may be mistyped.
            NotFound: A revision, checkpoint or branch is not there.
        """
        earlier, later = sides(documents, deletes, source, target)
        return self._transport.send(
            _core.diff(self._scope, earlier, later, contents=contents)
        )

    def diff_pages(
        self,
        documents: Mapping[str, str] | None = None,
        *,
        deletes: Collection[str] = (),
        source: Select | None = None,
        target: Select | None = None,
        page_size: int = _core.PAGE_CHANGES,
    ) -> Iterator[Diff]:
        """Yield the diff of two states in pieces, whatever its size.

        As :meth:`diff`; every piece has the same revisions and the next changes.
        There is always a first one.

        Args:
            documents: As for :meth:`diff`.
            deletes: As for :meth:`diff`.
            source: As for :meth:`diff`.
            target: As for :meth:`diff`.
            page_size: Changes held in memory at a time.

        Raises:
            Conflict: A checkpoint was moved between two pages.
        """
        earlier, later = sides(documents, deletes, source, target)
        walk = _core.diff_pages(self._scope, earlier, later, page_size)
        return self._transport.each(walk)

    def log(
        self,
        limit: int = 20,
        *,
        after: int | None = None,
        key: str = "",
        prefix: str = "",
        author: str = "",
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        contents: bool = False,
    ) -> LogPage:
        """Return revisions of the branch, newest first.

        Args:
            limit: At most so many.
            after: Only revisions older than this one: the ``next`` of the page
                before.
            key: Only revisions that touched this document.
            prefix: Only revisions that touched a key under it.
            author: Only revisions by this author.
            since: Only revisions made at this time or later.
            until: Only revisions made before this time.
            revision: Start here instead of at the head.
            checkpoint: Or at a checkpoint of the namespace.
            at: Or at what was the head then.
            contents: Return the changes with their contents.

        Raises:
            NothingApplied: The scope has no history at all; it may be mistyped.
            NotFound: The revision or checkpoint is not there.
        """
        return self._transport.run(
            _core.log(
                self._scope,
                Pick.one_of(revision, checkpoint, at),
                Filter(key, prefix, author, since, until),
                limit=limit,
                after=after,
                contents=contents,
            )
        )

    def history(
        self,
        *,
        after: int | None = None,
        key: str = "",
        prefix: str = "",
        author: str = "",
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        contents: bool = False,
    ) -> Iterator[LogEntry]:
        """Yield every revision of the branch, newest first; otherwise as :meth:`log`.

        It ends where history begins, or where garbage collection has removed it.
        """
        walk = _core.log_pages(
            self._scope,
            Pick.one_of(revision, checkpoint, at),
            Filter(key, prefix, author, since, until),
            page_size=_core.PAGE_CHANGES,
            after=after,
            contents=contents,
        )
        return self._transport.each(walk)

    # --- what happens ----------------------------------------------------------------

    def watch(
        self, prefix: str = "", *, after: int | None = None, contents: bool = False
    ) -> Watch:
        """Return an iterator that tells of every revision of the branch, for ever.

        It reconnects by itself, and tells none twice and leaves none out.

        Args:
            prefix: Only revisions that changed a key under it, with those changes.
            after: The revision that is known, 0 for none; None for the head as it is
                when the first event is asked for.
            contents: Tell the changes with their contents.

        Raises:
            InvalidValue: ``after`` is negative.
        """
        from st8.client._watch import watch  # noqa: PLC0415 - start-up time

        return watch(
            self._transport, self._scope, prefix, after=after, contents=contents
        )

    def live(
        self, prefix: str = "", *, file: str | os.PathLike[str] | None = None
    ) -> LiveState:
        """Return a local copy of the branch that is kept current, not yet started.

        Args:
            prefix: Only keys that begin with it.
            file: Where it is kept, to start from without a daemon; None for nowhere.
        """
        from st8.client._live import LiveState  # noqa: PLC0415 - start-up time

        return LiveState(self, self._transport, self._scope, prefix, file=file)

    # --- checkpoints, branches, namespaces -------------------------------------------

    def create_checkpoint(
        self,
        name: str,
        *,
        revision: int | None = None,
        at: str | datetime | None = None,
        description: str = "",
        author: str = "",
        replace: bool = False,
    ) -> Checkpoint:
        """Name a revision of the branch, the head if nothing else is given.

        Args:
            name: Its name in the namespace.
            revision: A number, or a negative one relative to the head.
            at: Or a time: what was the head then.
            description: What it is good for.
            author: Who, if the daemon does not know better.
            replace: Move it if it exists.

        Raises:
            CheckpointExists: It exists elsewhere, and ``replace`` is not given.
            NotFound: The branch or the revision is not there.
        """
        return self._transport.send(
            _core.create_checkpoint(
                self._scope,
                name,
                Pick.one_of(revision, None, at),
                description=description,
                author=author,
                replace=replace,
            )
        )

    def checkpoint(self, name: str) -> Checkpoint:
        """Return the checkpoint of that name.

        Raises:
            CheckpointNotFound: The namespace has none.
        """
        return self._transport.send(_core.checkpoint(self._scope, name))

    def checkpoints(self, prefix: str = "") -> Iterator[Checkpoint]:
        """Yield the namespace's checkpoints by name, those under ``prefix``."""
        return self._transport.each(_core.checkpoints(self._scope, prefix))

    def delete_checkpoint(self, name: str) -> None:
        """Take a checkpoint's name away; the revision stays.

        Raises:
            CheckpointNotFound: The namespace has none of that name.
        """
        self._transport.send(_core.delete_checkpoint(self._scope, name))

    def create_branch(
        self,
        name: str,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
    ) -> Branch:
        """Make a branch that starts at a revision of this one, its head if not given.

        Args:
            name: Its name in the namespace.
            revision: A number, or a negative one relative to the head.
            checkpoint: Or a checkpoint of the namespace.
            at: Or a time: what was the head then.

        Raises:
            BranchExists: There is one of that name.
            NotFound: This branch or the revision is not there.
        """
        pick = Pick.one_of(revision, checkpoint, at)
        return self._transport.send(_core.create_branch(self._scope, name, pick))

    def branches(self, prefix: str = "") -> Iterator[Branch]:
        """Yield the namespace's branches by name, those under ``prefix``.

        Raises:
            NothingApplied: The namespace has none at all; it may be mistyped.
        """
        return self._transport.each(_core.branches(self._scope, prefix))

    def delete_branch(self, name: str, *, expect_revision: int | None = None) -> None:
        """Take a branch away; its revisions stay while something else holds them.

        Args:
            name: Its name in the namespace.
            expect_revision: Do it only if this is its head.

        Raises:
            BranchNotFound: The namespace has none of that name.
            HeadMoved: Its head is not ``expect_revision``.
        """
        self._transport.send(_core.delete_branch(self._scope, name, expect_revision))

    def namespaces(self, prefix: str = "") -> Iterator[NamespaceInfo]:
        """Yield every namespace by name, those under ``prefix``."""
        return self._transport.each(_core.namespaces(prefix))

    def version(self) -> ServerVersion:
        """Return what the daemon says of itself."""
        return self._transport.send(_core.version())
