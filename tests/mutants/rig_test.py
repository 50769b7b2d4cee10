"""The rig of mutants tells what tests find from what they don't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.changes import mutants_of

_ROOT: Final = Path(__file__).parents[2]
_RATES: Final = "src/st8/core/rates.py"


def _made(tmp_path: Path, source: str) -> list[tuple[str, str]]:
    file = tmp_path / "module.py"
    file.write_text(source)
    return [mutant.make()[1:] for mutant in mutants_of(file)]


def test_a_change_is_small(tmp_path: Path) -> None:
    """Each mutant differs in one comparison, number, condition, result or statement."""
    made = _made(
        tmp_path, "def f(a):\n    if a < 1 and g:\n        g(a)\n    return a\n"
    )

    assert [
        ("g(a)", "pass"),
        ("if a < 1 and g:", "if a < 1 or g:"),
        ("if a < 1 and g:", "if a < 2 and g:"),
        ("if a < 1 and g:", "if a <= 1 and g:"),
        ("if a < 1 and g:", "if not (a < 1 and g):"),
        ("return a", "return None"),
    ] == sorted(made)


def test_what_no_test_could_notice_is_left_alone(tmp_path: Path) -> None:
    """No mutant of annotations, docstrings, assertions, decorators and prose."""
    source = (
        '"""What it is."""\nfrom x import y\n__all__ = ["f"]\n'
        '@y(1)\ndef f(a: "A", b: int | None) -> "C":\n    """Do."""\n'
        '    assert a == 1\n    raise_it(f"{a} is no good")\n    z("is no good")\n'
        '    x: "int | str" = cast("int", a)\n'
    )
    made = _made(tmp_path, source)

    assert [
        ("raise_it(f'{a} is no good')", "pass"),
        ("z('is no good')", "pass"),
    ] == made


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("3 * 2", [1, 8, 9]),
        ("1 in (1, 3)", [False, False, False, True]),
        ("True", [False]),
        ("'a'", ["ax"]),
        ("b'a'", [b"ax"]),
    ],
)
def test_the_code_is_changed(tmp_path: Path, source: str, values: list[object]) -> None:
    """The code of a mutant has its change, and none of those before it."""
    file = tmp_path / "module.py"
    file.write_text(f"value = {source}")
    found: list[object] = []
    for mutant in mutants_of(file):
        names: dict[str, object] = {}
        exec(mutant.make()[0], names)  # noqa: S102 - made here
        found.append(names["value"])

    assert sorted(values, key=str) == sorted(found, key=str)


def test_the_rig_tells_what_is_found_from_what_is_not() -> None:
    """Of a test that looks at little, what it looks at is killed and the rest survives.

    So in a function, in what is made as the module is imported, and where no test comes.
    """
    lines = (_ROOT / _RATES).read_text(encoding="utf-8").splitlines()
    at = {
        text: 1 + next(i for i, line in enumerate(lines) if text in line)
        for text in ("return Rate(", "if burst <", "the burst is at", "UNLIMITED:")
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutants.rig", "--seed", "1"]
        + [f"{_RATES}:{line}" for line in at.values()]
        + ["--tests", "tests/mutants/weak_test.py"],
        cwd=_ROOT,
        capture_output=True,
        check=False,
        text=True,
    )

    assert 1 == done.returncode, done.stderr
    assert "core: 7 mutants, 2 killed, 1 no test reaches it, 4 survived: 28.6%" in (
        done.stdout
    )
    assert "seed 1" in done.stdout
    assert (
        f"{_RATES}:{at['if burst <']}: survived\n  - if burst < 1:\n  + if burst <="
        in (done.stdout)
    )
    assert f"{_RATES}:{at['UNLIMITED:']}: survived\n" in done.stdout
    assert f"{_RATES}:{at['the burst is at']}: no test reaches it\n" in done.stdout
