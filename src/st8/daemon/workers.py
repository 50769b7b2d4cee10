"""Several processes that serve one store on the same sockets, and who leads them.

The first process binds the sockets, holds the store, and forks the workers before it
has any thread, connection or loop; it never has one, so it can fork again when one of
them dies. Each worker is a daemon as it would be alone. It hears from the leader by
the end of a pipe, its lifeline, which also comes when the leader dies; the leader
hears from it on another one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn, cast

from st8.config import UsageError
from st8.core.errors import St8Error
from st8.daemon.credentials import read_token
from st8.daemon.notify import Notifier
from st8.daemon.parts import bind_all, make_tls, start_logs
from st8.daemon.reloading import mended
from st8.daemon.running import CLOSE_GRACE_S, Lead, announce
from st8.daemon.serving import Place, serve
from st8.http.board import Board
from st8.http.logs import Redactor
from st8.http.sockets import address_of
from st8.store.open import Sharing

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from st8.config import Settings

__all__ = ["serve_with_workers"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_APART_S: Final = 1.0
"""Between two starts of a worker at least."""
_LOADED: Final = ("st8.http.app", "st8.http.server", "uvloop")
"""What all workers need, and share if it is there before they are forked."""
_KILL_GRACE_S: Final = 1.0
"""How much longer than a worker's own watchdog the leader waits for it."""
_log = logging.getLogger("st8d")


