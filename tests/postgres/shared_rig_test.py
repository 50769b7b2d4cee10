"""Daemons on one PostgreSQL lose nothing, and the rig that says so would notice.

``make crash-postgres`` does it a thousand times in all, ``script/crash-postgres --daemons 4``
with as many daemons as it is told. A failure prints the seed that plans the same again.
"""

from __future__ import annotations

import re
import secrets
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.postgres.server import PostgresServer
from tests.postgres.shared_rig import Outcome, Plan, run

pytestmark = pytest.mark.crash

_MUTANTS = Path(__file__).parent / "mutants.py"
_TRIES = 8


def _run(plan: Plan) -> Outcome:
    """Run on a server of its own: it is stopped."""
    with closing(PostgresServer()) as server:
        return run(server, plan, secrets.randbelow(2**32))


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(2, kills=2, stops=2, cuts=3), id="two, many branches"),
        pytest.param(
            Plan(4, kills=1, stops=1, cuts=1, one_branch=True), id="four, one branch"
        ),
    ],
)
def test_daemons_on_one_postgresql_lose_nothing(plan: Plan) -> None:
    """Kills, crashes and cuts: what was acknowledged is there once, the rest at most.

    Numbers have no gaps; one order explains what all clients saw, by the revisions and
    without them; and every digest holds.
    """
    outcome = _run(plan)

    assert [] == outcome.wrong, str(outcome)
    assert outcome.counts["writes acknowledged"] > 20


@pytest.mark.parametrize(
    ("bug", "plan", "finding"),
    [
        (
            "remember_heads",
            Plan(kills=0, stops=0, cuts=5, writers=0),
            "read below what was seen|no order explains",
        ),
        (
            "say_nothing_was_done",
            Plan(kills=0, stops=0, cuts=2, one_branch=True),
            "answered as not made",
        ),
    ],
)
def test_the_rig_finds_a_planted_bug(bug: str, plan: Plan, finding: str) -> None:
    """A daemon that is wrong about others, or about itself, does not survive the rig."""
    command = (sys.executable, str(_MUTANTS), bug)

    outcome = _run(replace(plan, command=command))
    for _ in range(_TRIES):
        if outcome.wrong:
            break
        outcome = _run(replace(plan, command=command))  # by chance nobody has looked

    assert re.search(finding, "\n".join(outcome.wrong)), str(outcome)
