"""No bytes, however odd, break what reads them.

``make fuzz`` goes on from here with atheris, which looks for bytes that take new ways
through the code. Here what has once been found is read again, and some hundreds of
forms that chance makes of it.
"""

from __future__ import annotations

import pytest

from st8.core import varint
from tests.fuzz.corpus import corpus_of, mutations
from tests.fuzz.targets import TARGETS

_MUTATIONS = 300


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_and_its_like_break_nothing(target: str) -> None:
    """A target raises for nothing in its corpus, nor for mutations of it."""
    corpus = corpus_of(target)
    assert corpus
    for data in [*corpus, *mutations(corpus, _MUTATIONS, seed=42)]:
        try:
            TARGETS[target](data)
        except Exception as error:
            raise AssertionError(f"add {data.hex()} to the corpus") from error


def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that takes a number for another one does not pass."""
    encode = varint.encode
    monkeypatch.setattr(varint, "encode", lambda value: encode(value | 1))
    first, *_ = corpus_of("node")
    with pytest.raises(AssertionError):
        TARGETS["node"](first)
