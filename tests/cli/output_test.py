"""What is written, and how it is kept from driving a terminal."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.cli.output import colored, escaped, paint, quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('plain/key ü 😀 \xa0 \\ "', None),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc\rd\0", "a\\nb\\tc\\rd\\x00"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u202eabc\u2066\u2028", "\\u202eabc\\u2066\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_escaped(text: str, expected: str | None) -> None:
    """Control characters, direction marks and line separators are escaped; no others."""
    assert (text if expected is None else expected) == escaped(text)


def test_quoted() -> None:
    """Quotation marks and backslashes are escaped too, so the end can be found."""
    assert '"say \\"hi\\"\\n\\\\"' == quoted('say "hi"\n\\')


@given(st.text())
def test_one_line(text: str) -> None:
    """Whatever the text, it stays on its line and can be encoded."""
    for shown in (escaped(text), quoted(text)):
        assert [shown] == (shown.splitlines() or [""])
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
        assert shown == shown.encode().decode()


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "0"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour(
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    environment: dict[str, str],
    expected: bool,
) -> None:
    """Colour is for terminals, unless NO_COLOR or TERM=dumb says not."""
    for name, value in {"TERM": "xterm", "NO_COLOR": "", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal() if terminal else io.StringIO())

    assert expected == colored()
    assert ("\x1b[31mx\x1b[0m" if expected else "x") == paint("x", "red")
