"""The versioned store: what each operation means.

The engine knows protocols, never a database, and says nothing of HTTP.
"""

from st8.engine.engine import Engine

__all__ = ["Engine"]
