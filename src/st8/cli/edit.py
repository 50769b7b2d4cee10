"""``st8ctl edit``: change one document in an editor."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import key_of
from st8.core.errors import HeadMoved, InvalidInput

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import Client, Written

__all__ = ["COMMAND"]

_EDITOR: Final = "vi"
_TRIES: Final = 5
"""How often it is applied anew because something else was changed meanwhile."""


@command("edit")
@click.argument("key")
@click.option("-m", "--message", metavar="TEXT", default="", help="Why it is made.")
@click.option("--author", metavar="NAME", default="", help="Who makes it.")
@click.option(
    "--no-validate",
    is_flag=True,
    help="Take .json, .yaml and .toml documents that do not parse.",
)
def edit(flags: Flags, key: str, message: str, author: str, no_validate: bool) -> None:
    """Change the document KEY in an editor, and apply what was changed.

    The editor is $VISUAL, $EDITOR or vi. A document that is not there begins empty.
    What was changed is shown. If somebody else has changed the document meanwhile,
    or it can't be applied, your text is kept and you are told where.
    """
    from st8.core.ids import Key

    key = Key(key_of(key))
    with flags.connect() as client:
        found = _read(client, key)
        draft = _Draft(key, found.content or "")
        try:
            content = draft.edited(validate=not no_validate)
            if content == (found.content or ""):
                done = None
            else:
                _show_diff(key, found.content, content)
                done = _apply(client, key, found, content, message, author)
        except BaseException:
            draft.keep()
            raise
    draft.remove()
    _show(flags, key, found.revision, done)


class _Found(NamedTuple):
    """A document as it was read.

    Attributes:
        revision: The head it was read at; 0 for none yet.
        content: Its content; None where it is not there.
    """

    revision: int
    content: str | None


def _read(client: Client, key: str) -> _Found:
    """Return the document of the head."""
    from st8.core.errors import KeyNotFound, NothingApplied

    try:
        revision = next(client.key_pages(key, page_size=1)).revision
    except NothingApplied:
        return _Found(0, None)
    try:
        return _Found(revision, client.get(key, revision=revision))
    except KeyNotFound:
        return _Found(revision, None)


def _apply(
    client: Client, key: str, found: _Found, content: str, message: str, author: str
) -> Written:
    """Apply the new content to the very document that was read.

    Where only other documents were changed meanwhile, it is applied on top of that.

    Raises:
        HeadMoved: The document was changed meanwhile.
    """
    revision = found.revision
    for tries_left in reversed(range(_TRIES)):
        try:
            return client.apply(
                {key: content},
                message=message,
                author=author,
                expect_revision=revision,
            )
        except HeadMoved:
            now = _read(client, key)
            if not tries_left or now.content != found.content:
                raise
            revision = now.revision
    raise AssertionError


def _show_diff(key: str, before: str | None, after: str) -> None:
    from st8.cli.changes import patch
    from st8.core.documents import Change
    from st8.core.ids import Key

    change = Change(Key(key), "create" if before is None else "update", before, after)
    terminal = sys.stderr is not None and sys.stderr.isatty()
    for text in patch([change], terminal=terminal):
        output.note_lines(text.removeprefix("\n"))


def _show(flags: Flags, key: str, revision: int, done: Written | None) -> None:
    from st8.cli.render import plain, record
    from st8.client import Written

    if done is None:
        done = Written(revision, (), noop=True)
    shown = done

    def text() -> str:
        if shown.noop:
            return f"No changes. {output.escaped(key)} stays as it is.\n"
        lines = output.change_lines(shown.changes)
        return f"Applied {len(shown.changes)} change(s) at revision {shown.revision}.\n{lines}"

    record(flags, plain(done), text)


class _Draft:
    """The text in the editor: a file that only its owner can read."""

    def __init__(self, key: str, content: str) -> None:
        """Write the file."""
        import tempfile

        # An editor that writes a new file in its place does so in a private folder.
        self._folder = tempfile.mkdtemp(prefix="st8ctl-")
        self._path = os.path.join(self._folder, f"document{_suffix(key)}")
        self._key = key
        self._content = content
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(self._path, flags, 0o600), "wb") as file:
            file.write(content.encode())

    def edited(self, *, validate: bool) -> str:
        """Return the text after it was edited.

        Raises:
            InvalidInput: The editor failed, or left what can't be a document.
        """
        from st8.cli.confirm import ask, can_ask

        while True:
            self._open_editor()
            try:
                return self._checked(validate=validate)
            except InvalidInput as error:
                if not can_ask():
                    raise
                output.complain(error.detail)
                if not ask("Open the editor again?", default=True):
                    raise click.Abort from None

    def _open_editor(self) -> None:
        import shlex
        import signal
        import subprocess

        name = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
        # Ctrl-C is for the editor; a handler, unlike SIG_IGN, is not inherited.
        before = signal.signal(signal.SIGINT, _leave_it)
        try:
            command = [*shlex.split(name), self._path]
            code = subprocess.call(command)  # noqa: S603 - the editor that was chosen
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InvalidInput(
                f"can't start the editor {name!r}: {reason}; name another one in "
                "$VISUAL or $EDITOR"
            ) from error
        finally:
            signal.signal(signal.SIGINT, before)
        if code:
            raise InvalidInput(
                f"the editor {name!r} ended with exit code {code}; nothing was changed"
            )

    def _checked(self, *, validate: bool) -> str:
        """Return the text in the file.

        Raises:
            InvalidInput: It can't be a document.
        """
        from st8.cli.files import Source, read_source
        from st8.cli.parsers import fault_of

        text = read_source(Source(self._key, self._path, 0))
        fault = fault_of(self._key, text) if validate else None
        if fault is not None and text != self._content:
            raise InvalidInput(f"{fault.at(self._key)} (--no-validate takes it)")
        return text

    def keep(self) -> None:
        """Leave the file if it was changed, and say where it is."""
        try:
            with open(self._path, "rb") as file:
                changed = file.read() != self._content.encode()
        except OSError:
            changed = False
        if changed:
            output.note(f"note: your text is kept in {self._path}")
        else:
            self.remove()

    def remove(self) -> None:
        """Remove the file."""
        import shutil

        shutil.rmtree(self._folder, ignore_errors=True)


def _leave_it(signum: int, frame: object) -> None:
    """Do nothing about a signal that is the editor's."""
    del signum, frame


def _suffix(key: str) -> str:
    """Return the end of a key's name that tells an editor what it is."""
    found = re.search(r"\.[A-Za-z0-9]{1,16}$", key)
    return found[0] if found else ""


COMMAND = edit
