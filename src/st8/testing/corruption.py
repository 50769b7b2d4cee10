"""Damages a store, and looks whether anybody could take it for whole.

A small store with everything in it is made once. Then it is damaged, in one way at a
time, and judged: everything that can be read is compared with what it was, every state
is read through an engine, and it is verified::

    python -m st8.testing.corruption --flips 65536 --images 4096 --seed 42

The seed decides all of it. What is damaged is one of these:

*named*
    The verification has findings, or the store can't be opened, and it is said why.
*harmless*
    It has none, and all that can be read is what it was: the flipped bit was in room
    that nothing uses, or in what is only a hint.
*past*
    It has none, and every table that can be read is as it was at some moment: the log
    of the last commits is gone, or an old page was put back. Nobody can tell that by
    the store alone. Who expects the heads can, if one has moved, and that is tried.
*silent*
    It has none, and something is not what it was. There must be none of these.

And whatever was done, a read through the engine gives what is right or says that it is
damaged. It says of nothing that it is not there, unless the verification names damage.
Exit code 1 and a list when anything is wrong.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from st8.core.documents import Document
from st8.core.errors import (
    BranchNotFound,
    Corrupt,
    NotFound,
    RevisionCollected,
    RevisionNotFound,
    St8Error,
)
from st8.core.findings import Finding, Head
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    Scope,
    digest_of,
)
from st8.engine import pages
from st8.engine.engine import Engine
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteBranch,
    PutCheckpoint,
    Redact,
    Reset,
    Selector,
)
from st8.engine.verify import verify
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from st8.core.ports import Store

__all__ = ["Outcome", "Specimen", "Truth", "Verdict", "fill", "judge", "main", "run"]

Class = Literal["named", "harmless", "past", "silent"]

SHOP: Final = Scope(Namespace("shop/prod"), BranchName("main"))
HOME: Final = Scope(Namespace("default"), BranchName("main"))
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - faster than a disk, where it is there
_GONE: Final = {
    kind.code for kind in (BranchNotFound, RevisionNotFound, RevisionCollected)
}
_SHOWN: Final = 50
"""So many of what is wrong are told."""
_KINDS: Final = (
    "zeroed page",
    "swapped pages",
    "old page",
    "truncated",
    "other content",
    "flip in the log",
    "no log",
)


def fill(store: Store) -> Iterator[None]:
    """Make a small history with everything in it, and pause after each part of it.

    Branches of all kinds, checkpoints, answers, a redaction, revisions that were
    collected, and objects that nothing needs any more.
    """
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))

    def put(scope: Scope, contents: dict[str, str], key: str | None = None) -> None:
        documents = tuple(Document(Key(k), v) for k, v in contents.items())
        once = None if key is None else IdempotencyKey(key)
        engine.apply(
            Apply(scope, documents, message=Message("more"), author=Author("Ops"))
            if once is None
            else Apply(scope, documents, idempotency_key=once)
        )

    dev = HOME._replace(branch=BranchName("dev/ü"))
    put(HOME, {f"svc/{n:02d}.json": f'{{"replicas": {n}}}\n' * 4 for n in range(12)})
    for number in range(1, 6):
        put(HOME, {f"svc/{number:02d}.json": f"changed at {number}\n"}, f"key-{number}")
    put(HOME, {"password": "hunter2"})
    yield
    put(HOME, {"password": "in the vault"})
    engine.create_branch(CreateBranch(HOME, dev.branch, Selector(revision=3)))
    engine.put_checkpoint(
        PutCheckpoint(
            HOME, CheckpointName("v1"), Selector(revision=4), Message("as\nit was")
        )
    )
    put(dev, {"dev": "only here", "svc/07.json": ""})
    engine.redact(
        Redact(HOME, Key("password"), Selector(revision=7), Message("it leaked"))
    )
    for number in range(4):
        put(SHOP, {"limits.json": f'{{"max": {number}}}'}, f"shop-{number}")
    yield
    short = SHOP._replace(branch=BranchName("short"))
    engine.create_branch(CreateBranch(SHOP, short.branch))
    put(short, {"limits.json": "gone"})
    engine.delete_branch(DeleteBranch(short))
    engine.collect(keep=3)
    put(HOME, {"svc/01.json": "after the collection"}, "after")
    engine.put_checkpoint(PutCheckpoint(SHOP, CheckpointName("v1/ü")))
    yield
    engine.reset(Reset(HOME, Selector(checkpoint=CheckpointName("v1")), "rollback"))
    put(HOME, {"svc/11.json": "newest", "other": "x" * 500}, "newest")
    put(dev, {"dev": "newest"})
    engine.put_checkpoint(
        PutCheckpoint(HOME, CheckpointName("v1"), Selector(), replace=True)
    )
    engine._committer.close()  # noqa: SLF001 - the store stays open  # pyright: ignore[reportPrivateUsage]
    yield


# --- what is known of a store ---------------------------------------------------------


Dump = dict[str, Any]
"""All that can be read of a store."""


def _dump(store: Store, digests: Iterable[Digest]) -> Dump:
    """Return all that can be read of a store, without an engine; bytes unchecked."""
    found: Dump = {"redactions": list(store.redactions())}
    infos = found["namespaces"] = list(pages.namespaces(store))
    for name, _ in infos:
        numbers = list(pages.numbers(store, name))
        found[f"branches of {name}"] = list(pages.branches(store, name))
        found[f"checkpoints of {name}"] = list(pages.checkpoints(store, name))
        found[f"revisions of {name}"] = dict(store.revisions(name, numbers))
        found[f"newest of {name}"] = store.namespace(name).last_revision
    found["answers"] = list(pages.answers(store))
    found["objects"] = store.objects(list(digests))
    return found


class Truth(NamedTuple):
    """What a whole store has.

    Attributes:
        digests: All its objects, and perhaps others.
        dump: All that can be read of it.
        answers: What an engine answers, by the question.
        heads: The heads of its branches.
    """

    digests: set[Digest]
    dump: Dump
    answers: dict[str, Any]
    heads: list[Head]

    @classmethod
    def of(cls, store: Store, others: Iterable[Digest] = ()) -> Truth:
        """Read a store that is whole; it stays open."""
        digests = _digests(store).union(others)
        dump = _dump(store, digests)
        engine = Engine(store, FakeClock())
        answers = {name: ask() for name, ask in _questions(engine, dump).items()}
        engine._committer.close()  # noqa: SLF001 - see above  # pyright: ignore[reportPrivateUsage]
        heads = [
            Head(info.name, branch.name, branch.head, branch.head_digest)
            for info in dump["namespaces"]
            for branch in dump[f"branches of {info.name}"]
        ]
        return cls(digests, dump, answers, heads)


def _digests(store: Store) -> set[Digest]:
    held = store.held_objects(0, 1_000_000, 1 << 40)
    return {digest_of(one.data) for one in held if one.data is not None}


def _questions(engine: Engine, dump: Dump) -> dict[str, Callable[[], object]]:
    """Return all there is to ask of the store that ``dump`` is of."""
    questions: dict[str, Callable[[], object]] = {
        "namespaces": lambda: engine.namespaces(limit=100).items
    }

    def state(scope: Scope, selector: Selector) -> object:
        found = engine.state(scope, selector)
        return found.number, list(found.items())

    def one(scope: Scope, key: str) -> object:
        return engine.state(scope).get(Key(key))

    def log(scope: Scope) -> object:
        page = engine.log(scope, limit=100)
        return [(e.revision, list(e.changes.iter())) for e in page.entries]

    for name, _ in dump["namespaces"]:
        numbers = list(dump[f"revisions of {name}"])
        questions[f"branches of {name}"] = partial(_names, engine.branches, name)
        questions[f"checkpoints of {name}"] = partial(_names, engine.checkpoints, name)
        for checkpoint in dump[f"checkpoints of {name}"]:
            at = Scope(name, checkpoint.branch)
            questions[f"checkpoint {checkpoint.name} of {name}"] = partial(
                state, at, Selector(checkpoint=checkpoint.name)
            )
        for branch in dump[f"branches of {name}"]:
            scope = Scope(name, branch.name)
            questions[f"log of {scope}"] = partial(log, scope)
            for key in ("svc/07.json", "limits.json", "password", "none"):
                questions[f"{key} of {scope}"] = partial(one, scope, key)
            for number in numbers:
                if branch.since < number <= branch.head:
                    questions[f"{scope} at {number}"] = partial(
                        _or_error, state, scope, Selector(revision=number)
                    )
    return questions


def _names(read: Callable[..., Any], namespace: Namespace) -> object:
    return read(namespace, limit=100).items


def _or_error(ask: Callable[..., object], *args: object) -> object:
    """Return the answer, or which error there is: some revisions are of other branches."""
    try:
        return ask(*args)
    except NotFound as error:
        return error.code


# --- judging -----------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What a damaged store is.

    Attributes:
        kind: One of the classes of the module's text.
        live: Something that was read is not what it was, or could not be read.
        wrong: What must not be: reads that were wrong, errors that say nothing.
    """

    kind: Class
    live: bool
    wrong: list[str]


