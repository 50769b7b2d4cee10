"""Runs ``st8ctl`` on a terminal of its own, with somebody who types.

The terminal has a fixed size, and the process finds it as its standard input, output
and error, and as its controlling terminal, so a pager or an editor finds it too.
Nothing waits for a time to pass: a reply is typed once the words before it are shown.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Reply = tuple[str, str | Callable[[], str]]

__all__ = ["CTRL_C", "CTRL_D", "Shown", "on_terminal", "plain_environment"]

CTRL_C = "\x03"
CTRL_D = "\x04"

# The terminal becomes the controlling one, as in a shell.
_PROGRAM = (
    sys.executable,
    "-c",
    (
        "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "from st8.cli.main import main; main()"
    ),
)
_HANGS_S = 60.0
_UNHEARD_S = 10.0


class Shown(NamedTuple):
    r"""What a terminal has shown, and how the command ended.

    Attributes:
        code: The exit code; negative where a signal ended it.
        text: All that was written, replies echoed, lines ending in ``\n``.
    """

    code: int
    text: str


def plain_environment(
    extra: Mapping[str, str] | None = None, home: Path | None = None
) -> dict[str, str]:
    """Return this process's environment without what changes ``st8ctl``.

    There is no pager, unless ``extra`` has one.

    Args:
        extra: Variables to set.
        home: The home folder, where the configuration file is looked for.
    """
    left_out = {"NO_COLOR", "PAGER", "LESS", "VISUAL", "EDITOR", "XDG_CONFIG_HOME"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and not name.startswith("ST8")
    }
    if home is not None:
        kept["HOME"] = str(home)
    return {**kept, "TERM": "xterm", "PAGER": "cat", **(extra or {})}


def on_terminal(
    *args: str,
    replies: Sequence[Reply] = (),
    env: Mapping[str, str] | None = None,
    home: Path | None = None,
    cwd: Path | None = None,
    columns: int = 80,
    rows: int = 24,
) -> Shown:
    r"""Run ``st8ctl`` with ``args`` on a terminal and return what it shows.

    Args:
        args: The arguments.
        replies: Pairs: once the terminal has shown the first, after what earlier
            pairs waited for, the second is typed; ``\n`` is the return key,
            :data:`CTRL_C` and :data:`CTRL_D` are these. What is not a text is
            called first, to change the world meanwhile, and returns it.
        env: Variables to set; see :func:`plain_environment`.
        home: The home folder.
        cwd: The working folder.
        columns: Width of the terminal.
        rows: Its height.

    Raises:
        AssertionError: What a reply waits for was never shown.
        TimeoutError: Nothing has happened for a minute.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with subprocess.Popen(
        [*_PROGRAM, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=plain_environment(env, home),
        cwd=cwd,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            shown = _converse(ours, replies)
            code = process.wait(_HANGS_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            os.close(ours)
    return Shown(code, shown)


def _converse(terminal: int, replies: Sequence[Reply]) -> str:
    """Read until nobody writes any more, typing each reply when it is due."""
    shown = ""
    data = b""
    left = list(replies)
    begin = 0
    typed = ""
    while True:
        while left and (at := shown.find(left[0][0], begin)) >= 0:
            words, reply = left.pop(0)
            begin = at + len(words)
            typed = reply if isinstance(reply, str) else reply()
            os.write(terminal, typed.encode())
        if typed == CTRL_C and not _answers(terminal):
            # A signal just before a read is seen only after it, so one presses again.
            os.write(terminal, typed.encode())
            continue
        more = _read(terminal, shown)
        if not more:
            break
        data += more
        shown = data.decode(errors="ignore").replace("\r\n", "\n")
        shown = shown.replace("^C^C", "^C")
    assert [] == left, f"never shown: {left[0][0]!r}; shown was {shown!r}"
    return shown


def _answers(terminal: int) -> bool:
    """Return whether something comes, or the end, before one loses patience."""
    return bool(select.select([terminal], [], [], _UNHEARD_S)[0])


def _read(terminal: int, shown: str) -> bytes:
    """Return what the terminal shows next; nothing if nobody writes any more."""
    ready, _, _ = select.select([terminal], [], [], _HANGS_S)
    if not ready:
        raise TimeoutError(f"nothing happens; shown was {shown!r}")
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the way a terminal says that nobody has it open
        return b""
