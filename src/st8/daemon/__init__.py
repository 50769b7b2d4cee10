"""st8d: puts configuration, store, engine and HTTP together, and runs them.

Three ways in: :func:`main` is the program; :func:`serve_in_thread` and
:func:`serve_engine` are the same app behind the same guards inside another process,
for ``st8ctl --local`` and for tests.

What is opened is closed in the opposite order, whatever happens: first no request is
taken any more, then those in flight are finished, then the engine's queued writes,
then the store.
"""

from __future__ import annotations

from st8.daemon.embedded import serve_engine, serve_in_thread
from st8.daemon.program import main
from st8.daemon.trial import check_backup

__all__ = ["check_backup", "main", "serve_engine", "serve_in_thread"]
