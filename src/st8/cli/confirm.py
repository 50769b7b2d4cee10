"""Questions to somebody at a terminal, before something is deleted."""

from __future__ import annotations

import sys

__all__ = ["ask", "can_ask"]


def can_ask() -> bool:
    """Return whether somebody is there: input, output and errors are a terminal."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def ask(question: str, *, default: bool = False) -> bool:
    """Return whether the answer is yes; only where :func:`can_ask`.

    Args:
        question: What is asked, shown on standard error.
        default: The answer of somebody who only presses return.
    """
    try:
        # Somebody may press Ctrl-C as soon as the first letter is shown.
        sys.stderr.write(f"{question} [{'Y/n' if default else 'y/N'}] ")
        sys.stderr.flush()
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise
    if not answer:  # the end of input, which answers nothing
        sys.stderr.write("\n")
        return False
    words = answer.strip().lower()
    return words in {"y", "yes"} or (default and not words)
