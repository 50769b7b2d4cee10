"""Sides of a comparison, as ``diff --from`` and ``--to`` name them.

======================== =====================================================
``head``                 the head of the branch
``12``, ``-1``           revision 12; the one before the head
``checkpoint:NAME``      what the checkpoint names
``branch:NAME``          the head of another branch
``branch:NAME@12``       revision 12, or with -1 the one before the head, of it
``at:TIME``              the head at that time
``dir:PATH``             the files of a directory, and nothing else
======================== =====================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.client import Select
from st8.core.errors import InvalidValue, NothingApplied

if TYPE_CHECKING:
    from st8.cli.inputs import Inputs
    from st8.client import Client

__all__ = ["FORMS", "Directory", "laid_over", "side_of"]

FORMS: Final = (
    "12, -1, head, checkpoint:NAME, branch:NAME, branch:NAME@12, at:TIME or dir:PATH"
)
_NUMBER: Final = r"-?0{0,9}[1-9][0-9]{0,17}"
"""Any but 0, which the daemon takes for the head, and which is no revision."""


class Directory(NamedTuple):
    """A side that is a directory.

    Attributes:
        path: Where it is.
    """

    path: str


def side_of(text: str, flag: str) -> Select | Directory:
    """Return the side that a selector names.

    Args:
        text: The selector.
        flag: What it was given for, for the error.

    Raises:
        InvalidValue: It is none.
    """
    if text == "head":
        return Select()
    if re.fullmatch(_NUMBER, text):
        return Select(revision=int(text))
    kind, colon, name = text.partition(":")
    if colon and name:
        if kind == "checkpoint":
            return Select(checkpoint=name)
        if kind == "branch":
            return _of_branch(name)
        if kind == "at":
            from st8.cli.moments import moment

            return Select(at=moment(name.removeprefix("-"), flag))
        if kind == "dir":
            return Directory(name)
    raise InvalidValue(flag, f"{text!r} is no state; write {FORMS}")


def _of_branch(name: str) -> Select:
    """Return the head of a branch, or a revision of it."""
    branch, at, number = name.rpartition("@")
    if at and branch and re.fullmatch(_NUMBER, number):
        return Select(revision=int(number), branch=branch)
    return Select(branch=name)


def laid_over(client: Client, base: Select, inputs: Inputs) -> tuple[Select, Select]:
    """Return a state that stays the same, and it with documents laid over it.

    What is pruned is found in that very state, so both sides are pinned to its
    revision.

    Raises:
        NotFound: The state is not there.
    """
    keys: list[str] = []
    pinned = base
    if inputs.pruned is not None:
        there = client if base.branch is None else client.scope(branch=base.branch)
        try:
            for page in there.key_pages(
                inputs.pruned.prefix,
                revision=base.revision,
                checkpoint=base.checkpoint,
                at=base.at,
            ):
                keys.extend(key for key, _ in page.items)
                if base.checkpoint is None:
                    pinned = Select(revision=page.revision, branch=base.branch)
        except NothingApplied:
            pass  # an empty state; the directory is all there is
    deletes = inputs.to_delete(keys)
    return pinned, pinned._replace(documents=inputs.documents, deletes=deletes)
