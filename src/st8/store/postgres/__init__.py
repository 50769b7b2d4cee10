"""The store in PostgreSQL, which many daemons may share.

:mod:`~st8.store.postgres.store` is the store, the other modules its parts.
"""

from st8.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
