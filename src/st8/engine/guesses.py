"""Guessing what a commit must know, where others may have written meanwhile.

Where a store is shared, each batch would have to read the newest number of its
namespace and the heads of its branches before it can be prepared. Most often they are
what the last commit of this engine has left. So a batch is prepared from that, and the
commit, which compares all of it, tells whether it was so; if not, the batch is prepared
anew from the store.

A guess only ever saves the reading: whatever is answered from one was compared by the
commit. What a commit would not compare is not to be decided by a guess.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

from st8.core.ports import NamespaceState

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from st8.core.ids import BranchName, Namespace
    from st8.core.ports import Batch, BranchAt
    from st8.core.revisions import Branch
    from st8.engine.refs import Refs

__all__ = ["Guesses"]

_KEPT: Final = 4_096
"""Namespaces, and branches, of which something is remembered."""
_CAUTION: Final = 16
"""Batches that are prepared from the store after one that was overtaken."""

_AtT = TypeVar("_AtT", bound="Hashable")
_LeftT = TypeVar("_LeftT")


class Guesses:
    """Refs as the last commits of this engine have left them, else as stored.

    One thread reads from it and learns; any thread may call :meth:`forget`.
    """

    def __init__(self, refs: Refs) -> None:
        """Guess nothing yet, and read from ``refs`` what is not remembered."""
        self._refs = refs
        self._lock = threading.Lock()
        self._namespaces: OrderedDict[Namespace, NamespaceState] = OrderedDict()
        self._branches: OrderedDict[BranchAt, Branch | None] = OrderedDict()
        self._caution = 0
        self.checkpoint = refs.checkpoint
        self.answer = refs.answer
        self.revision = refs.revision
        self.is_proven = refs.is_proven
        self.prove = refs.prove

    def are_worth(self, namespace: Namespace) -> bool:
        """Return whether a batch that begins with this namespace shall be guessed."""
        if self._caution:
            self._caution -= 1
            return False
        return namespace in self._namespaces

    def namespace(self, name: Namespace) -> NamespaceState:
        """Return what a commit must know of a namespace, as guessed."""
        return self._namespaces.get(name) or self._refs.namespace(name)

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """Return a branch, as guessed; None if it is not there."""
        try:
            return self._branches[namespace, name]
        except KeyError:
            return self._refs.branch(namespace, name)

    def learn(self, batch: Batch) -> None:
        """Remember what a batch has left, which was just committed."""
        with self._lock:
            for name, (_, last) in batch.namespaces.items():
                _keep(self._namespaces, name, NamespaceState(last, batch.epoch))
            for at, (_, branch) in batch.branches.items():
                _keep(self._branches, at, branch)

    def mistrust(self) -> None:
        """Forget all, and guess nothing for a while: others write just now."""
        self._caution = _CAUTION
        self.forget(None)

    def forget(self, branches: Collection[BranchAt] | None) -> None:
        """Forget branches that others have moved, and their namespaces; None: all."""
        with self._lock:
            if branches is None:
                self._namespaces.clear()
                self._branches.clear()
            for at in branches or ():
                self._namespaces.pop(at[0], None)
                self._branches.pop(at, None)


def _keep(kept: OrderedDict[_AtT, _LeftT], at: _AtT, left: _LeftT) -> None:
    kept[at] = left
    kept.move_to_end(at)
    if len(kept) > _KEPT:
        kept.popitem(last=False)
