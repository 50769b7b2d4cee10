"""What a verification costs by the number of objects, offline and by a daemon.

Stores with 100,000 and with 1,000,000 documents, each with a content of its own, and
some one-document revisions on top. Beside it SQLite's own check of the same file,
which knows nothing of digests::

    python bench/verify.py [--quick] [--folder DIRECTORY] [--postgres]

With ``--postgres`` the stores are in a PostgreSQL that is started for it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import (
    Report,
    disk_bytes,
    memory_most_bytes,
    say,
    show_bytes,
    show_s,
)
from bench.site import Site
from st8.store.sqlite import FILE_NAME
from st8.testing.child import ChildDaemon

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUICK: Final = (10_000,)
_USUAL: Final = (100_000, 1_000_000)
_REVISIONS: Final = 2_000
_BIN: Final = Path(sys.executable).parent


class Cost(NamedTuple):
    """What a verification took.

    Attributes:
        seconds: From start to end of the program that asks for it.
        memory: What the program that does it held at most, in bytes.
        objects: How many it looked at.
    """

    seconds: float
    memory: int
    objects: int


class Costs(NamedTuple):
    """Of one store; ``own_s`` is None where it has no check of its own to compare."""

    size: int
    own_s: float | None
    offline: Cost
    offline_full: Cost
    online: Cost
    online_full: Cost


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure verifications.")
    parser.add_argument("--quick", action="store_true", help="a small store")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    parser.add_argument("--postgres", action="store_true", help="in PostgreSQL")
    options = parser.parse_args(arguments)
    sizes = _QUICK if options.quick else _USUAL
    found: dict[str, Costs] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
        )
        places: list[Path | str] = [folder / str(size) for size in sizes]
        if options.postgres:
            from tests.postgres.server import (  # noqa: PLC0415 - only when asked for
                PostgresServer,
            )

            server = stack.enter_context(contextlib.closing(PostgresServer()))
            places = [server.url(server.new_schema()) for _ in sizes]
        for at, size in zip(places, sizes, strict=True):
            found[f"{size:,} documents"] = measure(at, size)
    report = Report("Verification")
    _add_tables(found, report)
    report.print()
    return 0


def measure(at: Path | str, size: int) -> Costs:
    """Make a store and verify it in each way."""
    say(f"making {size:,} documents and {_REVISIONS:,} revisions")
    site = Site(at, size)
    site.commit_many(_REVISIONS)
    site.close()
    flags = ["--state-dir", str(at)] if isinstance(at, Path) else ["--store", at]
    offline = [str(_BIN / "st8d"), "verify", *flags, "--output", "json"]
    say("verifying offline")
    costs = [_run(offline), _run([*offline, "--full"])]
    say("verifying by a daemon")
    with ChildDaemon(
        at if isinstance(at, Path) else None,
        *([] if isinstance(at, Path) else flags),
    ) as daemon:
        online = [
            str(_BIN / "st8ctl"),
            "--server",
            daemon.url,
            "verify",
            "--output",
            "json",
        ]
        for more in ([], ["--full"]):
            cost = _run([*online, *more])
            costs.append(cost._replace(memory=memory_most_bytes(daemon.process.pid)))
    size_bytes = disk_bytes(at) if isinstance(at, Path) else 0
    return Costs(size_bytes, _own_check_s(at), *costs)


def _run(command: Sequence[str]) -> Cost:
    """Run a verification, which must find nothing."""
    begun_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = child.stdout.read().splitlines()[-1]
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    took_s = time.perf_counter() - begun_s
    summary = json.loads(last)
    assert (child.returncode, summary["findings"]) == (0, 0), last
    objects = summary["objects"] + summary["unneeded"]
    return Cost(took_s, usage.ru_maxrss * 1024, objects)


def _own_check_s(at: Path | str) -> float | None:
    if isinstance(at, str):
        return None
    connection = apsw.Connection(str(at / FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY)
    begun_s = time.perf_counter()
    rows = connection.execute("PRAGMA integrity_check").fetchall()
    took_s = time.perf_counter() - begun_s
    connection.close()
    assert rows == [("ok",)], rows
    return took_s


def _add_tables(found: dict[str, Costs], report: Report) -> None:
    each = list(found.values())
    names = ("offline", "offline_full", "online", "online_full")
    labels = (
        "st8d verify",
        "st8d verify --full",
        "st8ctl verify",
        "st8ctl verify --full",
    )
    rows: list[tuple[str, ...]] = [
        ("objects", *(f"{one.offline_full.objects:,}" for one in each))
    ]
    if each[0].own_s is not None:
        rows += [
            ("size of the store", *(show_bytes(one.size) for one in each)),
            ("SQLite's own check", *(show_s(one.own_s or 0) for one in each)),
        ]
    for name, label in zip(names, labels, strict=True):
        costs: list[Cost] = [getattr(one, name) for one in each]
        rows += [
            (label, *(show_s(cost.seconds) for cost in costs)),
            ("… memory", *(show_bytes(cost.memory) for cost in costs)),
        ]
    report.add_table("From the first to the last byte", ("", *found), rows)


if __name__ == "__main__":
    sys.exit(main())
