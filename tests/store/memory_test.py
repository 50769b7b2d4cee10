"""The store in memory keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.store.memory import MemoryStore
from st8.testing.contract import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from st8.core.ports import Store


class TestMemoryStore(StoreContract):
    """See :class:`StoreContract`."""

    persistent = False

    def open_store(self, place: Path) -> Store:
        """See :class:`StoreContract`."""
        del place
        return MemoryStore()
