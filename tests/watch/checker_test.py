"""The checker of watches finds each bug that a watch may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from st8.testing.watch_checker import (
    Changed,
    Feed,
    Mark,
    Opened,
    Past,
    Resynced,
    Told,
    check,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.testing.watch_checker import Seen

FEED: Final = Feed("n", "main", "", contents=True)
KEYS_OF_APP: Final = Feed("n", "main", "app/")


@pytest.fixture
def past() -> Past:
    """Nine revisions; 4 and 7 are another branch's, which begins at 3.

    Revisions 2 and 6 change nothing under ``app/``; 8 deletes.
    """
    past = Past()
    edits: dict[int, dict[str, str | None]] = {
        1: {"app/a": "1", "sys/a": "1"},
        2: {"sys/a": "2"},
        3: {"app/a": "3", "app/b": "3"},
        4: {"app/a": "4"},
        5: {"app/a": "5"},
        6: {"sys/a": "6", "sys/b": "6"},
        7: {"app/b": "7"},
        8: {"app/b": None, "app/c": "8"},
        9: {"app/a": "9"},
    }
    last = {"main": 0, "dev": 3}
    for number, each in edits.items():
        branch = "dev" if number in {4, 7} else "main"
        past.add(branch, number, last[branch], f"digest of {number}", each)
        last[branch] = number
    past.move("dev", 3)
    past.move("dev", 7)
    return past


def tell(past: Past, feed: Feed, *numbers: int) -> list[Seen]:
    """Return what is told of some revisions by a watch without a bug."""
    found: list[Seen] = []
    for number in numbers:
        made = past.made(number)
        assert made is not None
        changes = tuple(
            change if feed.contents else Changed(change.key, change.type)
            for key, change in sorted(made.changes.items())
            if key.startswith(feed.prefix)
        )
        found.append(Told(number, made.parent, made.digest, changes))
    return found


def whole(past: Past) -> list[Seen]:
    """Return all of main, from the beginning, cut off and resumed after 3."""
    begin, again = Opened(0, 0), Opened(3, 3)
    return [
        begin,
        *tell(past, FEED, 1, 2, 3),
        again,
        *tell(past, FEED, 5, 6, 8, 9),
    ]


def rules(past: Past, seen: list[Seen], feed: Feed = FEED) -> set[str]:
    """Return the rules that are broken."""
    return {finding.rule for finding in check(past, feed, seen, "w")}


def test_what_is_right_is_not_found(past: Past) -> None:
    """A watch without a bug breaks no rule: all keys, some, ids between, from later."""
    some = [Opened(0, 0), *tell(past, KEYS_OF_APP, 1), Mark(2)]
    some += [Opened(2, 2), *tell(past, KEYS_OF_APP, 3, 5), Mark(5), Mark(6)]
    some += tell(past, KEYS_OF_APP, 8, 9)
    head = [Opened(6, None), *tell(past, FEED, 8, 9)]
    ahead = [Opened(7, 7, floor=True), *tell(past, FEED, 8, 9)]

    assert [] == check(past, FEED, whole(past))
    assert [] == check(past, KEYS_OF_APP, some)
    assert [] == check(past, FEED, head)
    assert [] == check(past, FEED, ahead)


def drop(seen: list[Seen]) -> None:
    """Lose an event in the middle of a connection."""
    del seen[2]


def drop_the_last(seen: list[Seen]) -> None:
    """Never send the last event."""
    del seen[-1]


def double(seen: list[Seen]) -> None:
    """Send an event twice."""
    seen.insert(3, seen[2])


def reorder(seen: list[Seen]) -> None:
    """Swap two events."""
    seen[6], seen[7] = seen[7], seen[6]


def resume_from_the_known(seen: list[Seen]) -> None:
    """Resume at the event that was known instead of behind it."""
    seen.insert(5, seen[3])


def register_late(seen: list[Seen]) -> None:
    """Lose what is made between the snapshot and the registration."""
    del seen[5]


def resume_elsewhere(seen: list[Seen]) -> None:
    """Resume where nobody has asked for."""
    seen[4] = Opened(5, 3)
    del seen[5]


def tear(seen: list[Seen]) -> None:
    """Send a revision in two events."""
    told = seen[1]
    assert isinstance(told, Told)
    assert told.changes is not None
    seen[1:2] = [told._replace(changes=(change,)) for change in told.changes]


def change_of_another(seen: list[Seen]) -> None:
    """Send the changes of another revision."""
    told, other = seen[1], seen[2]
    assert isinstance(told, Told)
    assert isinstance(other, Told)
    seen[1] = told._replace(changes=other.changes)


def other_branch(seen: list[Seen]) -> None:
    """Send what was made on another branch."""
    seen.insert(5, Told(4, 3, "digest of 4", (Changed("app/a", "update", "3", "4"),)))


def id_too_high(seen: list[Seen]) -> None:
    """Give an id that is ahead of what was sent."""
    seen.insert(6, Mark(6))


def id_too_low(seen: list[Seen]) -> None:
    """Give an id that is behind what was sent."""
    seen.insert(6, Mark(3))


def id_of_nobody(seen: list[Seen]) -> None:
    """Send a revision that was never stored."""
    seen.append(Told(10, 9, "digest of 10", ()))


def read_anew_for_nothing(seen: list[Seen]) -> None:
    """Have the state read anew although nothing is gone."""
    seen[2:4] = [Resynced(3, "collected", {"app/a": "3", "app/b": "3", "sys/a": "2"})]


def read_another_state(seen: list[Seen]) -> None:
    """Have a state read that is not that of the revision."""
    seen[1:4] = [Resynced(3, "collected", {"app/a": "3"})]


def read_anew_where_nothing_was(seen: list[Seen]) -> None:
    """Have a revision read anew that the branch never pointed at."""
    seen[1:4] = [Resynced(4, "history", {})]


def create_for_update(seen: list[Seen]) -> None:
    """Call an update a creation."""
    edit(seen, 2, type="create")


def wrong_before(seen: list[Seen]) -> None:
    """Tell another content before."""
    edit(seen, 2, before="0")


def wrong_after(seen: list[Seen]) -> None:
    """Tell another content after."""
    edit(seen, 2, after="0")


def edit(seen: list[Seen], at: int, **fields: str) -> None:
    """Alter the first change of an event."""
    told = seen[at]
    assert isinstance(told, Told)
    assert told.changes is not None
    first, *others = told.changes
    seen[at] = told._replace(changes=(first._replace(**fields), *others))


@pytest.mark.parametrize(
    ("bug", "rule"),
    [
        (drop, "reliable"),
        (drop_the_last, "reliable"),
        (other_branch, "reliable"),
        (double, "unique"),
        (reorder, "ordered"),
        (resume_from_the_known, "resumable"),
        (register_late, "resumable"),
        (resume_elsewhere, "resumable"),
        (read_anew_for_nothing, "resumable"),
        (read_anew_where_nothing_was, "resumable"),
        (tear, "atomic"),
        (change_of_another, "atomic"),
        (id_of_nobody, "atomic"),
        (read_another_state, "atomic"),
        (wrong_after, "atomic"),
        (id_too_high, "bookmarkable"),
        (id_too_low, "bookmarkable"),
        (create_for_update, "is-create"),
        (wrong_before, "previous value"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_planted_bug_is_found(
    past: Past, bug: Callable[[list[Seen]], None], rule: str
) -> None:
    """Each bug breaks the rule that is there for it."""
    past.kept = 5
    seen = whole(past)
    bug(seen)

    assert rule in rules(past, seen)


@pytest.mark.parametrize(
    "told",
    [
        Told(2, 1, "digest of 2", ()),
        Told(2, 1, "digest of 2", (Changed("sys/a", "update"),)),
    ],
)
def test_what_was_not_asked_for(past: Past, told: Told) -> None:
    """Under a prefix nothing is told of a revision that is beside it."""
    seen = [Opened(0, 0), *tell(past, KEYS_OF_APP, 1), told]

    assert "filter" in rules(past, seen, KEYS_OF_APP)


def test_contents_that_nobody_asked_for(past: Past) -> None:
    """Without contents there are none."""
    seen = [Opened(8, 8), *tell(past, FEED, 9)]

    assert {"filter"} == rules(past, seen, FEED._replace(contents=False))


def test_a_start_that_lies_ahead(past: Past) -> None:
    """Of what is not above it nothing is told, and all of what is."""
    early = [Opened(6, 6, floor=True), *tell(past, FEED, 6, 8, 9)]
    late = [Opened(7, 7, floor=True), *tell(past, FEED, 9)]

    assert {"resumable"} == rules(past, early)
    assert {"resumable"} == rules(past, late)


def test_behind_a_state_that_was_read_anew(past: Past) -> None:
    """A piece that is not told is no finding where it was collected, or is no more."""
    past.kept = 2
    collected: list[Seen] = [Opened(1, 1), Resynced(6, "collected", past.state(6))]
    collected += tell(past, FEED, 8, 9)
    gone: list[Seen] = [Opened(4, 4), Resynced(5, "history", past.state(5))]
    gone += tell(past, FEED, 6, 8, 9)

    assert set() == rules(past, collected)
    assert set() == rules(past, gone)
    assert {"reliable"} == rules(past, [*collected[:2], *collected[3:]])
