"""Replays a real configuration history through the HTTP API, and through git.

One line of the history is one revision, made over a keep-alive connection to a
daemon of its own with the author and message of the original; then states are
compared byte for byte with the source::

    python bench/replay.py [HISTORY] [--limit N] [--checks N] [--postgres]
        [--folder DIRECTORY]

HISTORY is gzipped JSON lines: ``n``, ``time``, ``author``, ``message``, ``puts``
(path → content) and ``deletes`` (paths). Git gets the same lines in the same chunks,
in turns: by its plumbing with ``core.fsync=all``, which promises what st8 does, and
by ``git add`` and ``git commit`` with the same setting, which is what people do. With
``--postgres`` a second daemon, on a PostgreSQL of its own, takes the place of git.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import statistics
import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import git
from bench.git import Git
from bench.measure import (
    Report,
    disk_bytes,
    median_call_s,
    say,
    show_bytes,
    show_s,
    timed_s,
)
from st8.store.codec import pack
from st8.testing.child import ChildDaemon, call
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SCOPE = {"namespace": "replay/history", "branch": "main"}
_CHUNKS = 12
_SEED = 20_260


class Line(NamedTuple):
    """One line of a history: what one commit changed."""

    n: int
    time: str
    author: str
    message: str
    puts: dict[str, str]
    deletes: list[str]


State = dict[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay and print; see the module."""
    options = _options(arguments)
    if options.history is None:
        say("no HISTORY is given, so nothing is replayed")
        return 0
    lines = list(read_history(options.history, options.limit))
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        title = f"Replay of {len(lines):,} commits of a real history"
        if options.postgres:
            report = Report(f"{title}, on PostgreSQL beside SQLite")
            with closing(PostgresServer()) as server:
                replay(lines, Path(name), options.checks, report, server)
        else:
            report = Report(title)
            replay(lines, Path(name), options.checks, report)
    report.print()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Replay a configuration history.")
    parser.add_argument(
        "history", type=Path, nargs="?", help="gzipped JSON lines; none, no replay"
    )
    parser.add_argument("--limit", type=int, help="only so many commits")
    parser.add_argument(
        "--postgres", action="store_true", help="PostgreSQL in place of git"
    )
    parser.add_argument("--checks", type=int, default=50, help="states to compare")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    return parser.parse_args(arguments)


def read_history(path: Path, limit: int | None = None) -> Iterator[Line]:
    """Yield the lines of a history."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, text in enumerate(file):
            if number == limit:
                return
            line = json.loads(text)
            yield Line(*(line[field] for field in Line._fields))


def states_at(lines: Sequence[Line], numbers: set[int]) -> dict[int, State]:
    """Return the states after some of the lines, from the source alone."""
    found: dict[int, State] = {}
    state: State = {}
    for line in lines:
        for path in line.deletes:
            del state[path]
        state.update(line.puts)
        if line.n in numbers:
            found[line.n] = dict(state)
    return found


def replay(
    lines: list[Line],
    folder: Path,
    checks: int,
    report: Report,
    server: PostgresServer | None = None,
) -> None:
    """Replay ``lines`` everywhere, check the states, and add tables to ``report``.

    Beside SQLite that is ``server`` if there is one, else git.
    """
    chance = Random(_SEED)
    last = len(lines)
    numbers = {chance.randint(1, last) for _ in range(checks)}
    states = states_at(lines, numbers | {1, last // 2, last})
    ways: dict[str, St8 | _Repository] = {"st8 over HTTP": St8(folder / "st8")}
    if server is not None:
        ways["st8 on PostgreSQL, over HTTP"] = St8OnPostgres(server)
    elif git.present():
        ways["git plumbing"] = _Repository(folder / "plumbing", porcelain=False)
        ways["git add, git commit"] = _Repository(folder / "porcelain", porcelain=True)
    times = _commit_in_turns(lines, ways)
    sizes = {name: way.size() for name, way in ways.items()}
    say(f"comparing {len(states)} states")
    for way in ways.values():
        way.check(states, last)
    reading = {name: way.read(states, last, chance) for name, way in ways.items()}
    _add_tables(lines, times, sizes, reading, report)
    report.add_remark(
        f"Compared byte for byte with the source: the states of {len(states)} "
        "revisions in st8, the last one among them"
        + (", and the last one in git." if server is None else ", in both stores.")
    )
    for way in ways.values():
        way.close()


def _commit_in_turns(
    lines: list[Line], ways: dict[str, St8 | _Repository]
) -> dict[str, list[float]]:
    """Return the seconds a commit of each chunk took, each way."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    size = max(1, -(-len(lines) // _CHUNKS))
    for start in range(0, len(lines), size):
        chunk = lines[start : start + size]
        say(f"commits from {start + 1}")
        for name, way in ways.items():
            found[name].append(timed_s(partial(way.commit, chunk)) / len(chunk))
    return found


