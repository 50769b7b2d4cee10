"""The mark of a store that is being filled from another one.

While it stands, the store is half a copy, and nobody may take it for whole: no
:class:`~st8.engine.engine.Engine` serves it. It is a checkpoint, so that setting it
and taking it away are commits like any other, in a namespace whose name no client can
say and that no list shows, as it has no revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from st8.core.errors import StorageFailed
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Message,
    Namespace,
    RevisionNumber,
    digest_of,
)
from st8.core.ports import Batch
from st8.core.revisions import Checkpoint

if TYPE_CHECKING:
    from st8.core.ports import Store

__all__ = ["check_whole", "claim", "origin_of", "release"]

# Names that are checked could not be these.
_NAMESPACE: Final = cast("Namespace", "\x01migration")
_NAME: Final = cast("CheckpointName", "from")
_NOTHING: Final = RevisionNumber(0)


def origin_of(store: Store) -> str | None:
    """Return where a half copy comes from, in words; None where the store is whole."""
    found = store.checkpoint(_NAMESPACE, _NAME)
    return None if found is None else found.description


def check_whole(store: Store) -> None:
    """Return if the store is whole.

    Raises:
        StorageFailed: It is half a copy of another one.
    """
    origin = origin_of(store)
    if origin is not None:
        raise StorageFailed(
            f"the store is a half-done migration from {origin} and is not served; "
            "finish it with the same st8d migrate, or take another store"
        )


def claim(store: Store, origin: str) -> int:
    """Mark the store as half a copy of what ``origin`` says in words.

    Returns the collection epoch in which that was done.

    Raises:
        Stale: Somebody else writes to the store.
    """
    epoch = store.namespace(_NAMESPACE).epoch
    _set(store, origin, epoch)
    return epoch


def release(store: Store, epoch: int) -> None:
    """Take the mark away: the store is whole.

    Raises:
        Stale: Somebody else writes to the store, or has collected since ``epoch``.
    """
    _set(store, None, epoch)


def _set(store: Store, origin: str | None, epoch: int) -> None:
    before = store.checkpoint(_NAMESPACE, _NAME)
    after = None
    if origin is not None:
        after = Checkpoint(
            _NAME,
            _NOTHING,
            digest_of(b""),
            cast("BranchName", ""),
            cast("Message", origin),
            cast("Author", ""),
            0,
        )
    if before == after:
        return
    batch = Batch(epoch, 0)
    batch.namespaces[_NAMESPACE] = (_NOTHING, _NOTHING)
    batch.checkpoints[_NAMESPACE, _NAME] = (before, after)
    store.commit(batch)
