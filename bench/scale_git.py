"""The rows of :mod:`bench.scale` in a plain git repository with the same documents."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from bench.documents import content, documents, key
from bench.git import Git
from bench.measure import (
    disk_bytes,
    median_call_s,
    say,
    show_bytes,
    show_s,
    timed_s,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure import Report

__all__ = ["measure"]

_HISTORY = 100


class _Repository:
    """A repository with ``size`` documents and some commits of one document."""

    def __init__(self, folder: Path, size: int) -> None:
        self.git = Git(folder)
        self.size = size
        self.commits: list[str] = []
        self._chance = Random(1)
        self._version = 0
        self._names = 0

    def load(self) -> None:
        self.git.load(documents(self.size))

    def commit(self) -> None:
        self._version += 1
        number = self._chance.randrange(self.size)
        self.commits.append(
            self.git.commit({key(number): content(number, self._version)})
        )

    def branch(self) -> None:
        self._names += 1
        self.git.run("branch", f"branch-{self._names}", self.commits[0])

    def tag(self) -> None:
        self._names += 1
        self.git.run("tag", f"tag-{self._names}", self.commits[0])

    def rollback(self) -> None:
        """Commit an old tree again; the index, which has to follow, is apart."""
        self.git.commit_tree(f"{self.commits[0]}^{{tree}}", "rollback")

    def read_index(self) -> None:
        self.git.run("read-tree", "HEAD")

    def get(self, commit: str) -> None:
        number = self._chance.randrange(self.size)
        data = self.git.get(commit, key(number))
        assert data.startswith(f"service: service-{number}\n".encode())

    def get_old(self) -> None:
        self.get(self._chance.choice(self.commits))

    def diff(self, apart: int) -> None:
        self.git.run("diff-tree", "-r", self.commits[-1 - apart], self.commits[-1])


def measure(sizes: Sequence[int], folder: Path, calls: int, report: Report) -> None:
    """Add the table of git at ``sizes`` documents to ``report``."""
    columns = [_column(folder / f"git-{size}", size, calls) for size in sizes]
    report.add_table(
        f"git on the same documents, after {_HISTORY} commits "
        "(plumbing, core.fsync=all; each line but `get` is one or more processes)",
        ("", *(f"{size:,}" for size in sizes)),
        [(label, *(column[label] for column in columns)) for label in columns[0]],
    )


def _column(folder: Path, size: int, calls: int) -> dict[str, str]:
    """Return what each operation costs at one size."""
    say(f"git with {size:,} documents")
    repository = _Repository(folder, size)
    git = repository.git
    found = {"load (fast-import)": show_s(timed_s(repository.load))}
    before = disk_bytes(folder / ".git")
    times = [timed_s(repository.commit) for _ in range(_HISTORY)]
    grown = (disk_bytes(folder / ".git") - before) / _HISTORY
    few = max(1, calls // 5)
    for label, work, repeats in (
        ("branch", repository.branch, few),
        ("checkpoint (tag)", repository.tag, few),
        ("get 1 document at head", partial(repository.get, "HEAD"), calls),
        ("get 1 document at an old commit", repository.get_old, calls),
        (
            "all documents at an old commit (archive)",
            partial(git.run, "archive", "--format=tar", repository.commits[0]),
            1,
        ),
        ("diff of neighbours", partial(repository.diff, 1), few),
        ("diff of 90 commits apart", partial(repository.diff, 90), few),
        ("log of 20 with its keys", partial(git.run, "log", "-20", "--raw"), few),
        ("rollback (commit-tree)", repository.rollback, few),
        ("… and the index after it", repository.read_index, 1),
        (
            "a process that does nothing (git --version)",
            partial(git.run, "--version"),
            few,
        ),
    ):
        found[label] = show_s(median_call_s(work, repeats))
    found = {"apply 1 document": show_s(sorted(times)[len(times) // 2]), **found}
    found["disk growth a commit, loose"] = show_bytes(grown)
    loose = disk_bytes(folder / ".git")
    packing = timed_s(git.pack)
    found["git gc"] = show_s(packing)
    found["disk before / after it"] = (
        f"{show_bytes(loose)} / {show_bytes(disk_bytes(folder / '.git'))}"
    )
    return found
