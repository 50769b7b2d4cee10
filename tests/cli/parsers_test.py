"""What parses and what does not, and where it goes wrong."""

from __future__ import annotations

import pytest

from st8.cli.parsers import fault_of

DEEP = 100_000


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("a.json", "{}"),
        ("a.json", ' [1, 2.5e3, "x", null, true]\n'),
        ("a.json", '{"a": {"b": 1}, "b": {"b": 2}}'),
        ("a.json", "9" * 5_000),
        ("a.json", '{"\\ud800": 1}'),
        ("a.yaml", ""),
        ("a.yaml", "# nothing\n"),
        ("a.yaml", "a: 1\nb: [1, 2]\n"),
        ("a.yaml", "---\na: 1\n---\na: 2\n"),
        ("a.yaml", "base: &x {a: 1}\nc:\n  <<: *x\n  a: 2\n"),
        ("a.yaml", "c:\n  <<: {a: 1}\n  <<: {b: 2}\n"),
        ("a.yaml", '1: a\n"1": b\n'),
        ("a.yaml", "? [a, a]\n: 1\n"),
        ("a.yaml", "bucket: !Ref Name\n"),
        ("a.yaml", "- {a: 1}\n- {a: 2}\n"),
        ("a.toml", ""),
        ("a.toml", 'a = 1\n[b]\na = "x"\n'),
        ("a.txt", "{"),
        ("json", "{"),
        ("a.json/b", "{"),
        ("a.jsonl", "{}\n{}\n"),
        ("a.", "{"),
    ],
)
def test_takes(key: str, text: str) -> None:
    """What parses is taken, and so is what does not say that it is to be parsed."""
    assert fault_of(key, text) is None


@pytest.mark.parametrize(
    ("key", "text", "fault"),
    [
        (
            "a.json",
            '{"a": 1,\n  "b": ü}',
            "2:8: not JSON: expecting value",
        ),
        ("a.json", "", "1:1: not JSON: expecting value"),
        ("A.JSON", "{} x", "1:4: not JSON: extra data"),
        ("a.json", '"a\nb"', "1:3: not JSON: invalid control character"),
        ("a.json", "\ufeff{}", "1:1: not JSON: begins with a byte order mark"),
        ("a.json", "[1, NaN]", "1:5: not JSON: NaN is no number in it"),
        ("a.json", '["NaN", -Infinity]', "1:9: not JSON: -Infinity is no number in it"),
        (
            "a.json",
            '{"a": {"b": 1},\n "b": [{"a": 2}, "a", "a"], "\\u0061": 3}',
            "2:29: not JSON that is safe to use: the name 'a' is there twice",
        ),
        (
            "a.json",
            "[" * DEEP,
            "1:1: not JSON that can be checked: is nested too deeply",
        ),
        ("a.yaml", "a: 1\nb: [1\n", "3:1: not YAML: did not find expected ',' or ']'"),
        (
            "a.yml",
            "\ta: 1\n",
            "1:1: not YAML: found character that cannot start any token",
        ),
        ("a.yaml", "é: é\nb: }\n", "2:4: not YAML: did not find expected node content"),
        (
            "a.yaml",
            "a: 1\nb: 2\na: 3\n",
            "3:1: not YAML that is safe to use: the name 'a' is there twice",
        ),
        (
            "a.yaml",
            "- {x: {y: 1}, y: 1, x: 2}",
            "1:21: not YAML that is safe to use: the name 'x' is there twice",
        ),
        ("a.yaml", "a: *x\n", "1:4: not YAML: nothing is named by the anchor 'x'"),
        (
            "a.yaml",
            "a: &x 1\n---\nb: *x\n",
            "3:4: not YAML: nothing is named by the anchor 'x'",
        ),
        ("a.yaml", "a: x\x00y", "1:5: not YAML: the character U+0000 is not allowed"),
        (
            "a.yaml",
            "[" * DEEP + "\n",
            "1:1001: not YAML that can be checked: is nested too deeply",
        ),
        ("a.toml", "a = 1\nb =\n", "2:4: not TOML: invalid value"),
        ("a.toml", "a = 1\na = 2\n", "2:6: not TOML: cannot overwrite a value"),
        ("a.toml", "a = [1", "1:7: not TOML: unclosed array"),
        ("a.toml", "a = " + "9" * 5_000, "1:1: not TOML: a number has too many digits"),
        (
            "a.toml",
            "a = " + "[" * DEEP,
            "1:1: not TOML that can be checked: is nested too deeply",
        ),
    ],
)
def test_refuses(key: str, text: str, fault: str) -> None:
    """What does not parse is refused, with line and column, however it is made."""
    found = fault_of(key, text)

    assert found is not None
    assert f"conf/{key}:{fault}" == found.at(f"conf/{key}")


@pytest.mark.parametrize("part", ["a", "a ", '"a"', "'a b'", "-1_"])
@pytest.mark.parametrize("line", ["{}.a = 1\n", "[{}.a]\n", "[[ {}.a ]]\n"])
def test_toml_of_too_many_parts_is_not_read(part: str, line: str) -> None:
    """A name of 100,000 parts, which would keep the parser for ever, is said to be deep."""
    text = "b = 1\n" + line.format(".".join([part] * 100_000))

    fault = fault_of("a.toml", text)

    assert fault is not None
    assert (2, True) == (fault.line, "too deeply" in fault.problem)


def test_toml_of_many_names_is_read() -> None:
    """What has many short names, and a long text with dots in it, is no deep name."""
    names = "".join(f"a.b.c{n} = 1.5\n" for n in range(2_000))

    assert None is fault_of("a.toml", names + 'text = "' + "a. " * 900 + '"\n')
