"""What a SQLite file does not use is overwritten, and nothing else is."""

from __future__ import annotations

from contextlib import closing
from random import Random
from struct import pack
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from st8.store.schema import PAGE_BYTES
from st8.store.sqlite_erase import erase

if TYPE_CHECKING:
    from pathlib import Path

_ROWS = 150
_FLAGS = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]


def _blob(chance: Random) -> bytes:
    """Return a content: mostly small, some of several overflow pages."""
    size = chance.choice([20, 300, 300, 3_000, chance.randrange(17, 50_000)])
    return chance.randbytes(size)


def _worked_on(path: Path, chance: Random) -> tuple[Any, dict[int, bytes], list[bytes]]:
    """Return a file after a life of writes, its rows, and what was deleted."""
    db: Any = apsw.Connection(str(path))
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE objects (id INTEGER PRIMARY KEY, data BLOB)")
    db.execute("CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID")
    rows: dict[int, bytes] = {}
    gone: list[bytes] = []
    for _ in range(30):
        with db:
            for _ in range(chance.randrange(40)):
                number = chance.randrange(_ROWS)
                if number in rows:
                    gone.append(rows.pop(number))
                if chance.random() < 0.7:
                    rows[number] = _blob(chance)
                    row = (number, rows[number])
                    db.execute("REPLACE INTO objects VALUES (?, ?)", row)
                else:
                    db.execute("DELETE FROM objects WHERE id = ?", (number,))
                name = chance.randbytes(chance.choice([4, 40, 5_000])).hex()
                db.execute("INSERT INTO names VALUES (?)", (name,))
                if chance.random() < 0.5:
                    gone.append(name.encode())
                    db.execute("DELETE FROM names WHERE name = ?", (name,))
        if chance.random() < 0.2:
            db.execute("PRAGMA incremental_vacuum(3)").fetchall()
    return db, rows, gone


@pytest.mark.parametrize("seed", range(2))
def test_what_was_deleted_is_nowhere(seed: int, tmp_path: Path) -> None:
    """Nothing of it is in the file, all else is there, and SQLite finds no fault."""
    chance = Random(seed)
    path = tmp_path / "file.db"
    db, rows, gone = _worked_on(path, chance)
    with closing(db):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert any(one[8:24] in path.read_bytes() for one in gone)

        file = apsw.VFSFile("", str(path), _FLAGS)
        position = 1
        while position:
            position = erase(file, position, 7)
        file.xClose()

        data = path.read_bytes()
        db.execute("PRAGMA shrink_memory")
        found = dict(db.execute("SELECT id, data FROM objects").fetchall())
        checked = db.execute("PRAGMA integrity_check").fetchall()
    places = [(one, part * (len(one) - 16) // 2) for one in gone for part in range(3)]
    pieces = {one[at : at + 16] for one, at in places if at >= 0 and len(one) > 16}
    assert not any(piece in data for piece in pieces)
    assert rows == found
    assert [("ok",)] == checked


def test_a_page_that_does_not_add_up_is_left_alone(tmp_path: Path) -> None:
    """Whatever bit of a file is wrong, nothing that could be read is lost."""
    chance = Random(1)
    path = tmp_path / "file.db"
    db, _, _ = _worked_on(path, chance)
    with closing(db):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    whole = path.read_bytes()
    for _ in range(50):
        wrong = bytearray(whole)
        # Most of what could mislead is where pages begin.
        page = chance.randrange(1, len(whole) // PAGE_BYTES) * PAGE_BYTES
        wrong[page + chance.choice([0, 1, 2, 3, 4, 5, 6, 7])] ^= 1 << chance.randrange(
            8
        )
        wrong[page + chance.randrange(PAGE_BYTES)] ^= 1 << chance.randrange(8)
        path.write_bytes(wrong)
        before = _readable(path)

        file = apsw.VFSFile("", str(path), _FLAGS)
        position = 1
        while position:
            position = erase(file, position, 50)
        file.xClose()

        assert before == _readable(path)


class _Pages(bytearray):
    """A file in memory: its header, a page of the map, and one page of a tree."""

    def __init__(self, page: bytes) -> None:
        header = bytes(28) + pack(">IIII", 3, 0, 0, 0)
        kinds = pack(">BI", 1, 0)
        for one in (header, kinds, page):
            self += one.ljust(PAGE_BYTES, b"\0")

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Return bytes of it."""
        return bytes(self[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write bytes to it."""
        self[offset : offset + len(data)] = data


def _leaf(cells: list[int], block: int, free: tuple[int, int]) -> bytes:
    """Return a page with two cells of 40 bytes at its end, between them a free block."""
    begin, middle, last = PAGE_BYTES - 100, PAGE_BYTES - 60, PAGE_BYTES - 40
    page = bytearray(b"garbage!" * (PAGE_BYTES // 8))
    page[:8] = pack(">BHHHB", 13, block, 2, begin, 0)
    page[8:12] = pack(">HH", *(begin + at for at in cells))
    for at in (begin, last):
        page[at : at + 40] = bytes((38, at % 100)) + b"x" * 38
    page[middle : middle + 4] = pack(">HH", *free)
    return bytes(page)


@pytest.mark.parametrize(
    ("cells", "block", "free", "left"),
    [
        ([0, 60], 40, (0, 20), False),
        ([0, 0], 40, (0, 20), True),
        ([0, 60], 40, (PAGE_BYTES - 60, 0), True),
        ([0, 60], 20, (0, 20), True),
        ([0, 60], 40, (0, 21), True),
    ],
    ids=["whole", "one cell twice", "a block in a circle", "in a cell", "too long"],
)
def test_what_overlaps_is_left_alone(
    cells: list[int], block: int, free: tuple[int, int], *, left: bool
) -> None:
    """What no cell is said to be may be one whose pointer is wrong."""
    file = _Pages(_leaf(cells, PAGE_BYTES - 100 + block, free))
    before = bytes(file)

    assert 0 == erase(file, 1, 10)

    after = bytes(file)
    assert left == (before == after)
    assert left == (b"garbage!" in after)
    assert before[-100:-60] == after[-100:-60]
    assert before[-40:] == after[-40:]


def _readable(path: Path) -> list[Any]:
    """Return what can be read of every row."""
    found: list[Any] = []
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        some: Any = db
        for number in range(_ROWS):
            try:
                rows = some.execute("SELECT data FROM objects WHERE id = ?", (number,))
                found.append(rows.fetchall())
            except (apsw.Error, UnicodeDecodeError) as error:
                found.append(type(error))
    return found
