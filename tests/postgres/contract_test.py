"""The store in PostgreSQL keeps the contract."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from st8.store.postgres import PostgresStore
from st8.testing.contract import StoreContract

if TYPE_CHECKING:
    from pathlib import Path

    from st8.core.ports import Store
    from tests.postgres.server import PostgresServer


class TestPostgresStore(StoreContract):
    """See :class:`StoreContract`."""

    server: PostgresServer

    @pytest.fixture(autouse=True)
    def _server(self, postgres: PostgresServer) -> None:
        """Give the tests a server."""
        self.server = postgres

    def open_store(self, place: Path) -> Store:
        """See :class:`StoreContract`."""
        schema = "s" + hashlib.sha256(str(place).encode()).hexdigest()[:20]
        return PostgresStore(self.server.url(schema))
