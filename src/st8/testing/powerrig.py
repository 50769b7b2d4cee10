"""Cuts the power of a store at any place, and looks at what is left.

A store works on a disk that is recorded (:mod:`~st8.testing.power_work`,
:mod:`~st8.testing.power_disk`). Then the record is cut at random places; for each, an
image of the disk is made as a loss of power may leave it, and opened by a fresh store.
It must hold what the store held after one of its transactions: the last that had
ended, or the one that was under way. Every record, node and content is hashed, links
and refs are followed, numbers are without gaps, SQLite finds nothing damaged, and all
that a client was told is there, and what was redacted is nowhere on the disk. The second life of a store begins with such an image::

    python -m st8.testing.powerrig --images 20000 --seed 42 --jobs 2

The seed decides everything; ``--only N`` has the N-th store of a run again. Exit code
1 and a list when anything is wrong.
"""

from __future__ import annotations

import argparse
import bisect
import os
import secrets
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core.errors import Corrupt, St8Error
from st8.store.sqlite import SqliteStore
from st8.testing.power_disk import Disk, place
from st8.testing.power_work import STATE, examine, fingerprint, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from st8.core.ports import Store
    from st8.testing.power_disk import Image
    from st8.testing.power_work import Found, Need, OpenStore, Recording

__all__ = ["Outcome", "main", "open_sqlite", "run"]

_IMAGES: Final = 4_000
"""Of each store, over its lives."""
_LIVES: Final = 2
_BURSTS: Final = 50
_FASTEST: Final = Path("/dev/shm")  # noqa: S108 - a file system in memory
_ENOUGH: Final = 20
"""After so many that are wrong a store is not looked at any further."""
_EVER: Final = 2**62


