"""How the benchmarks measure, and how they print what they found.

Machines differ, and one machine differs from minute to minute, so nothing here is
judged by its time: what is compared is measured in turns in the same run (A B A B),
each turn is repeated, and the medians give a ratio. A *bar* is such a ratio with
the limit that DESIGN.md or an issue sets it.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Bar",
    "Report",
    "cpu_s",
    "disk_bytes",
    "fsync_s",
    "in_turns",
    "machine",
    "median_call_s",
    "memory_most_bytes",
    "say",
    "show_bytes",
    "show_s",
    "table",
    "timed_s",
]


class Bar(NamedTuple):
    """A ratio, and what it must be.

    Attributes:
        claim: What is compared with what.
        actual: The ratio.
        limit: What it must not pass.
        at_least: True when a larger ratio is the better one.
    """

    claim: str
    actual: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the ratio is on the right side of its limit."""
        return self.actual >= self.limit if self.at_least else self.actual <= self.limit


@dataclass
class Report:
    """What a benchmark prints: tables, remarks and bars, as Markdown."""

    title: str
    parts: list[str] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def add_table(
        self, heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
    ) -> None:
        """Add a table under a heading."""
        self.parts.append(f"### {heading}\n\n{table(columns, rows)}")

    def add_remark(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(text)

    def add_bar(
        self, claim: str, actual: float, limit: float, *, at_least: bool = False
    ) -> None:
        """Add a ratio that has a limit."""
        self.bars.append(Bar(claim, actual, limit, at_least))

    def print(self) -> None:
        """Print everything on standard output."""
        parts = [f"## {self.title}", machine(), *self.parts]
        if self.bars:
            rows = [
                (
                    bar.claim,
                    f"{bar.actual:.2f}",
                    f"{'≥' if bar.at_least else '≤'} {bar.limit:g}",
                    "holds" if bar.holds else "**does not hold**",
                )
                for bar in self.bars
            ]
            bars = table(("ratio, in this run", "is", "must be", ""), rows)
            parts.append(f"### Bars\n\n{bars}")
        print("\n\n".join(parts), end="\n\n", flush=True)


def say(text: str) -> None:
    """Tell whoever waits how far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Return what the figures were measured on, in a sentence."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    git = subprocess.run(["git", "--version"], capture_output=True, check=False)
    return (
        f"Measured on {os.cpu_count()} cores, {pages / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release()}; Python "
        f"{platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
        f"{git.stdout.decode().strip() or 'no git'}; an fsync of 4 KiB takes "
        f"{show_s(fsync_s())} there."
    )


def fsync_s(folder: Path | None = None, rounds: int = 50) -> float:
    """Return the median time to append 4 KiB to a file and make it durable."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        times: list[float] = []
        for _ in range(rounds):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


def cpu_s(process: int) -> float:
    """Return the processor time that a process has used, all threads together."""
    with Path(f"/proc/{process}/stat").open("rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_most_bytes(process: int) -> int:
    """Return the most memory that a process has held, in bytes."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return 0 if found is None else int(found[1]) * 1024


def timed_s(work: Callable[[], object]) -> float:
    """Return how long ``work`` takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def median_call_s(work: Callable[[], object], calls: int) -> float:
    """Return the median time of ``calls`` calls."""
    return statistics.median(timed_s(work) for _ in range(calls))


def in_turns(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median of each measurement, each made once a round, in turns.

    The order is turned round every other round, so that what comes first gains
    nothing by it.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name in list(works) if number % 2 == 0 else reversed(list(works)):
            found[name].append(works[name]())
    return {name: statistics.median(values) for name, values in found.items()}


def show_s(seconds: float) -> str:
    """Return a time as people write it."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 0.1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds * 1e3:.2g} ms" if seconds >= 1e-3 else f"{seconds * 1e3:.3f} ms"


def show_bytes(size: float) -> str:
    """Return a size as people write it."""
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def disk_bytes(path: Path) -> int:
    """Return the bytes that a file or folder takes on the disk."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(each.lstat().st_blocks * 512 for each in paths)
