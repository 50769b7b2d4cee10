"""Rows that are damaged in ways that no digest and no list would show."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import Corrupt
from st8.core.ports import DamagedRow
from st8.engine import pages
from st8.store.codec import unpack
from st8.store.rows import asked_for
from st8.store.sqlite import SqliteStore
from st8.testing.batches import A, B, N, content_of, objects_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store with two namespaces and a few revisions."""
    with closing(SqliteStore(tmp_path)) as store:
        for _ in range(3):
            write(store, A)
            write(store, B)
        yield store


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE revisions SET number = 0 WHERE number = 2", "a name or number that"),
        ("UPDATE revisions SET number = 'x' WHERE number = 2", "a name or number that"),
        (
            "UPDATE branches SET name = x'00' WHERE namespace = 1",
            "a name or number that",
        ),
        (
            "UPDATE branches SET namespace = 77 WHERE namespace = 1",
            "branches are of a na",
        ),
        (
            "DELETE FROM namespaces WHERE id = 1",
            "3 row(s) of revisions are of a namesp",
        ),
        ("DELETE FROM collection", "the table collection has 0 rows"),
        (
            "DROP INDEX answers_by_expiry",
            "the definition of 'answers_by_expiry' in the",
        ),
        ("PRAGMA user_version = 0", "the file's format is 0, which there is not"),
        ("PRAGMA application_id = 1", "the file's application_id is 1 and has to be"),
    ],
)
def test_what_no_list_shows_is_named(
    store: SqliteStore, sql: str, problem: str
) -> None:
    """Rows that every list would pass over, and a file that is another, are found."""
    assert [] == list(store.check_itself().problems)
    store._writer.execute(sql)
    found = store.check_itself().problems

    assert any(problem in said for said in found), found


def test_a_namespace_that_seems_to_have_no_revision_is_damaged(
    store: SqliteStore,
) -> None:
    """A newest number of 0 is believed only with its seal; it hides no namespace."""
    store._writer.execute("UPDATE namespaces SET last_revision = 0 WHERE id = 1")

    with pytest.raises(DamagedRow) as caught:
        store.namespaces("", "", 10)
    assert len(caught.value.names) == 1


def test_a_number_that_is_none_is_corrupt(store: SqliteStore) -> None:
    """A revision whose number is a text is corrupt, and no error of Python's."""
    store._writer.execute("UPDATE revisions SET number = 'x' WHERE number = 2")

    with pytest.raises(Corrupt, match="has no number"):
        store.numbers(A, N(0), 10)


def test_an_object_that_is_no_bytes_is_corrupt(store: SqliteStore) -> None:
    """Whatever SQLite keeps in the place of an object, it is corrupt."""
    for value in (7, 1.5, "text", None):
        with pytest.raises(Corrupt):
            unpack(value)  # type: ignore[arg-type]
    store._writer.execute("UPDATE objects SET data = 7")
    with pytest.raises(Corrupt):
        store.objects(list(objects_of(content_of(A, 1))))
    assert {None} == {held.data for held in store.held_objects(0, 10, 1 << 20)}


def test_a_table_that_is_another_is_corrupt(store: SqliteStore) -> None:
    """A column that is called otherwise is damage, and not a store that is away."""
    store._writer.execute("ALTER TABLE branches RENAME COLUMN seal TO seam")

    with pytest.raises(Corrupt, match="no such column"):
        store.branches(A, "", "", 10)


def test_a_list_that_goes_back_comes_to_an_end(store: SqliteStore) -> None:
    """A list whose order is damaged is corrupt; it is not read for ever."""
    lists = pages._all(lambda _: [3, 1], lambda item: item, 2)

    with pytest.raises(Corrupt, match="does not ascend"):
        list(lists)
    assert [1, 2, 3] == list(pages.numbers(store, A))


def test_a_row_of_another_name_is_damaged() -> None:
    """Where a damaged index leads to a row of another name, that is no answer."""
    assert ("main", 7) == asked_for(("main", 7), "main", A)
    for row in (("dev", 7), (b"main", 7), (None, 7)):
        with pytest.raises(DamagedRow):
            asked_for(row, "main", A)
