"""Killing the daemon loses nothing, and the rig that says so would notice.

``make crash`` kills 10,000 times, ``script/crash --kills N --seed S`` as often as it is
told. A failure prints the seed that plans the same run again.
"""

from __future__ import annotations

import re
import secrets
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from st8.testing.killrig import Outcome, run

pytestmark = pytest.mark.crash

_KILLS = 40
_MUTANTS = Path(__file__).parent / "mutants.py"


def _run_with_bug(bug: str, state_dir: Path, *, kills: int) -> Outcome:
    return run(
        state_dir,
        kills=kills,
        seed=secrets.randbelow(2**32),
        command=(sys.executable, str(_MUTANTS), bug),
    )


def test_kills_lose_nothing(tmp_path: Path) -> None:
    """Acknowledged writes are there, others once at most, and every digest holds.

    Eight writers; revision numbers have no gaps, and one order explains what all
    clients saw.
    """
    outcome = run(tmp_path / "state", kills=_KILLS, seed=secrets.randbelow(2**32))

    assert () == outcome.wrong, str(outcome)
    assert _KILLS == outcome.kills
    assert outcome.acknowledged > _KILLS


@pytest.mark.parametrize(
    ("bug", "finding"),
    [
        ("acknowledge_before_commit", "and lost|found at None"),
        ("commit_in_two_parts", "is missing"),
        ("forget_idempotency_keys", "was made twice|answered as not made"),
    ],
)
def test_the_rig_finds_a_planted_bug(bug: str, finding: str, tmp_path: Path) -> None:
    """A daemon with a bug in its commit does not survive the rig."""
    outcome = _run_with_bug(bug, tmp_path / "state", kills=40)

    assert re.search(finding, "\n".join(outcome.wrong)), str(outcome)


def test_what_several_stores_went_through_adds_up() -> None:
    """Every count of an outcome is the sum of what was counted of each store."""
    one = Outcome(1, 1, 2, 3, 4, 5, 6, 7, 8, 9, ("a",))
    total = Outcome(1)

    total.add(one)
    total.add(replace(one, seed=2, wrong=("b",)))

    assert Outcome(1, 2, 4, 6, 8, 10, 12, 14, 16, 18, ("a", "b")) == total


def test_a_kill_does_not_show_a_missing_sync(tmp_path: Path) -> None:
    """The kernel keeps what was written: only a loss of power shows what was not synced.

    So this rig says nothing about fsync, and that is known.
    """
    outcome = _run_with_bug("never_sync", tmp_path / "state", kills=3)

    assert () == outcome.wrong, str(outcome)
