"""A record that was changed behind the daemon's back is never shown as it is.

Every revision is named by its digest: by its branch, its checkpoint, its child, or a
later revision's skip. So whichever way it is asked for, a flipped byte is ``corrupt``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import Corrupt
from st8.core.ids import BranchName, Digest, Message, digest_of
from st8.core.revisions import decode, encode, make_revision
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.store.rows import seal
from st8.store.sqlite import SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    checkpoint,
    contents,
    diff,
    log_numbers,
    reset,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

HEAD = 12
WANTED = 5
"""What is asked for; eight revisions are between it and the head."""

WAYS: dict[str, Callable[[Engine], object]] = {
    "number": lambda e: contents(e, source=selector(WANTED)),
    "distance": lambda e: contents(e, source=selector(WANTED - HEAD)),
    "time": lambda e: contents(e, source=selector(at_ns=_time_of(WANTED))),
    "checkpoint": lambda e: contents(e, source=selector(checkpoint="good")),
    "head of a branch": lambda e: contents(e, DEV),
    "log": log_numbers,
    "log from it on": lambda e: e.log(SCOPE, limit=1, start=selector(WANTED)),
    "log after": lambda e: e.log(SCOPE, limit=1, after=WANTED + 1),
    "diff": lambda e: diff(e, selector(WANTED)),
    "rollback": lambda e: reset(e, selector(WANTED)),
    "restore": lambda e: reset(e, selector(branch="dev"), kind="restore"),
    "new branch": lambda e: branch(e, "new", selector(WANTED)),
    "new checkpoint": lambda e: checkpoint(e, "new", selector(WANTED - HEAD)),
    "apply": lambda e: apply(e, {"k": "new"}, at=DEV),
}


def _time_of(number: int) -> int:
    """Return when a revision was made."""
    return number * 10 * SECOND_NS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state directory with a history; ``WANTED`` has a checkpoint and a branch."""
    clock = FakeClock()
    with closing(Engine(SqliteStore(tmp_path), clock)) as engine:
        for number in range(1, HEAD + 1):
            clock.set(_time_of(number))
            applied(engine, f"{number}")
        checkpoint(engine, "good", selector(WANTED))
        branch(engine, "dev", selector(WANTED))
    return tmp_path


@contextmanager
def _opened(folder: Path) -> Generator[Engine]:
    """An engine that has read nothing yet."""
    with closing(Engine(SqliteStore(folder), FakeClock(_time_of(100)))) as engine:
        yield engine


def _record(folder: Path, number: int) -> bytes:
    """Return the row of a revision."""
    with closing(sqlite3.connect(folder / "st8.db")) as db:
        ((data,),) = db.execute("SELECT data FROM revisions WHERE number = ?", [number])
    assert isinstance(data, bytes)
    return data


def _overwrite(folder: Path, number: int, data: bytes, *, sealed: bool = True) -> None:
    """Put another record into the row of a revision, by default with its seal.

    A row has a seal against accidents, and whoever knows of it can make one; so
    without a false seal only the chain of digests can tell.
    """
    new = seal(SCOPE.namespace, number, data)
    with closing(sqlite3.connect(folder / "st8.db")) as db:
        db.execute(
            "UPDATE revisions SET data = ?, seal = iif(?, ?, seal) WHERE number = ?",
            [data, sealed, new, number],
        )
        db.commit()


@pytest.mark.parametrize("way", WAYS)
def test_the_history_can_be_read(folder: Path, way: str) -> None:
    """As long as nothing is changed, every way of asking has an answer."""
    with _opened(folder) as engine:
        WAYS[way](engine)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_changed_message_is_corrupt(folder: Path, way: str, *, sealed: bool) -> None:
    """With one letter of its message changed, a revision is found in no way."""
    data = _record(folder, WANTED)
    changed = data[:-1] + bytes([data[-1] ^ 1])
    _overwrite(folder, WANTED, changed, sealed=sealed)

    with _opened(folder) as engine, pytest.raises(Corrupt):
        WAYS[way](engine)


@pytest.mark.parametrize("way", ["number", "distance", "time"])
def test_any_flipped_bit_is_corrupt(folder: Path, way: str) -> None:
    """Whichever byte of the record has a flipped bit, the revision is not shown."""
    data = _record(folder, WANTED)
    shown: list[int] = []
    for at, byte in enumerate(data):
        flipped = bytes([byte ^ (1 << at % 8)])
        _overwrite(folder, WANTED, data[:at] + flipped + data[at + 1 :])
        with _opened(folder) as engine:
            try:
                WAYS[way](engine)
            except Corrupt:
                continue
            shown.append(at)

    assert [] == shown


@pytest.mark.parametrize("way", ["number", "distance", "time"])
@pytest.mark.parametrize("number", [WANTED + 1, WANTED - 1, 1])
def test_a_false_record_on_the_way_leads_nowhere(
    folder: Path, way: str, number: int
) -> None:
    """A forged record between or beyond never makes another revision be found.

    Either the walk does not need it, and finds the right one, or it is corrupt.
    """
    forged = decode(_record(folder, number))._replace(
        message=Message("forged"), root=Digest(b"\x00" * 32)
    )
    _overwrite(folder, number, encode(forged))

    with _opened(folder) as engine:
        try:
            WAYS[way](engine)
        except Corrupt:
            return
        assert {"k": f"{WANTED}"} == contents(engine, source=selector(WANTED))


def test_a_whole_record_of_another_history_is_corrupt(folder: Path) -> None:
    """A record that is whole in itself, but was never made, is not taken."""
    real = decode(_record(folder, WANTED))
    parent = decode(_record(folder, WANTED - 1))
    _, forged = make_revision(
        real.number,
        real.scope,
        parent,
        None,
        root=parent.root,
        kind="apply",
        message=Message("never made"),
        author=real.author,
        time_ns=real.time_ns,
    )
    _overwrite(folder, WANTED, forged)

    for way in ("number", "distance", "time", "checkpoint", "head of a branch"):
        with _opened(folder) as engine, pytest.raises(Corrupt):
            WAYS[way](engine)


def test_a_history_that_is_shorter_than_it_says_is_corrupt() -> None:
    """What a forged depth puts before the first revision is not found, nor another."""
    store = MemoryStore()
    engine = Engine(store, FakeClock())
    applied(engine, "1")
    engine._committer.close()
    records = store._revisions[SCOPE.namespace]
    (number,) = records
    data = records[number] = encode(decode(records[number])._replace(depth=5))
    head = store._branches[SCOPE]
    store._branches[SCOPE] = head._replace(head_digest=digest_of(data))
    cold = Engine(store, FakeClock())
    for distance in (-1, -4):
        with pytest.raises(Corrupt, match=f"has a gap at depth {5 + distance}"):
            contents(cold, source=selector(distance))
    cold._committer.close()


def test_a_refused_write_leaves_the_branch(folder: Path) -> None:
    """A write that meets a false record moves no branch and takes no number."""
    data = _record(folder, WANTED)
    _overwrite(folder, WANTED, data[:-1] + bytes([data[-1] ^ 1]))
    with _opened(folder) as engine:
        for way in ("rollback", "restore", "new branch", "new checkpoint", "apply"):
            with pytest.raises(Corrupt):
                WAYS[way](engine)
    _overwrite(folder, WANTED, data)

    with _opened(folder) as engine:
        assert HEAD == engine.state(SCOPE).number
        assert WANTED == engine.state(DEV).number
        assert [] == [
            b.name
            for b in engine.branches(SCOPE.namespace, limit=10).items
            if b.name == BranchName("new")
        ]
        assert HEAD + 1 == apply(engine, {"k": "next"}).number
