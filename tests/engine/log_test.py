"""The log: pages, filters, and where it begins and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.core import limits
from st8.core.errors import (
    BranchNotFound,
    InvalidValue,
    LimitExceeded,
    RevisionNotFound,
)
from st8.core.ids import Author, Key
from st8.core.key_set import KeySet
from st8.core.limits import Limit
from st8.engine.history import LogFilter, LogPage
from st8.engine.requests import Selector
from st8.testing.clock import SECOND_NS
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    changes,
    log_numbers,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from st8.engine.engine import Engine
    from st8.testing.clock import FakeClock


def _numbers(page: LogPage) -> list[int]:
    return [entry.revision.number for entry in page.entries]


def test_a_log_is_newest_first(any_engine: Engine) -> None:
    """A log has the newest revision first, and as many as were asked for."""
    applied(any_engine, "1", "2", "3")

    assert [3, 2, 1] == _numbers(any_engine.log(SCOPE))
    assert [3, 2] == _numbers(any_engine.log(SCOPE, limit=2))


def test_an_entry_tells_what_a_revision_did(any_engine: Engine) -> None:
    """Each entry has its revision's message, author, kind and changes."""
    apply(any_engine, {"a": "1"}, message="first", author="Ops")
    apply(any_engine, {"a": "2", "b": "3"})
    reset(any_engine, selector(1), author="Deploy")
    entries = any_engine.log(SCOPE).entries

    assert [
        (3, "rollback", "rollback", "Deploy", 2),
        (2, "apply", "apply", "", 1),
        (1, "apply", "first", "Ops", 0),
    ] == [
        (r.number, r.kind, r.message, r.author, r.parent_number)
        for r in (entry.revision for entry in entries)
    ]
    assert [
        [("a", "update", "2", "1"), ("b", "delete", "3", None)],
        [("a", "update", "1", "2"), ("b", "create", None, "3")],
        [("a", "create", None, "1")],
    ] == [changes(entry.changes) for entry in entries]


