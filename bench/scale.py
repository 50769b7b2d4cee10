"""What each operation costs as documents and revisions grow.

Every row of DESIGN.md's table, in-process on the SQLite store with its fsync, at
10 to 1,000,000 documents and after 100 to 100,000 revisions; git on the same
documents beside it; and a few rows through HTTP::

    python bench/scale.py [--quick] [--full | --postgres] [--folder DIRECTORY]

All sizes are open at once and take turns, so the ratios between them are of one
run. ``--quick`` stops at 10,000 documents and takes a minute; ``--full`` has git at
1,000,000 documents too, which takes git long. ``--postgres`` has in place of git a
PostgreSQL of its own beside SQLite, and stops at 100,000 documents.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import git, scale_git, scale_http
from bench.measure import (
    Report,
    in_turns,
    median_call_s,
    say,
    show_bytes,
    show_s,
    timed_s,
)
from bench.site import Site
from st8.engine.requests import Selector
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HISTORY = 1_000
"""One-document revisions that every store gets after it is loaded."""
_NESTED = 200
"""Branches made one from the other."""
_BESIDE_MAX = 100_000
"""Documents in the largest store in PostgreSQL."""


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        sizes: Documents.
        revisions: Revisions of the two stores of 1,000 documents.
        git_sizes: Documents in git.
        growth: Documents and commits of the store whose growth is measured.
        calls: Calls whose median is one turn.
        rounds: Turns.
    """

    sizes: tuple[int, ...]
    revisions: tuple[int, int]
    git_sizes: tuple[int, ...]
    growth: tuple[int, int]
    calls: int
    rounds: int


QUICK = Plan((10, 1_000, 10_000), (100, 2_000), (10, 1_000), (10_000, 2_000), 9, 3)
USUAL = Plan(
    (10, 1_000, 100_000, 1_000_000),
    (100, 100_000),
    (10, 1_000, 100_000),
    (10_000, 3_000),
    25,
    5,
)

