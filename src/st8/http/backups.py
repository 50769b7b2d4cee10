"""Backups go out, and come in, as streams of any length.

Both hold a block or so in memory, and the client's pace is theirs. A backup that fails
when part of it was sent says why in its last block, and then the connection is cut: a
part never looks like the whole.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from st8.core.backup import broken_off
from st8.http import shapes
from st8.http.encoding import encode
from st8.http.incoming import ClientGone
from st8.http.problems import as_st8_error
from st8.http.replies import OpenReply, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.http.incoming import Upload
    from st8.http.plans import BackupPlan, RestoreBackupPlan
    from st8.http.replies import Message, Receive, Send
    from st8.http.service import Call, Service

__all__ = ["MEDIA_TYPE", "backup", "restore_backup"]

MEDIA_TYPE: Final = "application/octet-stream"
_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep it back
]
_LOOK_S: Final = 0.5
"""How often whoever waits for a client looks whether anybody waits for them."""


async def backup(service: Service, plan: BackupPlan, _call: Call) -> OpenReply:
    """Send a backup."""
    pieces = await service.run(service.engine.backup, plan.namespace, plan.base)
    stream = partial(_send, service, pieces)
    return OpenReply(Reply(headers=_HEADERS, stream=stream), b"", None)


async def _send(
    service: Service, pieces: Iterator[bytes], receive: Receive, send: Send
) -> bool:
    """Send a backup, each piece when the one before has left.

    Returns False if the client has left before the last.

    Raises:
        Exception: It failed; what was sent says so, and is to be cut off.
    """
    gone = asyncio.ensure_future(_gone(receive))
    try:
        while not gone.done():
            try:
                piece = await service.run(_next, pieces)
            except Exception as error:
                known = as_st8_error(error, "a backup")
                await send(_body(broken_off(known.problem()), more=True))
                raise
            await send(_body(piece, more=bool(piece)))
            if not piece:
                return True
    finally:
        gone.cancel()
    return False


def _next(pieces: Iterator[bytes]) -> bytes:
    """Return the next piece, none at the end."""
    return next(pieces, b"")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def restore_backup(
    service: Service, plan: RestoreBackupPlan, call: Call
) -> OpenReply:
    """Take a backup and restore it, as it comes.

    Raises:
        ClientGone: The client went away before its end.
    """
    if call.upload is None:
        raise TypeError(call)
    feed = _Feed(call.upload)
    try:
        done = await service.restore(
            service.engine.restore_backup, feed.read, plan.check
        )
    finally:
        feed.close()
    return OpenReply(
        Reply(),
        encode(
            shapes.BackupRestored(
                backups=done.backups,
                namespaces=done.namespaces,
                branches=done.branches,
                checkpoints=done.checkpoints,
                revisions=done.revisions,
                objects=done.objects,
            )
        ),
        None,
    )


class _Feed:
    """Hands what comes on an event loop to a thread that waits for it."""

    def __init__(self, upload: Upload) -> None:
        """Read ``upload``, on the loop that is running here."""
        self._upload = upload
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()

    def read(self) -> bytes:
        """Return the next bytes, none at the end; for the thread.

        Raises:
            ClientGone: There will be no end, or nobody waits for one.
        """
        if self._closed.is_set():
            raise ClientGone
        coming = asyncio.run_coroutine_threadsafe(self._upload.next(), self._loop)
        while True:
            try:
                return coming.result(_LOOK_S)
            except TimeoutError:
                if self._closed.is_set():
                    coming.cancel()
                    raise ClientGone from None

    def close(self) -> None:
        """Let the thread end."""
        self._closed.set()
