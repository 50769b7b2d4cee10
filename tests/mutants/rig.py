"""Mutation testing: does a test fail when a line of the source is wrong?

Every mutant (:mod:`~tests.mutants.changes`) is tried in a process of its own by the tests
that reach it (:mod:`~tests.mutants.reach`), the quickest first, up to the first that
fails. The process is forked from one that has all of them loaded and has the code of the
function changed in memory; what is changed outside of functions is imported anew. No file
of the checkout is written. A mutant that needs far more time than its tests do is
stopped; it counts as found, since a test that never ends is one that fails.

``python -m tests.mutants.rig --sample N --seed S FILE...`` takes the same mutants again.
"""

from __future__ import annotations

import argparse
import gc
import importlib.abc
import importlib.util
import json
import os
import re
import resource
import secrets
import select
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.mutants import reach
from tests.mutants.changes import Mutant, mutants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec

_ROOT: Final = Path(__file__).parents[2]
_SOURCE: Final = _ROOT / "src" / "st8"
_ENGINE_TESTS: Final = ("engine/*_test.py",)
_CORE_TESTS: Final = ("core/*_test.py", *_ENGINE_TESTS, "docs/reference_test.py")
_TESTS: Final = {"core": _CORE_TESTS, "engine": _ENGINE_TESTS}
_NO_TESTS: Final = ("planted_test.py",)  # tests of a rig, not of the source
_MAP: Final = _ROOT / ".mutants"
_MEMORY_BYTES_MAX: Final = 4 << 30
_RATE_MIN: Final = 0.9
_NOT_HERE: Final = 99  # exit code: the function could not be changed in memory


class _Job(NamedTuple):
    """A mutant and the tests that can find it, the quickest first."""

    mutant: Mutant
    tests: list[str]
    cpu_s: float


