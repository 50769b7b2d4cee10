"""``st8ctl completion``: what the shells ask, and what they are answered.

The script of a shell runs ``st8ctl __complete SHELL …`` at every tab. The first line
of the answer is ``plain``, ``files`` or ``dirs`` (the shell completes those itself),
each following one a candidate, with a tab and an explanation where the shell shows
such. An answer is never an error, comes within a second or so, and holds no more than
100 names of the daemon's.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from st8.cli import output
from st8.cli.command import FLAGS_WITHOUT_VALUE, Group, LazyGroup, command
from st8.cli.flags import Flags
from st8.cli.shell_scripts import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from st8.client import Client

__all__ = ["COMMAND", "Answer", "answer", "candidates", "split_line"]

NAMES_MAX: Final = 100
PATIENCE_S: Final = 1.0


class Answer(NamedTuple):
    """What may stand at the cursor.

    Attributes:
        items: Whole words, each with an explanation, which may be empty.
        kind: ``plain``; or ``files`` or ``dirs``, which the shell knows better.
    """

    items: tuple[tuple[str, str], ...] = ()
    kind: str = "plain"


@command("completion")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(flags: Flags, shell: str) -> None:
    """Print the script that completes st8ctl in a shell.

    For bash: `source <(st8ctl completion bash)` in ~/.bashrc. For zsh, after
    compinit: `source <(st8ctl completion zsh)` in ~/.zshrc. For fish:
    `st8ctl completion fish > ~/.config/fish/completions/st8ctl.fish`. Namespaces,
    branches, checkpoints and keys come from the daemon.
    """
    del flags
    output.write(SCRIPTS[shell])


COMMAND = completion


def answer(args: Sequence[str]) -> int:
    """Answer a shell on standard output; return 0, whatever happens."""
    try:
        shell, *words = args
        if shell == "bash":
            text = _for_bash(*words)
        else:
            # Fish gives the word at the cursor with the quotation mark it begins with.
            current = split_line(words[-1])[1] if shell == "fish" else words[-1]
            found = candidates(words[:-1], current)
            rows = [f"{value}\t{about}".rstrip("\t") for value, about in found.items]
            text = "\n".join([found.kind, *rows])
        output.write(text + "\n")
        output.flush()
    except OSError:
        output.discard()
    except Exception:  # noqa: BLE001, S110 - a tab is no place for errors
        pass
    return 0


def _for_bash(breaks: str, line: str) -> str:
    """Return the answer for bash, which replaces what follows the last break."""
    words, current, quote = split_line(line)
    found = candidates(words[1:], current)
    cut = max((current.rfind(char) for char in breaks if char in "=:@"), default=-1) + 1
    rows = [
        _quoted(value[cut:], quote)
        for value, _ in found.items
        if not quote or not set(value) & _HARMFUL[quote]
    ]
    return "\n".join([found.kind, *rows])


_HARMFUL: Final = {"'": {"'"}, '"': {'"', "$", "`", "\\", "!"}}
_PLAIN: Final = frozenset("_-./:=@%+,~")


def _quoted(text: str, quote: str) -> str:
    """Return ``text`` so that a shell takes it for one word and runs none of it."""
    if quote:
        return text
    return "".join(
        char if char.isalnum() or char in _PLAIN else f"\\{char}" for char in text
    )


def split_line(line: str) -> tuple[list[str], str, str]:
    """Return the words of a line before its last one, that one, and its open quote.

    The last word is ``""`` after white space. Quotes and backslashes are taken away.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    chars = iter(line)
    for char in chars:
        if quote == "'" and char != "'":
            word = (word or "") + char
        elif char == "\\":
            word = (word or "") + next(chars, "")
        elif quote:
            quote, word = (
                ("", word or "") if char == quote else (quote, (word or "") + char)
            )
        elif char in "'\"":
            quote, word = char, word or ""
        elif char.isspace():
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + char
    return words, word or "", quote


