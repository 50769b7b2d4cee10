"""The fixtures that start a PostgreSQL; tests/conftest.py gives them to all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that all tests of this process share, each in its own schema."""
    server = PostgresServer()
    yield server
    server.close()
