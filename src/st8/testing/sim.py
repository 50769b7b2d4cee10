"""A small world that runs from one seed: its time, threads and chance are not real.

A :class:`World` has hosts. Each :class:`Host` is an event loop, and has threads: what the
product gives to an executor of :meth:`Host.threads` runs in a real thread, of which one
at a time goes on, and only while no event loop does. A thread lets others go on where it
comes to a *place*: at each failpoint, and wherever a test says (:meth:`World.place`).
Which of all that can go on does so next is drawn from the seed, and what is due next by
the clock comes once nothing can, or when the steps before it have taken as long. So the
same seed is the same run, to the last step, and no time passes.

Within a host callbacks keep their order, as asyncio promises. No lock of the product may
be held at a place: whoever then waited for it would wait for ever, which ends the run.

The idea is that of FoundationDB's simulator: Zhou et al., FoundationDB: A Distributed
Unbundled Transactional Key Value Store, SIGMOD 2021, section 4.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import deque
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from heapq import heappop, heappush
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, TypeVarTuple

from st8.core import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

__all__ = ["SECOND_NS", "Crashed", "Host", "Stuck", "Turn", "World"]

SECOND_NS: Final = 1_000_000_000
_STEP_NS_MAX: Final = 10_000
"""What a step takes, at most."""
_NAP_NS_MAX: Final = 4_000_000
"""How long a thread may be left where it came to a place, at most."""
_GOES_ON: Final = 0.6
_NAPS: Final = 0.08
"""How often a thread goes on at once from a place, and how often it is left there."""
_WHOLE: Final = 0.6
"""How often one of many threads does its work without others in between: to change the
real thread takes longer than most of what is done in one."""
_TAIL: Final = 60
_PATIENCE_S: Final = 60.0
"""How long a thread may compute before the run is taken for stuck."""

P = ParamSpec("P")
R = TypeVar("R")
_Ts = TypeVarTuple("_Ts")


class Crashed(BaseException):
    """The host is gone: raised in what ran on it, so that it ends."""


class Stuck(Exception):
    """Nothing can go on, or something waits for what is not in the world."""


class World:
    """Hosts, and the one order in which they do what they do.

    Used by one thread; :meth:`place` and :meth:`note` also by those of its hosts.

    Attributes:
        chance: What draws everything; whoever draws, draws in the same order again.
        now_ns: The time since the beginning.
        steps: How many there were.
        hosts: All that ever were.
        faults: What failed on a host and was caught by nobody.
        crashes: Says whether a host shall crash at a place that it has come to.
    """

    def __init__(self, seed: int) -> None:
        """Make a world without hosts."""
        self.chance = Random(seed)  # noqa: S311 - not a secret
        self.now_ns = 0
        self.steps = 0
        self.hosts: list[Host] = []
        self.faults: list[str] = []
        self.crashes: Callable[[Host, str], bool] = _never
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._trace = sha256()
        self._order = 0
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._ready: list[Host] = []
        self._threads: list[_Thread] = []
        self._actor: Host | _Thread | None = None
        self._back = _Baton()
        self._crashed: list[Host] = []

    def digest(self) -> str:
        """Return what two runs have in common only if they are the same run."""
        end = f"{self.steps} {self.now_ns} {self.chance.random()}"
        return sha256(self._trace.digest() + end.encode()).hexdigest()

    def tail(self) -> list[str]:
        """Return the last lines of the trace."""
        return list(self._tail)

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        line = f"{self.now_ns / 1_000_000:.3f} {text}"
        self._trace.update(line.encode() + b"\n")
        self._tail.append(line)

    def at(self, when_ns: int, act: Callable[[], None]) -> None:
        """Have ``act`` called at a time, on no host."""
        self._order += 1
        heappush(self._timers, (when_ns, self._order, act))

    def run(self, host: Host, main: Coroutine[Any, Any, R]) -> R:
        """Run everything until ``main`` has ended on ``host``; return what it returns.

        Raises:
            Stuck: It never will.
            Exception: What ``main`` raises.
        """
        failpoints.arm(self.place)
        try:
            task = host.create_task(main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            failpoints.arm(None)

    def end(self) -> None:
        """Crash every host, and have all that was begun come to its end."""
        for host in self.hosts:
            host.crash()
        self._end_threads()
        for host in self.hosts:
            with self.on(host):
                host.end()

    def _end_threads(self) -> None:
        """Have the threads of hosts that have crashed come to their end."""
        while self._crashed:
            for thread in list(self._crashed.pop().running):
                if thread.begun:
                    self._resume(thread)

    def place(self, name: str) -> None:
        """Let others go on; return when it is the caller's turn again.

        Raises:
            Crashed: The host is gone.
        """
        actor = self._actor
        if actor is None:
            return
        host = actor.host
        if host.dead:
            raise Crashed
        self.note(f"{actor.name}: {name}")
        if self.crashes(host, name):
            host.crash()
            raise Crashed
        if isinstance(actor, _Thread) and not actor.whole:
            drawn = self.chance.random()
            if drawn < _NAPS:
                self.nap(self.chance.randrange(_NAP_NS_MAX))
            elif drawn > _NAPS + _GOES_ON and (self._ready or self._threads):
                self._threads.append(actor)
                self._leave(actor)

    def nap(self, length_ns: int) -> None:
        """Let time pass; for a thread of a host that does not do its work as a whole.

        Raises:
            Crashed: The host is gone.
            Stuck: It is something else.
        """
        actor = self._who_waits()
        end_ns = self.now_ns + length_ns
        others = self._ready or self._threads
        if not others and (not self._timers or end_ns < self._timers[0][0]):
            self.now_ns = end_ns  # nothing else would go on before
            return
        self.at(end_ns, partial(self._wake, actor))
        self._leave(actor)

    def wait_for(self, future: Future[Any]) -> None:
        """Return once a future is done; as :meth:`nap` otherwise."""
        actor = self._who_waits()
        future.add_done_callback(lambda _: self._wake(actor))
        self._leave(actor)

    @contextmanager
    def undivided(self) -> Generator[None]:
        """Have nothing come in between what the block does, at any place."""
        actor = self._actor
        if not isinstance(actor, _Thread) or actor.whole:
            yield
            return
        actor.whole = True
        try:
            yield
        finally:
            actor.whole = False

    def thread(
        self,
        host: Host,
        name: str,
        work: Callable[[], object],
        *,
        whole: bool = False,
    ) -> None:
        """Have ``work`` done by a new thread of ``host``, from the next step on.

        ``whole`` is work that nothing comes in between, and that waits for nobody.
        """
        if not host.dead:
            thread = _Thread(self, host, f"{host.name}/{name}", work, whole=whole)
            host.running.append(thread)
            self._threads.append(thread)

    @contextmanager
    def on(self, host: Host) -> Generator[None]:
        """Have what the block does be done by ``host``."""
        before, self._actor = self._actor, host
        try:
            yield
        finally:
            self._actor = before

    # --- for hosts and threads ----------------------------------------------------

    def can_go_on(self, host: Host) -> None:
        """Take note that a host has something to do."""
        self._ready.append(host)

    def has_crashed(self, host: Host) -> None:
        """Take note that what runs on a host has to end."""
        self._ready = [other for other in self._ready if other is not host]
        self._threads = [one for one in self._threads if one.host is not host]
        self._crashed.append(host)

    def give_back(self) -> None:
        """Let the world go on, from a thread that does not for now."""
        self._back.give()

    def _who_waits(self) -> _Thread:
        actor = self._actor
        if not isinstance(actor, _Thread) or actor.whole:
            raise Stuck("what can't wait for others would have to")
        return actor

    def _wake(self, thread: _Thread) -> None:
        if not thread.host.dead:
            self._threads.append(thread)

    def _leave(self, thread: _Thread) -> None:
        self._back.give()
        thread.baton.take()
        if thread.host.dead:
            raise Crashed

    def _step(self) -> None:
        self.steps += 1
        self.now_ns += int(self.chance.random() * _STEP_NS_MAX)
        while self._timers and self._timers[0][0] <= self.now_ns:
            heappop(self._timers)[2]()
        ready = len(self._ready)
        can = ready + len(self._threads)
        if not can:
            if not self._timers:
                raise Stuck("nothing can go on, and nothing is due")
            self.now_ns = self._timers[0][0]
            return
        drawn = int(self.chance.random() * can)
        if drawn < ready:
            host = self._ready[drawn]
            if host.is_last():
                self._ready[drawn] = self._ready[-1]
                self._ready.pop()
            with self.on(host):
                host.go_on()
        else:
            drawn -= ready
            thread = self._threads[drawn]
            self._threads[drawn] = self._threads[-1]
            self._threads.pop()
            self._resume(thread)
        self._end_threads()

    def _resume(self, thread: _Thread) -> None:
        """Let a thread go on until it comes to a place, or to its end."""
        self._actor = thread
        if thread.whole:
            thread.run()
        else:
            thread.go_on()
        if not thread.whole and not self._back.take(_PATIENCE_S):
            raise Stuck(
                f"{thread.name} waits for what is not in the world:\n{_where()}"
            )
        self._actor = None
        if thread.ended:
            thread.host.running.remove(thread)


class Host(asyncio.BaseEventLoop):
    """A machine with an event loop and threads; it can crash, and is then gone.

    Attributes:
        name: What it is called in the trace.
        dead: True once it has crashed: nothing of it goes on any more.
        running: Its threads that have not ended.
    """

    def __init__(self, world: World, name: str) -> None:
        """Make a host in ``world``."""
        self.name = name
        self.dead = False
        # Nothing of the base class is used but that it is a whole loop for types.
        world.hosts.append(self)
        self.running: list[_Thread] = []
        self._world = world
        self._queue: deque[tuple[asyncio.Handle, Callable[[], object]]] = deque()
        self._begun: list[Generator[Any, Any, Any] | Coroutine[Any, Any, Any]] = []

    @property
    def host(self) -> Host:
        """Itself, as a thread has one."""
        return self

    def crash(self) -> None:
        """Lose everything that is in memory or not ended; the files stay."""
        if not self.dead:
            self._world.note(f"{self.name} crashes")
            self.dead = True
            self._queue.clear()
            self._world.has_crashed(self)

    def threads(self, max_workers: int, thread_name_prefix: str) -> Executor:
        """Return threads of this host, as :class:`~st8.core.ports.Threads` wants it."""
        return _Threads(self._world, self, max_workers, thread_name_prefix)

    def wait(self, wait: Callable[[float], bool], at_most_s: float) -> bool:
        """See :class:`~st8.core.ports.Timer`."""
        self._world.nap(int(at_most_s * SECOND_NS))
        return wait(0)

    def is_last(self) -> bool:
        """Return whether there is nothing to do but one thing."""
        return len(self._queue) == 1

    def go_on(self) -> None:
        """Do the next thing."""
        handle, call = self._queue.popleft()
        if handle.cancelled():
            return
        asyncio._set_running_loop(self)  # noqa: SLF001 - it is there for who makes a loop
        try:
            call()
        except Crashed:
            pass
        except Exception as error:  # noqa: BLE001 - told by whoever judges
            self._world.faults.append(f"{self.name}: {error!r}")
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001

    # --- what asyncio asks of a loop ------------------------------------------------

    def time(self) -> float:
        """Return the time in seconds."""
        return self._world.now_ns / SECOND_NS

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """See :class:`asyncio.AbstractEventLoop`."""
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle, callback, args, context)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """See :class:`asyncio.AbstractEventLoop`; from another host, too."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See :class:`asyncio.AbstractEventLoop`."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See :class:`asyncio.AbstractEventLoop`."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        due_ns = round(when * SECOND_NS)
        self._world.at(due_ns, partial(self._put, handle, callback, args, context))
        return handle

    def _put(
        self,
        handle: asyncio.Handle,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> None:
        if self.dead or handle.cancelled():
            return
        if not self._queue:
            self._world.can_go_on(self)
        run = callback if context is None else partial(context.run, callback)
        self._queue.append((handle, partial(run, *args)))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """See :class:`asyncio.AbstractEventLoop`: it is left where it is."""

    def create_future(self) -> asyncio.Future[Any]:
        """See :class:`asyncio.AbstractEventLoop`."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, R] | Coroutine[Any, Any, R],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[R]:
        """See :class:`asyncio.AbstractEventLoop`."""
        self._begun.append(coro)
        text = None if name is None else str(name)
        return asyncio.Task(coro, loop=self, name=text, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], R], *args: *_Ts
    ) -> asyncio.Future[R]:
        """See :class:`asyncio.AbstractEventLoop`; the executor is one of a host's."""
        if not isinstance(executor, _Threads):
            raise TypeError("work of a host is given to threads of a host")
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def is_running(self) -> bool:
        """See :class:`asyncio.AbstractEventLoop`."""
        return not self.dead

    def is_closed(self) -> bool:
        """See :class:`asyncio.AbstractEventLoop`."""
        return self.dead

    def get_debug(self) -> bool:
        """See :class:`asyncio.AbstractEventLoop`."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See :class:`asyncio.AbstractEventLoop`: whoever judges is told."""
        if not self.dead:
            self._world.faults.append(f"{self.name}: {context.get('message')}")

    def end(self) -> None:
        """Close what was left in the middle of something, after the run."""
        for coroutine in self._begun:
            with suppress(BaseException):  # nothing of it is of interest any more
                coroutine.close()


class Turn:
    """A lock of the world, for threads of hosts."""

    def __init__(self, world: World) -> None:
        """Make a free one."""
        self._world = world
        self._held = False

    def __enter__(self) -> None:
        """Wait until it is free, and take it.

        Raises:
            Crashed: The host is gone.
        """
        self._world.place("waits for its turn")
        while self._held:
            self._world.nap(self._world.chance.randrange(1, _NAP_NS_MAX // 10))
        self._held = True

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self._held = False


class _Baton:
    """Who holds it goes on; it is given to one who waits, or will."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.give = self._lock.release

    def take(self, timeout_s: float = -1) -> bool:
        """Wait for it; return whether it came in time."""
        return self._lock.acquire(timeout=timeout_s)


class _Thread:
    """A thread of a host, which a real one carries as long as it runs."""

    def __init__(
        self,
        world: World,
        host: Host,
        name: str,
        work: Callable[[], object],
        *,
        whole: bool,
    ) -> None:
        self.host = host
        self.whole = whole
        self.name = name
        self.baton = _Baton()
        self.begun = False
        self.ended = False
        self._world = world
        self._work = work

    def go_on(self) -> None:
        """Begin, or go on from a place."""
        if self.begun:
            self.baton.give()
        else:
            self.begun = True
            carrier = _idle.pop() if _idle else _Carrier()
            carrier.carry(self)

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except Crashed:
            pass
        except BaseException as error:  # noqa: BLE001 - told by whoever judges
            self._world.faults.append(f"{self.name}: {error!r}")
        self.ended = True

    def give_back(self) -> None:
        """Let the world go on."""
        self._world.give_back()


class _Carrier(threading.Thread):
    """A real thread, which carries one of a host after the other."""

    def __init__(self) -> None:
        super().__init__(name="st8-sim", daemon=True)
        self._baton = _Baton()
        self._thread: _Thread | None = None
        self.start()

    def carry(self, thread: _Thread) -> None:
        """Carry ``thread`` from now on until its end."""
        self._thread = thread
        self._baton.give()

    def run(self) -> None:
        """Carry what there is to carry."""
        while self._baton.take():
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.run()
                _idle.append(self)
                thread.give_back()


_idle: Final[list[_Carrier]] = []


class _Future(Future[R]):
    """What comes of work, for whom in the world it may concern."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def result(self, timeout: float | None = None) -> R:
        """Return the result once it is there; see :meth:`World.wait_for`."""
        if not self.done():
            self._world.wait_for(self)
        return super().result(timeout)


class _Threads(Executor):
    """Threads of a host that work can be given to."""

    def __init__(self, world: World, host: Host, number: int, name: str) -> None:
        self._world = world
        self._host = host
        self._number = number
        self._name = name
        self._running = 0
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """See :class:`concurrent.futures.Executor`."""
        future: Future[R] = _Future(self._world)
        self._waiting.append((future, partial(fn, *args, **kwargs)))
        if self._running < self._number:
            self._running += 1
            whole = self._number > 1 and self._world.chance.random() < _WHOLE
            self._world.thread(self._host, self._name, self._run, whole=whole)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See :class:`concurrent.futures.Executor`: they end with their host."""

    def _run(self) -> None:
        while self._waiting:
            future, work = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except Crashed:
                raise
            except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
                future.set_exception(error)
            else:
                future.set_result(result)
        self._running -= 1


def _never(host: Host, place: str) -> bool:
    del host, place
    return False


def _where() -> str:
    """Return where each real thread is."""
    frames = sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way
    return "\n".join(
        "".join(traceback.format_stack(frame)) for frame in frames.values()
    )
