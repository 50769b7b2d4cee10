"""Places in st8 at which a test can make something go wrong.

``failpoint("write.durable")`` does nothing, for some tens of nanoseconds, unless a test
has armed the process it runs in. There is no setting, no variable and no request that
arms one: whoever can arm a daemon can run code in it already. What happens at an armed
place is the business of :mod:`st8.testing.armed`.

They are named here, in the one module that both the engine and the stores may import,
so that a test can go through all of them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NAMES", "arm", "failpoint"]

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "write.before_turn": "something waits, and nothing is taken yet",
        "write.in_turn": "it is this process's turn, and nothing is taken yet",
        "write.taken": "a batch is taken, and nothing prepared",
        "write.before_tree": "a tree will be edited",
        "write.after_tree": "it is edited, in memory",
        "write.prepared": "the batch is a draft, and the store knows nothing of it",
        "write.durable": "it is committed, and nobody knows it",
        "notify.before": "watchers will be told",
        "notify.after": "they are told, and the writers are not",
        "answer.before": "a writer will be told",
        "answer.after": "it is told, and others of the batch may not be",
        "reply.before": "a reply is made, and no byte of it sent",
        "reply.after": "it is sent",
        "collect.before_removal": "some revisions will be removed",
        "collect.after_removal": "they are removed",
        "collect.before_epoch": "the last epoch will be raised",
        "collect.after_epoch": "it is raised, and nothing marked",
        "collect.marked": "what is needed is marked",
        "collect.before_sweep": "some objects will be deleted",
        "collect.after_sweep": "they are deleted",
        "collect.before_shrink": "some space will be given back",
        "redact.before_turn": "it is known where a content stands, and it is there",
        "redact.committed": "it is gone from the store, and may be in memory",
        "migrate.before_claim": "the target is empty",
        "migrate.after_claim": "it bears the mark of half a copy",
        "migrate.before_write": "something will be copied",
        "migrate.after_write": "it is copied",
        "migrate.before_compare": "all is copied, and not compared",
        "migrate.before_release": "it is found equal, and bears the mark",
        "migrate.after_release": "it is whole",
        "sqlite.before_tables": "the file is open, and may be empty",
        "sqlite.after_tables": "it has its tables",
        "sqlite.names_synced": "the names of new files are durable",
        "sqlite.before_log": "the log of before may be in the kernel's memory alone",
        "sqlite.after_log": "it is on the disk",
        "sqlite.before_begin": "no transaction is begun",
        "sqlite.after_begin": "it is begun",
        "sqlite.refs_moved": "branches, checkpoints and newest numbers are written",
        "sqlite.objects_put": "and nodes and contents",
        "sqlite.revisions_put": "and revisions",
        "sqlite.answers_put": "and answers to idempotency keys",
        "sqlite.epoch_raised": "an epoch is raised, in a transaction",
        "sqlite.revisions_removed": "and revisions are removed",
        "sqlite.redacted": "a content is deleted, in a transaction",
        "sqlite.erased": "some of what deletions have left is overwritten, not synced",
        "sqlite.objects_removed": "objects are deleted, in a transaction",
        "sqlite.shrunk": "the file is made smaller, in a transaction",
        "sqlite.before_log_moved": "a collection will move the log into the file",
        "sqlite.log_moved": "it is moved, but for what came meanwhile",
        "sqlite.before_commit": "a transaction will be committed",
        "sqlite.after_commit": "it is committed",
        "postgres.before_commit": "the statement that commits will be sent",
        "postgres.after_commit": "its answer is there",
        "postgres.before_epoch": "no transaction is begun",
        "postgres.epoch_raised": "an epoch is raised, in a transaction",
        "postgres.revisions_removed": "and revisions are removed",
        "postgres.epoch_committed": "that is committed",
        "postgres.redacted": "a content is deleted, in a transaction",
        "postgres.before_sweep": "it is known which objects will be deleted",
        "postgres.after_sweep": "they are deleted",
        "postgres.before_tell": "other daemons will be told",
        "postgres.after_tell": "they are told",
    }
)
"""Every place, and what is so there."""

_reached: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Return; or do to whoever comes here what a test wants, which may be anything."""
    if _reached is not None:
        _reached(name)


def arm(reached: Callable[[str], None] | None) -> None:
    """Have ``reached`` called with the name of each place that is come to; None: no more.

    For tests. In this process, and in those that are forked from it.
    """
    global _reached  # noqa: PLW0603 - a place is a name, and knows no object
    _reached = reached
