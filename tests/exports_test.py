"""The public names of st8: all there, sorted, and loaded only when used."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import st8
from st8.core import errors

_HOMES = ("st8.client", "st8.core.documents", "st8.core.errors")
# What would double the start-up time of st8ctl.
_SLOW = ("msgspec", "asyncio", "uvicorn", "structlog", "apsw", "httpx")


def _loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after ``statement``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    return set(done.stdout.split())


def test_names_are_sorted_and_listed_once() -> None:
    """__all__ is sorted and has no name twice."""
    assert sorted(set(st8.__all__)) == st8.__all__


@pytest.mark.parametrize("name", st8.__all__)
def test_every_name_can_be_used(name: str) -> None:
    """Each public name is there, and is the one its home exports."""
    actual = getattr(st8, name)

    if name != "__version__":
        homes = [importlib.import_module(home) for home in _HOMES]
        expected = [getattr(home, name) for home in homes if name in home.__all__]
        assert [actual] == expected


def test_type_checkers_see_the_names_that_are_there() -> None:
    """The imports for type checkers and __all__ are the same names."""
    tree = ast.parse(Path(str(st8.__file__)).read_text(encoding="utf-8"))
    actual = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("st8.")
        for alias in node.names
    }

    assert set(st8.__all__) - {"__version__"} == actual


def test_what_the_client_exports_is_public() -> None:
    """Nothing of st8.client has to be imported from anywhere but st8."""
    client = importlib.import_module("st8.client")

    assert set() == set(client.__all__) - set(st8.__all__)


def test_every_error_is_public() -> None:
    """Every class of the error tree can be caught by its public name."""
    expected = {cls.__name__ for cls in _subclasses(errors.St8Error)} | {"St8Error"}

    assert set() == expected - set(st8.__all__)


def _subclasses(root: type[Exception]) -> set[type[Exception]]:
    """Return all that st8.core derives from ``root``."""
    found: set[type[Exception]] = set()
    for cls in root.__subclasses__():
        found |= {cls} | _subclasses(cls)
    return {cls for cls in found if cls.__module__ == errors.__name__}


def test_unknown_names_are_refused() -> None:
    """A name that is not public is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="module 'st8' has no attribute 'Nothing'"):
        _ = getattr(st8, "Nothing")  # noqa: B009 - a type checker would refuse it


def test_all_names_are_offered_before_they_are_loaded() -> None:
    """dir(st8), which completion asks, lists every public name."""
    assert set() == set(st8.__all__) - set(dir(st8))


def test_importing_st8_loads_nothing_else() -> None:
    """The import of st8, or of one core module, does not load the client."""
    loaded = _loaded_by("import st8, st8.core.limits")

    assert {"st8", "st8.core", "st8.core.limits"} == {
        name for name in loaded if name.startswith("st8")
    }


@pytest.mark.parametrize(
    "statement", ["from st8 import Client", "import st8.cli.main"], ids=str
)
def test_client_and_command_line_load_nothing_slow(statement: str) -> None:
    """What st8ctl starts with has neither the daemon nor what it is made of."""
    loaded = _loaded_by(statement)

    assert set() == loaded.intersection(_SLOW)
    assert set() == {
        name
        for name in loaded
        if name.startswith(("st8.daemon", "st8.http", "st8.engine", "st8.store"))
    }


def test_version_is_the_distributions() -> None:
    """st8.__version__ is what the package manager shows."""
    assert importlib.metadata.version("st8") == st8.__version__
