"""What takes long says so, on a terminal and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from st8.cli.progress import Progress, counted


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


class Gone(Terminal):
    """A terminal that nobody has open any more."""

    def write(self, text: str) -> int:
        """Fail."""
        raise OSError(5, text)


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line begins at once and is gone at the end."""
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())
    with Progress("reading files", 2_000) as progress:
        progress.at(1_500)

    shown = stderr.getvalue()
    assert shown.startswith("\r\x1b[Kreading files ...")
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown


def test_nothing_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, without a standard error, and for little, nothing is shown."""
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    assert [*range(2_000)] == list(counted("reading", range(2_000), 2_000))
    assert not pipe.getvalue()
    monkeypatch.setattr(sys, "stderr", few := Terminal())
    assert [*range(1_000)] == list(counted("reading", range(1_000), 1_000))
    assert not few.getvalue()
    monkeypatch.setattr(sys, "stderr", None)
    assert [*range(2_000)] == list(counted("reading", range(2_000), 2_000))


def test_terminal_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work goes on when the terminal is gone."""
    monkeypatch.setattr(sys, "stderr", Gone())

    assert [*range(2_000)] == list(counted("reading", range(2_000), 2_000))


def test_it_is_cleared_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is gone before an error is told."""
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())

    def fail() -> None:
        with Progress("writing", 2_000):
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert stderr.getvalue().endswith("\r\x1b[K")
