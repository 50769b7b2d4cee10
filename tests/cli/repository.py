"""A git repository beside the namespace that it was exported from."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from st8.cli.git_names import unescaped
from st8.client import Select
from st8.core.errors import RevisionNotFound
from st8.core.revisions import parse_time
from st8.testing.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from random import Random

    from st8.client import Client

__all__ = ["commits_in", "compare", "compare_diffs", "git", "tree_of"]

_ENVIRONMENT: Final = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ops",
    "GIT_AUTHOR_EMAIL": "ops@example.com",
    "GIT_AUTHOR_DATE": "1767225600 +0100",
    "GIT_COMMITTER_NAME": "Ops",
    "GIT_COMMITTER_EMAIL": "ops@example.com",
    "GIT_COMMITTER_DATE": "1767225600 +0100",
}
_TYPES: Final = {"A": "create", "M": "update", "D": "delete"}


def git(directory: Path, *arguments: str) -> str:
    """Return what git prints."""
    done = subprocess.run(
        ["git", "-C", directory, *arguments],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env=_ENVIRONMENT,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def commits_in(repository: Path) -> dict[int, str]:
    """Return the commit of every revision, the newest first."""
    told = git(
        repository,
        *("log", "--all", "--format=%H %(trailers:key=St8-Revision,valueonly)"),
    )
    pairs = [line.split() for line in told.splitlines() if line]
    return {int(number): name for name, number in pairs}


def tree_of(repository: Path, commit: str) -> dict[str, str]:
    """Return the files of a commit, by the keys they are of."""
    names = git(repository, "ls-tree", "-r", "-z", "--name-only", commit)
    return {
        unescaped(name): git(repository, "show", f"{commit}:{name}")
        for name in names.split("\0")
        if name
    }


def compare(
    client: Client,
    repository: Path,
    number: int,
    commits: Mapping[int, str],
    state: Mapping[str, str],
) -> None:
    """Compare a revision with its commit: state, who, when, why, parents, changes."""
    commit = commits[number]
    for branch in client.branches():
        there = client.scope(branch=branch.name)
        try:
            [entry] = there.log(1, revision=number).entries
        except RevisionNotFound:
            continue
        break
    else:
        raise AssertionError(f"no branch has revision {number}")
    form = "%an%x00%at%x00%s%x00%P"
    author, when, subject, parents = git(
        repository, "show", "-s", f"--format={form}", commit
    ).split("\0")
    told = git(
        repository,
        *("diff-tree", "-r", "--root", "--no-renames", "--name-status", "-z", commit),
    )

    assert state == tree_of(repository, commit)
    assert entry.message.partition("\n")[0] == subject
    assert commits.get(entry.parent, "") == parents.strip()
    assert (entry.author.partition(" <")[0].strip("<") or "unknown") == author
    assert int(when) == parse_time(entry.created_at) // SECOND_NS
    assert {(c.key, c.type) for c in entry.changes} == _changes(told.partition("\0")[2])


def compare_diffs(
    client: Client,
    repository: Path,
    commits: Mapping[int, str],
    numbers: Collection[int],
    random: Random,
) -> None:
    """Compare the differences between each of ``numbers`` and some other revision."""
    for number in numbers:
        other = random.choice(list(commits))
        pages = client.diff_pages(
            source=Select(revision=number), target=Select(revision=other)
        )
        told = git(
            repository,
            *("diff", "--no-renames", "--name-status", "-z"),
            *(commits[number], commits[other]),
        )

        assert _changes(told) == {
            (change.key, change.type) for page in pages for change in page.changes
        }, (number, other)


def _changes(told: str) -> set[tuple[str, str]]:
    """Return keys and what became of them, by git's own list of names."""
    fields = told.split("\0")[:-1]
    return {
        (unescaped(path), _TYPES[status])
        for status, path in zip(fields[::2], fields[1::2], strict=True)
    }
