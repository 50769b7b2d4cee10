"""What a user would otherwise do: the same documents in a plain git repository.

Git is taken by its fast side. Loading goes through ``fast-import``; a durable
commit goes through the plumbing (``update-index --stdin``, ``write-tree``,
``commit-tree``, ``update-ref``: four short processes, no look at the other files),
with ``core.fsync=all`` so that it promises what st8 promises; single documents are
read through one ``cat-file --batch`` that stays open. Automatic packing is off
while commits are timed; :meth:`Git.pack` says what it costs and saves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["Git", "present"]

_HEAD = "refs/heads/main"
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "st8",
    "GIT_COMMITTER_EMAIL": "st8@example.com",
    "LC_ALL": "C",
}


def present() -> bool:
    """Return whether git is installed."""
    return shutil.which("git") is not None


class Git:
    """A repository with a work tree that holds only what was written lately.

    Use it as a context manager, which ends the process that reads documents.
    """

    def __init__(self, folder: Path) -> None:
        """Make the repository in ``folder``."""
        self.folder = folder
        self._reader: subprocess.Popen[bytes] | None = None
        self._begun = False
        folder.mkdir(parents=True)
        self.run("init", "-q", "-b", "main")
        for name, value in (
            ("core.fsync", "all"),
            ("core.fsyncMethod", "fsync"),
            ("gc.auto", "0"),
            ("core.quotePath", "false"),
        ):
            self.run("config", name, value)

    def __enter__(self) -> Self:
        """Return the repository."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the reading process."""
        self.close_reader()

    def run(self, *arguments: str, given: bytes = b"", author: str = "st8") -> bytes:
        """Run one git command; return what it printed."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=os.environ | _ENVIRONMENT | {"GIT_AUTHOR_NAME": author},
            input=given,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"git {arguments[0]}: {done.stderr.decode()}")
        return done.stdout

    def head(self) -> str:
        """Return the name of the newest commit."""
        return self.run("rev-parse", _HEAD).decode().strip()

    # --- writing -------------------------------------------------------------

    def load(self, documents: Iterable[tuple[str, str]]) -> None:
        """Make the first commit of many documents, and an index of them."""
        importer = subprocess.Popen(
            ["git", "fast-import", "--quiet"],
            cwd=self.folder,
            env=os.environ | _ENVIRONMENT,
            stdin=subprocess.PIPE,
        )
        pipe = importer.stdin
        assert pipe is not None
        pipe.write(
            f"commit {_HEAD}\ncommitter st8 <st8@example.com> 0 +0000\n".encode()
        )
        pipe.write(b"data 4\nload\n")
        for key, content in documents:
            data = content.encode()
            pipe.write(f"M 100644 inline {key}\ndata {len(data)}\n".encode() + data)
            pipe.write(b"\n")
        pipe.close()
        if importer.wait():
            raise RuntimeError("git fast-import failed")
        self.run("read-tree", _HEAD)
        self._begun = True

    def commit(
        self,
        puts: Mapping[str, str],
        deletes: Iterable[str] = (),
        message: str = "apply",
        author: str = "st8",
    ) -> str:
        """Make a durable commit by plumbing; return its name."""
        paths = self._write(puts, deletes)
        self.run("update-index", "--add", "--remove", "-z", "--stdin", given=paths)
        tree = self.run("write-tree").decode().strip()
        return self.commit_tree(tree, message, author)

    def commit_porcelain(
        self,
        puts: Mapping[str, str],
        deletes: Iterable[str],
        message: str,
        author: str = "st8",
    ) -> None:
        """Make a durable commit as people do: ``git add`` and ``git commit``."""
        paths = self._write(puts, deletes)
        self.run(
            "add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul", given=paths
        )
        self.run("commit", "-q", "--allow-empty-message", "-m", message, author=author)

    def commit_tree(self, tree: str, message: str, author: str = "st8") -> str:
        """Make a commit of a tree that is there, and move the branch to it."""
        parents = ("-p", _HEAD) if self._begun else ()
        commit = self.run("commit-tree", tree, *parents, "-m", message, author=author)
        name = commit.decode().strip()
        self.run("update-ref", _HEAD, name)
        self._begun = True
        return name

    def _write(self, puts: Mapping[str, str], deletes: Iterable[str]) -> bytes:
        """Change the work tree; return the paths, each with NUL after it."""
        paths: list[str] = []
        for key in deletes:
            (self.folder / key).unlink(missing_ok=True)
            paths.append(key)
        for key, content in puts.items():
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
            paths.append(key)
        return b"".join(path.encode() + b"\0" for path in paths)

    def pack(self) -> None:
        """Pack everything, as ``git gc`` does."""
        self.close_reader()
        self.run("gc", "-q", "--prune=now")

    # --- reading -------------------------------------------------------------

    def get(self, commit: str, key: str) -> bytes:
        """Return one document through the process that stays open."""
        if self._reader is None:
            self._reader = subprocess.Popen(
                ["git", "cat-file", "--batch"],
                cwd=self.folder,
                env=os.environ | _ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        given, printed = self._reader.stdin, self._reader.stdout
        assert given is not None
        assert printed is not None
        given.write(f"{commit}:{key}\n".encode())
        given.flush()
        header = printed.readline().split()
        if header[-1] == b"missing":
            raise KeyError(key)
        return printed.read(int(header[2]) + 1)[:-1]

    def close_reader(self) -> None:
        """End the process that reads documents."""
        if self._reader is not None:
            self._reader.communicate()
            self._reader = None