def candidates(words: Sequence[str], current: str) -> Answer:
    """Return what may stand at the cursor.

    Args:
        words: The words before it, without ``st8ctl``.
        current: What stands there already.
    """
    line = _Line(words)
    name, equals, typed = line.open, "", current
    if not name and current.startswith("--") and not line.only_words:
        name, equals, typed = current.partition("=")
    option = line.option(name) if line.open or equals else None
    if option is not None:
        found = _of_param(line, option, typed)
        head = name + equals if equals else ""
        return found._replace(
            items=tuple((head + v, about) for v, about in found.items)
        )
    if current.startswith("-") and not line.only_words:
        return _beginning(current, line.flag_names())
    if isinstance(line.command, Group):
        known = [] if line.arguments else _commands(line.command)
        return _beginning(current, known)
    return _of_argument(line, current)


class _Line:
    """What the words before the cursor come to.

    Attributes:
        command: The command that they name.
        path: Its name, without ``st8ctl``.
        flags: The global flags that are given.
        given: Every flag that is given, with its value.
        arguments: The words that are neither.
        open: The flag whose value is still to come, or ``""``.
        only_words: ``--`` was there: what follows is no flag.
    """

    def __init__(self, words: Iterable[str]) -> None:
        from st8.cli.root import ROOT

        self.command: click.Command = ROOT
        self.path: list[str] = []
        self.flags = Flags()
        self.given: dict[str, str] = {}
        self.arguments: list[str] = []
        self.open = ""
        self.only_words = False
        self.context = click.Context(ROOT)
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if self.open:
            self._set(self.open, word)
            self.open = ""
        elif self.only_words or not word.startswith("-") or word == "-":
            self._take_argument(word)
        elif word == "--":
            self.only_words = True
        elif word.startswith("--") and "=" in word:
            self._set(*word.split("=", 1))
        elif word in FLAGS_WITHOUT_VALUE:
            self.flags.local = self.flags.local or word == "--local"
        elif word.startswith("--") or len(word) == len("-f"):
            self.open = word

    def _take_argument(self, word: str) -> None:
        group = self.command
        if isinstance(group, LazyGroup) and word == "help":
            return
        if isinstance(group, Group):
            if group.get_command(self.context, word) is not None:
                self._enter(group, word)
                return
            if group.default and not group.strict:
                self._enter(group, group.default)
        self.arguments.append(word)

    def _enter(self, group: Group, name: str) -> None:
        found = group.get_command(self.context, name)
        if found is not None:
            self.command = found
            self.path.append(name)

    def _set(self, flag: str, value: str) -> None:
        self.given[flag] = value
        option = self.option(flag)
        if option is not None and not option.expose_value and option.name:
            setattr(self.flags, option.name, value)

    def option(self, flag: str) -> click.Option | None:
        """Return the flag of that name, if the command has one."""
        for param in self.command.get_params(self.context):
            if isinstance(param, click.Option) and flag in param.opts:
                return param
        return None

    def flag_names(self) -> list[tuple[str, str]]:
        """Return the flags that the command takes."""
        return [
            (name, (param.help or "").partition(".")[0])
            for param in self.command.get_params(self.context)
            if isinstance(param, click.Option)
            for name in param.opts
        ]


def _beginning(current: str, items: Iterable[tuple[str, str]]) -> Answer:
    return Answer(tuple(item for item in items if item[0].startswith(current)))


def _commands(group: Group) -> list[tuple[str, str]]:
    """Return the subcommands of a group."""
    if isinstance(group, LazyGroup):
        return [(name, line) for name, (_, line) in group.modules.items()]
    return [
        (name, found.get_short_help_str(100)) for name, found in group.commands.items()
    ]


def _of_param(line: _Line, param: click.Parameter, current: str) -> Answer:
    """Return what a flag, or an argument, takes."""
    if isinstance(param.type, click.Choice):
        return _beginning(current, [(choice, "") for choice in param.type.choices])
    kind = _KINDS.get(param.name or "")
    if kind is not None:
        return kind(line, current)
    metavar = (param.metavar or "").strip("[].")
    if metavar in {"FILE", "DIR"}:
        return Answer(kind="files" if metavar == "FILE" else "dirs")
    return _keys(line, current) if metavar == "KEY" else Answer()


