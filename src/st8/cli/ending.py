"""What a process does before it ends, where it is asked to and not killed."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["in_order"]

_NAMES: Final = ("SIGTERM", "SIGHUP")


class _Asked(BaseException):
    """The process is asked to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def in_order() -> Generator[None]:
    """Let what is within clean up behind itself when SIGTERM or SIGHUP comes.

    Then the process ends by that signal, as it would have without. A signal that is
    ignored, as by nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where there are no handlers to set
        return
    numbers = [
        number
        for name in _NAMES
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, _end)
    try:
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, signal.SIG_DFL)
    except _Asked as asked:
        signal.raise_signal(asked.number)
        raise  # where it does not end a process


def _end(number: int, _frame: FrameType | None) -> None:
    raise _Asked(number)
