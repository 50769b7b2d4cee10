"""Long answers on a terminal, shown through the pager that people are used to.

That is ``ST8_PAGER``, else ``PAGER``, else ``less -FRX``, if the terminal is not a dumb
one; ``cat`` or an empty one is none. A pager that can't be started is no reason to show nothing: the answer is
written as it is.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Final

from st8.cli import output

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator

    from st8.cli.flags import Flags

__all__ = ["paged"]

_DEFAULT: Final = "less -FRX"


@contextlib.contextmanager
def paged(flags: Flags) -> Generator[None]:
    """Show what is written in the block through the pager.

    As it is, where standard output is no terminal, ``--no-pager`` is given, or there
    is no pager. Leaving the block waits until the reader has seen enough; one who
    leaves early ends the block without an error.
    """
    words = [] if flags.no_pager or not output.on_terminal() else _command()
    process = _start(words)
    if process is None or process.stdin is None:
        yield
        return
    screen = sys.stdout
    sys.stdout = _Terminal(process.stdin, encoding="utf-8")
    try:
        yield
    except BrokenPipeError:
        pass  # enough was seen
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.close()
        sys.stdout = screen
        _wait(process)
    if process.returncode:
        output.note(f"the pager {words[0]!r} ended with {process.returncode}")


class _Terminal(io.TextIOWrapper):
    """The way into the pager, behind which the terminal is."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def _command() -> list[str]:
    """Return the words of the pager's command; none for no pager."""
    default = "" if os.environ.get("TERM") == "dumb" else _DEFAULT
    text = os.environ.get("ST8_PAGER", os.environ.get("PAGER", default))
    import shlex

    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return [] if words == ["cat"] else words


def _start(words: list[str]) -> subprocess.Popen[bytes] | None:
    """Return the running pager; None if there is none or it can't be started."""
    if not words:
        return None
    import subprocess

    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    try:
        return subprocess.Popen(  # noqa: S603 - the user's own choice
            words, stdin=subprocess.PIPE, env=environment
        )
    except (OSError, ValueError):
        return None


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait until the pager has ended; Ctrl-C is its business meanwhile."""
    while True:
        try:
            process.wait()
        except KeyboardInterrupt:
            continue
        return
