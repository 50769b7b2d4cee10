"""What watchers share is never older than what they ask for it about."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from st8.client import Client
from st8.core.documents import Document
from st8.core.errors import Unavailable
from st8.core.ids import BranchName, Key, RevisionNumber, Scope
from st8.engine.engine import Engine
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteBranch,
    Redact,
    Selector,
)
from st8.http.plans import Feed
from st8.http.watch import Channel, Hub, Page
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.server import running_server
from tests.http.watch_test import told, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAIN = Scope.parse("", "main")
DEV = Scope.parse("", "dev")
ZERO = RevisionNumber(0)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that nothing was applied to."""
    with contextlib.closing(Engine(MemoryStore(), FakeClock(tick_ns=1))) as engine:
        yield engine


def put(engine: Engine, content: str, scope: Scope = MAIN) -> None:
    """Apply one document."""
    engine.apply(Apply(scope, (Document(Key("a"), content),)))


class Threads:
    """Runs what is read at once, and hands the result over when it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.failures: list[Exception] = []
        self.reads = 0

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what ``work`` returns, later."""
        if self.failures:
            raise self.failures.pop()
        result = work(*arguments)
        self.reads += 1
        await self.gate.wait()
        return result


def numbers(page: Page) -> list[int]:
    """Return the positions of its events."""
    return [number for number, _ in page.events]


async def test_what_is_redacted_is_in_no_page(engine: Engine) -> None:
    """A page that is kept is given up when its contents may have been redacted."""
    put(engine, "hunter2")
    put(engine, "new")
    threads = Threads()
    threads.gate.set()
    hub = Hub(engine, threads.run)
    feed = Feed(MAIN, contents=True)
    channel = hub.topic(MAIN).channels[feed] = Channel(hub, engine, feed)
    before = await channel.page(ZERO, floor=False)
    kept = channel.ready(ZERO, floor=False)
    source = Selector(revision=1)
    await asyncio.to_thread(engine.redact, Redact(MAIN, Key("a"), source))
    after = await channel.page(ZERO, floor=False)
    hub.close()

    assert before is kept
    assert b"hunter2" in before.whole
    assert b"hunter2" not in after.whole
    assert b"[st8: redacted" in after.whole


async def test_nobody_gets_what_was_read_before_the_move_he_was_woken_by(
    engine: Engine,
) -> None:
    """Who asks after a move is not given what another began to read before it."""
    threads = Threads()
    channel = Channel(Hub(engine, threads.run), engine, Feed(MAIN))
    early = asyncio.ensure_future(channel.page(ZERO, floor=False))
    while not threads.reads:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    put(engine, "1")
    channel.moves += 1
    late = asyncio.ensure_future(channel.page(ZERO, floor=False))
    await asyncio.sleep(0)
    threads.gate.set()

    assert [] == numbers(await early)
    assert [1] == numbers(await late)


async def test_pages_of_a_history_that_is_gone_are_not_told(engine: Engine) -> None:
    """What was told of a branch is not what is told of the one made in its place."""
    threads = Threads()
    threads.gate.set()
    channel = Channel(Hub(engine, threads.run), engine, Feed(DEV))
    put(engine, "1", DEV)
    put(engine, "2", DEV)
    before = await channel.page(ZERO, floor=False)
    engine.delete_branch(DeleteBranch(DEV))
    channel.moves += 1
    without = await channel.page(ZERO, floor=False)
    put(engine, "3")
    engine.create_branch(CreateBranch(MAIN, BranchName("dev")))
    channel.moves += 1
    after = await channel.page(ZERO, floor=False)

    assert [1, 2] == numbers(before)
    assert [] == numbers(without)
    assert [3] == numbers(after)


async def test_pages_are_kept_while_history_grows(engine: Engine) -> None:
    """Who comes late is given the very bytes that others had."""
    threads = Threads()
    threads.gate.set()
    channel = Channel(Hub(engine, threads.run), engine, Feed(MAIN))
    put(engine, "1")
    before = await channel.page(ZERO, floor=False)
    put(engine, "2")
    channel.moves += 1
    late = await channel.page(ZERO, floor=False)

    assert before.whole is late.whole
    assert not before.more
    assert late.more
    assert [2] == numbers(await channel.page(before.position, floor=False))


async def test_a_failure_is_not_kept(engine: Engine) -> None:
    """Who asks again, after a read has failed, has it read again."""
    threads = Threads()
    threads.gate.set()
    channel = Channel(Hub(engine, threads.run), engine, Feed(MAIN))
    put(engine, "1")
    threads.failures.append(Unavailable("the store is busy"))
    with pytest.raises(Unavailable):
        await channel.page(ZERO, floor=False)

    assert [1] == numbers(await channel.page(ZERO, floor=False))


def test_a_branch_that_is_gone_is_told_once() -> None:
    """After it a stream is silent until there is one again, and the daemon goes on."""
    with running_server() as server, Client(server.url) as client:
        dev = client.scope(branch="dev")
        with watching(server, "branch=dev&after=0") as stream:
            stream.take(1)
            dev.apply({"a": "1"})
            dev.apply({"a": "2"})
            before = stream.take(2)
            client.delete_branch("dev")
            gone = stream.take(1)
            dev.apply({"a": "3"})
            after = stream.take(1)

    assert [("revision", 1), ("revision", 2)] == told(before)
    assert [("resync", 0)] == told(gone)
    assert [("revision", 3)] == told(after)


async def test_what_is_made_ready_holds_until_something_moves(engine: Engine) -> None:
    """Who has all is told that nothing follows without waiting, until it does."""
    threads = Threads()
    threads.gate.set()
    channel = Channel(Hub(engine, threads.run), engine, Feed(MAIN))
    put(engine, "1")
    assert None is channel.ready(ZERO, floor=False)
    first = await channel.page(ZERO, floor=False)
    nothing = channel.ready(first.position, floor=False)
    reads = threads.reads
    put(engine, "2")
    channel.moves += 1
    unknown = channel.ready(first.position, floor=False)
    await channel.prepare()
    second = channel.ready(first.position, floor=False)

    assert nothing is not None
    assert [] == numbers(nothing)
    assert None is unknown
    assert second is not None
    assert [2] == numbers(second)
    assert reads + 1 == threads.reads
