"""The memory of the whole process under the heaviest requests that are allowed."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from st8.testing.child import ST8D, ChildDaemon, free_port
from st8.testing.heavy import Heavy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.testing.heavy import Seen

MEMORY_MIB: Final = 1_024
"""What docs/configuration.md promises of a process."""

_MUTANTS: Final = Path(__file__).parent / "mutants.py"
_LOOK_S: Final = 0.1


def _processes(daemon: ChildDaemon) -> list[int]:
    process = daemon.process.pid
    children = Path(f"/proc/{process}/task/{process}/children").read_text("ascii")
    return [process, *map(int, children.split())]


def _peak_mib(process: int) -> float:
    """Return the most memory that a process has had."""
    lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    [peak] = [line for line in lines if line.startswith("VmHWM:")]
    return int(peak.split()[1]) / 1024


def _load(daemon: ChildDaemon, seconds: float) -> tuple[Seen, list[float]]:
    """Load a daemon, until it takes too much; return what was seen, and the peaks."""

    async def run() -> Seen:
        heavy = Heavy(daemon.host, daemon.port)
        await heavy.load()
        asking = asyncio.ensure_future(
            heavy.run(writers=48, readers=200, diffs=60, watchers=30, seconds=seconds)
        )
        while not asking.done():
            if max(map(_peak_mib, _processes(daemon))) > MEMORY_MIB:
                asking.cancel()
            await asyncio.wait([asking], timeout=_LOOK_S)
        return heavy.seen

    seen = asyncio.run(run())
    return seen, [_peak_mib(process) for process in _processes(daemon)]


def _serve(
    folder: Path, *flags: str, command: Sequence[str] = ST8D, workers: int = 1
) -> ChildDaemon:
    return ChildDaemon(
        folder,
        *("--log-level", "warning", "--workers", str(workers)),
        *flags,
        command=command,
        port=free_port(),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_heaviest_requests_are_bounded(tmp_path: Path, workers: int) -> None:
    """The largest applies, reads, diffs and watches, all at once, are held to a bound.

    What is too much is told so and can be tried again, and nothing that was
    acknowledged is lost.
    """
    with _serve(tmp_path, workers=workers) as daemon:
        seen, peaks = _load(daemon, 3.0)

        assert [] == seen.wrong
        assert [] == [peak for peak in peaks if peak > MEMORY_MIB]
        # It was too much, of each kind, and yet there was work done.
        for kind in ("write", "read", "diff"):
            assert seen.count(kind, 503), seen.statuses
        assert seen.count("write", 200), seen.statuses
        for namespace, revisions in seen.acknowledged.items():
            for revision, mark in revisions.items():
                url = f"{daemon.url}/v1/state?key=0&namespace={namespace}&revision="
                with urllib.request.urlopen(  # noqa: S310 - its own daemon
                    f"{url}{revision}", timeout=60
                ) as answer:
                    text = answer.read(2_000)
                assert b'"0":"%012d' % mark in text
        daemon.stop()
        assert b"error" not in daemon.log()


@pytest.mark.parametrize("bug", ["unbounded_queue", "unbounded_answers"])
def test_what_is_not_bounded_is_found(tmp_path: Path, bug: str) -> None:
    """Without the bound of bodies that wait, or of answers, memory passes its own."""
    command = (sys.executable, str(_MUTANTS), bug)
    with _serve(tmp_path, command=command) as daemon:
        _, peaks = _load(daemon, 30.0)

        assert max(peaks) > MEMORY_MIB
