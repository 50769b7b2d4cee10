"""What people name on the command line: keys, files, directories, values.

One rule makes a key of a path, for files, values and every other key alike, so that
whatever was applied as ``./a`` is read as ``./a``. Contents are kept byte for byte.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict, TypeVar

import click

from st8.core import limits
from st8.core.errors import InvalidInput, LimitExceeded, St8Error
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator

    from st8.cli.files import Problems, Source
    from st8.cli.flags import Flags
    from st8.cli.globs import Selection

__all__ = [
    "Given",
    "Inputs",
    "document_options",
    "key_of",
    "read_inputs",
    "size_remedy",
]

F = TypeVar("F", bound="Callable[..., None]")

_STDIN: Final = "-"
_IN_PARTS: Final = (
    "; apply it in parts, for example one folder at a time, or by --include"
)


def key_of(path: str) -> str:
    """Return the key of a path: cleaned, with ``/`` between its parts.

    ``./a``, ``a/``, ``b/../a`` are ``a``. An absolute path stays one. What leads
    out of the folder (``../a``) stays too, and is refused as a key.
    """
    if os.name == "nt":
        path = path.replace("\\", "/")
    key = posixpath.normpath(path)
    # POSIX lets two leading slashes mean something of their own; here they don't.
    return key[1:] if key.startswith("//") else key


class Given(TypedDict):
    """What the options of :func:`document_options` were given."""

    paths: tuple[str, ...]
    files: tuple[str, ...]
    values: tuple[str, ...]
    deletes: tuple[str, ...]
    key: str | None
    recursive: bool
    prefix: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    hidden: bool
    prune: bool
    no_validate: bool


class Inputs(NamedTuple):
    """Documents to put, and what to delete.

    Attributes:
        documents: Key to content.
        deletes: Keys that were named.
        pruned: Says what else is deleted: documents that it selects and that are not
            in ``documents``. None for nothing.
        only_files: Nothing but files was named.
    """

    documents: dict[str, str]
    deletes: tuple[str, ...]
    pruned: Selection | None
    only_files: bool

    def to_delete(self, keys: Iterable[str]) -> list[str]:
        """Return what of a state is deleted.

        Args:
            keys: The state's keys, those under ``pruned.prefix`` at least.
        """
        found = dict.fromkeys(self.deletes)
        if self.pruned is not None:
            takes = self.pruned.takes_key
            documents = self.documents
            found |= dict.fromkeys(k for k in keys if k not in documents and takes(k))
        return list(found)


def document_options(function: F) -> F:
    """Add the options that name documents, and the argument FILE."""
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


def _many(*names: str, metavar: str, text: str) -> Callable[[F], F]:
    return click.option(*names, metavar=metavar, multiple=True, help=text)


_OPTIONS: Final = (
    _many(
        "-f",
        "--file",
        "files",
        metavar="FILE",
        text="A file whose path becomes the key, or - for standard input; may be "
        "repeated.",
    ),
    click.option(
        "--key", metavar="KEY", help="The key of what comes from standard input."
    ),
    _many(
        "-v",
        "--value",
        "values",
        metavar="KEY=VALUE",
        text="A document given here; may be repeated.",
    ),
    _many(
        "--delete",
        "deletes",
        metavar="KEY",
        text="A document to delete; may be repeated.",
    ),
    click.option(
        "-R",
        "--recursive",
        is_flag=True,
        help="Read directories: the path below the directory becomes the key. Links "
        "to files in it are followed, links to directories are not.",
    ),
    click.option(
        "--prefix",
        metavar="FOLDER",
        help="Put FOLDER/ before the keys of files.",
    ),
    _many(
        "--include",
        "include",
        metavar="GLOB",
        text="With -R: only files that match, such as '*.yaml' or 'a/**/b'; may be "
        "repeated.",
    ),
    _many(
        "--exclude",
        "exclude",
        metavar="GLOB",
        text="With -R: no files or folders that match; may be repeated.",
    ),
    click.option(
        "--hidden",
        is_flag=True,
        help="With -R: also names that begin with a dot.",
    ),
    click.option(
        "--prune",
        is_flag=True,
        help="With -R: delete documents that the directory lacks, of those under "
        "--prefix that --include, --exclude and --hidden select.",
    ),
    click.option(
        "--no-validate",
        is_flag=True,
        help="Take .json, .yaml and .toml files that do not parse.",
    ),
    click.argument("paths", metavar="[FILE]...", nargs=-1),
)


def read_inputs(flags: Flags, given: Given) -> Inputs:
    """Return the documents to put and what to delete; nothing is sent.

    Of two documents with one key the last counts: files first, those of ``--file``
    before the others, then values.

    Raises:
        UsageError: Flags don't go together, or a key is both put and deleted.
        InvalidInput: Files can't be read or are no documents, or there is more
            than one apply may hold.
    """
    from st8.cli.files import Problems
    from st8.cli.globs import Selection

    paths = (*given["files"], *given["paths"])
    _check_usage(given, paths)
    values = [_value(text) for text in given["values"]]
    selection = Selection.of(
        _folder(given["prefix"] or ""),
        given["include"],
        given["exclude"],
        hidden=given["hidden"],
    )
    problems = Problems()
    sources = list(_sources(given, paths, selection, problems))
    deletes = tuple(key_of(key) for key in given["deletes"] if key)
    _check_size(sources, {key for key, _ in values}.union(deletes))

    documents: dict[str, str] = {}
    validate = not given["no_validate"]
    for key, place, content in _contents(sources, values, problems):
        fault = _fault(key, place, content) if validate else None
        if fault is not None:
            problems.add(fault)
        documents[key] = content
    problems.check(spoken=flags.output == "text")
    both = documents.keys() & set(deletes)
    if both:
        raise click.UsageError(f"{min(both)!r} is both given and deleted")
    return Inputs(
        documents,
        deletes,
        selection if given["prune"] else None,
        only_files=bool(paths) and not values and not deletes,
    )


def _check_usage(given: Given, paths: Collection[str]) -> None:
    """Check that flags go together.

    Raises:
        UsageError: They don't, or one would say nothing.
    """
    stdin = [path for path in paths if path == _STDIN]
    if given["key"] is not None and not stdin:
        raise click.UsageError("--key is for standard input; give - as the file")
    if stdin and given["key"] is None:
        raise click.UsageError(
            "- is standard input and needs --key KEY; for a file named - write ./-"
        )
    if len(stdin) > 1:
        raise click.UsageError("standard input can be read only once")
    if given["prefix"] is not None and not paths:
        raise click.UsageError("--prefix is for files; name one")
    # A path where nothing is ends the command when it is read.
    directory = given["recursive"] and any(
        os.path.isdir(path) or not (path == "-" or os.path.lexists(path))
        for path in paths
    )
    if not given["recursive"] or (given["prune"] and not directory):
        for flag in ("include", "exclude", "hidden", "prune"):
            if given[flag]:
                raise click.UsageError(f"--{flag} needs -R and a directory")


def _value(text: str) -> tuple[str, str]:
    """Return key and content of a value."""
    key, equals, content = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"--value {text!r}: expected KEY=VALUE")
    return key_of(key), content


def _folder(prefix: str) -> str:
    """Return what stands before keys: empty, or ending in ``/``.

    Raises:
        InvalidInput: No key can begin so.
    """
    folder = key_of(prefix) if prefix else "."
    if folder == ".":
        return ""
    folder = folder if folder.endswith("/") else f"{folder}/"
    Key(f"{folder}x")
    return folder


def _sources(
    given: Given, paths: Iterable[str], selection: Selection, problems: Problems
) -> Iterator[Source]:
    """Yield where documents come from, files of directories one by one."""
    from st8.cli.files import Source, list_directory, list_file

    for path in paths:
        if path == _STDIN:
            yield Source(key_of(given["key"] or ""), path, 0)
        elif given["recursive"] and os.path.isdir(path):
            empty = True
            for source in list_directory(path, selection, problems):
                empty = False
                yield source
            if empty:
                problems.add(
                    InvalidInput(f"no file of the directory {path!r} is selected")
                )
        else:
            key = key_of(path)
            if selection.prefix:
                key = selection.prefix + key.lstrip("/")
            try:
                yield list_file(path, key)
            except St8Error as error:
                problems.add(error)


def _contents(
    sources: Collection[Source],
    values: Iterable[tuple[str, str]],
    problems: Problems,
) -> Iterator[tuple[str, str, str]]:
    """Yield key, place and content of each document, those of files first."""
    from st8.cli.files import read_source
    from st8.cli.progress import counted

    for source in counted("reading files", sources, len(sources)):
        try:
            content = read_source(source)
        except St8Error as error:
            problems.add(error)
        else:
            place = "standard input" if source.path == _STDIN else source.path
            yield source.key, place, content
    for key, content in values:
        yield key, f"--value {key}", content


def _fault(key: str, place: str, content: str) -> St8Error | None:
    """Return why a document does not parse as what its key says it is."""
    from st8.cli.parsers import fault_of

    fault = fault_of(key, content)
    if fault is None:
        return None
    return InvalidInput(f"{fault.at(place)} (--no-validate takes it)")


def _check_size(sources: Collection[Source], others: set[str]) -> None:
    """Check that one apply can hold it all, before it is read.

    Raises:
        LimitExceeded: It can't.
    """
    with size_remedy():
        count = len({source.key for source in sources} | others)
        if count > limits.APPLY_DOCUMENTS.maximum:
            raise LimitExceeded(limits.APPLY_DOCUMENTS, "documents at once", count)
        # JSON never takes less than the bytes themselves.
        size = sum(source.size for source in sources)
        if size > limits.BODY_BYTES.maximum:
            raise LimitExceeded(limits.BODY_BYTES, "these files in bytes", size)


@contextmanager
def size_remedy() -> Generator[None]:
    """Say what can be done when there is more than one apply may hold."""
    try:
        yield
    except LimitExceeded as error:
        # What stands before a daemon names no limit.
        limit = error.fields.get("limit")
        of_all = limit in (limits.APPLY_DOCUMENTS.name, limits.BODY_BYTES.name)
        if of_all and not error.detail.endswith(_IN_PARTS):
            error.detail += _IN_PARTS
        raise
