"""What ``st8d migrate`` is told: two stores, each by a flag or a variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from st8 import __version__
from st8.config.reading import Finished, UsageError
from st8.config.sources import from_flags, nearest
from st8.config.table import MIGRATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FLAGS", "Migration", "load_migration"]

FLAGS: Final = {s.name.removeprefix("migrate-"): s for s in MIGRATION}
"""The settings by the names of their flags."""

_PREFIX: Final = "ST8D_MIGRATE_"

_HELP: Final = """\
st8d migrate moves a whole store to another place and verifies every digest.

Usage: st8d migrate --from STORE --to STORE

{flags}

A STORE is sqlite:DIRECTORY, or the path of a state directory alone, or
postgresql://USER@HOST/DATABASE. The store that is read is never changed; the other
one must be empty. Whenever it was interrupted, the same command goes on where it was.

Each flag has a variable, {variables}, which is the better
place for a URL with a password: flags can be read in the process list."""


class Migration(NamedTuple):
    """From where to where, as URLs; each may have a password."""

    source: str
    target: str


def load_migration(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Migration:
    """Return what ``arguments`` and ``environment`` (the process's own) say.

    Raises:
        UsageError: Something in them can't be right; tells all that is wrong.
        Finished: They ask for help or the version.
    """
    variables = os.environ if environment is None else environment
    problems: list[str] = []
    flags, asked = from_flags(arguments, problems, FLAGS)
    if asked is not None:
        raise Finished(f"st8d {__version__}" if asked == "version" else _help())
    known = {setting.variable for setting in MIGRATION}
    for name in sorted(variables):
        if name.startswith(_PREFIX) and name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            problems.append(f"there is no variable {name}{hint}")
    stores: list[str] = []
    for name, setting in FLAGS.items():
        text = variables.get(setting.variable) or None
        place = setting.variable
        if name in flags:
            text, place = flags[name].texts[0], f"--{name}"
        if text is None:
            problems.append(
                f"--{name} is missing; name {setting.help} by it, or in "
                f"{setting.variable}"
            )
            continue
        try:
            stores.append(setting.parse(text))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise UsageError(*problems)
    return Migration(*stores)


def _help() -> str:
    """Return the help text."""
    heads = [f"--{name} {setting.metavar}" for name, setting in FLAGS.items()]
    width = max(map(len, heads))
    texts = [setting.help for setting in MIGRATION]
    lines = [
        f"  {head:<{width}}  {text}" for head, text in zip(heads, texts, strict=True)
    ]
    variables = " and ".join(setting.variable for setting in MIGRATION)
    return _HELP.format(flags="\n".join(lines), variables=variables)
