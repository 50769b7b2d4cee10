"""Every planted bug is found by the rig that is there for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import st8
from tests.mutants.planted import PLANTED, Patch, Planted

_ROOT: Final = Path(__file__).parents[2]
_SOURCE: Final = Path(st8.__file__).parent
_TRACK_RECORD: Final = _ROOT / "docs" / "track-record.md"
_PATCHED: Final = [each for each in PLANTED if isinstance(each.found_by, Patch)]


def _run(source: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run tests against a source; whoever changes it has them stop at the first."""
    options = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-p", "no:randomly")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.mark.parametrize("planted", _PATCHED, ids=lambda each: each.name)
def test_a_changed_line_is_found(planted: Planted, tmp_path: Path) -> None:
    """With the line changed the tests of the rig fail; none of them errs otherwise."""
    patch = planted.found_by
    assert isinstance(patch, Patch)
    source = shutil.copytree(
        _SOURCE, tmp_path / "st8", ignore=shutil.ignore_patterns("__pycache__")
    )
    file = source / patch.file
    text = file.read_text(encoding="utf-8")
    assert 1 == text.count(patch.old)
    file.write_text(text.replace(patch.old, patch.new), encoding="utf-8")
    done = _run(tmp_path, patch.tests)

    assert 1 == done.returncode, done.stdout + done.stderr
    assert "1 failed" in done.stdout, done.stdout
    assert "error" not in done.stdout.splitlines()[-1]


def test_the_source_that_is_run_is_the_copy(tmp_path: Path) -> None:
    """What is changed is what the tests import: else no change would be found."""
    package = tmp_path / "st8"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit(77)\n")
    done = subprocess.run(
        [sys.executable, "-c", "import st8"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )

    assert 77 == done.returncode


@pytest.mark.parametrize("planted", PLANTED, ids=lambda each: each.name)
def test_the_track_record_names_it(planted: Planted) -> None:
    """The table has every planted bug with its rig and test, and the test is there."""
    if isinstance(planted.found_by, Patch):
        file, test = "tests/mutants/planted_test.py", "test_a_changed_line_is_found"
        assert all(
            (_ROOT / name.partition("::")[0]).exists()
            for name in planted.found_by.tests
        )
    else:
        file, _, test = planted.found_by.partition("::")
    rows = _TRACK_RECORD.read_text(encoding="utf-8").splitlines()
    [row] = [row for row in rows if row.startswith(f"| {planted.name} |")]

    assert f"| {planted.rig} |" in row
    assert f"`{test}` in `{file}`" in row
    assert f"def {test}(" in (_ROOT / file).read_text(encoding="utf-8")
