"""``st8ctl gc``: remove old revisions, or tell which would go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import Collected, CollectedNamespace

__all__ = ["COMMAND"]

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


@command("gc")
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    help="Keep the newest N revisions of each branch, else as st8d is set.  [10]",
)
@click.option(
    "--younger-than",
    metavar="AGE",
    help="Keep what is younger too: 12h, 30d, 2w.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Change nothing; tell what would go, and what stays and why.",
)
def gc(flags: Flags, keep: int | None, younger_than: str | None, dry_run: bool) -> None:
    """Remove old revisions and what only they needed.

    Of every namespace, unless the flag --namespace names one. Checkpoints, branch
    heads and bases are kept always, and what st8d is set to keep of each namespace:
    the newest 10 revisions of each branch if nobody has set it. --keep and
    --younger-than take the place of that for this run, but for namespaces of which
    st8d never removes anything. It takes as long as it takes, unless --timeout is
    given.
    """
    from st8.cli.connection import connect

    age_s = _age_s(younger_than)
    settings = flags.settings()
    with connect(settings) as client:
        done = client.gc(
            keep,
            younger_than_s=age_s,
            namespace=flags.namespace or None,
            dry_run=dry_run,
            timeout_s=settings.timeout_s if flags.timeout else None,
        )
    told = plain(done)
    if not dry_run:
        told = {name: told[name] for name in ("revisions", "objects", "size")}
    record(flags, told, lambda: _told(done))


def _age_s(text: str | None) -> float | None:
    """Return the seconds of an age.

    Raises:
        InvalidValue: It is none.
    """
    if text is None:
        return None
    from st8.core.durations import parse_age
    from st8.core.errors import InvalidValue

    try:
        return parse_age(text.strip())
    except ValueError as error:
        raise InvalidValue("--younger-than", str(error)) from None


def _told(done: Collected) -> str:
    """Return what people get."""
    if not done.dry_run:
        return f"pruned={done.revisions}\n"
    lines = [line for share in done.namespaces for line in _of_namespace(share)]
    left = done.namespaces_all - len(done.namespaces)
    if left:
        lines.append(f"{left} more namespaces")
    lines.append(
        f"would prune {done.revisions} revisions and {done.objects} objects, "
        f"which frees {_size(done.size)}; nothing was changed"
    )
    return "".join(f"{line}\n" for line in lines)


def _of_namespace(share: CollectedNamespace) -> list[str]:
    """Return the lines of a namespace."""
    kept = ", ".join(f"{reason} {number}" for reason, number in share.kept.items())
    lines = [
        f"{output.escaped(share.namespace)} ({share.retention})",
        f"  stay: {sum(share.kept.values())}" + (f" ({kept})" if kept else ""),
    ]
    ranges = [
        f"{r.first}" if r.first == r.last else f"{r.first}-{r.last}"
        for r in share.ranges
    ]
    left = share.ranges_all - len(ranges)
    if left:
        ranges.append(f"{left} more ranges")
    lines.append(
        f"  go: {share.revisions}" + (f" ({', '.join(ranges)})" if ranges else "")
    )
    return lines


def _size(size: int) -> str:
    """Return bytes in the largest unit that leaves one or more."""
    power = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    if not power:
        return f"{size} {_UNITS[0]}"
    return f"{size / _STEP**power:.1f} {_UNITS[power]}"


COMMAND = gc
