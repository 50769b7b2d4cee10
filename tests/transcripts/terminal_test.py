"""The terminal that transcripts are taken on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transcripts.terminal import on_terminal

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage


def test_shows_what_is_written(stage: Stage) -> None:
    """Output and errors are shown in their order, with the exit code."""
    stage.pipe("apply", "-v", "k=a\nb\n")

    assert (0, "a\nb\n") == stage.terminal("get", "k")
    assert (3, "error: key 'x' not found at revision 1\n") == stage.terminal("get", "x")


def test_a_prompt_that_never_comes() -> None:
    """A reply that waits for what is not shown fails, and says what was shown."""
    with pytest.raises(AssertionError, match="never shown: 'password'"):
        on_terminal("--version", replies=[("password", "x\n")])
