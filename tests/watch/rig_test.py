"""What watchers are told while everything around them breaks is all there is.

``python -m st8.testing.watching --events N --watchers W --seed S`` goes on for as long
as it is told; a failure prints the seed that plans the same run again.
"""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path

import pytest

from st8.testing.watching import Outcome, run

_EVENTS = 2_500
_MUTANTS = Path(__file__).parent / "mutants.py"


def _run_with_bug(bug: str, state_dir: Path) -> Outcome:
    return run(
        state_dir,
        events=1_500,
        watchers=15,
        seed=secrets.randbelow(2**32),
        command=(sys.executable, str(_MUTANTS), bug),
        rest_s=3,
    )


def test_watchers_are_told_all(tmp_path: Path) -> None:
    """Each revision once, in order and whole, or to read anew where that can't be.

    Streams break after any byte, in five ways; the daemon is killed and stopped;
    collections overtake watchers; branches are taken away and made anew.
    """
    outcome = run(
        tmp_path / "state",
        events=_EVENTS,
        watchers=20,
        seed=secrets.randbelow(2**32),
    )

    assert () == outcome.wrong, str(outcome)
    assert outcome.events >= _EVENTS
    assert outcome.cuts.total()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "finding"),
    [
        ("lose_one", "reliable|resumable|bookmarkable"),
        ("resume_at_the_known", "resumable"),
        ("register_after_the_snapshot", "reliable|resumable|bookmarkable"),
        ("silent_gap", "reliable|resumable|bookmarkable"),
    ],
)
def test_the_rig_finds_a_planted_bug(bug: str, finding: str, tmp_path: Path) -> None:
    """A daemon with a bug in its watches does not survive the rig."""
    said = ""
    for number in range(5):  # a run may end before the bug has shown
        said = str(_run_with_bug(bug, tmp_path / str(number)))
        if re.search(finding, said):
            break

    assert re.search(finding, said), said
