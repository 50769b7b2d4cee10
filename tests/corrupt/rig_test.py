"""The corruption rig, in its quick form, and the bugs that it has to find.

``make corrupt`` runs it at length.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from st8.testing.corruption import Image, Outcome, Specimen, Truth, main, run
from tests.corrupt.mutants import BUGS

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20260102
KINDS = (
    "zeroed page",
    "swapped pages",
    "old page",
    "truncated",
    "other content",
    "flip in the log",
    "no log",
)


def counted(outcome: Outcome, kind: str) -> dict[str, int]:
    """Return how many of a kind of damage were of each class."""
    return {name: n for (of, name), n in outcome.counts.items() if of == kind}


def test_no_damage_is_silent(tmp_path: Path) -> None:
    """Whatever bit is flipped and whatever page is lost, it is named or does no harm.

    What can't be told is the past: a log that is lost, and with it the last commits.
    """
    outcome = run(tmp_path, flips=2_000, images=49, seed=SEED)

    assert [] == outcome.wrong
    assert {"harmless": 1} == counted(outcome, "nothing")
    flips = counted(outcome, "flip")
    assert {"named", "harmless"} == set(flips)
    assert 2_000 == sum(flips.values())
    assert flips["named"] >= outcome.live > 50
    for kind in KINDS:
        assert 7 == sum(counted(outcome, kind).values())
    for kind in ("zeroed page", "truncated", "other content"):
        assert {"named": 7} == counted(outcome, kind)
    assert {"past": 7} == counted(outcome, "no log")
    assert {"named", "harmless"} >= set(counted(outcome, "swapped pages"))


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The rig fails on a daemon that skips a hash, or has rows outside the chain."""
    specimen = Specimen(tmp_path)
    BUGS[name](monkeypatch)
    outcome = Outcome(SEED)
    rng = Random(SEED)
    for number in range(600):
        image = specimen.image("other content", rng) if number % 8 == 0 else None
        image = image or specimen.flip(rng)
        outcome.add(image, specimen.judge(image))
        if outcome.wrong:
            return
    pytest.fail(f"the rig did not find {name}: {outcome}")


def test_a_seed_is_replayed(tmp_path: Path) -> None:
    """The same seed damages the same bytes of the same store."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = Specimen(tmp_path / "a"), Specimen(tmp_path / "b")

    assert one.data == other.data
    for kind in KINDS:
        image, same = (s.image(kind, Random(SEED)) for s in (one, other))
        # In every log SQLite has another salt.
        assert image._replace(log=b"") == same._replace(log=b"")
    assert one.flip(Random(SEED)) == other.flip(Random(SEED))


def test_a_wrong_store_is_wrong(tmp_path: Path) -> None:
    """What is whole and something else is silent; the rig tells it from harmless."""
    specimen = Specimen(tmp_path)
    earlier = Image("other", "", specimen.old[1])

    assert "silent" == specimen.judge(earlier).kind
    assert "past" == specimen.judge(earlier._replace(is_past=True)).kind
    assert isinstance(specimen.truth, Truth)


def test_it_is_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints seed, counts and result, and exits with 0 if nothing is wrong."""
    assert 0 == main(["--flips", "3", "--images", "2", "--seed", "5"])
    printed = capsys.readouterr().out

    assert printed.startswith("seed 5\nflip: ")
    assert printed.endswith("0 wrong\n")