def judge(
    open_store: Callable[[], Store], truth: Truth, past: Sequence[Dump] = ()
) -> Verdict:
    """Judge a damaged store.

    Args:
        open_store: Opens it; not to change it.
        truth: What it had before it was damaged.
        past: What it had earlier, of the same objects.
    """
    wrong: list[str] = []
    try:
        store = open_store()
    except St8Error:
        return Verdict("named", live=True, wrong=wrong)
    with closing(store):
        found = _verified(store, wrong)
        seen = _seen(store, truth, wrong)
        is_past = seen is not None and seen != truth.dump and _is_past(seen, past)
        if is_past and _heads_moved(seen, truth) and not _expecting(store, truth):
            wrong.append("who expects the newest heads was not told")
        if not is_past:
            _ask(store, truth, wrong, named=bool(found))
    live = seen != truth.dump
    if found:
        return Verdict("named", live, wrong)
    if not live:
        return Verdict("harmless", live, wrong)
    return Verdict("past" if is_past else "silent", live, wrong)


def _verified(store: Store, wrong: list[str]) -> list[Finding]:
    """Return what a full verification finds."""
    try:
        return [e for e in verify(store, "it", full=True) if isinstance(e, Finding)]
    except St8Error as error:
        return [Finding(error.code, error.detail)]
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        wrong.append(f"verifying raised {error!r}")
        return []


