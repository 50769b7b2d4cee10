"""How long ``st8ctl get`` takes from the shell, start of the interpreter included.

Against a running daemon, beside ``python3 -c pass``, which nothing in Python can
beat, and ``git show HEAD:file``, which is what a user would otherwise do::

    python bench/cli.py [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import git
from bench.documents import content, documents, key
from bench.git import Git
from bench.measure import Report, in_turns, say, show_s, timed_s
from st8.testing.child import ChildDaemon, call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DOCUMENTS = 100
_BAR = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure the start of st8ctl.")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    options = parser.parse_args(arguments)
    report = Report("Command line")
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), 7 if options.quick else 41, report)
    report.print()
    return 0


def measure(folder: Path, rounds: int, report: Report) -> None:
    """Measure everything in turns and add it to ``report``."""
    st8ctl = Path(sys.executable).with_name("st8ctl")
    with ChildDaemon(folder / "state") as daemon:
        connection = daemon.connect()
        body = {
            "documents": [{"key": k, "content": c} for k, c in documents(_DOCUMENTS)]
        }
        status, answer = call(connection, "POST", "/v1/apply", body)
        connection.close()
        assert status == 200, answer
        asking = (str(st8ctl), "--server", daemon.url)
        commands: dict[str, tuple[str, ...]] = {
            "python3 -c pass": (sys.executable, "-c", "pass"),
            "st8ctl get KEY": (*asking, "get", key(7)),
            "st8ctl --help": (str(st8ctl), "--help"),
            "st8ctl log": (*asking, "log"),
        }
        works: dict[str, Callable[[], float]] = {
            label: partial(timed_s, partial(_run, command))
            for label, command in commands.items()
        }
        assert content(7) == _run(commands["st8ctl get KEY"]).decode()
        if git.present():
            repository = Git(folder / "git")
            repository.load(documents(_DOCUMENTS))
            show = partial(repository.run, "show", f"HEAD:{key(7)}")
            works["git show HEAD:KEY"] = partial(timed_s, show)
        say(f"{len(works)} commands, {rounds} rounds")
        times = in_turns(works, rounds)
    bare = times["python3 -c pass"]
    report.add_table(
        f"Whole commands from the shell, {_DOCUMENTS} documents, medians of {rounds}",
        ("", "time", "of `python3 -c pass`"),
        [
            (f"`{label}`", show_s(took), f"{took / bare:.1f} times")
            for label, took in times.items()
        ],
    )
    report.add_bar("st8ctl get / python3 -c pass", times["st8ctl get KEY"] / bare, _BAR)


def _run(command: tuple[str, ...]) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


if __name__ == "__main__":
    sys.exit(main())
