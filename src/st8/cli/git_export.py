"""The history of a namespace as a git repository.

What can be reached from a branch or checkpoint is read newest first, as the daemon
tells it, and kept in a temporary file; then it is written oldest first, as ``git
fast-import`` wants it. A revision is a commit, a branch a branch, a checkpoint a tag.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from st8.cli import git
from st8.cli.ending import in_order
from st8.cli.git_names import Names, path_of, ref_of
from st8.cli.progress import Progress
from st8.core.errors import InvalidInput
from st8.core.revisions import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from st8.client import Branch, Checkpoint, Client, LogEntry
    from st8.core.documents import Change

__all__ = ["Exported", "export"]

_NS: Final = 1_000_000_000
_AT_ONCE: Final = 20
"""Revisions that are read at once, with their contents."""
_REF: Final = "refs/st8/export"
"""What commits are written to before branches point at them; gone in the end."""
_NAMED: Final = re.compile(r"([^<>]*?) *<([^<>]*)>")


class Exported(NamedTuple):
    """What was written.

    Attributes:
        revisions: Commits.
        branches: Branches.
        checkpoints: Tags.
        directory: Where.
        note: What could not be done beside that; empty for nothing.
    """

    revisions: int
    branches: int
    checkpoints: int
    directory: str
    note: str = ""


def export(client: Client, head: str, directory: str) -> Exported:
    """Write the history of the client's namespace as a repository.

    Args:
        client: Of any branch of the namespace.
        head: The branch that is checked out, if there is one of that name.
        directory: Where; it is not there yet, or empty. It is for its owner alone.

    Raises:
        InvalidInput: It can't be written there; nothing was.
        St8Error: The history can't be read; nothing was written.
    """
    directory = os.path.normpath(directory)
    if os.path.lexists(directory) and (
        not os.path.isdir(directory) or os.listdir(directory)
    ):
        raise InvalidInput(
            f"{directory!r} is there and not empty; name a directory that is not"
        )
    target = os.path.realpath(directory)
    if target == os.path.realpath("."):
        raise InvalidInput(
            f"{directory!r} is the current directory, which can't be replaced; name "
            "one in it"
        )
    try:
        with in_order():
            history, note = _write_whole(client, head, target)
    except OSError as error:
        raise InvalidInput(f"can't write {directory!r}: {error.strerror}") from None
    return Exported(
        len(history.parents),
        len(history.branches),
        len(history.checkpoints),
        directory,
        note,
    )


def _write_whole(client: Client, head: str, target: str) -> tuple[_History, str]:
    """Write the repository beside its place, and then put it there.

    Returns what was read, and what could not be done beside.
    """
    parent = os.path.dirname(target)
    made = tempfile.mkdtemp(prefix=".st8-export.", dir=parent)
    try:
        with tempfile.TemporaryFile(dir=parent) as file:
            history = _History(client, file)
            history.read()
            note = _Repository(made, history).write(head)
        os.replace(made, target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return history, note


class _History:
    """What is read of a namespace.

    Attributes:
        branches: Its branches, as they were when reading began.
        checkpoints: Its checkpoints, likewise.
        parents: Of every revision the one before it, where there is one.
        keys: Every key that a revision has.
    """

    def __init__(self, client: Client, file: IO[bytes]) -> None:
        self._client = client
        self._file = file
        self._offsets: dict[int, int] = {}
        self.branches: list[Branch] = []
        self.checkpoints: list[Checkpoint] = []
        self.parents: dict[int, int | None] = {}
        self.keys: set[str] = set()

    def read(self) -> None:
        """Read all that a branch or checkpoint leads to."""
        branches = self._client.branches()
        self.branches = [branch for branch in branches if branch.head]
        self.checkpoints = list(self._client.checkpoints())
        newest = max((branch.head for branch in self.branches), default=0)
        with Progress("reading revisions", newest) as progress:
            for branch in self.branches:
                there = self._client.scope(branch=branch.name)
                self._walk(there, progress, revision=branch.head)
            for checkpoint in self.checkpoints:
                self._walk(self._client, progress, checkpoint=checkpoint.name)

    def __iter__(self) -> Iterator[_Revision]:
        """Yield what was read, oldest first."""
        for number in sorted(self.parents):
            self._file.seek(self._offsets[number])
            yield _Revision(*json.loads(self._file.readline()))

    def _walk(
        self,
        client: Client,
        progress: Progress,
        *,
        revision: int | None = None,
        checkpoint: str | None = None,
    ) -> None:
        """Read back from a revision to one that is known, or to the end."""
        after: int | None = None
        last: LogEntry | None = None
        undone: dict[str, str | None] = {}
        while True:
            page = client.log(
                _AT_ONCE,
                after=after,
                revision=revision,
                checkpoint=checkpoint,
                contents=True,
            )
            for entry in page.entries:
                if last is not None:
                    # The log leaves out what a token may not see.
                    self._keep(last, entry.revision, _contents(last.changes))
                    if checkpoint is not None:
                        undone.update((c.key, c.before) for c in last.changes)
                last = entry
                if entry.revision in self.parents:
                    return
                progress.at(len(self.parents))
            if page.next is None:
                break
            after = page.next
        if last is None:
            return
        # What was before the first is nothing, or was collected.
        files = _contents(last.changes)
        if last.parent:
            if checkpoint is None:
                files.update(client.documents(revision=last.revision))
            else:
                # The branch that it was made on may be gone, and finds it no more.
                files.update(client.documents(checkpoint=checkpoint))
                files.update(undone)
        self._keep(last, None, files)

    def _keep(
        self, entry: LogEntry, parent: int | None, files: Mapping[str, str | None]
    ) -> None:
        self.parents[entry.revision] = parent
        self.keys.update(files)
        self._offsets[entry.revision] = self._file.seek(0, os.SEEK_END)
        kept = _Revision(
            entry.revision,
            parent,
            entry.message,
            entry.author,
            entry.created_at,
            entry.digest,
            dict(files),
        )
        self._file.write(json.dumps(kept).encode() + b"\n")


class _Revision(NamedTuple):
    """A revision as it is kept.

    Attributes:
        number: Its number.
        parent: The one before it, None where that is nothing, or was collected.
        message: Why it was made.
        author: By whom.
        created_at: When.
        digest: Its digest.
        files: Contents by key, None for what was deleted; of the one without parent
            all that it has.
    """

    number: int
    parent: int | None
    message: str
    author: str
    created_at: str
    digest: str
    files: dict[str, str | None]


def _contents(changes: Iterable[Change]) -> dict[str, str | None]:
    return {change.key: change.after for change in changes}


class _Repository:
    """A repository that is being written, by ``git fast-import``."""

    def __init__(self, directory: str, history: _History) -> None:
        """Learn how names are written."""
        self._directory = directory
        self._history = history
        self._paths = Names(map(path_of, history.keys))
        self._branches = Names(ref_of(branch.name) for branch in history.branches)
        self._tags = Names(ref_of(point.name) for point in history.checkpoints)

    def write(self, head: str) -> str:
        """Write all of it; return what could not be done beside.

        Raises:
            InvalidInput: Git can't.
        """
        git.run(self._directory, "init", "--quiet", "--template=")
        git.run(self._directory, "config", "st8.names", "escaped")
        branches = [branch.name for branch in self._history.branches]
        main = self._branches[ref_of(head)]
        git.run(self._directory, "symbolic-ref", "HEAD", f"refs/heads/{main}")
        with git.start(
            self._directory, "fast-import", "--quiet", "--done", "--date-format=raw"
        ) as process:
            # What it says is little, and comes at its end.
            with suppress(BrokenPipeError):
                self._stream(process.stdin)
            _, said = process.communicate()
        if process.returncode:
            raise git.failed(self._directory, "fast-import", said)
        git.run(self._directory, "update-ref", "-d", _REF)
        if head not in branches:
            return ""
        try:
            git.run(self._directory, "reset", "--quiet", "--hard")
        except InvalidInput as error:
            return f"the files of branch {head!r} were not written: {error.detail}"
        return ""

    def _stream(self, to: IO[bytes] | None) -> None:
        assert to is not None  # noqa: S101 - it was started with a pipe
        history = self._history
        with Progress("writing commits", len(history.parents)) as progress:
            for count, revision in enumerate(history):
                progress.at(count)
                self._write_commit(to, revision)
        for branch in history.branches:
            name = self._branches[ref_of(branch.name)]
            to.write(f"reset refs/heads/{name}\n".encode())
            to.write(f"from :{branch.head}\n\n".encode())
        for point in history.checkpoints:
            name = self._tags[ref_of(point.name)]
            who, when = _person(point.author), _seconds(point.created_at)
            to.write(f"tag {name}\nfrom :{point.revision}\n".encode())
            to.write(f"tagger {who} {when} +0000\n".encode())
            _write_data(to, f"{point.description or point.name}\n")
        to.write(b"done\n")

    def _write_commit(self, to: IO[bytes], revision: _Revision) -> None:
        when = _seconds(revision.created_at)
        if revision.parent is None:
            # Else it would follow the commit that was written before it.
            to.write(f"reset {_REF}\n\n".encode())
        to.write(f"commit {_REF}\nmark :{revision.number}\n".encode())
        for role in ("author", "committer"):
            to.write(f"{role} {_person(revision.author)} {when} +0000\n".encode())
        _write_data(
            to,
            f"{revision.message}\n\nSt8-Revision: {revision.number}\n"
            f"St8-Digest: {revision.digest}\n",
        )
        if revision.parent is not None:
            to.write(f"from :{revision.parent}\n".encode())
        for key, content in revision.files.items():
            path = self._paths[path_of(key)].replace('"', '\\"')
            if content is None:
                to.write(f'D "{path}"\n'.encode())
            else:
                to.write(f'M 100644 inline "{path}"\n'.encode())
                _write_data(to, content)
        to.write(b"\n")


def _write_data(to: IO[bytes], text: str) -> None:
    data = text.encode()
    to.write(b"data %d\n%b\n" % (len(data), data))


def _person(author: str) -> str:
    """Return an author as git wants one: a name, and an address that may be empty."""
    named = _NAMED.fullmatch(author)
    name, address = named.groups() if named else (re.sub("[<>]", "", author), "")
    return f"{name.strip() or 'unknown'} <{address.strip()}>"


def _seconds(created_at: str) -> int:
    return parse_time(created_at) // _NS
