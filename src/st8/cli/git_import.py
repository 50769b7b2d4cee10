"""A git history, replayed into a namespace commit by commit.

Of a branch the first parents are followed: a merge is the change that it brought. Each
revision says in its message which commit it was, so an import that is begun again goes
on behind what is there, also when the repository has grown.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.cli import git
from st8.cli.git_names import unescaped
from st8.cli.progress import Progress
from st8.core import limits
from st8.core.errors import CheckpointExists, Conflict, InvalidInput, NotFound
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from st8.client import Client

__all__ = ["Imported", "Importer"]

_COMMIT: Final = "Git-Commit"
_PART: Final = "Git-Commit-Part"
_SAYS: Final = re.compile(
    rf"\n?({_COMMIT}|{_PART}): ([0-9a-f]{{40,64}})(?: \(\d+\))?\Z"
)
_TRAILER: Final = re.compile(r"[A-Za-z0-9-]+: ")
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f-\x9f]+")
_FILE_MODES: Final = ("100644", "100755", "100664")
_MANY: Final = 50
"""More than so many commits take long enough to say so."""
_PART_BYTES: Final = limits.BODY_BYTES.maximum // 8
"""JSON may take six bytes for one, and there is more in a body than contents."""


class Imported(NamedTuple):
    """What was imported.

    Attributes:
        commits: Commits that were looked at.
        revisions: Revisions that were made.
        branches: Branches that were written to.
        checkpoints: Checkpoints that were made.
        left_out: Files that can't be documents, counted at each change.
        tags_left_out: Tags of commits that were not imported.
    """

    commits: int
    revisions: int
    branches: int
    checkpoints: int
    left_out: int
    tags_left_out: int


class _Commit(NamedTuple):
    """A commit of a branch, and the one that it follows there."""

    name: str
    parent: str | None


class _Change(NamedTuple):
    """A file that a commit changes; None for the object of one that is deleted."""

    path: str
    mode: str
    name: str | None


class _Tag(NamedTuple):
    name: str
    commit: str
    author: str
    description: str


class Importer:
    """Replays one repository into one namespace; used once."""

    def __init__(
        self, client: Client, directory: str, path: str, *, leave_out: bool
    ) -> None:
        """Look at the repository; nothing is written.

        Args:
            client: Of the namespace.
            directory: The repository, or a directory of it.
            path: What is imported, a directory in it; empty for all of it.
            leave_out: Go on without files that can't be documents.

        Raises:
            InvalidInput: It is no repository, or the path is not in it.
        """
        self._client = client
        self._leave_out = leave_out
        self._directory = directory
        if git.run(directory, "rev-parse", "--is-bare-repository") == b"false\n":
            self._directory = _root_of(directory)
        within = posixpath.normpath(path.strip("/"))
        self._path = "" if within == "." else within
        names = git.run(self._directory, "config", "--default", "", "st8.names")
        escaped = names.strip() == b"escaped"
        self._name: Callable[[str], str] = unescaped if escaped else str
        # Of commits branch and revision; revision 0 is nothing yet.
        self._known: dict[str, tuple[str, int]] = {}
        self._commits = self._revisions = self._left_out = 0

    def run(self, branch: str, *, every: bool) -> Imported:
        """Import what HEAD is at into a branch, or every branch and tag.

        Raises:
            InvalidInput: A file can't be a document, or there is nothing to import.
            Conflict: A branch has revisions that are not of this history, or a tag was
                moved since it was imported.
            St8Error: The daemon refuses something. What was imported stays.
        """
        branches = self._branches() if every else [(branch, self._tip("HEAD"))]
        tags = self._tags() if every else []
        written = 0
        found = False
        with git.Blobs(self._directory) as blobs:
            for name, tip in branches:
                chain = self._chain(tip)
                if chain:
                    found = True
                    written += bool(self._import_branch(name, chain, blobs))
        if not found:
            names = "any branch" if every else repr(branch)
            raise InvalidInput(f"no commit of {names} has anything in {self._path!r}")
        made = self._import_tags(tags)
        return Imported(
            self._commits,
            self._revisions,
            written,
            made,
            self._left_out,
            len(tags) - made,
        )

    # --- what there is ---------------------------------------------------------

    def _tip(self, ref: str) -> str:
        try:
            found = self._git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        except InvalidInput:
            raise InvalidInput(
                f"{self._directory!r} has no commit at {ref}; there is nothing to import"
            ) from None
        return found.strip()

    def _branches(self) -> list[tuple[str, str]]:
        """Return names and tips, the branch that is checked out first."""
        lines = self._git(
            "for-each-ref",
            "--format=%(HEAD)%(objectname) %(refname:lstrip=2)",
            "refs/heads",
        ).split("\n")[:-1]
        lines.sort(key=lambda line: line[0] != "*")
        pairs = [line[1:].split(" ", 1) for line in lines]
        if not pairs:
            raise InvalidInput(f"{self._directory!r} has no branch to import")
        return [(self._ref("branch", name), tip) for tip, name in pairs]

    def _tags(self) -> list[_Tag]:
        form = "%(refname:lstrip=2)%00%(objectname)%00%(*objectname)%00%(taggername)"
        found: list[_Tag] = []
        for line in self._git("for-each-ref", f"--format={form}", "refs/tags").split(
            "\n"
        ):
            if line:
                name, own, target, tagger = line.split("\0")
                text = ""
                if target:
                    text = self._git(
                        "for-each-ref", "--format=%(contents)", f"refs/tags/{name}"
                    ).strip()
                found.append(_Tag(self._ref("tag", name), target or own, tagger, text))
        return found

    def _ref(self, kind: str, name: str) -> str:
        """Return the name of a branch or tag as st8 has it.

        Raises:
            InvalidInput: It is not UTF-8.
        """
        data = name.encode(errors="surrogateescape")
        try:
            return self._name(data.decode())
        except UnicodeDecodeError:
            raise InvalidInput(
                f"the name of {kind} {data.decode(errors='replace')!r} is not UTF-8; "
                "rename it, or import without --all what is checked out"
            ) from None

    def _chain(self, tip: str) -> list[_Commit]:
        """Return the commits of a branch that change what is imported, oldest first.

        Raises:
            InvalidInput: What is imported is no directory there.
        """
        if self._path and self._is_file(tip):
            raise InvalidInput(
                f"{self._path!r} is a file; name the directory that it is in"
            )
        told = self._git("rev-list", "--first-parent", "--reverse", tip, *self._scope())
        names = told.split()
        # What a commit has there is compared with the one before it that is in the
        # list: to it alone nothing that is between them made a difference.
        return [*map(_Commit, names, [None, *names])]

    def _is_file(self, tip: str) -> bool:
        told = self._git("ls-tree", tip, "--", f":(top,literal){self._path}")
        return " blob " in told.partition("\t")[0]

    def _scope(self) -> tuple[str, ...]:
        """Return what tells git that only the path counts."""
        return ("--", f":(top,literal){self._path}") if self._path else ()

    # --- branches --------------------------------------------------------------

    def _import_branch(self, name: str, chain: list[_Commit], blobs: git.Blobs) -> int:
        """Import the commits of a branch; return its head, 0 if it has none."""
        there = self._client.scope(branch=name)
        head = self._find_done(there, chain)
        begin = 0
        for number, commit in enumerate(chain, 1):
            begin = number if commit.name in self._known else begin
        if head is None:
            head = 0
            if begin:
                at, head = self._known[chain[begin - 1].name]
                if head:
                    self._client.scope(branch=at).create_branch(name, revision=head)
        with Progress(f"importing {name}", len(chain), many=_MANY) as progress:
            for number, commit in enumerate(chain[begin:], begin):
                progress.at(number)
                head = self._import_commit(there, commit, head, blobs)
                self._known[commit.name] = (name, head)
                self._commits += 1
        return head

    def _find_done(self, there: Client, chain: list[_Commit]) -> int | None:
        """Learn what a branch has of a history; return its head, None for no branch.

        Raises:
            Conflict: Its head is of another history.
        """
        try:
            entries = list(there.history())
        except NotFound:
            return None
        if not entries:
            return None
        wanted = {commit.name: number for number, commit in enumerate(chain, 1)}
        done = 0
        revisions: dict[str, int] = {}
        for number, entry in enumerate(entries):
            said = _SAYS.search(entry.message)
            if said is not None and said[2] in wanted:
                revisions.setdefault(said[2], entry.revision)
                if said[1] == _COMMIT:
                    done = max(done, wanted[said[2]])
            elif not number:
                raise Conflict(
                    f"revision {entry.revision} of branch {there.branch!r} is not of "
                    "the history that is to be imported; choose another branch with "
                    "--branch, or another namespace"
                )
        # A commit that changed nothing is at the revision before it. What that was is
        # not known where it was collected.
        at = None if entries[-1].parent else 0
        for commit in chain[:done]:
            at = revisions.get(commit.name, at)
            if at is not None:
                self._known.setdefault(commit.name, (there.branch, at))
        return entries[0].revision

    def _import_commit(
        self, there: Client, commit: _Commit, head: int, blobs: git.Blobs
    ) -> int:
        """Apply what a commit changes, in parts if it is large; return the head."""
        author, message = _read_commit(blobs.read(commit.name)[1])
        parts = self._parts(commit, blobs)
        part = next(parts, None)
        number = 1
        while part is not None:
            following = next(parts, None)
            trailer = f"{_COMMIT}: {commit.name}"
            if following is not None:
                trailer = f"{_PART}: {commit.name} ({number})"
            documents, deletes = part
            done = there.apply(
                documents,
                deletes=deletes,
                message=_with_trailer(message, trailer),
                author=author,
                expect_revision=head,
            )
            self._revisions += not done.noop
            head = done.revision
            part, number = following, number + 1
        return head

    def _parts(
        self, commit: _Commit, blobs: git.Blobs
    ) -> Iterator[tuple[dict[str, str], list[str]]]:
        """Yield documents and keys to delete, as much as one apply may hold."""
        documents: dict[str, str] = {}
        deletes: list[str] = []
        size = 0
        for change in self._changes(commit):
            key, content = self._document(commit, change, blobs)
            if key is None:
                continue
            if content is None:
                deletes.append(key)
            else:
                documents[key] = content
            size += len(key) + len(content or "")
            count = len(documents) + len(deletes)
            if size >= _PART_BYTES or count == limits.APPLY_DOCUMENTS.maximum:
                yield documents, deletes
                documents, deletes, size = {}, [], 0
        if documents or deletes:
            yield documents, deletes

    def _changes(self, commit: _Commit) -> Iterator[_Change]:
        against = commit.parent
        if against is None:
            # Not --root, which says nothing of a merge: nothing is before it here.
            empty = self._git("hash-object", "-t", "tree", "--stdin")
            against = empty.strip()
        relative = (f"--relative={self._path}/",) if self._path else ("--no-relative",)
        raw = git.run(
            self._directory,
            *("diff-tree", "-r", "-z", "--no-renames", "--no-commit-id"),
            *(*relative, against, commit.name),
        )
        fields = iter(raw.split(b"\0"))
        # In pairs; what is behind the last one is empty.
        for meta, path in zip(fields, fields, strict=False):
            _, mode, _, name, status = meta.decode().split(" ")
            deleted = status == "D"
            key = path.decode(errors="surrogateescape")
            yield _Change(key, mode, None if deleted else name)

    def _document(
        self, commit: _Commit, change: _Change, blobs: git.Blobs
    ) -> tuple[str | None, str | None]:
        """Return key and content of a file; no content where it is to be deleted.

        And no key either where there can be no such document.

        Raises:
            InvalidInput: It can't be a document, and is not to be left out.
        """
        content, problem = None, ""
        try:
            key = Key(self._name(change.path))
        except InvalidInput as error:
            key, problem = None, error.detail
        if change.name is None:
            return key, None  # what could not be a document never was one
        if not problem:
            content, problem = _content(change, blobs)
        if problem and not self._leave_out:
            data = change.path.encode(errors="surrogateescape")
            shown = data.decode(errors="replace")
            raise InvalidInput(
                f"{shown!r} of commit {commit.name[:12]} can't be a document: "
                f"{problem}; --skip-unfit leaves such files out. What was imported "
                "before stays, and the next import goes on from there"
            )
        self._left_out += bool(problem)
        return key, content  # what it was before is not what it is now

    # --- tags ------------------------------------------------------------------

    def _import_tags(self, tags: list[_Tag]) -> int:
        """Make checkpoints; return how many.

        Raises:
            Conflict: One is there at another revision; all others were made.
        """
        made = 0
        moved: list[str] = []
        for tag in tags:
            try:
                made += self._import_tag(tag)
            except CheckpointExists:
                moved.append(tag.name)
        if moved:
            raise Conflict(
                f"checkpoint {moved[0]!r} already exists, and its tag names another "
                "commit now; delete it (st8ctl checkpoint delete) and import again. "
                "All else was imported"
            )
        return made

    def _import_tag(self, tag: _Tag) -> bool:
        """Make a checkpoint; return False for a tag of what was not imported."""
        branch, revision = self._known.get(tag.commit) or self._known_at(tag.commit)
        if not revision:
            return False
        self._client.scope(branch=branch).create_checkpoint(
            tag.name,
            revision=revision,
            description=_cut(tag.description, limits.MESSAGE_BYTES.maximum),
            author=_clean(tag.author),
        )
        return True

    def _known_at(self, name: str) -> tuple[str, int]:
        """Return where the newest commit is that a tag has of what is imported."""
        try:
            told = self._git(
                *("rev-list", "--first-parent", "-1", f"{name}^{{commit}}"),
                *self._scope(),
            )
        except InvalidInput:
            told = ""  # it is of a tree, or of a file
        return self._known.get(told.strip(), ("", 0))

    def _git(self, *arguments: str) -> str:
        return git.run(self._directory, *arguments).decode(errors="surrogateescape")


def _root_of(directory: str) -> str:
    """Return where paths are those of the repository that a directory is of.

    That is the top of its work tree, unless this is in another repository, or in none,
    as of one that keeps files of the home directory.
    """
    root = _told(directory, "--show-toplevel")
    own = _told(directory, "--absolute-git-dir")
    try:
        return root if _told(root, "--absolute-git-dir") == own else own
    except InvalidInput:
        return own


def _told(directory: str, what: str) -> str:
    return os.fsdecode(git.run(directory, "rev-parse", what)).removesuffix("\n")


def _content(change: _Change, blobs: git.Blobs) -> tuple[str | None, str]:
    """Return the content of a file, and why it can't be that of a document."""
    if change.mode not in _FILE_MODES:
        kind = "a submodule" if change.mode == "160000" else "a symbolic link"
        return None, f"it is {kind}"
    size, data = blobs.read(change.name or "", limits.CONTENT_BYTES.maximum)
    if size > limits.CONTENT_BYTES.maximum:
        return None, (
            f"it has {size:,} bytes, and {limits.CONTENT_BYTES.name} is "
            f"{limits.CONTENT_BYTES.maximum:,}"
        )
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        return None, "it is not UTF-8 text"


