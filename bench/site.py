"""A store with some documents and some history, and the operations to measure on it.

In-process, on the SQLite store with its fsync or on one in PostgreSQL, without HTTP.
Each method does one operation the way the HTTP API would, as far as the engine is
concerned.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import apsw

from bench.documents import document, key
from st8.clock import SystemClock
from st8.core.errors import St8Error
from st8.core.ids import BranchName, CheckpointName, Key, Scope
from st8.core.limits import APPLY_DOCUMENTS
from st8.engine import Engine
from st8.engine.requests import (
    HEAD,
    Apply,
    CreateBranch,
    PutCheckpoint,
    Reset,
    Selector,
    Side,
)
from st8.store.codec import pack
from st8.store.open import open_store
from st8.store.sqlite import FILE_NAME

if TYPE_CHECKING:
    from st8.engine.results import Diff
    from st8.engine.writes import Written

__all__ = ["Site"]

MAIN = Scope.parse()


class Site:
    """A store with ``size`` documents in one branch.

    Attributes:
        url: The store.
        size: Documents in it.
        engine: The engine over it, with its cache as the daemon has it.
        packed_bytes: What the contents applied by :meth:`commit_many` take packed.
    """

    def __init__(self, at: Path | str, size: int, seed: int = 1) -> None:
        """Make the store and load the documents, 10,000 to a revision.

        ``at`` is a state directory, or the URL of a store.
        """
        self.url = at if isinstance(at, str) else f"sqlite:{at}"
        self.size = size
        self.packed_bytes = 0
        self.chance = Random(seed)
        self._version = 0
        self._names = 0
        self._nested = MAIN
        self._settled = False
        self._store = open_store(self.url)
        self.engine = Engine(self._store, SystemClock())
        for start in range(0, size, APPLY_DOCUMENTS.maximum):
            numbers = range(start, min(size, start + APPLY_DOCUMENTS.maximum))
            self.engine.apply(Apply(MAIN, tuple(document(n) for n in numbers)))

    def cold(self) -> Engine:
        """Return an engine on the same store that keeps nothing; for reads."""
        return Engine(self._store, SystemClock(), cache_bytes=0)

    @property
    def kind(self) -> str:
        """What stands before a row of its store: nothing for the embedded one."""
        return "" if self.url.startswith("sqlite:") else "PostgreSQL, "

    @property
    def label(self) -> str:
        """What stands above its column."""
        return f"{self.kind}{self.size:,}"

    @property
    def head(self) -> int:
        """The newest revision."""
        return self.engine.state(MAIN).number

    def close(self) -> None:
        """Close the store."""
        self.engine.close()

    def file_bytes(self) -> int:
        """Return the size of SQLite's file, with all of its WAL moved into it."""
        file = Path(self.url.removeprefix("sqlite:"), FILE_NAME)
        connection = apsw.Connection(str(file))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return file.stat().st_size

    # --- writes --------------------------------------------------------------

    def next_edit(self) -> Apply:
        """Return an apply of one random document with a new content."""
        self._version += 1
        return Apply(MAIN, (document(self.chance.randrange(self.size), self._version),))

    def commit_many(self, commits: int, waiting: int = 64) -> None:
        """Make many one-document revisions, ``waiting`` of them on their way."""
        room = threading.Semaphore(waiting)
        refused: list[St8Error] = []

        def done(answer: Written | St8Error) -> None:
            if isinstance(answer, St8Error):
                refused.append(answer)
            room.release()

        for _ in range(commits):
            edit = self.next_edit()
            self.packed_bytes += sum(
                len(pack(data)) for data in edit.overlay.contents.values()
            )
            room.acquire()
            self.engine.submit(edit, done)
        for _ in range(waiting):
            room.acquire()
        assert not refused, refused[0]

    def _submit(self, edit: Apply) -> Future[Written]:
        """Queue a write, whose answer is not waited for here."""
        future: Future[Written] = Future()

        def done(answer: Written | St8Error) -> None:
            if isinstance(answer, St8Error):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.engine.submit(edit, done)
        return future

    def settle(self) -> None:
        """Make sure that the newest 120 revisions change one document each."""
        if not self._settled:
            self.commit_many(120)
            self._settled = True

    def apply_one(self) -> None:
        """Apply one changed document."""
        result = self.engine.apply(self.next_edit())
        assert not result.noop

    def apply_hundred(self) -> None:
        """Apply up to a hundred changed documents as one revision."""
        self._settled = False
        self._version += 1
        numbers = {self.chance.randrange(self.size) for _ in range(100)}
        self.engine.apply(
            Apply(MAIN, tuple(document(n, self._version) for n in numbers))
        )

    def apply_nothing(self) -> None:
        """Apply a document that is there already."""
        number = self.chance.randrange(self.size)
        found = self.engine.state(MAIN).get(Key(key(number)))
        assert found is not None
        result = self.engine.apply(
            Apply(MAIN, (document(number)._replace(content=found.decode()),))
        )
        assert result.noop

    def rollback(self, back: int) -> None:
        """Roll the branch back by some revisions; the changes are not read."""
        self._settled = False
        result = self.engine.reset(Reset(MAIN, Selector(revision=-back), "rollback"))
        assert not result.noop

    def list_changes(self, back: int) -> int:
        """Return how many changes the rollback would answer with, reading them."""
        result = self.engine.reset(
            Reset(MAIN, Selector(revision=-back), "rollback", dry_run=True)
        )
        return sum(1 for _ in result.changes.iter())

    def restore(self, branch: str) -> None:
        """Restore from another branch's head."""
        self._settled = False
        result = self.engine.reset(
            Reset(MAIN, Selector(branch=BranchName(branch)), "restore")
        )
        assert not result.noop

    def branch(self, back: int = 0) -> str:
        """Make a branch from an older revision; return its name."""
        self._names += 1
        name = f"branch-{self._names}"
        self.engine.create_branch(
            CreateBranch(MAIN, BranchName(name), Selector(revision=-back))
        )
        return name

    def checkpoint(self, back: int = 0) -> None:
        """Name an older revision."""
        self._names += 1
        self.engine.put_checkpoint(
            PutCheckpoint(
                MAIN,
                CheckpointName(f"checkpoint-{self._names}"),
                Selector(revision=-back),
            )
        )

    def nest_branches(self, depth: int) -> None:
        """Make branches one from the other, each with a revision of its own."""
        for number in range(depth):
            name = BranchName(f"nested-{number}")
            self.engine.create_branch(CreateBranch(self._nested, name))
            self._nested = Scope(MAIN.namespace, name)
            self._version += 1
            self.engine.apply(
                Apply(self._nested, (document(number % self.size, self._version),))
            )

    # --- reads ---------------------------------------------------------------

    def get(
        self, engine: Engine, selector: Selector = HEAD, scope: Scope = MAIN
    ) -> None:
        """Read one random document."""
        number = self.chance.randrange(self.size)
        found = engine.state(scope, selector).get(Key(key(number)))
        assert found is not None
        assert found.startswith(f"service: service-{number}\n".encode())

    def get_nested(self, engine: Engine) -> None:
        """Read one random document on the innermost of the nested branches."""
        self.get(engine, scope=self._nested)

    def read_all(self, engine: Engine, back: int) -> int:
        """Read all documents of an older state; return how many."""
        state = engine.state(MAIN, Selector(revision=-back))
        return sum(1 for _ in state.items())

    def diff(self, engine: Engine, apart: int) -> int:
        """Return how many documents differ from an older state, contents read."""
        return sum(1 for _ in self._diff(engine, apart).changes.iter())

    def is_same(self, engine: Engine, apart: int) -> bool:
        """Return whether an older state is the same."""
        found = self._diff(engine, apart)
        return found.from_root == found.to_root

    def _diff(self, engine: Engine, apart: int) -> Diff:
        return engine.diff(MAIN, Side(Selector(revision=-apart)), Side())

    def log(self, engine: Engine) -> int:
        """Read a page of 20 log entries with the keys they changed."""
        page = engine.log(MAIN, limit=20)
        for entry in page.entries:
            for _ in entry.changes.iter(contents=False):
                pass
        return len(page.entries)
