"""Patterns of names mean what Go's filepath.Match has them mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.auth.globs import CHARACTERS_MAX, Glob
from st8.core.limits import NAME_BYTES


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["", "prod", "a/b/c", "\n"], []),
        ("prod", ["prod"], ["production", "pro", "PROD", "prod\n"]),
        ("staging-*", ["staging-eu", "staging-"], ["staging", "staging-/x"]),
        (
            "release/*",
            ["release/1.0", "release/2.3.1", "release/"],
            ["release", "release/a/b", "feature/foo"],
        ),
        ("payments/*", ["payments/prod"], ["payments/a/b", "payments"]),
        ("payments*", ["payments", "payments-eu"], ["payments/prod"]),
        ("*/prod", ["a/prod", "/prod"], ["prod", "a/b/prod"]),
        ("**", ["", "prod"], ["a/b"]),
        ("a**b", ["ab", "axb"], ["a/b"]),
        ("?", ["a", "ä", "名"], ["", "/", "ab"]),
        ("a?c", ["abc", "a\nc"], ["a/c", "ac"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x", "-x"]),
        ("[ab-cz]", ["a", "b", "c", "z"], ["d", "-"]),
        ("[^a-c]", ["d", "^", "é"], ["a", "b", ""]),
        ("[^^]", ["a"], ["^"]),
        ("[a^]", ["a", "^"], ["b"]),
        ("team[^x]a", ["team-a", "team/a"], ["teamxa"]),
        ("[\\]\\-]", ["]", "-"], ["\\"]),
        ("[.*+]", [".", "*", "+"], ["a"]),
        ("\\*", ["*"], ["a", "\\*"]),
        ("a\\?b\\[c", ["a?b[c"], ["axb[c"]),
        ("a.b+(c)|d$", ["a.b+(c)|d$"], ["axb+(c)|d$"]),
        ("*a*b", ["ab", "xaab", "xaxxb", "aab"], ["aba", "a/b"]),
        ("", [""], ["a"]),
        ("]", ["]"], ["["]),
        ("a-b", ["a-b"], ["ab"]),
    ],
)
def test_match(pattern: str, matching: list[str], others: list[str]) -> None:
    """A pattern matches these names, and none of the others."""
    glob = Glob(pattern)

    assert matching == [name for name in matching if glob.matches(name)]
    assert [] == [name for name in others if glob.matches(name)]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("[", "has a [ without its ]"),
        ("a[bc", "has a [ without its ]"),
        ("[^", "has a [ without its ]"),
        ("[a-", "has a [ without its ]"),
        ("[a\\", "has a [ without its ]"),
        ("[]a]", "has ']' where a character of a class must stand"),
        ("[^]a]", "has ']' where a character of a class must stand"),
        ("[-x]", "has '-' where a character of a class must stand"),
        ("[x-]", "has ']' where a character of a class must stand"),
        ("[a-b-c]", "has '-' where a character of a class must stand"),
        ("[z-a]", "the range z-a in the pattern '[z-a]' holds nothing"),
        ("prod\\", "ends with a backslash"),
        ("x" * (CHARACTERS_MAX + 1), "is longer than 1024"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, problem: str) -> None:
    """A pattern that can't be read, or never could match, is an error."""
    with pytest.raises(ValueError, match="pattern") as caught:
        Glob(pattern)

    assert problem in str(caught.value)


def test_only_a_star_matches_all() -> None:
    """Only ``*`` says that it matches every name; ``**`` stops at a slash."""
    assert [True, False, False] == [
        Glob(pattern).matches_all for pattern in ("*", "**", "?*")
    ]


def test_equal_patterns_are_equal() -> None:
    """Globs are values."""
    assert {Glob("a*")} == {Glob("a*"), Glob("a*")}
    assert Glob("a*") != Glob("a?")
    assert "a*" != Glob("a*")
    assert "Glob('a*')" == repr(Glob("a*"))


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 300 + "b",
        "*" * CHARACTERS_MAX,
        "*?" * 400 + "x",
        "*[^b]" * 200 + "b/",
        "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
    ],
)
def test_hostile_patterns_end(pattern: str) -> None:
    """No pattern takes exponential time on a name it nearly matches."""
    glob = Glob(pattern)
    names = ["a" * length for length in range(NAME_BYTES.maximum)]

    assert pattern.strip("*") == "" or not any(map(glob.matches, names))


class _Part:
    """One part of a pattern, and the characters it takes; None for a star."""

    def __init__(self, text: str, characters: str | None) -> None:
        self.text = text
        self.characters = characters


_ALPHABET = "ab-/]*é"
_PARTS = st.sampled_from(
    [
        _Part("*", None),
        _Part("?", _ALPHABET.replace("/", "")),
        _Part("[a-b]", "ab"),
        _Part("[^a/]", "b-]*é"),
        _Part("[\\]\\-]", "]-"),
        *(_Part(f"\\{c}", c) for c in _ALPHABET),
        *(_Part(c, c) for c in "ab-/]é"),
    ]
)


def _takes(parts: list[_Part], name: str) -> bool:
    """Return whether the parts take the whole name, by trying every way."""
    ends = {0}
    for part in parts:
        if part.characters is None:
            ends = {
                end
                for start in ends
                for end in range(start, len(name) + 1)
                if "/" not in name[start:end]
            }
        else:
            ends = {
                end + 1
                for end in ends
                if end < len(name) and name[end] in part.characters
            }
    return len(name) in ends


@given(st.lists(_PARTS, max_size=8), st.text(_ALPHABET, max_size=10))
def test_every_way_to_match_is_found(parts: list[_Part], name: str) -> None:
    """A name matches exactly if there is a way to share it among the parts."""
    pattern = "".join(part.text for part in parts)
    expected = pattern == "*" or _takes(parts, name)

    assert expected == Glob(pattern).matches(name)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_read_or_refused(pattern: str, name: str) -> None:
    """No text does anything but make a glob or a ValueError."""
    try:
        glob = Glob(pattern)
    except ValueError:
        return

    assert isinstance(glob.matches(name), bool)


@given(st.text(max_size=30))
def test_an_escaped_name_matches_itself_alone(name: str) -> None:
    """A name with a backslash before every character stands for itself."""
    glob = Glob("".join(f"\\{character}" for character in name))

    assert glob.matches(name)
    assert not glob.matches(name + "x")
