"""The client for event loops: :class:`st8.Client`, awaited.

Both say the same with the same calls of ``_core``; only who waits is different.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from st8.client import _core
from st8.client._retry import RETRIES, TIMEOUT_S
from st8.client._selection import Filter, Pick, sides
from st8.client._transport import new_key
from st8.client._upkeep import AsyncUpkeep
from st8.core.ids import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from st8.client._async_transport import AsyncTransport
    from st8.client._async_watch import AsyncWatch
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
    from st8.core.documents import Document

__all__ = ["AsyncClient"]


class AsyncClient(AsyncUpkeep):
    """A daemon, as seen from one namespace and branch, for use in an event loop.

    It has the methods of :class:`st8.Client`, with the same arguments, results, errors
    and retries; each is awaited or, where it yields, iterated over with ``async for``.
    What is said there holds here, and is not said again.

    One client is for one event loop, of asyncio or of trio, and for any number of its
    tasks. It needs httpx, which ``st8[async]`` brings. A call that is cancelled is no
    longer waited for: the daemon may do it all the same.

    Example::

        async with AsyncClient("http://127.0.0.1:8748", namespace="shop") as st8:
            await st8.apply({"config.json": text}, message="longer timeout")
            await st8.get("config.json")
            async for document in st8.documents("mail/"):
                ...
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
            ImportError: httpx is not there.
        """
        self._transport = _transport_class()(
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
        return f"AsyncClient({self._transport.url!r}, namespace={namespace!r}, branch={branch!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Calls after it raise RuntimeError."""
        await self._transport.close()

    @property
    def namespace(self) -> str:
        """The namespace that methods are about."""
        return self._scope.namespace

    @property
    def branch(self) -> str:
        """The branch that methods are about."""
        return self._scope.branch

    def scope(
        self, namespace: str | None = None, branch: str | None = None
    ) -> AsyncClient:
        """Return a client for another scope of the same daemon."""
        other = object.__new__(AsyncClient)
        other.__dict__.update(self.__dict__)
        other._scope = Scope.parse(
            self.namespace if namespace is None else namespace,
            self.branch if branch is None else branch,
        )
        return other

    # --- writes ------------------------------------------------------------------

    async def apply(
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
        """Put and delete documents as one revision; others stay as they are."""
        return await self._transport.send(
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

    async def rollback(
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
        """Make a new revision whose state is an earlier one of this branch."""
        return await self._transport.send(
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

    async def restore(
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
        """Make a new revision whose state is that of another branch, or any other."""
        return await self._transport.send(
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

    async def get(
        self,
        key: str,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        min_revision: int = 0,
        max_stale_s: float = 0.0,
    ) -> str:
        """Return the content of one document, byte for byte as it was applied."""
        pick = Pick.one_of(revision, checkpoint, at).fresh(min_revision, max_stale_s)
        return await self._transport.send(_core.document(self._scope, pick, key))

    async def get_many(
        self,
        keys: Collection[str],
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
    ) -> dict[str, str]:
        """Return those documents of ``keys`` that there are, all of one revision."""
        pick = Pick.one_of(revision, checkpoint, at)
        if not keys:
            return {}
        batches = _core.document_batches(self._scope, pick, keys)
        return {key: content async for key, content in self._transport.each(batches)}

    async def state(
        self,
        *,
        prefix: str = "",
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        min_revision: int = 0,
        max_stale_s: float = 0.0,
    ) -> State:
        """Return a whole state, or what is under ``prefix``, in one piece."""
        pick = Pick.one_of(revision, checkpoint, at).fresh(min_revision, max_stale_s)
        return await self._transport.send(_core.state(self._scope, pick, prefix))

    async def state_if_changed(self, etag: str, *, prefix: str = "") -> State | None:
        """Return the head's state, or None if it is the one that ``etag`` names."""
        return await self._transport.send(
            _core.state_if_changed(self._scope, etag, prefix)
        )

    def documents(
        self,
        prefix: str = "",
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        page_size: int = _core.PAGE_DOCUMENTS,
    ) -> AsyncIterator[Document]:
        """Yield the documents of a state in key order, whatever its size."""
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
    ) -> AsyncIterator[str]:
        """Yield the keys of a state in order; otherwise as :meth:`documents`."""
        pick = Pick.one_of(revision, checkpoint, at)
        return self._transport.each(_core.keys(self._scope, pick, prefix))

    def key_pages(
        self,
        prefix: str = "",
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
        page_size: int = _core.PAGE_KEYS,
    ) -> AsyncIterator[StatePage]:
        """Yield the keys of a state page by page, with the revision they are of."""
        pick = Pick.one_of(revision, checkpoint, at)
        return self._transport.each(
            _core.key_pages(self._scope, pick, prefix, page_size)
        )

    # --- diff and log ----------------------------------------------------------------

    async def diff(
        self,
        documents: Mapping[str, str] | None = None,
        *,
        deletes: Collection[str] = (),
        source: Select | None = None,
        target: Select | None = None,
        contents: bool = True,
    ) -> Diff:
        """Compare two states; changes nothing."""
        earlier, later = sides(documents, deletes, source, target)
        return await self._transport.send(
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
    ) -> AsyncIterator[Diff]:
        """Yield the diff of two states in pieces, whatever its size."""
        earlier, later = sides(documents, deletes, source, target)
        walk = _core.diff_pages(self._scope, earlier, later, page_size)
        return self._transport.each(walk)

    async def log(
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
        """Return revisions of the branch, newest first."""
        return await self._transport.run(
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
    ) -> AsyncIterator[LogEntry]:
        """Yield every revision of the branch, newest first; otherwise as :meth:`log`."""
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
    ) -> AsyncWatch:
        """Return an iterator that tells of every revision of the branch, for ever."""
        from st8.client._async_watch import watch  # noqa: PLC0415 - needs anyio

        return watch(
            self._transport, self._scope, prefix, after=after, contents=contents
        )

    # --- checkpoints, branches, namespaces -------------------------------------------

    async def create_checkpoint(
        self,
        name: str,
        *,
        revision: int | None = None,
        at: str | datetime | None = None,
        description: str = "",
        author: str = "",
        replace: bool = False,
    ) -> Checkpoint:
        """Name a revision of the branch, the head if nothing else is given."""
        return await self._transport.send(
            _core.create_checkpoint(
                self._scope,
                name,
                Pick.one_of(revision, None, at),
                description=description,
                author=author,
                replace=replace,
            )
        )

    async def checkpoint(self, name: str) -> Checkpoint:
        """Return the checkpoint of that name."""
        return await self._transport.send(_core.checkpoint(self._scope, name))

    def checkpoints(self, prefix: str = "") -> AsyncIterator[Checkpoint]:
        """Yield the namespace's checkpoints by name, those under ``prefix``."""
        return self._transport.each(_core.checkpoints(self._scope, prefix))

    async def delete_checkpoint(self, name: str) -> None:
        """Take a checkpoint's name away; the revision stays."""
        await self._transport.send(_core.delete_checkpoint(self._scope, name))

    async def create_branch(
        self,
        name: str,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
    ) -> Branch:
        """Make a branch that starts at a revision of this one, its head if not given."""
        pick = Pick.one_of(revision, checkpoint, at)
        return await self._transport.send(_core.create_branch(self._scope, name, pick))

    def branches(self, prefix: str = "") -> AsyncIterator[Branch]:
        """Yield the namespace's branches by name, those under ``prefix``."""
        return self._transport.each(_core.branches(self._scope, prefix))

    async def delete_branch(
        self, name: str, *, expect_revision: int | None = None
    ) -> None:
        """Take a branch away; its revisions stay while something else holds them."""
        await self._transport.send(
            _core.delete_branch(self._scope, name, expect_revision)
        )

    def namespaces(self, prefix: str = "") -> AsyncIterator[NamespaceInfo]:
        """Yield every namespace by name, those under ``prefix``."""
        return self._transport.each(_core.namespaces(prefix))

    async def version(self) -> ServerVersion:
        """Return what the daemon says of itself."""
        return await self._transport.send(_core.version())


def _transport_class() -> type[AsyncTransport]:
    """Load what needs httpx.

    Raises:
        ImportError: It is not there.
    """
    try:
        from st8.client._async_transport import AsyncTransport  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in {"anyio", "httpx"}:
            raise
        raise ImportError(
            'AsyncClient needs httpx, which is not installed: pip install "st8[async]"',
            name=error.name,
        ) from None
    return AsyncTransport