Row = tuple[str, "Callable[[Site], float]"]
"""What it is, and a turn of it: the median seconds of a few calls on a site."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    options = _options(arguments)
    plan = QUICK if options.quick else USUAL
    if options.full:
        plan = plan._replace(git_sizes=plan.sizes)
    title = "Scaling on PostgreSQL beside SQLite" if options.postgres else "Scaling"
    report = Report(title)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.postgres:
            with closing(PostgresServer()) as server:
                measure_beside(plan, Path(name), server, report)
        else:
            measure(plan, Path(name), report)
    report.print()
    return 0


def measure(plan: Plan, folder: Path, report: Report) -> None:
    """Measure everything and add it to ``report``."""
    sites = _measure_sizes(plan, folder, report)
    _measure_revisions(plan, folder, report)
    _measure_growth(plan, folder, report)
    if git.present():
        scale_git.measure(plan.git_sizes, folder, plan.calls, report)
    for site in sites:
        site.close()
    scale_http.measure(sites, plan.calls, plan.rounds, report)


def measure_beside(
    plan: Plan, folder: Path, server: PostgresServer, report: Report
) -> None:
    """Measure PostgreSQL beside SQLite at each size, and add it to ``report``."""
    sizes = [size for size in plan.sizes if size <= _BESIDE_MAX]
    loading: list[str] = []

    def load(at: Path | str, size: int) -> Site:
        say(f"loading {size:,} documents")
        begun = time.perf_counter()
        site = Site(at, size)
        loading.append(show_s(time.perf_counter() - begun))
        site.nest_branches(_NESTED)
        site.commit_many(_HISTORY)
        return site

    sites = [load(folder / f"st8-{size}", size) for size in sizes]
    sites += [load(server.url(f"scale_{size}"), size) for size in sizes]
    # It plans by what it has counted, as it does soon on a server that is left alone.
    server.run("ANALYZE")
    times = _measure(_rows(plan.calls), sites, plan.rounds)
    report.add_table(
        f"By documents, after {_HISTORY + _NESTED:,} revisions",
        ("", *(site.label for site in sites)),
        [
            ("load, 10,000 documents a revision", *loading),
            *((label, *map(show_s, row)) for label, row in times.items()),
        ],
    )
    on_postgres = {label: row[len(sizes) :] for label, row in times.items()}
    _add_size_bars(on_postgres, sizes, report, "PostgreSQL, ")
    for site in sites:
        site.close()
    scale_http.measure(sites, plan.calls, plan.rounds, report)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how operations scale.")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument("--full", action="store_true", help="git at every size")
    beside.add_argument(
        "--postgres", action="store_true", help="PostgreSQL in place of git"
    )
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    return parser.parse_args(arguments)


def _measure_sizes(plan: Plan, folder: Path, report: Report) -> list[Site]:
    """Measure every row at every number of documents."""
    sites: list[Site] = []
    loading: list[str] = []
    growth: list[str] = []
    for size in plan.sizes:
        say(f"loading {size:,} documents")
        begun = time.perf_counter()
        site = Site(folder / f"st8-{size}", size)
        sites.append(site)
        loading.append(show_s(time.perf_counter() - begun))
        site.nest_branches(_NESTED)
        before = site.file_bytes()
        site.commit_many(_HISTORY)
        grown = site.file_bytes() - before - site.packed_bytes
        growth.append(show_bytes(grown / _HISTORY))
    times = _measure(_rows(plan.calls), sites, plan.rounds)
    report.add_table(
        f"By documents, after {_HISTORY + _NESTED:,} revisions",
        ("", *(f"{size:,}" for size in plan.sizes)),
        [
            ("load, 10,000 documents a revision", *loading),
            *((label, *map(show_s, row)) for label, row in times.items()),
            ("file growth a commit of 1 document, beyond its content", *growth),
        ],
    )
    _add_size_bars(times, plan.sizes, report)
    return sites


def _add_size_bars(
    times: dict[str, list[float]], sizes: Sequence[int], report: Report, where: str = ""
) -> None:
    thousand = sizes.index(1_000)
    for label in (_ROLLBACK, _RESTORE, _BRANCH, _CHECKPOINT):
        row = times[label]
        report.add_bar(
            f"{where}{label}: {sizes[-1]:,} documents / {sizes[0]:,}",
            row[-1] / row[0],
            3,
        )
    row = times[_APPLY]
    report.add_bar(
        f"{where}{_APPLY}: {sizes[-1]:,} documents / 1,000", row[-1] / row[thousand], 3
    )
    for head, old in ((_GET_HEAD, _GET_OLD), (_GET_HEAD_COLD, _GET_OLD_COLD)):
        for at, size in enumerate(sizes):
            report.add_bar(
                f"{where}{old} / at head, {size:,} documents",
                times[old][at] / times[head][at],
                3,
            )


def _measure_revisions(plan: Plan, folder: Path, report: Report) -> None:
    """Measure every row after few and after many revisions of 1,000 documents."""
    sites: list[Site] = []
    for revisions in plan.revisions:
        say(f"making {revisions:,} revisions")
        site = Site(folder / f"st8-revisions-{revisions}", 1_000)
        site.commit_many(revisions)
        sites.append(site)
    times = _measure(_rows(plan.calls, sites[0].head - 1), sites, plan.rounds)
    few, many = (f"{revisions:,}" for revisions in plan.revisions)
    report.add_table(
        "By revisions, 1,000 documents",
        ("", few, many),
        [(label, *map(show_s, row)) for label, row in times.items()],
    )
    for label in (_APPLY, _ROLLBACK, _BRANCH, _CHECKPOINT, _GET_OLD, _LOG):
        row = times[label]
        report.add_bar(f"{label}: after {many} revisions / {few}", row[1] / row[0], 3)
    for site in sites:
        site.close()


def _measure_growth(plan: Plan, folder: Path, report: Report) -> None:
    """Measure how the file grows, and what a collection gives back."""
    size, commits = plan.growth
    say(f"making {commits:,} commits on {size:,} documents")
    site = Site(folder / "st8-growth", size)
    before = site.file_bytes()
    site.commit_many(commits, waiting=1)
    after = site.file_bytes()
    grown = (after - before) / commits
    content = site.packed_bytes / commits
    begun = time.perf_counter()
    collected = site.engine.collect(keep=10)
    took = time.perf_counter() - begun
    report.add_table(
        f"The file, {commits:,} commits of 1 document on {size:,} documents",
        ("", ""),
        [
            ("growth a commit", show_bytes(grown)),
            ("of which the content as stored", show_bytes(content)),
            ("beyond the content", show_bytes(grown - content)),
            (f"collect {collected.objects:,} objects", show_s(took)),
        ],
    )
    report.add_bar(
        f"KiB a commit beyond the content, {size:,} documents",
        (grown - content) / 1024,
        4,
    )
    site.close()


def _measure(
    rows: Sequence[Row], sites: Sequence[Site], rounds: int
) -> dict[str, list[float]]:
    """Return the median of each row at each site; the sites take turns."""
    found: dict[str, list[float]] = {}
    for label, turn in rows:
        say(label)
        works = {str(at): partial(turn, site) for at, site in enumerate(sites)}
        found[label] = list(in_turns(works, rounds).values())
    return found


# --- the rows of DESIGN.md's table --------------------------------------------------

_APPLY = "apply 1 document"
_BRANCH = "branch"
_CHECKPOINT = "checkpoint"
_ROLLBACK = "rollback"
_RESTORE = "restore"
_GET_HEAD = "get 1 document at head"
_GET_OLD = "get 1 document at an old revision"
_GET_HEAD_COLD = "get 1 document at head, no object cached"
_GET_OLD_COLD = "get 1 document at an old revision, no object cached"
_LOG = "log page of 20 with its keys"


def _rows(calls: int, back: int = _HISTORY) -> list[Row]:
    """Return every row; old revisions are up to ``back`` before the head."""
    few = max(1, calls // 5)
    return [
        (_APPLY, _calls(calls, lambda site: site.apply_one)),
        ("… its CPU", partial(_cpu_s, calls=calls)),
        ("apply 100 documents", _calls(few, lambda site: site.apply_hundred)),
        ("apply what is there", _calls(calls, lambda site: site.apply_nothing)),
        (_BRANCH, _calls(calls, lambda site: partial(site.branch, back // 2))),
        (_CHECKPOINT, _calls(calls, lambda site: partial(site.checkpoint, back // 2))),
        (_ROLLBACK, partial(_rollback_s, calls=calls, back=back)),
        (
            f"… listing its changes over {back:,} revisions",
            _calls(few, lambda site: partial(site.list_changes, back)),
        ),
        (_RESTORE, partial(_restore_s, calls=calls, back=back)),
        (_GET_HEAD, _calls(calls * 4, lambda site: partial(site.get, site.engine))),
        (_GET_OLD, partial(_get_old_s, calls=calls * 4, back=back)),
        (
            _GET_HEAD_COLD,
            _calls(calls * 4, lambda site: partial(site.get, site.cold())),
        ),
        (_GET_OLD_COLD, partial(_get_old_s, calls=calls * 4, back=back, cold=True)),
        (
            "get 1 document a number of revisions before the head",
            partial(_get_old_s, calls=calls * 4, back=back, relative=True),
        ),
        (
            f"get 1 document through {_NESTED} nested branches",
            _calls(calls * 4, lambda site: partial(site.get_nested, site.engine)),
        ),
        (
            "all documents at an old revision",
            _calls(1, lambda site: partial(site.read_all, site.cold(), back)),
        ),
        (
            "diff of neighbours, no object cached",
            _calls(calls, lambda site: partial(site.diff, site.cold(), 1)),
        ),
        (
            "diff 100 revisions apart, no object cached",
            _calls(few, lambda site: partial(site.diff, site.cold(), min(100, back))),
        ),
        (
            "same state? (two revisions)",
            _calls(calls, lambda site: partial(site.is_same, site.engine, back)),
        ),
        (_LOG, _calls(few, lambda site: partial(site.log, site.engine))),
    ]


def _calls(
    calls: int, work_of: Callable[[Site], Callable[[], object]]
) -> Callable[[Site], float]:
    """Return a turn: the median of ``calls`` calls of the same work."""

    def turn(site: Site) -> float:
        site.settle()
        return median_call_s(work_of(site), calls)

    return turn


def _cpu_s(site: Site, *, calls: int) -> float:
    """Return the processor time of an apply, in all threads."""
    begun = time.process_time()
    for _ in range(calls):
        site.apply_one()
    return (time.process_time() - begun) / calls


def _rollback_s(site: Site, *, calls: int, back: int) -> float:
    """Return the time of a rollback, each undone before the next."""
    site.apply_one()  # so that no older state is the head's
    times: list[float] = []
    for _ in range(calls):
        times.append(timed_s(partial(site.rollback, back)))
        site.rollback(1)
    return statistics.median(times)


def _restore_s(site: Site, *, calls: int, back: int) -> float:
    """Return the time of a restore, each from another branch than the last."""
    site.apply_one()  # so that no older state is the head's
    branches = cycle((site.branch(back), site.branch()))
    return statistics.median(
        timed_s(partial(site.restore, next(branches))) for _ in range(calls)
    )


def _get_old_s(
    site: Site, *, calls: int, back: int, cold: bool = False, relative: bool = False
) -> float:
    """Return the time to read a document at a random revision."""
    engine = site.cold() if cold else site.engine
    head = 0 if relative else site.head
    selectors = [
        Selector(revision=head - site.chance.randrange(back)) for _ in range(calls)
    ]
    return statistics.median(
        timed_s(partial(site.get, engine, selector)) for selector in selectors
    )


if __name__ == "__main__":
    sys.exit(main())
