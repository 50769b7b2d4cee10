"""The content of a document as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.documents import content_bytes
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.limits import CONTENT_BYTES


@given(content=st.text(st.characters(codec="utf-8")))
def test_content_is_kept_byte_for_byte(content: str) -> None:
    """A content is its UTF-8, and nothing is trimmed, normalised or added."""
    assert content == content_bytes("k", content).decode()


@pytest.mark.parametrize("content", ["", "\0", "\r\n", "\ufeffx", "\u2028", " \n "])
def test_content_may_be_any_text(content: str) -> None:
    """Nothing, NUL, any line end and a byte order mark are content like any other."""
    assert content.encode() == content_bytes("k", content)


def test_content_with_a_lone_surrogate_is_refused() -> None:
    """What is no Unicode text is refused; the error names the key."""
    with pytest.raises(InvalidValue, match=r"content of 'a/b'.*lone surrogate"):
        content_bytes("a/b", "x\ud800")


def test_content_has_a_limit_in_bytes() -> None:
    """A content of 4 MiB is accepted; a byte more answers with the limit's name."""
    half = "é" * (CONTENT_BYTES.maximum // 2)

    assert CONTENT_BYTES.maximum == len(content_bytes("k", half))
    with pytest.raises(LimitExceeded, match="content_bytes_max is 4194304"):
        content_bytes("k", half + "x")
