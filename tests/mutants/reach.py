"""Which tests reach which lines, measured once with coverage.py and kept.

What was measured of a file of tests counts until it changes, or the source, or what the
tests share.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import coverage
import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["OPTIONS", "Plain", "Reach", "key_of", "measure", "read"]

OPTIONS: Final = (
    *("-q", "-x", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
    *("-p", "no:randomly", "-p", "no:xdist", "-p", "no:schemathesis"),
    *("-k", "not postgres"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
"""What pytest is told always. Of the stores, which are not changed, two will do."""


class Reach(NamedTuple):
    """What a test reaches.

    Attributes:
        cpu_s: What it takes.
        lines: Of each file.
    """

    cpu_s: float
    lines: Mapping[str, Sequence[int]]


class _Measuring:
    """Tells coverage which test runs."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.tests: dict[str, tuple[Path, float]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        since_s = time.process_time()
        done = yield
        self.tests[item.nodeid] = item.path, time.process_time() - since_s
        self._measured.switch_context("")
        return done


class Plain:
    """Has hypothesis try the same examples each time, and keep nothing of them."""

    def pytest_sessionstart(self) -> None:
        """Change what the tests have said of it."""
        settings.register_profile(
            "mutants",
            settings.default,
            phases=[Phase.explicit, Phase.generate],
            database=None,
            derandomize=True,
        )
        settings.load_profile("mutants")


def measure(targets: Mapping[Path, Path], source: Path) -> int:
    """Run files of tests and write what each reaches; the exit code of pytest.

    Nothing of ``source`` may have been imported.
    """
    measured = coverage.Coverage(data_file=None, include=[f"{source}/*"])
    measuring = _Measuring(measured)
    arguments = [*OPTIONS, *map(str, targets)]
    measured.start()
    code = pytest.main(arguments, plugins=[measuring, Plain()])
    measured.stop()
    if code:
        return int(code)
    data = measured.get_data()
    reached: dict[str, dict[str, list[int]]] = {test: {} for test in measuring.tests}
    for file in data.measured_files():
        for line, names in data.contexts_by_lineno(file).items():
            for name in filter(None, names):
                reached[name].setdefault(file, []).append(line)
    for test, target in targets.items():
        found = {
            name: (cpu_s, reached[name])
            for name, (path, cpu_s) in measuring.tests.items()
            if path == test
        }
        new = target.with_suffix(".new")
        new.write_text(json.dumps(found), encoding="utf-8")
        new.rename(target)
    return 0


def read(target: Path) -> dict[str, Reach]:
    """Return what was measured."""
    found = json.loads(target.read_text(encoding="utf-8"))
    return {test: Reach(*each) for test, each in found.items()}


def key_of(test: Path, source: Path) -> str:
    """Return a name for what a file of tests reaches, as long as all stays as it is."""
    shared = [each for each in test.parent.glob("*.py") if not each.match("*_test.py")]
    digest = hashlib.sha256(bytes(test))
    for file in (test, *sorted(shared), *sorted(source.rglob("*.py"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
