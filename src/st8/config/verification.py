"""What ``st8d verify`` is told: a store, and what is expected of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from st8 import __version__
from st8.config.reading import Finished, UsageError, load
from st8.config.sources import from_flags
from st8.config.table import SETTINGS, VERIFICATION
from st8.core.errors import InvalidInput
from st8.core.findings import Head, heads_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["VERIFY_FLAGS", "Verification", "load_verification"]

_STORE: Final = ("config", "state-dir", "store")
VERIFY_FLAGS: Final = {
    setting.name: setting
    for setting in (*(s for s in SETTINGS if s.name in _STORE), *VERIFICATION)
}
"""The settings by the names of their flags."""

_HELP: Final = """\
st8d verify reads a store that no st8d has and tells what is damaged.

Usage: st8d verify [--state-dir DIR | --store URL] [flags]

{flags}

Not a byte of the store is changed. Where the store is can also be said by ST8D_STATE_DIR,
ST8D_STORE or the file of --config, as for serving. Without --full all revisions, branches,
checkpoints and trees are read, and contents need only be there.

A store that was replaced by an earlier copy of itself is whole. Only who has noted a head
elsewhere can tell: --expect-head 42:DIGEST names one, --expect-heads a file of many, as
--heads --output json writes them.

Exit codes: 0 no damage, 1 damage was found, 2 it could not be verified. A st8d that runs
is asked with st8ctl verify."""


class Verification(NamedTuple):
    """What is to be verified, and how.

    Attributes:
        store_url: The store; may have a password.
        full: Read every object too.
        json: Print JSON lines.
        heads: Print the heads of branches too.
        expected: Revisions that have to be in the histories of branches.
    """

    store_url: str
    full: bool
    json: bool
    heads: bool
    expected: tuple[Head, ...]


def load_verification(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Verification:
    """Return what ``arguments`` and ``environment`` (the process's own) say.

    Raises:
        UsageError: Something in them can't be right; tells all that is wrong.
        Finished: They ask for help or the version.
    """
    problems: list[str] = []
    flags, asked = from_flags(arguments, problems, VERIFY_FLAGS)
    if asked is not None:
        raise Finished(f"st8d {__version__}" if asked == "version" else _help())
    values: dict[str, Any] = {}
    for setting in VERIFICATION:
        said = flags.get(setting.name)
        texts = said.texts if said else (setting.default,) if setting.default else ()
        parsed: list[Any] = []
        for text in texts:
            try:
                parsed.append(setting.parse(text))
            except ValueError as error:
                problems.append(f"--{setting.name}: {error}")
            except InvalidInput as error:
                problems.append(f"--{error.detail}")
        values[setting.name] = parsed if setting.many else next(iter(parsed), None)
    expected: list[Head] = []
    if not problems:
        scope = values["namespace"], values["branch"]
        expected = [Head(*scope, *head) for head in values["expect-head"]]
        if values["expect-heads"] is not None:
            expected += _heads_in(values["expect-heads"], problems)
    if problems:
        raise UsageError(*problems)
    store = [f"--{name}={flags[name].texts[0]}" for name in _STORE if name in flags]
    settings = load(store, environment)
    return Verification(
        settings.store_url,
        bool(values["full"]),
        values["output"] == "json",
        bool(values["heads"]),
        tuple(expected),
    )


def _heads_in(path: Path, problems: list[str]) -> list[Head]:
    """Return the heads in a file of JSON lines; others are passed over."""
    try:
        return heads_in(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.append(f"--expect-heads: {path}: {reason}")
        return []


def _help() -> str:
    """Return the help text."""
    heads = [f"--{s.name} {s.metavar}".rstrip() for s in VERIFY_FLAGS.values()]
    width = max(map(len, heads))
    texts = [
        s.help + (f" (default {s.default})" if s.default else "")
        for s in VERIFY_FLAGS.values()
    ]
    lines = [
        f"  {head:<{width}}  {text}" for head, text in zip(heads, texts, strict=True)
    ]
    return _HELP.format(flags="\n".join(lines))