def _add_tables(
    lines: list[Line],
    times: dict[str, list[float]],
    sizes: dict[str, dict[str, int]],
    reading: dict[str, dict[str, str]],
    report: Report,
) -> None:
    names = list(times)
    contents = {content.encode() for line in lines for content in line.puts.values()}
    packed = sum(len(pack(content)) for content in contents)
    median = {name: statistics.median(each) for name, each in times.items()}
    count = len(lines)
    report.add_table(
        "Commits, one after the other, each durable",
        ("", *names),
        [
            ("commits/s (median chunk)", *(f"{1 / median[n]:,.0f}" for n in names)),
            ("a commit", *(show_s(median[n]) for n in names)),
            (
                "of st8's time",
                *(f"{median[n] / median[names[0]]:.1f} times" for n in names),
            ),
        ],
    )
    report.add_table(
        f"Disk after {count:,} commits; their {len(contents):,} different contents "
        f"are {show_bytes(sum(map(len, contents)))}, "
        f"{show_bytes(packed)} with zstd one by one",
        ("", "total", "a commit", "a commit, beyond the contents with zstd"),
        [
            (
                f"{name}{state}",
                show_bytes(size),
                show_bytes(size / count),
                show_bytes((size - packed) / count),
            )
            for name in names
            for state, size in sizes[name].items()
        ],
    )
    report.add_table(
        "Reading, medians",
        ("", *names),
        [
            (label, *(reading[name].get(label, "") for name in names))
            for label in reading[names[0]]
        ],
    )


class St8:
    """A daemon with a state directory."""

    def __init__(self, folder: Path) -> None:
        """Start it on ``folder``."""
        self._folder = folder
        self._start(f"sqlite:{folder}")

    def _start(self, store: str) -> None:
        self._store = store
        self._daemon = ChildDaemon(None, "--store", store)
        self._connection = self._daemon.connect()

    def close(self) -> None:
        """Stop it."""
        self._connection.close()
        self._daemon.stop()

    def commit(self, lines: Sequence[Line]) -> None:
        """Apply lines, one revision each."""
        for line in lines:
            answer = self._call(
                "POST",
                "/v1/apply",
                {
                    "scope": _SCOPE,
                    "documents": [
                        {"key": key, "content": content}
                        for key, content in line.puts.items()
                    ],
                    "deletes": line.deletes,
                    "message": line.message,
                    "author": line.author,
                    "changes": "none",
                },
            )
            assert answer["revision"] == line.n, answer

    def size(self) -> dict[str, int]:
        """Return the disk it takes once it is stopped; starts it again."""
        self.close()
        size = self._bytes()
        self._start(self._store)
        return {"": size}

    def _bytes(self) -> int:
        return disk_bytes(self._folder)

    def check(self, states: dict[int, State], last: int) -> None:
        """Compare states byte for byte, and the head."""
        for number, state in states.items():
            assert self._state(revision=number) == state, f"state {number} differs"
        assert self._state() == states[last], "the last state differs"

    def read(
        self, states: dict[int, State], last: int, chance: Random
    ) -> dict[str, str]:
        """Return how long reads take, and a rollback, which is undone."""
        middle = last // 2
        timed = {
            "log of 20 with its keys": median_call_s(
                partial(self._get, "/v1/log", limit=20, changes="keys"), 9
            ),
            "diff first..last": median_call_s(partial(self._diff, 1, last), 9),
            "get 1 document at a random revision": _median(
                lambda: self._pick(states, chance), self._get_one, 60
            ),
            "all documents at a random revision": _median(
                lambda: (chance.choice(list(states)),),
                lambda number: self._state(revision=number),
                20,
            ),
            "rollback to the middle, with its changes": timed_s(
                partial(self._rollback, middle)
            ),
        }
        assert self._state() == states[middle], "the rollback differs"
        return {label: show_s(seconds) for label, seconds in timed.items()}

    def _pick(self, states: dict[int, State], chance: Random) -> tuple[int, str]:
        number = chance.choice(list(states))
        return number, chance.choice(list(states[number]))

    def _get_one(self, number: int, key: str) -> None:
        found = self._get("/v1/state", revision=number, key=key)["objects"]
        assert list(found) == [key]

    def _diff(self, first: int, last: int) -> None:
        body = {
            "scope": _SCOPE,
            "from": {"revision": first},
            "to": {"revision": last},
        }
        assert self._call("POST", "/v1/diff", body)["changes"]

    def _rollback(self, number: int) -> None:
        body = {"scope": _SCOPE, "revision_id": number, "message": "to the middle"}
        assert not self._call("POST", "/v1/rollback", body)["noop"]

    def _state(self, **selector: int) -> State:
        state: State = self._get("/v1/state", **selector)["objects"]
        return state

    def _get(self, path: str, **query: int | str) -> Any:
        return self._call("GET", f"{path}?{urlencode({**_SCOPE, **query})}")

    def _call(self, method: str, target: str, body: object = None) -> Any:
        status, answer = call(self._connection, method, target, body)
        assert status == 200, answer
        return answer