def _in_child(act: Callable[[], int], cpu_s: float) -> str:
    """Run in a process of its own: ``survived``, ``killed``, ``timed out``, ``elsewhere``.

    Tests of so much processor time are waited for ten times as long, and two minutes.
    """
    ended, held = os.pipe()
    if not (child := os.fork()):
        code = 1
        try:
            os.setpgid(0, 0)
            limit = int(10 + 3 * cpu_s)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES_MAX,) * 2)
            code = act()
        finally:
            os._exit(code)
    os.close(held)
    try:
        in_time, _, _ = select.select([ended], [], [], 120 + 10 * cpu_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # with all that it has started
        os.close(ended)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if not in_time or code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return "timed out"
    return {0: "survived", _NOT_HERE: "elsewhere"}.get(code, "killed")


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _code_of(code: CodeType, function: tuple[int, str]) -> CodeType | None:
    """Return the code of a function that is somewhere in another code."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if (each.co_firstlineno, each.co_name) == function:
                return each
            if found := _code_of(each, function):
                return found
    return None


class _InMemory:
    """Tries mutants in forks of a pytest that has collected all tests."""

    def __init__(self, jobs: Mapping[int, _Job], results: int) -> None:
        self._jobs = jobs
        self._results = results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of the loop over all tests."""
        items = {item.nodeid: item for item in session.items}
        functions = defaultdict(list)
        for each in gc.get_objects():
            if isinstance(each, FunctionType):
                code = each.__code__
                key = (code.co_filename, code.co_firstlineno, code.co_name)
                functions[key].append(each)
        gc.freeze()
        for number, job in self._jobs.items():
            key = (str(job.mutant.file), *(job.mutant.function or ()))
            chosen = [items[test] for test in job.tests]
            act = partial(_try_in_memory, job.mutant, functions[key], session, chosen)
            line = json.dumps((number, _in_child(act, job.cpu_s)))
            os.write(self._results, f"{line}\n".encode())
        return True


def _try_in_memory(
    mutant: Mutant,
    functions: Iterable[FunctionType],
    session: pytest.Session,
    items: Sequence[pytest.Item],
) -> int:
    changed = _code_of(mutant.make()[0], mutant.function or (0, ""))
    if not functions or not changed:
        return _NOT_HERE
    for function in functions:
        try:
            function.__code__ = changed
        except ValueError:  # it closes over other names than before
            return _NOT_HERE
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module as something else."""

    def __init__(self, file: Path, code: CodeType) -> None:
        self._file = file
        self._code = code
        self._name = _module_of(file)

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Answer for that module only."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Run what is in its place."""
        exec(self._code, module.__dict__)  # noqa: S102 - the source with a change


def _module_of(file: Path) -> str:
    return ".".join(file.relative_to(_SOURCE.parent).with_suffix("").parts)


def _try_imported(mutant: Mutant, tests: Sequence[str]) -> int:
    _silence()
    sys.meta_path.insert(0, _Changed(mutant.file, mutant.make()[0]))
    return int(pytest.main([*reach.OPTIONS, *tests], plugins=[reach.Plain()]))


def _results(jobs: Mapping[int, _Job]) -> Iterator[tuple[int, str]]:
    """Try all; yields the number of each with what came of it."""
    elsewhere = [number for number, job in jobs.items() if not job.mutant.function]
    here = {number: job for number, job in jobs.items() if number not in elsewhere}
    files = {
        test.partition("::")[0]: None for job in here.values() for test in job.tests
    }
    ended, results = os.pipe()
    if not (child := os.fork()):
        try:
            _silence()
            plugins = [_InMemory(here, results), reach.Plain()]
            pytest.main([*reach.OPTIONS, *files], plugins=plugins)
        finally:
            os._exit(0)
    os.close(results)
    with os.fdopen(ended, encoding="utf-8") as lines:
        for line in lines:
            number, result = json.loads(line)
            del here[number]
            if result == "elsewhere":
                elsewhere.append(number)
            else:
                yield number, result
    os.waitpid(child, 0)
    if here:
        sys.exit(f"mutants: pytest came to its end with {len(here)} mutants not tried")
    for number in elsewhere:
        act = partial(_try_imported, jobs[number].mutant, jobs[number].tests)
        yield number, _in_child(act, jobs[number].cpu_s)


def _reached(tests: Iterable[Path]) -> dict[str, reach.Reach]:
    """Return what each test reaches; measured where that is not known."""
    _MAP.mkdir(exist_ok=True)
    targets = {test: _MAP / f"{reach.key_of(test, _SOURCE)}.json" for test in tests}
    stale = {test: target for test, target in targets.items() if not target.exists()}
    if stale:
        sys.stderr.write(f"measuring what {len(stale)} files of tests reach\n")
        if _in_child(partial(_measure, stale), 1_000) != "survived":
            sys.exit("mutants: the tests fail as they are; mend that first")
    found: dict[str, reach.Reach] = {}
    for target in targets.values():
        found |= reach.read(target)
    return found


def _measure(targets: Mapping[Path, Path]) -> int:
    _silence()
    return reach.measure(targets, _SOURCE)


class _Choice:
    """Chooses the tests of mutants."""

    def __init__(self, reached: Mapping[str, reach.Reach], cpu_s_max: float) -> None:
        self._cpu_s_max = cpu_s_max
        self._reached = dict(sorted(reached.items(), key=lambda each: each[1].cpu_s))
        files = [*_SOURCE.rglob("*.py"), *(_ROOT / "tests").rglob("*_test.py")]
        self._texts = {file: file.read_text(encoding="utf-8") for file in files}

    def job(self, mutant: Mutant) -> _Job:
        """Return it with its tests: those that reach the line, the quickest first."""
        if mutant.function:
            first, last = mutant.lines
            tests = self._reaching({str(mutant.file): range(first, last + 1)})
        else:
            tests = self._importing(mutant.file)
        chosen: dict[str, float] = {}
        for test in tests:
            chosen[test] = self._reached[test].cpu_s
            if sum(chosen.values()) > self._cpu_s_max:
                break
        return _Job(mutant, list(chosen), sum(chosen.values()))

    def _reaching(self, wanted: Mapping[str, range]) -> list[str]:
        return [test for test, each in self._reached.items() if _meets(each, wanted)]

    def _importing(self, file: Path) -> list[str]:
        """Return the tests of what is done when a module is imported: none reaches it.

        They are those that are named for it, those that import it, and those that reach
        anything in it or in who imports it, in this order.
        """
        package, _, name = _module_of(file).rpartition(".")
        ways = rf"from {package}(\.{name} import | import [^\n]*\b{name}\b)"
        users = [each for each, text in self._texts.items() if re.search(ways, text)]
        by_file = defaultdict(list)
        for test in self._reached:
            by_file[_ROOT / test.partition("::")[0]].append(test)
        named = [_ROOT / "tests" / file.parent.name / f"{file.stem}_test.py"]
        near = [test for each in (*named, *users) for test in by_file.get(each, ())]
        everywhere = range(1 << 20)
        return near + self._reaching({str(each): everywhere for each in [file, *users]})


def _meets(reached: reach.Reach, wanted: Mapping[str, range]) -> bool:
    return any(
        line in lines
        for file, lines in wanted.items()
        for line in reached.lines.get(file, ())
    )


def _run(mutants: Sequence[Mutant], choice: _Choice) -> Counter[tuple[str, str]]:
    """Try them all and say what survives; the counts by package and result."""
    jobs = {number: choice.job(mutant) for number, mutant in enumerate(mutants)}
    counts: Counter[tuple[str, str]] = Counter()
    for job in jobs.values():
        if not job.tests:
            counts[_count(job.mutant, "no test reaches it")] += 1
    tried = {number: job for number, job in jobs.items() if job.tests}
    for number, result in _results(tried):
        counts[_count(tried[number].mutant, result)] += 1
        sys.stderr.write(f"{counts.total()}/{len(jobs)}\r")
    return counts


def _count(mutant: Mutant, result: str) -> tuple[str, str]:
    """Say what came of a mutant if it is not as it should be."""
    if result != "killed":
        _, before, after = mutant.make()
        place = f"{mutant.file.relative_to(_ROOT)}:{mutant.lines[0]}"
        same = [a == b for a, b in zip(before, after, strict=False)]
        begin = max(0, [*same, False].index(False) - 60)
        old, new = before[begin : begin + 120], after[begin : begin + 120]
        sys.stdout.write(f"{place}: {result}\n  - {old}\n  + {new}\n")
        sys.stdout.flush()
    return mutant.file.parent.name, result


def _tests_of(files: set[Path]) -> list[Path]:
    patterns = {name for file in files for name in _TESTS[file.parent.name]}
    found = {test for name in patterns for test in (_ROOT / "tests").glob(name)}
    return sorted(test for test in found if test.name not in _NO_TESTS)


def _mutants(told: argparse.Namespace) -> list[Mutant]:
    names: list[str] = told.files
    if told.changed:
        command = ["git", "diff", "--name-only", told.changed, "--", "src/st8"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        names = done.stdout.splitlines()
    elif not names:
        names = [f"src/st8/{package}/*.py" for package in _TESTS]
    found: list[Mutant] = []
    for name in names:
        pattern, _, line = name.partition(":")
        for file in sorted(_ROOT.glob(pattern)):
            if file.parent.name in _TESTS:
                mutants = mutants_of(file)
                found += [each for each in mutants if line in {"", str(each.lines[0])}]
    if not found:
        sys.exit(f"mutants: nothing to change in {' '.join(names) or 'what changed'}")
    if told.sample and told.sample < len(found):
        return Random(told.seed).sample(found, told.sample)
    return found


def main() -> int:
    """Run as told on the command line; 1 if too few are found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.rig")
    parser.add_argument("files", nargs="*", metavar="FILE[:LINE]")
    parser.add_argument("--changed", metavar="COMMIT", help="files changed since then")
    parser.add_argument("--sample", type=int, help="so many of all, by chance")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--cpu", type=float, default=10.0, help="s of tests for each")
    parser.add_argument("--tests", nargs="*", type=Path, help="these files only")
    told = parser.parse_args()
    mutants = _mutants(told)
    tests = [test.resolve() for test in told.tests or ()] or _tests_of(
        {mutant.file for mutant in mutants}
    )
    os.chdir(_ROOT)  # from there pytest names tests
    counts = _run(mutants, _Choice(_reached(tests), told.cpu))
    enough = True
    for package in sorted({name for name, _ in counts}):
        results = {result: n for (name, result), n in counts.items() if name == package}
        total = sum(results.values())
        rate = (results.get("killed", 0) + results.get("timed out", 0)) / total
        parts = ", ".join(f"{n} {result}" for result, n in sorted(results.items()))
        sys.stdout.write(f"{package}: {total} mutants, {parts}: {rate:.1%}\n")
        enough = enough and rate >= _RATE_MIN
    sys.stdout.write(f"seed {told.seed}\n")
    return not enough


if __name__ == "__main__":
    sys.exit(main())