def _read_commit(data: bytes) -> tuple[str, str]:
    """Return author and message of a commit."""
    head, _, body = data.partition(b"\n\n")
    fields = dict(line.split(b" ", 1) for line in head.split(b"\n") if b" " in line)
    encoding = fields.get(b"encoding", b"utf-8").decode(errors="replace")
    who = fields.get(b"author", b"")  # which git itself never leaves out
    try:
        message = body.decode(encoding)
        author = who.decode(encoding)
    except (LookupError, ValueError):  # some codecs are not for texts
        message = body.decode(errors="replace")
        author = who.decode(errors="replace")
    person = author.rsplit(" ", 2)[0]
    return _clean(person.removesuffix(" <>").strip()), message.strip("\n")


def _clean(author: str) -> str:
    return _cut(_CONTROL.sub(" ", author), limits.AUTHOR_BYTES.maximum)


def _with_trailer(message: str, trailer: str) -> str:
    """Return a message with one more trailer, beside those that end it."""
    room = limits.MESSAGE_BYTES.maximum - len(trailer) - 2
    kept = _cut(message.replace("\0", ""), room)
    body, _, last = kept.rpartition("\n\n")
    gap = "\n" if body and all(map(_TRAILER.match, last.splitlines())) else "\n\n"
    return f"{kept}{gap}{trailer}" if kept else trailer


def _cut(text: str, size: int) -> str:
    """Return as much of a text as has ``size`` bytes."""
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= size else data[:size].decode(errors="ignore")