def open_sqlite(directory: Path, vfs: str | None, checkpoint_pages: int) -> Store:
    """Open the store as st8d does, but for its checkpoints."""
    return SqliteStore(directory, vfs=vfs, checkpoint_pages=checkpoint_pages)


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        stores: How many stores worked, ``lives`` counts them again after a loss.
        images: How many images were opened.
        notes: How many writes, syncs and names were recorded.
        transactions: How many transactions the stores made, ``acknowledged`` and
            ``refused`` how many writes.
        contents: How many images had a content that no other of their store had, and
            that was therefore examined.
        wrong: Everything that is not as it should be.
        kinds: How much there is of each kind of it.
        seconds: How much time of processors it took.
    """

    seed: int
    stores: int = 0
    lives: int = 0
    images: int = 0
    notes: int = 0
    transactions: int = 0
    acknowledged: int = 0
    refused: int = 0
    contents: int = 0
    wrong: list[str] = field(default_factory=list[str])
    kinds: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0

    def say(self, kind: str, sentence: str) -> None:
        """Note something that is wrong."""
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.wrong.append(f"{kind}: {sentence}")

    def add(self, other: Outcome) -> None:
        """Add what another part of the run did."""
        for name in (
            "stores",
            "lives",
            "images",
            "notes",
            "transactions",
            "acknowledged",
            "refused",
            "contents",
            "seconds",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        lines = [
            f"{self.stores} stores, {self.lives} lives, {self.transactions} transactions",
            f"{self.notes} writes, syncs and names recorded",
            f"{self.acknowledged} writes acknowledged, {self.refused} refused",
            f"{self.images} images, {self.contents} contents examined",
            f"{self.images / max(self.seconds, 1e-9):.0f} images/s of a processor's time",
            f"seed {self.seed}",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:_ENOUGH]),
            ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
            or "nothing wrong",
        ]
        return "\n".join(lines)


def run(
    *,
    images: int,
    seed: int,
    jobs: int = 1,
    only: int | None = None,
    open_store: OpenStore = open_sqlite,
    images_each: int = _IMAGES,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Open ``images`` images of stores whose power was lost; return what came of it.

    Args:
        images: How many, about.
        seed: Decides what is done.
        jobs: How many processes do it.
        only: The number of the one store that is wanted, from 0.
        open_store: Opens the store, also of images.
        images_each: How many images of each store.
        say: Is told how far it is.
    """
    total = Outcome(seed)
    stores = max(1, images // images_each)
    numbers = range(stores) if only is None else [only]
    each = images if stores == 1 else images_each
    work = partial(_store, seed=seed, images=each, open_store=open_store)
    with ExitStack() as stack:
        outcomes: Iterator[Outcome] = map(work, numbers)
        if jobs > 1:
            pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
            outcomes = stack.enter_context(pool).map(work, numbers)
        for count, outcome in enumerate(outcomes, 1):
            total.add(outcome)
            for sentence in outcome.wrong[:_ENOUGH]:
                say(f"WRONG: {sentence}")
            if count % 20 == 0:
                say(f"{total.images} images, {len(total.wrong)} wrong")
    return total


def _store(number: int, *, seed: int, images: int, open_store: OpenStore) -> Outcome:
    """Let one store work, and lose its power many times."""
    began = time.process_time()
    chance = Random(f"{seed}/{number}")  # noqa: S311 - not a secret
    outcome = Outcome(seed, stores=1)
    start: Image = {}
    for life in range(_LIVES):
        with ExitStack() as stack:
            roots = [
                Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_folder())))
                for _ in range(2)
            ]
            recording = record(roots[0], chance, start, _BURSTS, open_store)
            context = f"store {number}, life {life}"
            for sentence in recording.wrong:
                outcome.say("wrong at once", f"{context}: {sentence}")
            judge = _Judge(recording, roots[1], open_store, outcome, context)
            start = judge.cut(chance, images // _LIVES)
        if outcome.wrong:
            break  # what is wrong already is no place to begin
    outcome.seconds = time.process_time() - began
    return outcome


def _folder() -> Path | None:
    """Return where images are made: in memory, if there is a file system of it."""
    return _FASTEST if _FASTEST.is_dir() else None


class _Verdict(NamedTuple):
    """What is wrong with a content, wherever the power was lost.

    Attributes:
        damage: Why it is worth nothing; empty if it is whole.
        unmet: What it lacks, and in which range of places it must not.
    """

    damage: str
    unmet: list[tuple[int, int, str]]


class _Judge:
    """Looks at the images of one recording."""

    def __init__(
        self,
        recording: Recording,
        root: Path,
        open_store: OpenStore,
        outcome: Outcome,
        context: str,
    ) -> None:
        self._recording = recording
        self._root = root
        self._open_store = open_store
        self._outcome = outcome
        self._context = context
        self._verdicts: dict[bytes, _Verdict] = {}

    def cut(self, chance: Random, images: int) -> Image:
        """Cut the record at so many places; return one of the images."""
        recording = self._recording
        outcome = self._outcome
        outcome.lives += 1
        outcome.notes += len(recording.notes)
        outcome.transactions += len(recording.ended)
        outcome.acknowledged += recording.acknowledged
        outcome.refused += recording.refused
        ends = [len(recording.notes)] * 7 + [recording.opened]
        places = sorted(chance.randint(0, chance.choice(ends)) for _ in range(images))
        kept = chance.randrange(len(places) // 2, len(places))
        survivor: Image = {}
        disk = Disk(recording.start)
        taken = 0
        for number, where in enumerate(places):
            for note in recording.notes[taken:where]:
                disk.take(note)
            taken = where
            image = disk.image(chance)
            place(image, self._root)
            outcome.images += 1
            for since, trace in recording.traces:
                if since <= where and any(trace in data for data in image.values()):
                    what = f"what was redacted after {since} notes is on the disk"
                    outcome.say("leaked", f"{self._context}, cut after {where}: {what}")
                    break
            if number == kept:
                survivor = {path: bytes(data) for path, data in image.items()}
            self._look(where)
            if len(outcome.wrong) >= _ENOUGH:
                break
        outcome.contents += len(self._verdicts)
        return survivor

    def _look(self, where: int) -> None:
        """Open an image of a loss of power after ``where`` notes, and judge it."""
        context = f"{self._context}, cut after {where} notes"
        try:
            store = self._open_store(self._root / STATE, None, 1_000)
        except St8Error as error:
            self._outcome.say("unreadable", f"{context}: {error.detail}")
            return
        with closing(store):
            content, damage = fingerprint(self._root / STATE, check=True)
            if damage:
                self._outcome.say("corrupt", f"{context}: {damage}")
                return
            verdict = self._verdicts.get(content)
            if verdict is None:
                verdict = self._verdicts[content] = self._judge(store)
        if verdict.damage:
            self._outcome.say("corrupt", f"{context}: {verdict.damage}")
            return
        for since, until, what in verdict.unmet:
            if since <= where < until:
                self._outcome.say("lost", f"{context}: {what}")
                return
        unknown = any(a <= where <= b for a, b in self._recording.unknown)
        if content not in self._possible(where) and not unknown:
            self._outcome.say("half done", f"{context}: no transaction left this")

    def _possible(self, where: int) -> Sequence[bytes]:
        """Return what the store may hold if the power is lost after so many notes."""
        recording = self._recording
        done = bisect.bisect_right(recording.ended, where)
        begun = bisect.bisect_left(recording.begun, where)
        return recording.contents[done : max(done, begun) + 1]

    def _judge(self, store: Store) -> _Verdict:
        """Examine a content, and find what it lacks."""
        try:
            found = examine(store)
        except (Corrupt, St8Error) as error:
            return _Verdict(error.detail, [])
        unmet = [
            (
                need.since,
                _EVER if need.until is None else need.until,
                _lacks(need, found),
            )
            for need in self._recording.needs
            if found.values.get(need.at) != need.value
        ]
        unmet += self._gaps(found)
        return _Verdict("", unmet)

    def _gaps(self, found: Found) -> Iterator[tuple[int, int, str]]:
        """Yield numbers that are missing, and until where no collection explains it."""
        for namespace, last in found.last.items():
            for number in range(1, last + 1):
                if ("revision", namespace, str(number)) not in found.values:
                    removed = self._recording.removed.get((namespace, number), _EVER)
                    yield 0, removed, f"{namespace}: of {last} {number} is missing"
        for (namespace, number), since in self._recording.removed.items():
            if found.last.get(namespace, 0) < number:
                yield since, _EVER, f"{namespace}: {number} and later ones are missing"


def _lacks(need: Need, found: Found) -> str:
    kind, namespace, name = need.at
    return (
        f"{kind} {name!r} of {namespace} was acknowledged after {need.since} notes as "
        f"{_shown(need.value)}, and is {_shown(found.values.get(need.at))}"
    )


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m st8.testing.powerrig",
        description="Cut the power of a store at any place, and look at what is left.",
    )
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="processes that do it"
    )
    parser.add_argument("--only", type=int, help="the number of one store, from 0")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    _print(f"seed {seed}")
    outcome = run(
        images=options.images,
        seed=seed,
        jobs=options.jobs,
        only=options.only,
        say=_print,
    )
    _print(str(outcome))
    return 1 if outcome.wrong else 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