def serve_with_workers(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Serve with several processes until a signal; return the exit code.

    Raises:
        St8Error: It can't start; says why.
    """
    with contextlib.ExitStack() as stack:
        make_tls(settings)  # what is wrong with files is better said once
        token = read_token(settings)
        listeners = bind_all(settings, stack)
        start_logs(settings, Redactor([token] if token else []))
        sharing = stack.enter_context(
            contextlib.closing(Sharing(settings.store_url, settings.workers))
        )
        board = Board(settings.workers)
        for module in _LOADED:
            with contextlib.suppress(ImportError):  # not everywhere
                import_module(module)

        def work(number: int, reports: int, lifeline: int, *, anew: bool) -> None:
            def bind(_: contextlib.ExitStack) -> list[socket.socket]:
                return listeners

            def lead(store_name: str, kind: str) -> Lead:
                return Lead(_Reporter(reports, store_name, kind), lifeline)

            mine = mended(settings, reread()) if anew else settings
            place = Place(bind, lambda: sharing.open(number - 1), lead, number, board)
            serve(mine, reread, place)

        code = _Leader(settings, listeners, work).run()
    if not code:
        _log.info("st8d stopped")
    return code


class _Reporter:
    """Tells the leader how a worker fares; see :class:`~st8.daemon.notify.Manager`."""

    def __init__(self, file: int, store_name: str, kind: str) -> None:
        self._file = file
        self._facts = (store_name, kind)

    def ready(self, status: str) -> None:
        """Tell that requests are answered; the leader has a status of its own."""
        del status
        self._tell("ready", *self._facts)

    def reloading(self) -> None:
        """Tell nothing: the leader knows, since it has asked for it."""

    def stopping(self) -> None:
        """Tell nothing, as above."""

    def alive(self) -> None:
        """Tell that the loop turns."""
        self._tell("alive")

    def _tell(self, *words: str) -> None:
        with contextlib.suppress(OSError):  # the leader is gone
            os.write(self._file, json.dumps(words).encode() + b"\n")


class _Worker:
    """A worker, as the leader sees it.

    Attributes:
        number: 1 … N.
        process: Its process id.
        reports: Where it is heard.
        begun_s: When it was started.
        has_served: It was ready once.
        ready: It is, and is not reloading.
        reload_due: It has to reload when it is ready.
        alive: It has given a sign of life since the last one that was passed on.
    """

    def __init__(self, number: int, process: int, reports: int, lifeline: int) -> None:
        self.number = number
        self.process = process
        self.reports = reports
        self.begun_s = time.monotonic()
        self.has_served = False
        self.ready = False
        self.reload_due = False
        self.alive = False
        self._lifeline = lifeline
        self._unread = b""

    def read(self) -> Iterator[list[str]]:
        """Yield what it has told."""
        *lines, self._unread = (self._unread + os.read(self.reports, 4096)).split(b"\n")
        for line in lines:
            yield cast("list[str]", json.loads(line))

    def reload(self) -> None:
        """Have it reload, now or when it is ready."""
        self.reload_due = not self.ready
        if self.ready:
            self.ready = False
            self._signal(signal.SIGHUP)

    def let_go(self) -> None:
        """Tell it to stop."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Give back what this process has of it."""
        self.let_go()
        os.close(self.reports)

    def _signal(self, number: signal.Signals) -> None:
        # Nobody else has its process id as long as it has not been waited for.
        os.kill(self.process, number)


class _Leader:
    """Starts the workers, keeps them going, and passes on what it is told."""

    def __init__(
        self,
        settings: Settings,
        listeners: list[socket.socket],
        work: Callable[..., None],
    ) -> None:
        """Lead workers that ``work`` in processes of their own."""
        self._settings = settings
        self._listeners = listeners
        self._work = work
        self._notifier = Notifier(settings.systemd.notify_socket)
        self._status = f"listening on {', '.join(map(address_of, listeners))}"
        self._workers: dict[int, _Worker] = {}
        self._due_s = {1: 0.0}  # the first alone: what ails it would ail all
        self._served: set[int] = set()
        self._announced = False
        self._reloading = False
        self._stopping = False
        self._kill_at_s: float | None = None
        self._code = 0
        self._wake: tuple[int, int] = (-1, -1)

    def run(self) -> int:
        """Lead until all is over; return the exit code."""
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        for number in _SIGNALS:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        while self._workers or not self._stopping:
            self._start_those_due()
            self._listen()
            self._reap()
            if self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
                _log.error("workers that took too long to stop were killed")
                self._kill_all()
        return self._code

    # --- starting ---------------------------------------------------------------

    def _start_those_due(self) -> None:
        if self._stopping:
            return
        now_s = time.monotonic()
        for number in [n for n, due_s in self._due_s.items() if due_s <= now_s]:
            try:
                self._start(number)
            except OSError as error:
                self._due_s[number] = now_s + _APART_S
                _log.error("can't start a worker: %s", error.strerror)
            else:
                del self._due_s[number]

    def _start(self, number: int) -> None:
        """Fork a worker.

        Raises:
            OSError: The system has no room for one.
        """
        reports, tell = os.pipe()
        lifeline, hold = os.pipe()
        # What is there now is shared with the worker as long as nobody touches it.
        gc.collect()
        gc.freeze()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process = os.fork()
            if not process:
                for end in (reports, hold, *self._wake):
                    os.close(end)
                for worker in self._workers.values():
                    worker.close()
                self._be_a_worker(number, tell, lifeline, before)
        except OSError:
            os.close(reports)
            os.close(hold)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(tell)
            os.close(lifeline)
        self._workers[number] = _Worker(number, process, reports, hold)

    def _be_a_worker(
        self, number: int, reports: int, lifeline: int, signals: Iterable[int]
    ) -> NoReturn:
        """Do the work in this process, which was just forked, and end it."""
        code = 1
        anew = number in self._served
        try:
            signal.set_wakeup_fd(-1)
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            self._work(number, reports, lifeline, anew=anew)
            code = 0
        except UsageError as error:
            _complain(error.problems, log=anew)
        except St8Error as error:
            _complain([error.detail], log=anew)
        except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
            _log.exception("a worker met something unforeseen")
        finally:
            # What the leader still has to do is not this process's.
            os._exit(code)

    # --- listening ----------------------------------------------------------------

    def _listen(self) -> None:
        """Wait for something to happen, and do what it takes."""
        times = [self._kill_at_s] if self._stopping else self._due_s.values()
        due_s = min((at_s for at_s in times if at_s is not None), default=None)
        wait_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        by_file = {worker.reports: worker for worker in self._workers.values()}
        ready, _, _ = select.select([self._wake[0], *by_file], [], [], wait_s)
        for file in ready:
            if file == self._wake[0]:
                for number in os.read(file, 4096):
                    self._on_signal(signal.Signals(number))
            else:
                for words in by_file[file].read():
                    self._on_report(by_file[file], *words)

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and not self._stopping:
            self._reloading = True
            self._notifier.reloading()
            for worker in self._workers.values():
                worker.reload()
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._stopping:
                _log.warning("a second signal: st8d ends at once, as after a crash")
                self._code = 1
                self._kill_all()
            else:
                _log.info("st8d stops on a signal", extra={"signal": number.name})
                self._stop()

    def _on_report(self, worker: _Worker, word: str, *facts: str) -> None:
        if word == "ready":
            if not worker.has_served:
                _log.info(
                    "a worker is ready",
                    extra={"worker": worker.number, "pid": worker.process},
                )
            worker.ready = worker.has_served = True
            self._served.add(worker.number)
            if worker.reload_due:
                worker.reload()
            self._on_ready(*facts)
        elif self._announced:  # nobody waits for it sooner
            worker.alive = True
            serving = [each for each in self._workers.values() if each.has_served]
            if all(each.alive for each in serving):
                self._notifier.alive()
                for each in serving:
                    each.alive = False

    def _on_ready(self, store_name: str, kind: str) -> None:
        if self._stopping:
            return
        if not self._announced:
            for number in range(2, self._settings.workers + 1):
                if number not in self._workers and number not in self._served:
                    self._due_s.setdefault(number, 0.0)
        if len(self._workers) < self._settings.workers:
            return
        if not all(worker.ready for worker in self._workers.values()):
            return
        if not self._announced:
            self._announced = True
            announce(self._settings, self._listeners, kind, store_name)
            self._notifier.ready(self._status)
        elif self._reloading:
            self._notifier.ready(self._status)
        self._reloading = False

    # --- ending -------------------------------------------------------------------

    def _reap(self) -> None:
        """Take leave of workers that have ended."""
        for worker in list(self._workers.values()):
            process, status = os.waitpid(worker.process, os.WNOHANG)
            if process:
                del self._workers[worker.number]
                worker.close()
                self._on_end(worker, os.waitstatus_to_exitcode(status))

    def _on_end(self, worker: _Worker, code: int) -> None:
        if self._stopping:
            # One that was told by the manager too may not have begun to listen.
            self._code = self._code or int(code not in (0, -signal.SIGTERM))
            return
        if not self._announced:
            self._code = code if code > 0 else 1
            if code < 0:
                _log.error(
                    "a worker was killed before st8d was ready",
                    extra={"worker": worker.number, "signal": _name(code)},
                )
            self._stop()
            return
        now_s = time.monotonic()
        self._due_s[worker.number] = max(now_s, worker.begun_s + _APART_S)
        ending = {"signal": _name(code)} if code < 0 else {"exit_code": str(code)}
        _log.error(
            "a worker has ended; another one takes its place",
            extra={"worker": worker.number, "pid": worker.process, **ending},
        )

    def _stop(self) -> None:
        """Have the workers finish what they have."""
        self._stopping = True
        self._notifier.stopping()
        for listener in self._listeners:
            listener.close()
        for worker in self._workers.values():
            worker.let_go()
        wait_s = self._settings.shutdown_timeout_s + CLOSE_GRACE_S + _KILL_GRACE_S
        self._kill_at_s = time.monotonic() + wait_s

    def _kill_all(self) -> None:
        self._kill_at_s = None
        for worker in self._workers.values():
            worker.kill()


def _complain(sentences: Iterable[str], *, log: bool) -> None:
    """Say why a worker can't start; in the ``log``, once st8d has begun to serve."""
    for sentence in sentences:
        if log:
            _log.error("a worker can't start: %s", sentence)
        else:
            sys.stderr.write(f"st8d: {sentence}\n")
            sys.stderr.flush()


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the number of the signal is in the pipe."""


def _name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return str(-code)
