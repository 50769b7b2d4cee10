"""Readers and writers at once: no torn state, no lost update, no stale answer."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from st8.core.errors import Conflict, HeadMoved
from st8.core.ids import Key
from st8.engine.requests import HEAD, Side
from tests.engine.acts import (
    SCOPE,
    apply,
    branch,
    changes,
    contents,
    log_numbers,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from st8.engine.engine import Engine

RING = 24


def _run_all(works: Sequence[Callable[[], None]]) -> None:
    """Run all at once, and raise what one raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
    for future in futures:
        future.result()


def _ring_length(state: dict[str, str]) -> int:
    """Follow the ring from the first node; return how many there are until it."""
    at, seen = "000", 0
    while True:
        at = state[at]
        seen += 1
        if at == "000" or seen > RING:
            return seen


def test_a_ring_stays_a_ring(any_engine: Engine) -> None:
    """Every state that anybody sees is one that was committed whole.

    Documents form a ring, each naming the next. Writers take three neighbours and
    change their order, which needs three updates in one apply; a state of which a
    part is missing is no ring of the same length. Nothing of this needs a model.
    """
    names = [f"{n:03d}" for n in range(RING)]
    apply(any_engine, dict(zip(names, [*names[1:], names[0]], strict=True)))
    done = threading.Event()
    writers, each = 3, 25

    def write_all() -> None:
        try:
            _run_all(
                [partial(_turn, any_engine, seed, each) for seed in range(writers)]
            )
        finally:
            done.set()

    _run_all([write_all, *(partial(_watch, any_engine, s, done) for s in range(2))])

    last = writers * each + 1
    assert list(range(last, 0, -1)) == log_numbers(any_engine, limit=1000)
    assert RING == _ring_length(contents(any_engine))


def _turn(engine: Engine, seed: int, times: int) -> None:
    """Change the order of three neighbours, so often."""
    rng = random.Random(seed)
    for _ in range(times):
        while True:
            state = engine.state(SCOPE)
            ring = {key: content.decode() for key, content in state.items()}
            a = rng.choice(sorted(ring))
            b = ring[a]
            c = ring[b]
            try:
                apply(engine, {a: c, c: b, b: ring[c]}, expect=state.number)
            except HeadMoved:
                continue
            break


def _watch(engine: Engine, seed: int, done: threading.Event) -> None:
    """Look at heads, old states, logs and diffs until the writers are done."""
    rng = random.Random(seed)
    floor = 0
    while not done.wait(0.0005):
        state = engine.state(SCOPE)
        assert state.number >= floor
        floor = state.number
        whole = {key: content.decode() for key, content in state.items()}
        assert RING == len(whole) == _ring_length(whole)
        old = contents(engine, SCOPE, selector(rng.randint(1, floor)))
        assert RING == _ring_length(old)
        page = engine.log(SCOPE, limit=3)
        assert all(len(changes(e.changes)) in (3, RING) for e in page.entries)
        found = engine.diff(SCOPE, Side(selector(1)), Side(HEAD))
        assert found.to_number >= floor


def test_what_was_answered_is_seen_by_all(any_engine: Engine) -> None:
    """A read that begins after a write was answered sees it, on any thread."""
    failures: list[str] = []
    latest = 0
    done = threading.Event()

    def write() -> None:
        nonlocal latest
        try:
            for number in range(1, 101):
                apply(any_engine, {"n": f"{number}"})
                latest = number
        finally:
            done.set()

    def read() -> None:
        while not done.wait(0.0005):
            floor = latest
            state = any_engine.state(SCOPE)
            content = state.get(Key("n"))
            if state.number < floor or (content and int(content) != state.number):
                failures.append(
                    f"{floor} was answered, {state.number} {content!r} seen"
                )

    _run_all([write, read, read])

    assert [] == failures


def test_ten_namespaces_at_once(any_engine: Engine) -> None:
    """Applies to ten namespaces at once all succeed, each with its own numbers."""

    def fill(name: str) -> None:
        at = scope(name)
        for number in range(1, 11):
            assert number == apply(any_engine, {"k": f"{name} {number}"}, at=at).number

    names = [f"team/{n}" for n in range(10)]
    _run_all([partial(fill, name) for name in names])

    assert [(name, 10) for name in names] == [
        tuple(info) for info in any_engine.namespaces().items
    ]
    for name in names:
        assert {"k": f"{name} 10"} == contents(any_engine, scope(name))


def test_of_equal_expectations_one_wins(any_engine: Engine) -> None:
    """Of many applies that expect the same head exactly one is done."""
    apply(any_engine, {"k": "0"})
    for head in range(1, 16):
        together = threading.Barrier(4)
        won: list[str] = []

        def race(
            who: str,
            head: int = head,
            together: threading.Barrier = together,
            won: list[str] = won,
        ) -> None:
            together.wait()
            with suppress(HeadMoved):
                apply(any_engine, {"k": f"{who} {head}"}, expect=head)
                won.append(who)

        _run_all([partial(race, who) for who in "abcd"])

        assert 1 == len(won)
        assert {"k": f"{won[0]} {head}"} == contents(any_engine)


def test_of_equal_branches_one_is_made(any_engine: Engine) -> None:
    """Of many who create one branch at once exactly one does."""
    apply(any_engine, {"k": "0"})
    made: list[int] = []

    def create() -> None:
        try:
            branch(any_engine, "dev")
        except Conflict:
            return
        made.append(1)

    _run_all([create] * 6)

    assert [1] == made


def test_rollbacks_among_applies_keep_the_order(any_engine: Engine) -> None:
    """With applies and rollbacks at once, each revision's changes lead to the next."""
    apply(any_engine, {"k": "start"})

    def write(who: int) -> None:
        for number in range(15):
            if number % 3:
                apply(any_engine, {"k": f"{who} {number}"})
            else:
                reset(any_engine, selector(1))

    _run_all([partial(write, who) for who in range(3)])
    state = dict[str, str]()
    entries = any_engine.log(SCOPE, limit=1000).entries
    for entry in reversed(entries):
        for key, type_, before, after in changes(entry.changes):
            assert state.get(key) == before, (entry.revision.number, type_)
            if after is None:
                del state[key]
            else:
                state[key] = after
        assert state == contents(any_engine, SCOPE, selector(entry.revision.number))
