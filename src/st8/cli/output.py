"""What is written where: data to standard output, words to standard error.

Data leave as UTF-8 bytes whatever the terminal's encoding. Texts that came from
somewhere else (keys, messages, names) are written with their control characters
escaped, so that none can drive a terminal; contents of documents are written as
they are, as that is what ``get`` and ``diff`` are for. Colour is for terminals alone:
``NO_COLOR`` (https://no-color.org) and ``TERM=dumb`` turn it off.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from st8.client import Written
    from st8.core.documents import Change

__all__ = [
    "change_lines",
    "colored",
    "complain",
    "discard",
    "escaped",
    "flush",
    "note",
    "note_lines",
    "on_terminal",
    "paint",
    "quoted",
    "reset_text",
    "shown_content",
    "write",
    "write_bytes",
]

# Control characters, marks that turn the direction of text, separators of lines.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# As patterns, not compiled: most commands meet no such character.
_ESCAPED = f"[{_UNSAFE}]"
_ESCAPED_CONTENT = f"(?![\t\n])[{_UNSAFE}]"
_QUOTED = f'["\\\\{_UNSAFE}]'
_BYTE_MAX = 0xFF
_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def write(text: str) -> None:
    """Write ``text`` to standard output."""
    write_bytes(text.encode("utf-8", "backslashreplace"))


def write_bytes(data: bytes) -> None:
    """Write ``data`` to standard output, all of it, as it is."""
    rest = memoryview(data)
    out = _stdout().buffer
    while rest:
        # Unbuffered output may take a part only.
        rest = rest[out.write(rest) :]


def shown_content(text: str) -> str:
    """Return contents of documents as a terminal may show them; lines stay lines."""
    return re.sub(_ESCAPED_CONTENT, _escape, text)


def flush() -> None:
    """See that what was written is out.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        OSError: It can't be written.
    """
    _stdout().flush()


def discard() -> None:
    """Give up what was written and is not out yet; nobody wants it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _stdout().fileno())
    except (OSError, ValueError):
        pass  # not a real file; it has no reader to lose
    finally:
        os.close(nowhere)


def complain(message: str) -> None:
    """Write an error of one sentence to standard error."""
    note(f"error: {message}")


def note(message: str) -> None:
    """Write a sentence to standard error; a standard error nobody reads is fine."""
    note_lines(escaped(message) + "\n")


def note_lines(text: str) -> None:
    """Write lines to standard error as they are, for somebody to look at.

    Contents of documents go through :func:`shown_content` first.
    """
    try:
        if sys.stderr is not None:  # it is where nobody gave the process one
            sys.stderr.write(text)
            sys.stderr.flush()
    except OSError:
        pass


def colored() -> bool:
    """Return whether what is written may be in colour."""
    return (
        on_terminal()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def paint(text: str, style: str) -> str:
    """Return ``text`` in a colour, or in bold, where that may be; else as it is.

    Args:
        text: A part of a line, without what could drive a terminal.
        style: A name such as ``red`` or ``bold``.
    """
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colored() else text


def on_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return _stdout().isatty()


def _stdout() -> TextIO:
    """Return standard output.

    Raises:
        OSError: The process was started without one.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return sys.stdout


def escaped(text: str) -> str:
    r"""Return ``text`` with what could drive a terminal written as ``\x1b``."""
    return text if text.isprintable() else re.sub(_ESCAPED, _escape, text)


def quoted(text: str) -> str:
    r"""Return ``text`` in quotation marks, on one line, as Go's ``%q`` has it."""
    return f'"{re.sub(_QUOTED, _escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (
        f"\\x{code:02x}" if code <= _BYTE_MAX else f"\\u{code:04x}"
    )


def change_lines(changes: Iterable[Change]) -> str:
    """Return a line for each change: what happened, and the key."""
    return "".join(f"{c.type.upper()} {escaped(c.key)}\n" for c in changes)


def reset_text(verb: str, done: Written) -> str:
    """Return what a rollback or restore did: a sentence and the changes."""
    kept = "".join(
        f"Left {escaped(key)} as it is: what was there then is redacted.\n"
        for key in done.kept
    )
    if done.noop:
        return f"Already at requested state.\n{kept}"
    if done.dry_run:
        head = f"Would make {len(done.changes)} change(s); nothing was changed.\n"
    else:
        head = f"{verb} revision {done.revision}.\n"
    return head + kept + change_lines(done.changes)
