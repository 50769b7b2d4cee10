"""Does each thing at each failpoint many times, and fills the disk many times.

Run as ``python -m tests.crash.faults``, or ``make faults``. On SQLite and on
PostgreSQL. Prints seed, counts and result of each part; exit code 1 and
a list when anything is wrong, and the files are then kept.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from st8.testing import faultrig, fullrig
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Outcome(Protocol):
    wrong: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.faults")
    parser.add_argument(
        "--rounds", type=int, default=20, help="each thing at each place"
    )
    parser.add_argument("--points", type=int, default=500, help="of a full disk")
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed

    def sqlite(folder: Path) -> _Outcome:
        return faultrig.run(
            folder,
            ["--state-dir", str(folder / "state")],
            lambda: SqliteStore(folder / "state"),
            names=faultrig.places("sqlite"),
            seed=seed,
            rounds=options.rounds,
        )

    def postgres(folder: Path) -> _Outcome:
        with closing(PostgresServer()) as server:
            url = server.url(server.new_schema())
            return faultrig.run(
                folder,
                ["--store", url],
                lambda: PostgresStore(url),
                names=faultrig.places("postgres"),
                seed=seed,
                rounds=options.rounds,
            )

    def written(folder: Path) -> _Outcome:
        return fullrig.run(folder, points=options.points, seed=seed)

    def mounted(folder: Path) -> _Outcome:
        return fullrig.run(folder, points=options.points, seed=seed, mounted=True)

    parts: dict[str, Callable[[Path], _Outcome]] = {
        "every place, SQLite": sqlite,
        "every place, PostgreSQL": postgres,
        "disk full, below SQLite": written,
        "disk full, a file system": mounted,
    }
    reason = fullrig.can_mount()
    if reason is not None:
        _print(f"not done: {parts.popitem()[0]}: {reason}")
    return max([_run(name, part) for name, part in parts.items()])


def _run(name: str, part: Callable[[Path], _Outcome]) -> int:
    """Run a part in a folder of its own; return the exit code."""
    _print(f"--- {name}")
    folder = Path(tempfile.mkdtemp(prefix="st8-faults-"))
    outcome = part(folder)
    _print(str(outcome))
    if outcome.wrong:
        _print(f"the files are kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