def _is_past(seen: Dump, past: Sequence[Dump]) -> bool:
    """Return whether each part of what is seen is what it was at some moment."""
    return bool(past) and all(
        any(before.get(part, type(value)()) == value for before in past)
        for part, value in seen.items()
        if part != "objects"
    )


def _heads_moved(seen: Dump | None, truth: Truth) -> bool:
    """Return whether a branch is not where it was."""
    return any(
        value != (seen or {}).get(part)
        for part, value in truth.dump.items()
        if part.startswith("branches")
    )


def _expecting(store: Store, truth: Truth) -> bool:
    """Return whether somebody is told that the heads are not those of ``truth``."""
    events = verify(store, "it", expected=truth.heads)
    return any(isinstance(event, Finding) for event in events)


def _seen(store: Store, truth: Truth, wrong: list[str]) -> Dump | None:
    """Return what can be read, None if not all can."""
    try:
        return _dump(store, truth.digests)
    except St8Error:
        return None
    except Exception as error:  # noqa: BLE001 - see above
        wrong.append(f"reading raised {error!r}")
        return None


def _ask(store: Store, truth: Truth, wrong: list[str], *, named: bool) -> None:
    """Ask an engine all there is to ask; what is wrong joins ``wrong``."""
    try:
        engine = Engine(store, FakeClock())
    except St8Error:
        return
    except Exception as error:  # noqa: BLE001 - see above
        wrong.append(f"an engine raised {error!r}")
        return
    for name, ask in _questions(engine, truth.dump).items():
        try:
            answer = ask()
        except Corrupt:
            continue
        except Exception as error:  # noqa: BLE001 - see above
            answer = error
        expected = truth.answers[name]
        if answer != expected and not (named and _is_gone(answer, expected)):
            wrong.append(f"{name}: {answer!r:.200} and not {expected!r:.200}")
    engine._committer.close()  # noqa: SLF001 - see above  # pyright: ignore[reportPrivateUsage]


