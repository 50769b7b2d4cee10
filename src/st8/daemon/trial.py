"""Whether backups can be restored, told without a daemon."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from st8.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.engine.restoring import Restored

__all__ = ["check_backup"]


def check_backup(read: Callable[[], bytes]) -> Restored:
    """Restore backups into a store that is thrown away, and return what they have.

    Args:
        read: Returns the next bytes of a backup, and of those that stand on it; none
            at the end.

    Raises:
        BadBackup: They can't be restored.
        StorageFailed: There is no room for the store.
    """
    from st8.engine.engine import Engine  # noqa: PLC0415 - start-up time
    from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - start-up time

    with TemporaryDirectory(prefix="st8-check-") as directory:
        engine = Engine(SqliteStore(Path(directory)), SystemClock())
        with closing(engine):
            return engine.restore_backup(read)
