"""The store in PostgreSQL, which many daemons may share.

:mod:`~st8.store.postgres.store` is the store, the other modules its parts.
"""

from st8.store.postgres.address import read_address
from st8.store.postgres.store import PostgresStore

__all__ = ["PostgresStore", "read_address"]
