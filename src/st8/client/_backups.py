"""Backups as streams: taken from a daemon, and given to one.

Nothing is held but a piece at a time, and there is no second attempt: whoever has a part
begins again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from st8.client._answers import Answer, NotUnderstood, error_of, restored
from st8.client._calls import Call, Request, send
from st8.client._retry import Attempts, Failure
from st8.client._transport import chance
from st8.core.ids import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from st8.client._connection import Stream
    from st8.client._results import BackupRestored
    from st8.client._transport import Transport
    from st8.core.backup import Summary

__all__ = ["PATIENCE_S", "backup", "restore_backup"]

PATIENCE_S: Final = 300.0
"""Seconds without a byte, one way or the other, after which a stream is given up."""

_OK: Final = 200


def backup(
    transport: Transport, namespace: str | None, base: Summary | None
) -> Iterator[bytes]:
    """Yield the pieces of a backup; what does not come to its end is none.

    Args:
        transport: The way to the daemon.
        namespace: Only of this one; all if None.
        base: The backup that it shall stand on, all of it read; None for none.

    Raises:
        St8Error: The daemon refuses, or the connection is lost.
    """
    call = _backup_call(namespace, base)
    attempts = Attempts(
        cast("Call[object]", call), transport.url, retries=0, jitter=chance
    )
    stream: Stream | None = None
    try:
        stream = transport.stream(call)
        while data := stream.read(PATIENCE_S):
            yield data
    except Failure as failure:
        attempts.after_failure(failure, None)
    except NotUnderstood as odd:
        attempts.after_odd_answer(odd, None)
    finally:
        if stream is not None:
            stream.close()


def _backup_call(namespace: str | None, base: Summary | None) -> Call[None]:
    under: dict[str, object] | None = None
    if base is not None:
        under = {
            "digest": base.finish().hex(),
            "namespaces": [
                {
                    "namespace": part.name,
                    "revision": part.newest.number,
                    "digest": part.newest.digest.hex(),
                }
                for part in base.namespaces
            ],
        }
    name = None if namespace is None else Namespace(namespace)
    body: dict[str, object] = {"namespace": name, "base": under}
    return send("backup", "POST", "/v1/backup", body, _begun, effect="read")


def _begun(answer: Answer) -> None:
    """Return if an answer is the beginning of a stream.

    Raises:
        St8Error: It is an error.
    """
    if answer.status != _OK:
        raise error_of(answer)


def restore_backup(transport: Transport, pieces: Iterable[bytes]) -> BackupRestored:
    """Send backups, one on top of the other, and return what was restored.

    Args:
        transport: The way to the daemon.
        pieces: Their bytes; where the daemon has refused, they are not read to the end.

    Raises:
        BadBackup: They are not whole, or not right.
        NamespaceExists: Something is there already.
        OutcomeUnknown: All was sent, and no answer came.
        St8Error: The daemon refuses, or the connection is lost.
    """
    request = Request(
        "POST",
        "/v1/restore-backup",
        {
            "Content-Type": "application/octet-stream",
            "Transfer-Encoding": "chunked",
        },
        None,
    )
    call = Call("restore-backup", "once", request, restored)
    return transport.upload(call, pieces, PATIENCE_S)
