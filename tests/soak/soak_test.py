"""A busy daemon stays what it was, and the rig that says so would notice a leak.

``make soak`` keeps one busy for eight hours.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from st8.testing.child import ST8D
from st8.testing.soak import Outcome, Sample, judge, run

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="it looks into /proc"
)

_MIB = 1 << 20
_STEADY = [
    Sample(60.0 * n, 80 * _MIB + n % 7, 20 + n % 2, 9, 2 * _MIB, 0.010, 500, 0.5)
    for n in range(60)
]
_LEAKS: dict[str, dict[str, float]] = {
    "memory": {"rss_bytes": _MIB},
    "descriptors": {"descriptors": 1},
    "threads": {"threads": 1},
    "wal": {"wal_bytes": 3 * _MIB},
    "p99": {"p99_s": 0.001},
}
"""What each sample has more than the one before it."""


def _soak(state_dir: Path, command: Sequence[str]) -> Outcome:
    return run(
        state_dir,
        seconds=3,
        interval_s=0.25,
        warm_up_s=1,
        seed=secrets.randbelow(2**32),
        watchers=30,
        writers=2,
        keep=5,
        command=command,
    )


def _bad(outcome: Outcome) -> set[str]:
    """Return what grew, of what a machine that is busy otherwise does not change."""
    bad = {row.what for row in outcome.rows if not row.good}
    return bad & {"samples", "descriptors", "threads", "wal"}


def test_a_busy_daemon_stays_what_it_was(tmp_path: Path) -> None:
    """Nothing is lost, and no descriptor or thread is left over."""
    outcome = _soak(tmp_path / "state", ST8D)

    assert [] == outcome.wrong, outcome
    assert set() == _bad(outcome), outcome
    assert min(outcome.acknowledged, outcome.reads, outcome.events) > 0
    assert outcome.collected > 0


def test_the_rig_finds_a_planted_leak(tmp_path: Path) -> None:
    """A daemon that loses a descriptor with each diff is convicted."""
    leaky = Path(__file__).parent / "leaky.py"
    outcome = _soak(tmp_path / "state", (sys.executable, str(leaky)))

    assert "descriptors" in _bad(outcome), outcome


@pytest.mark.parametrize("leak", _LEAKS)
def test_what_grows_is_convicted(leak: str) -> None:
    """Each measure has a limit, and growth of that alone breaks that alone."""
    [name, step] = next(iter(_LEAKS[leak].items()))
    growing = [
        sample._replace(**{name: getattr(sample, name) + n * step})
        for n, sample in enumerate(_STEADY)
    ]

    assert all(row.good for row in judge(_STEADY, 600))
    assert [leak] == [row.what for row in judge(growing, 600) if not row.good]


def test_what_fills_caches_is_no_leak() -> None:
    """Memory may grow until it has come to rest, if that is before half the time."""
    filling = [
        sample._replace(rss_bytes=sample.rss_bytes + min(n, 30) * _MIB)
        for n, sample in enumerate(_STEADY)
    ]

    assert all(row.good for row in judge(filling, 600))


def test_too_few_samples_are_no_verdict() -> None:
    """What was not measured is not called good."""
    assert [False] == [row.good for row in judge(_STEADY[:8], 300)]
