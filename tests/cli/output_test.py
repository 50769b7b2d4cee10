"""What is written, and how it is kept from driving a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.cli.output import escaped, quoted


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
