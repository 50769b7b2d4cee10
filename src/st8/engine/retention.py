"""Which revisions a collection keeps, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from st8.core import limits
from st8.core.durations import format_age
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.ids import Namespace

__all__ = ["KEEP_DEFAULT", "REASONS", "Retention", "Rules"]

KEEP_DEFAULT: Final = 10
"""Newest revisions of a branch that stay where nobody says how many."""

_NS_PER_S: Final = 1_000_000_000

REASONS: Final = ("never", "head", "base", "checkpoint", "newest", "young")
"""Why a revision stays, of which the first that holds is told:

``never``: nothing of its namespace goes. ``head``, ``base``: a branch is at it, or
begins at it. ``checkpoint``: one names it. ``newest``: it is one of the newest of a
branch. ``young``: it is younger than what may go.
"""


class Retention(NamedTuple):
    """What a collection keeps of a namespace, beside what is named.

    Attributes:
        keep: So many of the newest revisions of each branch.
        younger_than_s: Whatever is younger, whichever branch it was made on.
        never: Everything: nothing is ever removed.
    """

    keep: int = KEEP_DEFAULT
    younger_than_s: float = 0.0
    never: bool = False

    def check(self) -> None:
        """Return if it can be gone by.

        Raises:
            InvalidValue: Nothing of a branch would stay, or an age is negative.
            LimitExceeded: ``keep`` is greater than ``gc_keep_max``.
        """
        if self.keep < 1:
            raise InvalidValue("keep", f"{self.keep} must be at least 1")
        if self.keep > limits.GC_KEEP.maximum:
            raise LimitExceeded(limits.GC_KEEP, "keep", self.keep)
        if not 0 <= self.younger_than_s <= limits.GC_YOUNGER_SECONDS.maximum:
            if self.younger_than_s > 0:
                raise LimitExceeded(
                    limits.GC_YOUNGER_SECONDS, "younger_than", int(self.younger_than_s)
                )
            raise InvalidValue("younger_than", "must not be negative")

    def oldest_ns(self, now_ns: int) -> int | None:
        """Return the time after which everything stays, None if there is none."""
        if not self.younger_than_s:
            return None
        return now_ns - int(self.younger_than_s * _NS_PER_S)

    @property
    def text(self) -> str:
        """It, as it is written in a setting of st8d."""
        if self.never:
            return "never"
        text = f"keep={self.keep}"
        if self.younger_than_s:
            text += f",younger-than={format_age(self.younger_than_s)}"
        return text


Rules = Callable[[Namespace], Retention]
"""Tells what is kept of a namespace."""
