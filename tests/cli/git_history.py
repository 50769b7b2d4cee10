"""Exports a real configuration history to git, and compares the two.

Run as ``python -m tests.cli.git_history HISTORY``, or ``script/git-history``. HISTORY is
as ``bench/replay.py`` takes it. Every line becomes a revision, made when it was made;
``st8ctl export --git`` writes them into a repository, of which ``git fsck`` must have
nothing to say and ``git log`` must tell the same from the first to the last; at random
revisions state, author, time, message and changes are compared, and the difference to
another revision. Then ``st8ctl import --git`` replays the repository into another
namespace, which must have the same states. Prints seed, counts and result.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from bench.replay import Line, read_history, states_at
from st8.client import Client
from st8.core.documents import Document
from st8.core.ids import Author, Key, Message, Namespace, Scope
from st8.core.revisions import parse_time
from st8.engine.engine import Engine
from st8.engine.requests import Apply
from st8.store.sqlite import SqliteStore
from st8.testing.child import ChildDaemon
from st8.testing.clock import SECOND_NS, FakeClock
from tests.cli.repository import commits_in, compare, compare_diffs, git

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMESPACE: Final = "replay/history"
_ST8CTL: Final = Path(sys.executable).with_name("st8ctl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cli.git_history")
    parser.add_argument("history", type=Path, help="gzipped JSON lines")
    parser.add_argument("--limit", type=int, help="only so many lines")
    parser.add_argument("--revisions", type=int, default=50, help="to be compared")
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    _say(f"seed {seed}")
    lines = list(read_history(options.history, options.limit))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder / "state", lines)
        with ChildDaemon(folder / "state") as daemon:
            _export(daemon.url, folder / "repo")
            _compare(daemon.url, folder / "repo", lines, options.revisions, seed)
            _import(daemon.url, folder / "repo", lines, options.revisions, seed)
    _say("nothing differs")
    return 0


def _fill(directory: Path, lines: Sequence[Line]) -> None:
    """Make a revision of every line, at its time."""
    clock = FakeClock()
    scope = Scope(Namespace(_NAMESPACE))
    with closing(Engine(SqliteStore(directory), clock)) as engine:
        for line in lines:
            clock.set(parse_time(line.time))
            documents = [Document(Key(key), text) for key, text in line.puts.items()]
            engine.apply(
                Apply(
                    scope,
                    tuple(documents),
                    tuple(map(Key, line.deletes)),
                    Message(line.message),
                    Author(line.author),
                )
            )
    _say(f"{len(lines):,} revisions")


def _export(url: str, repository: Path) -> None:
    """Export everything; git must be content with it."""
    _st8ctl(url, "export", "--git", str(repository))
    assert "" == git(repository, "fsck", "--strict", "--full", "--no-progress")
    size = sum(path.stat().st_size for path in repository.rglob("*") if path.is_file())
    _say(f"exported, {size:,} bytes; git fsck finds nothing")


def _compare(
    url: str, repository: Path, lines: Sequence[Line], count: int, seed: int
) -> None:
    """Compare git's log with all lines, and some commits with their revisions."""
    random = Random(seed)
    commits = commits_in(repository)
    told = git(repository, "log", "--reverse", "--format=%an%x00%at%x00%s").splitlines()
    numbers = random.sample(sorted(commits), min(count, len(commits)))
    states = states_at(lines, set(numbers))

    assert [line.n for line in lines] == sorted(commits)
    assert [
        f"{line.author}\0{parse_time(line.time) // SECOND_NS}\0{line.message}"
        for line in lines
    ] == told
    with Client(url, namespace=_NAMESPACE) as client:
        for number in numbers:
            compare(client, repository, number, commits, states[number])
        compare_diffs(client, repository, commits, numbers, random)
    _say(f"git log agrees with all lines; {len(numbers)} revisions agree")


def _import(
    url: str, repository: Path, lines: Sequence[Line], count: int, seed: int
) -> None:
    """Replay the repository into another namespace, and compare some states."""
    _st8ctl(url, "import", "--git", str(repository), "--namespace", "back")
    numbers = Random(seed).sample(range(1, len(lines) + 1), min(count, len(lines)))
    with Client(url, namespace="back") as client:
        for number, state in states_at(lines, set(numbers)).items():
            assert state == dict(client.documents(revision=number)), number
        [last] = client.log(1).entries
        assert len(lines) == last.revision
    _say(f"imported again; {len(numbers)} states agree")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _st8ctl(url: str, *arguments: str) -> None:
    defaults = [] if "--namespace" in arguments else ["--namespace", _NAMESPACE]
    subprocess.run(
        [_ST8CTL, "--server", url, *arguments, *defaults],
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(main())
