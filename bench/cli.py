"""How long ``st8ctl`` takes from the shell, start of the interpreter included.

Against a running daemon, beside ``python3 -c pass``, which nothing in Python can
beat, and git doing the like: ``git show HEAD:file`` for a read, ``git add`` and
``git commit`` of the same files, made durable, for an apply::

    python bench/cli.py [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import git
from bench.documents import content, documents, key
from bench.git import Git
from bench.measure import Report, in_turns, say, show_s, timed_s
from st8.testing.child import ChildDaemon, call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DOCUMENTS = 100
_FILES = 10_000
_BAR = 7
_BARE = "python3 -c pass"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure st8ctl from the shell.")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    options = parser.parse_args(arguments)
    report = Report("Command line")
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), 7 if options.quick else 41, report)
    report.print()
    return 0


def measure(folder: Path, rounds: int, report: Report, *, files: int = _FILES) -> None:
    """Measure everything in turns and add it to ``report``."""
    with ChildDaemon(folder / "state") as daemon:
        bench = _Bench(folder, daemon, files)
        _measure_single(bench, rounds, report)
        _measure_directory(bench, min(rounds, 3), report)


class _Bench:
    """A daemon with documents, and a git repository with the same."""

    def __init__(self, folder: Path, daemon: ChildDaemon, files: int) -> None:
        """Fill both; ``files`` is how many a directory has."""
        connection = daemon.connect()
        body = {
            "documents": [{"key": k, "content": c} for k, c in documents(_DOCUMENTS)]
        }
        status, answer = call(connection, "POST", "/v1/apply", body)
        connection.close()
        assert status == 200, answer
        self.folder = folder
        self.files = files
        self.program = str(Path(sys.executable).with_name("st8ctl"))
        self.asking = (self.program, "--server", daemon.url)
        self.numbers = count(_FILES)
        self.git = git.present()
        if self.git:
            self.repository = Git(folder / "git")
            self.repository.load(documents(_DOCUMENTS))

    def apply_file(self) -> float:
        """Return how long an apply of one file takes that was changed."""
        path = self.folder / "one.yaml"
        path.write_text(content(next(self.numbers)), encoding="utf-8")
        return timed_s(partial(self._in_folder, "apply", "one.yaml"))

    def commit_file(self) -> float:
        """Return how long git takes to add and commit one file that was changed."""
        path = self.repository.folder / "one.yaml"
        path.write_text(content(next(self.numbers)), encoding="utf-8")
        return timed_s(partial(_commit, self.repository, "one.yaml"))

    def write_files(self, folder: Path) -> None:
        """Write the files of a directory."""
        for name, text in documents(self.files):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def apply_directory(self) -> float:
        """Return how long an apply of a directory takes, into an empty namespace."""
        scope = f"n{next(self.numbers)}"
        return timed_s(
            partial(self._in_folder, "apply", "-R", "files", "--namespace", scope)
        )

    def commit_directory(self, *, durable: bool = True) -> float:
        """Return how long git takes for the same in a new repository."""
        repository = Git(self.folder / f"git-{next(self.numbers)}")
        if not durable:
            repository.run("config", "core.fsync", "none")
        self.write_files(repository.folder)
        return timed_s(partial(_commit, repository, "."))

    def _in_folder(self, *args: str) -> None:
        subprocess.run(
            [*self.asking, *args], cwd=self.folder, check=True, capture_output=True
        )


def _measure_single(bench: _Bench, rounds: int, report: Report) -> None:
    """Measure commands about single documents, in turns."""
    asking = bench.asking
    commands: dict[str, tuple[str, ...]] = {
        _BARE: (sys.executable, "-c", "pass"),
        "st8ctl get KEY": (*asking, "get", key(7)),
        "st8ctl --help": (bench.program, "--help"),
        "st8ctl log": (*asking, "log"),
    }
    works: dict[str, Callable[[], float]] = {
        label: partial(timed_s, partial(_run, command))
        for label, command in commands.items()
    }
    works["st8ctl apply FILE"] = bench.apply_file
    assert content(7) == _run(commands["st8ctl get KEY"]).decode()
    if bench.git:
        show = partial(bench.repository.run, "show", f"HEAD:{key(7)}")
        works["git show HEAD:KEY"] = partial(timed_s, show)
        works["git add FILE, git commit"] = bench.commit_file
    say(f"{len(works)} commands, {rounds} rounds")
    times = in_turns(works, rounds)
    bare = times[_BARE]
    _add(
        report,
        f"Whole commands from the shell, {_DOCUMENTS} documents, medians of {rounds}",
        times,
        bare,
    )
    report.add_bar("st8ctl get / python3 -c pass", times["st8ctl get KEY"] / bare, _BAR)


def _measure_directory(bench: _Bench, rounds: int, report: Report) -> None:
    """Measure an apply of a directory, in turns."""
    bench.write_files(bench.folder / "files")
    works: dict[str, Callable[[], float]] = {
        _BARE: partial(timed_s, partial(_run, (sys.executable, "-c", "pass"))),
        "st8ctl apply -R DIR": bench.apply_directory,
    }
    if bench.git:
        works["git add ., git commit"] = bench.commit_directory
        works["git add ., git commit, no fsync"] = partial(
            bench.commit_directory, durable=False
        )
    say(f"{bench.files} files, {rounds} rounds")
    times = in_turns(works, rounds)
    _add(
        report,
        f"A directory of {bench.files:,} YAML files, new, medians of {rounds}",
        times,
        times[_BARE],
    )


def _add(report: Report, title: str, times: dict[str, float], bare: float) -> None:
    report.add_table(
        title,
        ("", "time", f"of `{_BARE}`"),
        [
            (f"`{label}`", show_s(took), f"{took / bare:.1f} times")
            for label, took in times.items()
        ],
    )


def _commit(repository: Git, path: str) -> None:
    """Add and commit as people do."""
    repository.run("add", path)
    repository.run("commit", "-q", "-m", "apply")


def _run(command: tuple[str, ...]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


if __name__ == "__main__":
    sys.exit(main())
