"""The embedded store keeps the contract, also where digests begin alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.store.sqlite import SqliteStore
from st8.testing.contract import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from st8.core.ports import Store


class TestSqliteStore(StoreContract):
    """See :class:`StoreContract`."""

    def open_store(self, place: Path) -> Store:
        """See :class:`StoreContract`."""
        return SqliteStore(place)