class St8OnPostgres(St8):
    """A daemon with a store in PostgreSQL."""

    def __init__(self, server: PostgresServer) -> None:
        """Start it on a schema of ``server`` that is its own."""
        self._server = server
        self._start(server.url("replay"))

    def _bytes(self) -> int:
        """Return what its tables and indexes take, without the server's log."""
        [(size,)] = self._server.run(
            "VACUUM",
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class "
            "WHERE relnamespace = 'replay'::regnamespace AND relkind = 'r'",
        )
        return int(size)


class _Repository:
    """A git repository."""

    def __init__(self, folder: Path, *, porcelain: bool) -> None:
        self._git = Git(folder)
        self._porcelain = porcelain
        self._commits: list[str] = []

    def close(self) -> None:
        self._git.close_reader()

    def commit(self, lines: Sequence[Line]) -> None:
        """Commit lines, one commit each."""
        commit: Callable[..., object] = (
            self._git.commit_porcelain if self._porcelain else self._git.commit
        )
        for line in lines:
            commit(line.puts, line.deletes, line.message, line.author)

    def size(self) -> dict[str, int]:
        """Return the disk of the repository, without the work tree."""
        folder = self._git.folder / ".git"
        loose = disk_bytes(folder)
        self._git.pack()
        listed = self._git.run("rev-list", "--reverse", "HEAD").decode().split()
        self._commits = listed
        return {", loose": loose, ", after git gc": disk_bytes(folder)}

    def check(self, states: dict[int, State], last: int) -> None:
        """Compare the last state by git's own names of contents."""
        assert len(self._commits) == last
        listed = self._git.run("ls-tree", "-r", "-z", "HEAD").decode().split("\0")
        actual = {
            path: entry.split()[2]
            for entry, _, path in (line.partition("\t") for line in listed if line)
        }
        assert actual == {
            path: _blob_name(content) for path, content in states[last].items()
        }, "the last state in git differs"

    def read(
        self, states: dict[int, State], last: int, chance: Random
    ) -> dict[str, str]:
        """Return how long reads take, and a rollback."""
        run = self._git.run
        timed = {
            "log of 20 with its keys": median_call_s(
                partial(run, "log", "-20", "--raw"), 9
            ),
            "diff first..last": median_call_s(
                partial(run, "diff", self._commits[0], self._commits[last - 1]), 9
            ),
            "get 1 document at a random revision": _median(
                lambda: self._pick(states, chance), self._git.get, 60
            ),
            "all documents at a random revision": _median(
                lambda: (chance.choice(self._commits),),
                lambda commit: run("archive", "--format=tar", commit),
                20,
            ),
            "rollback to the middle, with its changes": timed_s(
                partial(self._rollback, self._commits[last // 2 - 1])
            ),
        }
        return {label: show_s(seconds) for label, seconds in timed.items()}

    def _pick(self, states: dict[int, State], chance: Random) -> tuple[str, str]:
        number = chance.choice(list(states))
        return self._commits[number - 1], chance.choice(list(states[number]))

    def _rollback(self, commit: str) -> None:
        before = self._git.head()
        self._git.run("read-tree", "-u", "--reset", commit)
        after = self._git.commit_tree(f"{commit}^{{tree}}", "to the middle")
        self._git.run("diff", before, after)


def _median(
    pick: Callable[[], tuple[Any, ...]], work: Callable[..., object], calls: int
) -> float:
    """Return the median time of ``work`` on different arguments."""
    arguments = [pick() for _ in range(calls)]
    return statistics.median(timed_s(partial(work, *some)) for some in arguments)


def _blob_name(content: str) -> str:
    data = content.encode()
    header = f"blob {len(data)}\0".encode()
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
