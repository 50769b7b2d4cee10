"""Planted bugs that the corruption rig has to find: switches that only tests reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from st8.engine import chain, checked, objects
from st8.store import rows, sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

__all__ = ["BUGS"]


def skip_the_hash_on_read(patch: pytest.MonkeyPatch) -> None:
    """Serve an object without comparing it with the digest it was asked for by."""

    def read(self: Any, digests: Any, size_max: int | None = None) -> dict[Any, bytes]:
        found: dict[Any, bytes] = self._store.objects(digests, size_max)
        for digest in digests:
            if digest not in found and not (size_max is not None and found):
                raise objects.ObjectMissing(digest)
        return found

    patch.setattr(objects.Objects, "_read", read)


def leave_revisions_out_of_the_chain(patch: pytest.MonkeyPatch) -> None:
    """Believe a revision's row: neither a digest nor a seal speaks for it."""
    unsealed = rows.unsealed

    def believe(row: Any, owner: str, *types: type) -> Any:
        return row[:-1] if types == (int, bytes) else unsealed(row, owner, *types)

    patch.setattr(sqlite, "unsealed", believe)
    patch.setattr(chain, "problem", lambda *_: None)
    patch.setattr(checked.CheckedStore, "check_ref", lambda *_: True)


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    bug.__name__: bug
    for bug in (skip_the_hash_on_read, leave_revisions_out_of_the_chain)
}
