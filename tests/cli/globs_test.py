"""Patterns for files of a directory."""

from __future__ import annotations

import pytest

from st8.cli.globs import Selection, pattern_of
from st8.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.yaml", ["a.yaml", "d/a.yaml", "d/e/.yaml"], ["a.yaml/b", "a.yml", "ayaml"]),
        ("a", ["a", "d/a"], ["ab", "a/b", "ba"]),
        ("d/*", ["d/a", "d/e"], ["a", "d/e/a", "x/d/a"]),
        ("/a", ["a"], ["d/a"]),
        ("./a/b", ["a/b"], ["d/a/b"]),
        ("a/", ["a", "d/a"], ["a/b"]),
        ("**/a", ["a", "d/a", "d/e/a"], ["ab", "a/b"]),
        ("d/**/a", ["d/a", "d/x/a", "d/x/y/a"], ["a", "x/d/a", "dx/a"]),
        ("d/**", ["d/a", "d/x/a"], ["d", "x/d/a"]),
        ("**", ["a", "d/a"], []),
        ("a?c", ["abc", "d/aüc"], ["a/c", "ac", "abbc"]),
        ("[ab].txt", ["a.txt", "d/b.txt"], ["c.txt", "ab.txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt", "b.txt"]),
        ("d/[!x]y", ["d/ay"], ["d/xy", "d//y"]),
        ("[a-c]", ["b"], ["d", "-"]),
        ("[", ["["], ["a"]),
        ("a.b+(c)", ["a.b+(c)"], ["aXb+(c)", "a.bb(c)"]),
        ("[]]", ["]"], ["["]),
        ("a\nb", ["a\nb"], ["a"]),
    ],
)
def test_patterns(glob: str, matching: list[str], others: list[str]) -> None:
    """A pattern matches names at any depth, or whole paths if it has a slash."""
    pattern = pattern_of(glob)

    assert matching == [path for path in matching + others if pattern.fullmatch(path)]


def test_what_is_no_pattern() -> None:
    """A range that goes backwards is refused."""
    with pytest.raises(
        InvalidInput, match=r"^'\[z-a\]' is no pattern: bad character r"
    ):
        pattern_of("[z-a]")


def test_selection_of_keys() -> None:
    """A key is selected if the file that it would come from is."""
    selection = Selection.of("p/", ["*.yaml", "d"], ["old", "x.yaml"], hidden=False)
    taken = ["p/a.yaml", "p/e/a.yaml", "p/d/k", "p/d/e/k"]
    left = [
        "a.yaml", "pa.yaml", "q/a.yaml", "p/", "p", "p/k", "p/x.yaml", "p/old/a.yaml",
        "p/d/old/k", "p/.a.yaml", "p/.d/a.yaml", "p/d/.k",
    ]  # fmt: skip

    assert taken == [key for key in taken + left if selection.takes_key(key)]
    hidden = selection._replace(hidden=True)
    assert hidden.takes_key("p/.d/a.yaml")


def test_everything_is_selected() -> None:
    """Without patterns everything is, apart from hidden names."""
    selection = Selection()

    assert ["a", "d/a", "/etc/a"] == [
        key
        for key in ("a", "d/a", "/etc/a", ".a", "d/.a/b")
        if selection.takes_key(key)
    ]