def _is_gone(answer: object, expected: object) -> bool:
    """Return whether an answer says that something is not there, and nothing else."""
    if isinstance(answer, list) and isinstance(expected, list):
        return all(item in cast("list[object]", expected) for item in answer)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(answer, str):
        return answer in _GONE
    return isinstance(answer, NotFound) or answer is None or answer == (0, [])


# --- the embedded store ----------------------------------------------------------------


class Image(NamedTuple):
    """A damaged store, as files; ``log`` is empty where it was closed."""

    kind: str
    what: str
    data: bytes
    log: bytes = b""
    is_past: bool = False


class Specimen:
    """A store in a file, whole.

    Attributes:
        folder: Where it is damaged.
        data: The file, closed.
        old: The file at earlier moments.
        log: The log of all commits, as a killed daemon leaves it.
        logged: The file beside that log.
        past: What the store had at earlier moments, and after each of these commits.
        truth: What it has.
    """

    def __init__(self, folder: Path) -> None:
        """Make it in an empty folder."""
        self.folder = folder
        self.old: list[bytes] = []
        store = SqliteStore(folder / "made")
        path = folder / "made" / FILE_NAME
        digests: set[Digest] = set()
        for _ in fill(store):
            digests |= _digests(store)
            shutil.copytree(path.parent, folder / "copy")
            SqliteStore(folder / "copy").close()
            self.old.append((folder / "copy" / FILE_NAME).read_bytes())
            shutil.rmtree(folder / "copy")
        self.logged = path.read_bytes()
        self.log = path.with_name(f"{FILE_NAME}-wal").read_bytes()
        self.truth = Truth.of(store, digests)
        store.close()
        self.data = self.old.pop()
        self._page = int.from_bytes(self.data[16:18], "big")
        self.past: list[Dump] = []
        images = [Image("", "", old) for old in self.old]
        images += [
            Image("", "", self.logged, self.log[:end]) for end in self._commits()
        ]
        for image in images:
            with suppress(St8Error), closing(self.open(image)) as before:
                self.past.append(_dump(before, self.truth.digests))

    def _commits(self) -> list[int]:
        """Return where the log ends after each commit; see SQLite's WAL format."""
        header, frame = 32, 24 + self._page
        ends = range(header + frame, len(self.log) + 1, frame)
        return [header] + [
            e for e in ends if any(self.log[e - frame + 4 : e - frame + 8])
        ]

    def open(self, image: Image) -> Store:
        """Open an image, only to be read.

        Raises:
            St8Error: It can't be.
        """
        directory = self.folder / "image"
        directory.mkdir(exist_ok=True)
        (directory / FILE_NAME).write_bytes(image.data)
        log = directory / f"{FILE_NAME}-wal"
        if image.log:
            log.write_bytes(image.log)
        else:
            log.unlink(missing_ok=True)
        return SqliteStore(directory, read_only=True)

    def flip(self, rng: Random) -> Image:
        """Return an image with a flipped bit, half of them where there is something."""
        data = bytearray(self.data)
        at = rng.randrange(len(data))
        if rng.random() < 0.5:  # noqa: PLR2004 - half
            while not data[at]:
                at = rng.randrange(len(data))
        bit = rng.randrange(8)
        data[at] ^= 1 << bit
        return Image("flip", f"bit {bit} of byte {at}", bytes(data))

    def image(self, kind: str, rng: Random) -> Image:
        """Return an image that is damaged in another way."""
        data, page = bytearray(self.data), self._page
        count = len(data) // page
        one, other = rng.randrange(count), rng.randrange(count)
        place, there = slice(one * page, one * page + page), slice(0, 0)
        match kind:
            case "zeroed page":
                data[place] = bytes(page)
                what = f"page {one + 1}"
            case "swapped pages":
                there = slice(other * page, other * page + page)
                data[place], data[there] = data[there], data[place]
                what = f"pages {one + 1} and {other + 1}"
            case "old page":
                number = rng.randrange(len(self.old))
                old = self.old[number]
                one = rng.randrange(len(old) // page)
                place = slice(one * page, one * page + page)
                data[place] = old[place]
                what = f"page {one + 1} of moment {number}"
                return Image(kind, what, bytes(data), is_past=True)
            case "truncated":
                at = rng.choice([one * page, rng.randrange(len(data))])
                del data[at:]
                what = f"at {at}"
            case "other content":
                what = self._replace_content(data, rng)
            case "flip in the log":
                log = bytearray(self.log)
                at, bit = rng.randrange(len(log)), rng.randrange(8)
                log[at] ^= 1 << bit
                what = f"bit {bit} of byte {at}"
                return Image(kind, what, self.logged, bytes(log), is_past=True)
            case _:
                return Image(kind, "", self.logged, is_past=True)
        return Image(kind, what, bytes(data))

    def _replace_content(self, data: bytearray, rng: Random) -> str:
        """Put another object, which is whole in itself, in the place of one."""
        directory = self.folder / "changed"
        directory.mkdir(exist_ok=True)
        (directory / FILE_NAME).write_bytes(data)
        store = SqliteStore(directory)
        held = store.held_objects(0, 10_000, 0)
        one, other = rng.sample([row.position for row in held], 2)
        store._writer.execute(  # noqa: SLF001 - behind its back  # pyright: ignore[reportPrivateUsage]
            "UPDATE objects SET data = (SELECT data FROM objects WHERE id = ?) "
            "WHERE id = ?",
            (other, one),
        )
        store.close()
        data[:] = (directory / FILE_NAME).read_bytes()
        shutil.rmtree(directory)
        return f"object {other} in the place of {one}"

    def judge(self, image: Image) -> Verdict:
        """Judge an image."""
        past = self.past if image.is_past else ()
        return judge(partial(self.open, image), self.truth, past)


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        counts: How many of each kind of damage were of each class.
        live: How many flips changed what can be read.
        wrong: What must not be; empty if all is well.
    """

    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    live: int = 0
    wrong: list[str] = field(default_factory=list[str])

    def add(self, image: Image, verdict: Verdict) -> None:
        """Count a verdict."""
        self.counts[image.kind, verdict.kind] += 1
        self.live += image.kind == "flip" and verdict.live
        problems = list(verdict.wrong)
        if verdict.kind == "silent":
            problems.append("silent: it is not what it was, and nothing says so")
        self.wrong += [f"{image.kind}, {image.what}: {how}" for how in problems]

    def __str__(self) -> str:
        """Return all of it, for people."""
        kinds = sorted({kind for kind, _ in self.counts})
        lines = [
            f"{kind}: "
            + ", ".join(
                f"{self.counts[kind, name]} {name}"
                for name in ("named", "harmless", "past", "silent")
                if self.counts[kind, name] or name == "silent"
            )
            for kind in kinds
        ]
        lines.append(f"flips that changed what can be read: {self.live}, all named")
        if self.wrong:
            lines[-1] = f"flips that changed what can be read: {self.live}"
        lines += [*self.wrong[:_SHOWN], f"{len(self.wrong)} wrong"]
        return "\n".join(lines)


def run(folder: Path, *, flips: int, images: int, seed: int) -> Outcome:
    """Damage a store in ``folder``, which is empty, and judge each time.

    ``images`` are damaged in other ways than by a flipped bit, each way as often.
    """
    rng = Random(seed)  # noqa: S311 - not for secrets
    specimen = Specimen(folder)
    outcome = Outcome(seed)
    pristine = Image("nothing", "", specimen.data)
    outcome.add(pristine, specimen.judge(pristine))
    for _ in range(flips):
        image = specimen.flip(rng)
        outcome.add(image, specimen.judge(image))
    for number in range(images):
        image = specimen.image(_KINDS[number % len(_KINDS)], rng)
        outcome.add(image, specimen.judge(image))
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it as a program; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m st8.testing.corruption",
        description="Damage a store again and again, and look who notices.",
    )
    parser.add_argument("--flips", type=int, default=65_536)
    parser.add_argument("--images", type=int, default=4_200)
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    where = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="st8-corruption-", dir=where))
    try:
        outcome = run(folder, flips=options.flips, images=options.images, seed=seed)
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
