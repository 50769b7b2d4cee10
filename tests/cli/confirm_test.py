"""Questions at a terminal: what somebody who interrupts them is shown."""

from __future__ import annotations

import io
import sys

import pytest

from st8.cli.confirm import ask


class Interrupted(io.StringIO):
    """A terminal at which Ctrl-C is pressed as soon as the question is shown."""

    def flush(self) -> None:
        """Take the signal."""
        raise KeyboardInterrupt


def test_interrupted_while_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell shows next begins on a line of its own, however early."""
    shown = Interrupted()
    monkeypatch.setattr(sys, "stderr", shown)

    with pytest.raises(KeyboardInterrupt):
        ask("Delete it?")

    assert "Delete it? [y/N] \n" == shown.getvalue()
