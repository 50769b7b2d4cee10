"""The benchmark of watches runs, on a crowd so small that its figures mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import watch
from bench.measure import Report

if TYPE_CHECKING:
    from pathlib import Path


def test_watchers_are_measured(tmp_path: Path) -> None:
    """Both servers tell all of a crowd of each publish."""
    report = Report("Watch")

    watch.measure(watch.Plan((20,), 2, 0.1), tmp_path, report)

    assert 5 == len(report.parts[0].splitlines()[4:])
    assert all(bar.actual > 0 for bar in report.bars)
