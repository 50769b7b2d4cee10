"""docs/guarantees.md names tests that exist."""

from __future__ import annotations

import ast
import re

from tests.docs.shell import ROOT

PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def _test_names() -> set[str]:
    """Return the names of all tests, those of the store contract too."""
    found: set[str] = set()
    for folder in ("tests", "src/st8/testing"):
        for path in (ROOT / folder).rglob("*.py"):
            found.update(
                node.name
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            )
    return found


def test_every_named_test_exists() -> None:
    """Each file of tests, and each test, that the page names is there."""
    files = re.findall(r"`((?:src|tests)/[\w/]+\.py)`", PAGE)
    tests = set(re.findall(r"`(test_\w+)`", PAGE))

    assert files
    assert [] == [path for path in files if not (ROOT / path).is_file()]
    assert set() == tests - _test_names()


def test_every_guarantee_is_proven_or_says_that_it_is_not() -> None:
    """G1 to G10 are there in order, each with a test, or a word that it lacks one."""
    parts = re.split(r"^## (G\d+): .+\n", PAGE, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))

    assert [f"G{number}" for number in range(1, 11)] == list(sections)
    for text in sections.values():
        assert "`tests/" in text or "yet" in text