def _of_argument(line: _Line, current: str) -> Answer:
    """Return what the command's next argument may be."""
    path = " ".join(line.path)
    kind = _ARGUMENTS.get(path)
    if kind is not None:
        return kind(line, current) if not line.arguments else Answer()
    arguments = [p for p in line.command.params if isinstance(p, click.Argument)]
    place = len(line.arguments)
    if not arguments or (place >= len(arguments) and arguments[-1].nargs >= 0):
        return Answer()
    return _of_param(line, arguments[min(place, len(arguments) - 1)], current)


def _ask(line: _Line, ask: Callable[[Client], Iterable[str]]) -> list[str]:
    """Return names that the daemon gives, the first 100; none if it is not to be had.

    It is asked in a thread, as looking up the address of a host has no time limit.
    """
    from threading import Thread

    from st8.cli.connection import make_client

    names: list[str] = []

    def run() -> None:
        try:
            settings = line.flags.settings()._replace(timeout_s=PATIENCE_S)
            if settings.url is None:
                return  # starting a daemon for a tab would take too long
            with make_client(settings, settings.url, retries=0) as client:
                names.extend(islice(ask(client), NAMES_MAX))
        except Exception:  # noqa: BLE001, S110 - then there is nothing to offer
            pass

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return [name for name in names if name.isprintable()]


def _named(names: Iterable[str], head: str = "") -> Answer:
    return Answer(tuple((head + name, "") for name in names))


def _namespaces(line: _Line, current: str) -> Answer:
    return _named(_ask(line, lambda c: (found.name for found in c.namespaces(current))))


def _branches(line: _Line, current: str) -> Answer:
    return _named(_ask(line, lambda c: (found.name for found in c.branches(current))))


def _checkpoints(line: _Line, current: str) -> Answer:
    return _named(
        _ask(line, lambda c: (found.name for found in c.checkpoints(current)))
    )


def _keys(line: _Line, current: str) -> Answer:
    """Return keys of the state that the line picks, the head's if none."""
    revision = line.given.get("--revision", "")
    number = int(revision) if revision.lstrip("-").isdigit() else None
    return _keys_at(line, current, number, line.given.get("--checkpoint"))


def _keys_at(
    line: _Line,
    current: str,
    revision: int | None,
    checkpoint: str | None,
    head: str = "",
) -> Answer:
    def ask(client: Client) -> Iterable[str]:
        pages = client.key_pages(
            current, revision=revision, checkpoint=checkpoint, page_size=NAMES_MAX
        )
        return [key for page in islice(pages, 1) for key, _ in page.items]

    return _named(_ask(line, ask), head)


def _revisions(line: _Line, current: str) -> Answer:
    """Return checkpoints, or after ``REV:`` the keys of that revision."""
    name, colon, key = current.partition(":")
    if not colon:
        found = _checkpoints(line, current)
        return found._replace(
            items=_beginning(current, [("head", "the newest")]).items + found.items
        )
    from st8.cli.show import revision_of

    picked = revision_of(name)
    return _keys_at(line, key, picked.number, picked.checkpoint, f"{name}:")


def _contexts(line: _Line, current: str) -> Answer:
    return _beginning(current, [(name, "") for name in line.flags.file().contexts])


def _settings(line: _Line, current: str) -> Answer:
    del line
    from st8.cli.config import SETTINGS

    return _beginning(current, [(name, "") for name in SETTINGS])


_KINDS: Final[dict[str, Callable[[_Line, str], Answer]]] = {
    "namespace": _namespaces,
    "branch": _branches,
    "from_branch": _branches,
    "checkpoint": _checkpoints,
    "context": _contexts,
}
"""Name of a parameter to what it takes."""

_ARGUMENTS: Final[dict[str, Callable[[_Line, str], Answer]]] = {
    "show": _revisions,
    "checkpoint show": _checkpoints,
    "checkpoint delete": _checkpoints,
    "branch delete": _branches,
    "config get": _settings,
    "config set": _settings,
    "config unset": _settings,
    "config use": _contexts,
}
"""Command to what its first argument is, where its name does not say it."""
