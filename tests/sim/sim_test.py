"""Whole daemons lose nothing in worlds that one seed decides, each to be had again.

``make simulate`` runs thousands, ``script/simulate --seeds N --seed S`` as many as it is
told. A failure prints its seed and the end of its trace; ``run(seed)`` is the same run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from st8.core.ports import CommitTimes
from st8.engine import choice, collect
from st8.engine.commit import Committer
from st8.engine.draft import Draft
from st8.engine.engine import Engine
from st8.engine.history import history
from st8.engine.integers import Integers
from st8.engine.refs import Refs
from st8.store.memory import MemoryStore
from st8.testing.sim import Host, Stuck, World
from st8.testing.simrig import Outcome, run
from st8.testing.simstore import Seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ids import Namespace
    from st8.core.ports import Batch, Pointers

_SEEDS = range(100)
_EMBEDDED = range(1, 5)
_PLANTED = range(4, 40)
"""From the first world on in which somebody collects, backs up and redacts."""


@cache
def _world(seed: int, *, embedded: bool = False) -> Outcome:
    """Return what came of a world, for tests that do not change the product."""
    return run(seed, embedded=embedded)


def test_nothing_is_lost_in_any_world() -> None:
    """What was acknowledged is there, the rest once at most, and one order explains all.

    Watchers are told each revision once and in order, whatever went wrong before, and
    at once where nothing does. What collections have removed was theirs to remove, a
    backup is the store of one moment, and what was redacted is served by nobody.
    """
    kinds: set[str] = set()
    done: Counter[str] = Counter()
    for seed in _SEEDS:
        outcome = _world(seed)
        kinds.add(outcome.kind)
        done.update(outcome.counts)

        assert () == outcome.wrong, str(outcome)
    assert {"alone", "workers", "apart"} == kinds
    assert all(done[deed] for deed in ("collected", "backups", "redactions"))


def test_nothing_is_lost_on_the_embedded_store() -> None:
    """The same of one daemon on SQLite, which crashes within its transactions, too."""
    for seed in _EMBEDDED:
        outcome = _world(seed, embedded=True)

        assert () == outcome.wrong, str(outcome)


def test_a_seed_is_the_same_run_in_another_process() -> None:
    """The digest of the trace depends on the seed alone, not on the hashes of names."""
    program = (
        "from st8.testing.simrig import run\n"
        "print(*(run(seed).digest for seed in (4, 7)))\n"
        "print(run(1, embedded=True).digest)"
    )
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
    )

    here = [*map(_world, (4, 7)), _world(1, embedded=True)]
    assert [outcome.digest for outcome in here] == done.stdout.split()


def test_other_seeds_are_other_runs() -> None:
    """Else the rig would look at one run again and again."""
    assert 5 == len({_world(seed).digest for seed in range(5)})


def _acknowledge_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say that a batch is durable, and write it a little later."""
    commit = Seat.commit

    def commit_later(self: Seat, batch: Batch) -> CommitTimes:
        self._world.thread(self.host, "later", partial(commit, self, batch))
        return CommitTimes(0.0, 0.0)

    monkeypatch.setattr(Seat, "commit", commit_later)


def _believe_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe in the head that is remembered, though others write."""
    peek = Refs.peek_branch
    monkeypatch.setattr(
        Refs, "peek_branch", lambda self, at, _=0.0: peek(self, at, 1e9)
    )


def _take_the_number_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit whatever has been committed since the batch was prepared."""
    commit = MemoryStore.commit

    def commit_blindly(self: MemoryStore, batch: Batch) -> CommitTimes:
        for name, (_, new) in batch.namespaces.items():
            batch.namespaces[name] = (self.namespace(name).last_revision, new)
        for at, (_, head) in batch.branches.items():
            batch.branches[at] = (self.branch(*at), head)
        return commit(self, batch)

    monkeypatch.setattr(MemoryStore, "commit", commit_blindly)


def _tell_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose what watchers are to be told."""
    monkeypatch.setattr(Committer, "tell", lambda *_: None)


def _forget_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a write again that was made, when its key is sent again."""
    monkeypatch.setattr(Draft, "answer", lambda *_: None)


def _keep_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep in memory what was redacted."""
    monkeypatch.setattr(Engine, "_forget_contents", lambda _: None)


def _mark_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep what branches hold."""
    monkeypatch.setattr(collect, "mark", lambda *_: Integers())


def _keep_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collect one of the revisions of each branch that are to stay."""
    monkeypatch.setattr(
        choice, "history", lambda refs, head, keep: history(refs, head, keep - 1)
    )


def _leave_out_a_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back up all branches but one."""
    pointers = MemoryStore.pointers

    def lacking(self: MemoryStore, namespace: Namespace | None) -> Pointers:
        found = pointers(self, namespace)
        return found._replace(branches=found.branches[1:])

    monkeypatch.setattr(MemoryStore, "pointers", lacking)


class _Bug(NamedTuple):
    plant: Callable[[pytest.MonkeyPatch], None]
    finding: str


_BUGS = {
    "acknowledge before commit": _Bug(_acknowledge_before_commit, "and lost"),
    "believe the head that was remembered": _Bug(
        _believe_the_head, "read below what was seen"
    ),
    "revision taken outside the lock": _Bug(
        _take_the_number_outside, "stored as|and lost|given twice"
    ),
    "a move that watchers are not told": _Bug(_tell_nobody, "not told at once"),
    "forget idempotency keys": _Bug(_forget_keys, "made twice|as not made"),
    "keep in memory what was redacted": _Bug(
        _keep_contents, "served after it was redacted"
    ),
    "sweep what branches hold": _Bug(_mark_nothing, "is missing"),
    "keep fewer revisions than asked for": _Bug(_keep_too_few, "should have stayed"),
    "leave a branch out of a backup": _Bug(_leave_out_a_branch, "lacks branches"),
}


@pytest.mark.parametrize("bug", _BUGS)
def test_the_rig_finds_a_planted_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that has it fails in one of the first worlds, and there each time."""
    _BUGS[bug].plant(monkeypatch)
    found = next(
        (outcome for outcome in map(run, _PLANTED) if _is_found(bug, outcome)), None
    )
    assert found is not None, bug
    again = run(found.seed)

    assert (found.digest, found.wrong) == (again.digest, again.wrong)
    assert f"seed {found.seed} " in str(found)
    assert any(line in str(found) for line in found.trace)


def _is_found(bug: str, outcome: Outcome) -> bool:
    return bool(re.search(_BUGS[bug].finding, "\n".join(outcome.wrong)))


def test_a_world_that_can_not_go_on_says_so() -> None:
    """A run that would wait for ever ends, and says for what."""

    async def wait(host: Host) -> Any:
        return await host.create_future()

    world = World(0)
    host = Host(world, "host")
    with pytest.raises(Stuck, match="nothing can go on"):
        world.run(host, wait(host))
    world.end()
