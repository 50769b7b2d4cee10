"""What was redacted, as an engine knows it.

A redaction counts up the collection epoch. So what was read of them since an epoch was
read is all that a batch of that epoch has to respect: the commit compares the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from st8.core.redactions import mark_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from st8.core.ids import Digest, Key, Namespace
    from st8.core.ports import Store

__all__ = ["Known", "Redactions"]


class Known(NamedTuple):
    """What was redacted when it was looked at.

    Attributes:
        marks: What is read in place of each content.
        places: Where they stood, by namespace.
    """

    marks: Mapping[Digest, bytes]
    places: Mapping[Namespace, Sequence[tuple[Key, Digest]]]


class Redactions:
    """The redactions of a store. Any thread may call at any time."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``, when it is needed."""
        self._store = store
        self._epoch = 0
        self._known = Known({}, {})
        self._count = 0
        self._counted = False

    @property
    def count(self) -> int:
        """How many there are, as far as was heard; what is read changes with it.

        Raises:
            Corrupt: A row is damaged.
            StorageFailed: It can't be read.
        """
        if not self._counted:
            self.look()
        return self._count

    def forget_count(self) -> None:
        """Count anew when somebody asks: there may be more, or others."""
        self._counted = False
        self._epoch = 0

    def at(self, epoch: int) -> Known:
        """Return what was redacted when the epoch became ``epoch``, or later."""
        if epoch != self._epoch:
            self.look()
            self._epoch = epoch
        return self._known

    def marks(self, digest: Digest) -> Mapping[Digest, bytes]:
        """Return what is read in place of contents; looks anew if one is not known."""
        if digest not in self._known.marks:
            self.look()
        return self._known.marks

    def look(self) -> None:
        """Look at what is redacted now.

        Raises:
            Corrupt: A row is damaged.
            StorageFailed: It can't be read.
        """
        self._counted = True  # before it is: what is redacted meanwhile counts anew
        try:
            redactions = list(self._store.redactions())
        except BaseException:
            self._counted = False
            raise
        marks: dict[Digest, bytes] = {}
        places: dict[Namespace, list[tuple[Key, Digest]]] = {}
        for redaction in redactions:
            marks.setdefault(redaction.digest, mark_of(redaction))
            places.setdefault(redaction.namespace, []).append(
                (redaction.key, redaction.digest)
            )
        self._known, self._count = Known(marks, places), len(redactions)
