"""Backs up a real configuration history, and many documents, and restores them.

From a daemon into a file, and from it into a daemon on an empty SQLite and into one on
an empty PostgreSQL of its own. Then all stores are compared revision by revision, by
their digests and those of their roots::

    python bench/backup.py [HISTORY] [--limit N] [--documents N] [--folder DIRECTORY]

HISTORY is as ``bench/replay.py`` takes it; without it only documents are measured, in
revisions of 10,000. Beside the backup stands SQLite's own of the same store.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.documents import documents
from bench.measure import (
    Report,
    disk_bytes,
    memory_most_bytes,
    say,
    show_bytes,
    show_s,
    timed_s,
)
from bench.replay import read_history
from st8.client import Client
from st8.clock import SystemClock
from st8.core.backup import Summary
from st8.core.documents import Document
from st8.core.ids import Author, Key, Message, Namespace, RevisionNumber, Scope
from st8.core.revisions import decode
from st8.engine import pages
from st8.engine.engine import Engine
from st8.engine.requests import Apply
from st8.store.open import open_store
from st8.testing.child import ChildDaemon
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from st8.core.ports import Store

_SCOPE = Scope(Namespace("replay/history"))
_DOCUMENTS = 100_000
_AT_ONCE = 10_000
_PIECE_BYTES = 1024 * 1024


class Moved(NamedTuple):
    """A store that was backed up and restored.

    Attributes:
        revisions: How many it has.
        objects: How many came.
        size: Bytes of the file.
        store_bytes: Bytes of the state directory.
        seconds: Of SQLite's own backup, the backup, and the two restores.
        memory: What the three daemons held at most.
    """

    revisions: int
    objects: int
    size: int
    store_bytes: int
    seconds: tuple[float, float, float, float]
    memory: tuple[int, int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Back up and restore.")
    parser.add_argument("history", type=Path, nargs="?", help="gzipped JSON lines")
    parser.add_argument("--limit", type=int, help="only so many commits")
    parser.add_argument(
        "--documents", type=int, default=_DOCUMENTS, help="how many; 0 for none"
    )
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    options = parser.parse_args(arguments)
    report = Report("Backup and restore")
    moved: dict[str, Moved] = {}
    with closing(PostgresServer()) as server:
        sources: dict[str, Iterable[Apply]] = {}
        if options.history is not None:
            sources["a real history"] = _history(options.history, options.limit)
        if options.documents:
            sources[f"{options.documents:,} documents"] = _many(options.documents)
        for name, applies in sources.items():
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                moved[name] = move(applies, Path(folder), server)
    _add_tables(moved, report)
    report.print()
    return 0


def _history(path: Path, limit: int | None) -> Iterator[Apply]:
    for line in read_history(path, limit):
        yield Apply(
            _SCOPE,
            tuple(Document(Key(key), text) for key, text in line.puts.items()),
            tuple(map(Key, line.deletes)),
            Message(line.message),
            Author(line.author),
        )


def _many(count: int) -> Iterator[Apply]:
    every = (Document(Key(key), text) for key, text in documents(count))
    while some := tuple(islice(every, _AT_ONCE)):
        yield Apply(_SCOPE, some)


def move(applies: Iterable[Apply], folder: Path, server: PostgresServer) -> Moved:
    """Fill a store, back it up, restore it twice, and compare.

    Raises:
        AssertionError: Something is another one afterwards.
    """
    say("filling a store")
    source, file = folder / "source", folder / "file.backup"
    with (
        closing(open_store(f"sqlite:{source}")) as store,
        closing(Engine(store, SystemClock())) as engine,
    ):
        for apply in applies:
            engine.apply(apply)
    url = server.url(server.new_schema())
    own_s = timed_s(partial(_own_backup, source / "st8.db", folder / "own.db"))
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(ChildDaemon(source)),
            stack.enter_context(ChildDaemon(folder / "sqlite")),
            stack.enter_context(ChildDaemon(None, "--store", url)),
        ]
        clients = [stack.enter_context(Client(daemon.url)) for daemon in daemons]
        say("backing up")
        summary = Summary()
        backup_s = timed_s(partial(_write, clients[0].backup(), file, summary))
        say("restoring")
        restore_s = [
            timed_s(partial(client.restore_backup, _pieces(file)))
            for client in clients[1:]
        ]
        memory = [memory_most_bytes(daemon.process.pid) for daemon in daemons]
    say("comparing")
    revisions = _compare(f"sqlite:{source}", f"sqlite:{folder / 'sqlite'}", url)
    counts = summary.counts
    assert counts is not None
    return Moved(
        revisions,
        counts.objects,
        summary.size,
        disk_bytes(source),
        (own_s, backup_s, restore_s[0], restore_s[1]),
        (memory[0], memory[1], memory[2]),
    )


def _own_backup(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as store,
        closing(sqlite3.connect(target)) as copy,
    ):
        store.backup(copy)


def _write(pieces: Iterator[bytes], path: Path, summary: Summary) -> None:
    with path.open("wb") as file:
        for piece in pieces:
            summary.feed(piece)
            file.write(piece)
        summary.finish()
        file.flush()
        os.fsync(file.fileno())


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _compare(first: str, *others: str) -> int:
    """Compare stores revision by revision; return how many there are."""
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(open_store(s))) for s in (first, *others)]
        infos, *rest = [list(pages.namespaces(store)) for store in stores]
        assert rest == [infos] * len(others)
        count = 0
        for name, _ in infos:
            numbers, *more = [list(pages.numbers(store, name)) for store in stores]
            assert more == [numbers] * len(others)
            for start in range(0, len(numbers), 1_000):
                some = numbers[start : start + 1_000]
                found, *same = [_digests(store, name, some) for store in stores]
                assert same == [found] * len(others)
                count += len(found)
    return count


def _digests(
    store: Store, name: Namespace, numbers: Sequence[RevisionNumber]
) -> list[tuple[bytes, bytes]]:
    """Return digest and root of revisions."""
    found = store.revisions(name, numbers)
    revisions = [decode(found[number]) for number in numbers]
    return [(revision.digest, revision.root) for revision in revisions]


def _add_tables(moved: dict[str, Moved], report: Report) -> None:
    each = list(moved.values())
    report.add_table(
        "From a daemon and into a daemon, over HTTP; all revisions equal afterwards",
        ("", *moved),
        [
            ("revisions", *(f"{one.revisions:,}" for one in each)),
            ("objects in the backup", *(f"{one.objects:,}" for one in each)),
            ("size of the store", *(show_bytes(one.store_bytes) for one in each)),
            ("size of the backup", *(show_bytes(one.size) for one in each)),
            ("SQLite's own backup", *(show_s(one.seconds[0]) for one in each)),
            ("backup", *(show_s(one.seconds[1]) for one in each)),
            ("restore into SQLite", *(show_s(one.seconds[2]) for one in each)),
            ("restore into PostgreSQL", *(show_s(one.seconds[3]) for one in each)),
            (
                "memory of the daemon that backs up",
                *(show_bytes(one.memory[0]) for one in each),
            ),
            (
                "… that restores, on SQLite",
                *(show_bytes(one.memory[1]) for one in each),
            ),
            (
                "… that restores, on PostgreSQL",
                *(show_bytes(one.memory[2]) for one in each),
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