def test_nothing_applied_has_an_empty_log(any_engine: Engine) -> None:
    """A branch that is not there has a log without entries."""
    assert ([], None, None) == any_engine.log(SCOPE)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_make_up_the_log(any_engine: Engine, limit: int) -> None:
    """Reading on after each page's cursor gives each entry once, then ends."""
    applied(any_engine, *map(str, range(7)))
    found: list[int] = []
    after: int | None = None
    pages = 0
    while True:
        page = any_engine.log(SCOPE, limit=limit, after=after)
        assert page.collected is None
        found += _numbers(page)
        pages += 1
        after = page.next
        if after is None:
            break

    assert [7, 6, 5, 4, 3, 2, 1] == found
    assert -(-7 // limit) == pages


def test_a_cursor_needs_no_entry_of_its_own(any_engine: Engine) -> None:
    """After a number means older than it, be it of another branch or none at all."""
    applied(any_engine, "1", "2")
    applied(any_engine, "x", at=DEV)
    applied(any_engine, "4")

    assert [2, 1] == _numbers(any_engine.log(SCOPE, after=3))
    assert [4, 2, 1] == _numbers(any_engine.log(SCOPE, after=99))
    assert [] == _numbers(any_engine.log(SCOPE, after=1))
    assert [] == _numbers(any_engine.log(SCOPE, after=0))


def test_a_log_goes_on_into_the_branch_it_came_from(any_engine: Engine) -> None:
    """A branch's log has its own revisions, then those of its source."""
    applied(any_engine, "1", "2")
    branch(any_engine, "dev")
    applied(any_engine, "3")
    applied(any_engine, "4", at=DEV)

    assert [4, 2, 1] == log_numbers(any_engine, DEV)
    assert [3, 2, 1] == log_numbers(any_engine)


def test_a_log_may_start_anywhere(any_engine: Engine) -> None:
    """A log starts at any revision that can be named."""
    applied(any_engine, "1", "2", "3")

    assert [2, 1] == _numbers(any_engine.log(SCOPE, start=selector(2)))
    assert [2, 1] == _numbers(any_engine.log(SCOPE, start=selector(-1)))
    assert [1] == _numbers(any_engine.log(SCOPE, start=selector(2), after=2))
    with pytest.raises(RevisionNotFound):
        any_engine.log(SCOPE, start=selector(9))
    with pytest.raises(BranchNotFound):
        any_engine.log(scope("empty"), start=selector(1))


def test_a_log_can_be_of_one_key(any_engine: Engine) -> None:
    """With a key, only revisions that changed that document are shown."""
    applied(any_engine, "1", "2", name="a")
    applied(any_engine, "1", name="ab")
    applied(any_engine, "3", name="a")
    apply(any_engine, {}, ["a"])

    assert [5, 4, 2, 1] == _numbers(
        any_engine.log(SCOPE, wanted=LogFilter(key=Key("a")))
    )
    assert [] == _numbers(any_engine.log(SCOPE, wanted=LogFilter(key=Key("x"))))


def test_a_log_of_what_may_not_be_seen_is_empty(any_engine: Engine) -> None:
    """A key that may not be seen has not changed, and no revision shows its changes."""
    apply(any_engine, {"open": "1", "secret": "1"})
    apply(any_engine, {"secret": "2"})
    apply(any_engine, {"open": "3", "secret": "3"})
    start = Selector(sight=lambda _: KeySet.under("open"))

    def log(wanted: LogFilter) -> list[int]:
        return _numbers(any_engine.log(SCOPE, start=start, wanted=wanted))

    assert [3, 1] == log(LogFilter()) == log(LogFilter(key=Key("open")))
    assert [] == log(LogFilter(key=Key("secret"))) == log(LogFilter(prefix="s"))


def test_a_log_can_be_of_a_prefix(any_engine: Engine) -> None:
    """With a prefix, only revisions that changed a document below it are shown."""
    applied(any_engine, "1", name="a/x")
    applied(any_engine, "1", name="b/x")
    applied(any_engine, "1", name="a/y")

    assert [3, 1] == _numbers(any_engine.log(SCOPE, wanted=LogFilter(prefix="a/")))
    assert [3, 2, 1] == _numbers(any_engine.log(SCOPE, wanted=LogFilter(prefix="")))
    assert [] == _numbers(any_engine.log(SCOPE, wanted=LogFilter(prefix="c")))


def test_a_log_can_be_of_one_author(any_engine: Engine) -> None:
    """With an author, only the revisions of exactly that author are shown."""
    for number, author in enumerate(["Ops", "Deploy", "", "Ops"]):
        apply(any_engine, {"k": f"{number}"}, author=author)

    def by(author: str) -> list[int]:
        wanted = LogFilter(author=Author(author))
        return _numbers(any_engine.log(SCOPE, wanted=wanted))

    assert ([4, 1], [3], []) == (by("Ops"), by(""), by("ops"))


def test_a_log_can_be_of_a_time(any_engine: Engine, clock: FakeClock) -> None:
    """Since and until include their own moment."""
    for number in range(1, 6):
        clock.set(number * 10 * SECOND_NS)
        applied(any_engine, f"{number}")

    def between(since: int | None, until: int | None) -> list[int]:
        wanted = LogFilter(
            since_ns=None if since is None else since * SECOND_NS,
            until_ns=None if until is None else until * SECOND_NS,
        )
        return _numbers(any_engine.log(SCOPE, wanted=wanted))

    assert [4, 3, 2] == between(20, 40)
    assert [5, 4] == between(31, None)
    assert [2, 1] == between(None, 29)
    assert [] == between(51, None) == between(None, 9) == between(40, 20)


def test_filters_are_joined(any_engine: Engine) -> None:
    """Of several filters all must let an entry through, page by page."""
    for number in range(20):
        author = "Ops" if number % 2 else "Deploy"
        apply(any_engine, {f"f{number % 3}": f"{number}"}, author=author)
    wanted = LogFilter(key=Key("f0"), author=Author("Ops"))
    first = any_engine.log(SCOPE, limit=2, wanted=wanted)
    second = any_engine.log(SCOPE, limit=2, after=first.next, wanted=wanted)

    assert [16, 10] == _numbers(first)
    assert [4] == _numbers(second)


def test_a_filtered_page_looks_at_a_bounded_number(
    any_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where little matches, a page may be short or empty, and says where to go on."""
    small = Limit("log_scan_revisions_max", 4, "For a test.")
    monkeypatch.setattr(limits, "LOG_SCAN_REVISIONS", small)
    apply(any_engine, {"rare": "1"})
    applied(any_engine, *map(str, range(9)))
    found: list[int] = []
    lengths: list[int] = []
    after: int | None = None
    while True:
        page = any_engine.log(
            SCOPE, limit=5, after=after, wanted=LogFilter(key=Key("rare"))
        )
        found += _numbers(page)
        lengths.append(len(page.entries))
        after = page.next
        if after is None:
            break

    assert ([1], [0, 0, 1]) == (found, lengths)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_at_least_one_entry(any_engine: Engine, limit: int) -> None:
    """A limit below one is an invalid value."""
    with pytest.raises(InvalidValue, match="at least 1"):
        any_engine.log(SCOPE, limit=limit)


def test_a_page_is_bounded(any_engine: Engine) -> None:
    """A limit above that of a page answers with its name."""
    any_engine.log(SCOPE, limit=1000)
    with pytest.raises(LimitExceeded, match="page_entries_max is 1000"):
        any_engine.log(SCOPE, limit=1001)
