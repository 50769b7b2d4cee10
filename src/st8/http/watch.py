"""Watches: a stream of what happens to branches, as Server-Sent Events.

A watcher is told of every revision once and in order, because it holds nothing but
the number it has come to: each time something moves, it asks for what follows that
number (:mod:`st8.engine.watch`) and goes on from where that ends. So it does not
matter whether it comes anew or for the tenth time, to this daemon or another, and
one that reads slowly costs no memory: what it has not read yet is not kept for it,
it is read from history when its turn comes.

What watchers of the same branch, prefix and rights ask for from the same number is
computed and encoded once, and they share the bytes (:class:`Channel`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from st8.core.errors import St8Error
from st8.core.ids import RevisionNumber
from st8.http.encoding import encode, event_data
from st8.http.problems import as_st8_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from st8.core.ids import Namespace, Scope
    from st8.engine.engine import Engine
    from st8.engine.watch import News
    from st8.http.plans import Feed
    from st8.http.replies import Receive, Send

    Run = Callable[..., Awaitable[Any]]

__all__ = ["Channel", "Hub", "Moves", "Page", "Watcher"]

_PAGE_REVISIONS: Final = 100
_PAGE_BYTES: Final = 1024 * 1024
_PAGES_KEPT: Final = 16
_PREPARED_MAX: Final = 8
_KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
_RETRY_MS: Final = 1_000
_RETRY_SPREAD_MS: Final = 4_000
"""Clients that are cut off together come back spread over this time."""

_FAULT: Final = 500  # a status from here on says that the daemon is to blame
_STRIDE: Final = 1_618
_LOOKS_AT_NUMBERS: Final = 15
"""After so many looks at the numbers of namespaces there is one at all branches."""


_PageKey = tuple[int, bool]
"""What a page follows, and whether that is a floor."""


class Page(NamedTuple):
    """A piece of a branch's history as events, ready to be sent.

    Attributes:
        events: Position and bytes of each; the bytes lack the line with the id.
        position: Where a watcher is after it, which may be behind the last event.
        more: There is more already.
        whole: All of it with ids, for watchers of this branch alone.
    """

    events: tuple[tuple[int, bytes], ...]
    position: RevisionNumber
    more: bool
    whole: bytes


class Channel:
    """Pages of one feed, each made once for all who ask for it."""

    def __init__(self, hub: Hub, engine: Engine, feed: Feed) -> None:
        """Make pages of ``feed``, whose ``after`` does not count."""
        self._hub = hub
        self._engine = engine
        self._feed = feed
        self._pages: dict[_PageKey, tuple[int, asyncio.Future[Page]]] = {}
        self._tip: RevisionNumber | None = None  # where whoever has all of it is
        self.moves = 0
        self.watchers = 0

    def ready(self, after: RevisionNumber, *, floor: bool) -> Page | None:
        """Return what follows ``after``, if that is known without waiting."""
        moves, made = self._pages.get((after, floor), (-1, None))
        # One that was begun before the last move may not know of it.
        return None if made is None or moves != self.moves else _result(made)

    async def page(self, after: RevisionNumber, *, floor: bool) -> Page:
        """Return what follows ``after``; an empty page until something moves."""
        key = (after, floor)
        moves, made = self._pages.get(key, (-1, None))
        if made is None or moves != self.moves or _failed(made):
            before = None if made is None else _result(made)
            made = asyncio.ensure_future(
                self._hub.run(self._make, after, floor, before)
            )
            self._put(key, made)
            made.add_done_callback(partial(self._keep, key))
        return await asyncio.shield(made)

    async def prepare(self) -> None:
        """Make what those who have all will ask for, before they do."""
        if self._tip is not None:
            await self.page(self._tip, floor=False)

    def _put(self, key: _PageKey, made: asyncio.Future[Page]) -> None:
        self.forget(key)
        self._pages[key] = (self.moves, made)
        if len(self._pages) > _PAGES_KEPT:
            self.forget(next(iter(self._pages)))

    def forget(self, key: _PageKey) -> None:
        """Keep a page no longer."""
        self._pages.pop(key, None)
        self._hub.release(self, key)

    def close(self) -> None:
        """Keep nothing any longer."""
        for key in list(self._pages):
            self.forget(key)

    def _keep(self, key: _PageKey, made: asyncio.Future[Page]) -> None:
        """Count the bytes of a page that was made, if it is still wanted."""
        page = _result(made)
        moves, wanted = self._pages.get(key, (0, None))
        if page is None or wanted is not made:
            return
        self._hub.keep(self, key, len(page.whole))
        if page.more:
            return
        if key == (page.position, False):
            self._tip = page.position
        elif moves == self.moves and page.position != key[0]:
            # Nothing follows it, or there would be more.
            self._tip = page.position
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_result(Page((), page.position, False, b""))
            self._put((page.position, False), nothing)

    def _make(self, after: RevisionNumber, floor: bool, before: Page | None) -> Page:
        """Return a page, the one from ``before`` if it holds; on a reading thread."""
        if before is not None and before.position > after:
            news = self._engine.news(self._feed.scope, before.position, 1)
            if news.resync is None:  # the branch still has it in its history
                return before._replace(more=bool(news.revisions))
        self._hub.pages += 1
        scope = self._feed.scope
        news = self._engine.news(scope, after, _PAGE_REVISIONS, floor=floor)
        if news.resync is not None:
            return _page([(news.position, _resync(scope, news))], news.position, True)
        events: list[tuple[int, bytes]] = []
        size = 0
        for number, revision in enumerate(news.revisions, 1):
            changes = self._engine.changes(revision, self._feed.visible)
            data = event_data(
                scope,
                revision,
                changes,
                self._feed.prefix,
                contents=self._feed.contents,
            )
            if data is not None:
                events.append((revision.number, b"event: revision\ndata: %s\n" % data))
                size += len(data)
                if size >= _PAGE_BYTES:
                    more = news.more or number < len(news.revisions)
                    return _page(events, revision.number, more)
        return _page(events, news.position, news.more)


def _failed(made: asyncio.Future[Page]) -> bool:
    return made.done() and (made.cancelled() or made.exception() is not None)


def _result(made: asyncio.Future[Page]) -> Page | None:
    """Return the page that was made earlier, if it was."""
    return made.result() if made.done() and not _failed(made) else None


def _page(
    events: Sequence[tuple[int, bytes]], position: RevisionNumber, more: bool
) -> Page:
    whole = b"".join(b"id: %d\n%s\n" % event for event in events)
    return Page(tuple(events), position, more, whole)


def _resync(scope: Scope, news: News) -> bytes:
    data = {
        "namespace": scope.namespace,
        "branch": scope.branch,
        "revision": news.position,
        "reason": news.resync,
    }
    return b"event: resync\ndata: " + encode(data)


class Watcher:
    """One stream: what it watches, and how far it has come with each."""

    def __init__(
        self, hub: Hub, feeds: Sequence[Feed], check: Callable[[], None]
    ) -> None:
        """Watch ``feeds``; ``check`` raises when the client may no longer."""
        self._hub = hub
        self._feeds = feeds
        self._check = check
        self._channels: list[Channel] = []
        self._positions: list[RevisionNumber] = []
        self._floors: list[bool] = []
        self.wake = asyncio.Event()
        self.due = False

    async def stream(self, receive: Receive, send: Send) -> bool:
        """Send events until the client goes, may no longer, or the daemon stops.

        Returns False if it ends by a fault before that.
        """
        failed = False
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: self.wake.set())
        self._channels = self._hub.join(self, self._feeds)
        try:
            await send(_body(await self._begin()))
            while not gone.done() and not self._hub.closing:
                self.wake.clear()
                if not await self._forward(send):
                    await self.wake.wait()
                if self.due:
                    self.due = False
                    self._check()
                    await send(_body(b": heartbeat\nid: %s\n\n" % self._id()))
        except St8Error as error:
            failed = as_st8_error(error, "a watch").http_status >= _FAULT
            problem = encode(error.problem())
            await send(_body(b"event: error\ndata: %s\n" % problem))
        finally:
            gone.cancel()
            self._hub.leave(self, self._feeds)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return not failed

    async def _begin(self) -> bytes:
        """Return the first event: where the watcher begins."""
        places: list[dict[str, object]] = []
        for feed in self._feeds:
            start, last = await self._hub.run(self._hub.start_of, feed)
            self._positions.append(start)
            self._floors.append(start > last and not feed.resumed)
            places.append({**feed.scope._asdict(), "revision": start})
        retry = _RETRY_MS + self._hub.spread(_RETRY_SPREAD_MS)
        data = encode({"positions": places})
        return b"retry: %d\nid: %s\nevent: start\ndata: %s\n" % (
            retry,
            self._id(),
            data,
        )

    async def _forward(self, send: Send) -> bool:
        """Send a page of each branch that has one; return whether any had."""
        moved = False
        for at, channel in enumerate(self._channels):
            position = self._positions[at]
            floor = self._floors[at]
            page = channel.ready(position, floor=floor)
            if page is None:
                page = await channel.page(position, floor=floor)
            if page.position == position and not page.events:
                continue
            moved = True
            self._floors[at] = False
            if page.events:
                self._check()
            if len(self._channels) == 1:
                if page.whole:
                    await send(_body(page.whole))
                self._positions[at] = page.position
                continue
            pieces: list[bytes] = []
            for number, event in page.events:
                self._positions[at] = RevisionNumber(number)
                pieces.append(b"id: %s\n%s\n" % (self._id(), event))
            self._positions[at] = page.position
            if pieces:  # at once, as long as what was checked holds
                await send(_body(b"".join(pieces)))
        return moved

    def _id(self) -> bytes:
        """Return what a client gives to go on from here."""
        return ",".join(map(str, self._positions)).encode()


class _Topic:
    """What watches one branch."""

    __slots__ = ("channels", "moved", "telling", "watchers")

    def __init__(self) -> None:
        self.channels: dict[Feed, Channel] = {}
        self.watchers: dict[_Waits, None] = {}
        self.moved = False  # and not all of them were woken since
        self.telling: asyncio.Task[None] | None = None

    async def tell(self) -> None:
        """Wake all, once what they will ask for is there.

        So that each wakes once, and finds it; where there are many different things
        to ask for, nobody waits for those of the others.
        """
        while self.moved:
            self.moved = False
            if len(self.channels) <= _PREPARED_MAX:
                channels = self.channels.values()
                await asyncio.gather(
                    *(channel.prepare() for channel in channels),
                    return_exceptions=True,
                )
            self.wake()
        self.telling = None

    def wake(self) -> None:
        """Wake all."""
        for watcher in self.watchers:
            watcher.wake.set()


class _Waits(Protocol):
    wake: asyncio.Event


class Moves:
    """Wakes whoever waits for a branch to move.

    Attributes:
        wake: Set each time it has.
    """

    def __init__(self, hub: Hub, scope: Scope) -> None:
        """Wait for ``scope``, from entering to leaving the context."""
        self._hub = hub
        self._scope = scope
        self.wake = asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        """Begin to hear of it."""
        self._hub.topic(self._scope).watchers[self] = None
        return self.wake

    def __exit__(self, *_: object) -> None:
        """Hear of it no more."""
        self._hub.drop(self, self._scope)


class Hub:
    """All watchers of a daemon. Used on the event loop, :meth:`moved` apart.

    Attributes:
        run: Runs a function on a reading thread.
        heartbeat_s: A stream on which nothing happens has a sign of life so often,
            and its client is asked anew whether it may.
        tick_s: How often it is looked who is due, and, where others may write to
            the store, whether they have.
        closing: True once every stream is to end.
        pages: How many pages were made.
        kept_bytes: The bytes of pages that are kept to be shared.
        kept_bytes_max: Beyond this the oldest are made again where they are asked
            for, so that a client with many prefixes costs no memory.
    """

    def __init__(self, engine: Engine, run: Run) -> None:
        """Hear of every commit of ``engine``; read on the threads of ``run``."""
        self._engine = engine
        self.run = run
        self.heartbeat_s = 15.0
        self.tick_s = 1.0
        self.closing = False
        self.pages = 0
        self.kept_bytes = 0
        self.kept_bytes_max = _KEPT_BYTES_MAX
        self._kept: OrderedDict[tuple[Channel, _PageKey], int] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None
        self._looks = 0
        self._numbers: dict[Namespace, int] = {}
        self._topics: dict[Scope, _Topic] = {}
        self._due: dict[Watcher, float] = {}  # when each is to have a heartbeat
        self._seed = 0
        engine.on_move(self.moved)
        engine.on_redaction(self.redacted)

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return len(self._due)

    def start_of(self, feed: Feed) -> tuple[RevisionNumber, RevisionNumber]:
        """Return where a feed begins and the namespace's newest number."""
        if feed.after is None:
            head = self._engine.state(feed.scope).number
            return head, head
        return feed.after, self._engine.last_revision(feed.scope.namespace)

    def moved(self, scopes: Collection[Scope] | None) -> None:
        """Take note that branches have moved, None: any may have; from any thread."""
        loop = self._loop
        if loop is not None:
            known = None if scopes is None else tuple(scopes)
            with suppress(RuntimeError):  # closed: nobody watches any more
                loop.call_soon_threadsafe(self._wake, known)

    def redacted(self) -> None:
        """Keep no page: what is in one may have been redacted; from any thread."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # closed: nobody watches any more
                loop.call_soon_threadsafe(self._forget)

    def join(self, watcher: Watcher, feeds: Sequence[Feed]) -> list[Channel]:
        """Wake ``watcher`` when its branches move, and for heartbeats.

        Returns the channel of each feed.
        """
        self._due[watcher] = asyncio.get_running_loop().time() + self.heartbeat_s
        channels: list[Channel] = []
        for feed in feeds:
            topic = self.topic(feed.scope)
            topic.watchers[watcher] = None
            key = feed._replace(after=None, resumed=False)
            channel = topic.channels.get(key)
            if channel is None:
                channel = topic.channels[key] = Channel(self, self._engine, key)
            channel.watchers += 1
            channels.append(channel)
        return channels

    def leave(self, watcher: Watcher, feeds: Sequence[Feed]) -> None:
        """Forget ``watcher``, and what nobody else watches."""
        del self._due[watcher]
        for feed in feeds:
            topic = self._topics[feed.scope]
            key = feed._replace(after=None, resumed=False)
            channel = topic.channels[key]
            channel.watchers -= 1
            if not channel.watchers:
                channel.close()
                del topic.channels[key]
        for scope in {feed.scope for feed in feeds}:
            self.drop(watcher, scope)

    def keep(self, channel: Channel, key: _PageKey, size: int) -> None:
        """Count a page that a channel keeps, and have the oldest ones forgotten."""
        self._kept[channel, key] = size
        self.kept_bytes += size
        while self.kept_bytes > self.kept_bytes_max:
            oldest, its_key = next(iter(self._kept))
            oldest.forget(its_key)

    def release(self, channel: Channel, key: _PageKey) -> None:
        """Count a page no longer."""
        self.kept_bytes -= self._kept.pop((channel, key), 0)

    def topic(self, scope: Scope) -> _Topic:
        """Return what watches a branch; from now on its moves are heard of."""
        self._loop = asyncio.get_running_loop()
        if self._ticker is None:
            self._ticker = asyncio.ensure_future(self._tick())
        return self._topics.setdefault(scope, _Topic())

    def drop(self, waits: _Waits, scope: Scope) -> None:
        """Take one of those who wait for a branch away."""
        topic = self._topics[scope]
        del topic.watchers[waits]
        if not topic.watchers:
            del self._topics[scope]

    def spread(self, span: int) -> int:
        """Return a number below ``span``, another one each time, evenly spread."""
        self._seed = (self._seed + _STRIDE) % span
        return self._seed

    def close(self) -> None:
        """End every stream, so that its client goes elsewhere; on the event loop."""
        self.closing = True
        for topic in self._topics.values():
            topic.wake()
        for task in (self._ticker, self._look):
            if task is not None:
                task.cancel()

    def _forget(self) -> None:
        for topic in self._topics.values():
            for channel in topic.channels.values():
                channel.close()

    def _wake(self, scopes: Collection[Scope] | None) -> None:
        """Have all woken who watch one of ``scopes``; None: all."""
        for scope in tuple(self._topics) if scopes is None else scopes:
            topic = self._topics.get(scope)
            if topic is None:
                continue
            for channel in topic.channels.values():
                channel.moves += 1
            topic.moved = True
            if topic.telling is None:
                topic.telling = asyncio.ensure_future(topic.tell())

    async def _tick(self) -> None:
        """See to heartbeats, and to what other daemons have written."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.tick_s)
            if not self._engine.exclusive and (self._look is None or self._look.done()):
                self._look = asyncio.ensure_future(self._look_for_moves())
            now = loop.time()
            for watcher, due in self._due.items():
                if due <= now:
                    self._due[watcher] = now + self.heartbeat_s
                    watcher.due = True
                    watcher.wake.set()

    async def _look_for_moves(self) -> None:
        """Wake who watches what others have moved, in case nobody has told of it.

        A branch that was taken away or made anew has no new number: it is looked for
        now and then.
        """
        self._looks += 1
        if self._looks % _LOOKS_AT_NUMBERS == 0:
            self._wake(None)
            return
        namespaces = {scope.namespace for scope in self._topics}
        try:
            newest = await self.run(self._newest, namespaces)
        except St8Error:
            return  # of a store that does not answer hears whoever reads
        known, self._numbers = self._numbers, newest
        self._wake(
            [
                scope
                for scope in self._topics
                if newest.get(scope.namespace) != known.get(scope.namespace)
            ]
        )

    def _newest(self, namespaces: Collection[Namespace]) -> dict[Namespace, int]:
        return {name: self._engine.last_revision(name) for name in namespaces}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}
