"""The model finds what is planted: a rig that did not would prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from st8.engine import redact, redactions, watch, writes
from st8.testing.model import ModelError
from tests.engine.model_test import MemoryMachine

if TYPE_CHECKING:
    from collections.abc import Callable


class _Bug(NamedTuple):
    """Puts ``instead`` in the place of ``what`` in ``where``."""

    where: Any
    what: str
    instead: Callable[..., Any]


def _one_later(news: Any) -> Callable[..., Any]:
    return lambda refs, scope, after, *a, **o: news(refs, scope, after + 1, *a, **o)


_BUGS = {
    "a content comes back": _Bug(writes, "_check_contents", lambda *_: None),
    "a rollback brings it back": _Bug(writes, "_redacted_keys", lambda *_: []),
    "what is current is redacted": _Bug(redact.Search, "check", lambda _: None),
    "a mark says something else": _Bug(redactions, "mark_of", lambda _: b"gone\n"),
    "a watcher misses a revision": _Bug(
        watch, "read_news", _one_later(watch.read_news)
    ),
}


@pytest.mark.parametrize("bug", _BUGS)
def test_the_model_finds_a_planted_bug(
    bug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that has it does not survive some hundreds of histories."""
    where, what, instead = _BUGS[bug]
    monkeypatch.setattr(where, what, instead)
    if where is watch:
        monkeypatch.setattr("st8.engine.engine.read_news", instead)
    with pytest.raises((AssertionError, ModelError)):
        run_state_machine_as_test(
            seed(5)(type("Planted", (MemoryMachine,), {})),
            settings=settings(
                max_examples=300,
                stateful_step_count=60,
                database=None,
                phases=[Phase.generate],
            ),
        )
