"""Changes to the configuration file: what else is in it stays as it is."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from st8.cli.config_edit import put, read_text, remove, save
from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

URL = ["server", "url"]


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("", URL, "server:\n  url: v\n"),
        ("# head", URL, "# head\nserver:\n  url: v\n"),
        ("---\n", URL, "---\nserver:\n  url: v\n"),
        ("server:\n  url: x  # why\n", URL, "server:\n  url: v  # why\n"),
        ("server:\n  url: 'x'\n", URL, "server:\n  url: v\n"),
        ("server:\n  url:\n  token: t\n", URL, "server:\n  url: v\n  token: t\n"),
        ("server:\n  url: ~ # n\n", URL, "server:\n  url: v # n\n"),
        ("server:\n  url: |\n    x\n  token: t\n", URL,
         "server:\n  url: v\n  token: t\n"),
        ("server: # s\n", URL, "server: # s\n  url: v\n"),
        ("server:", URL, "server:\n  url: v\n"),
        ("server: null # s\n", URL, "server: {url: v} # s\n"),
        ("server: {}\n", URL, "server: {url: v}\n"),
        ("server: {token: t} # s\n", URL, "server: {token: t, url: v} # s\n"),
        ("server: {url: x, token: t}\n", URL, "server: {url: v, token: t}\n"),
        ("server:\n    token: t # of ours\n# end\n", URL,
         "server:\n    token: t # of ours\n    url: v\n# end\n"),
        ("server:\n  token: t", URL, "server:\n  token: t\n  url: v\n"),
        ("defaults:\n  branch: b\n\n# more\n", URL,
         "defaults:\n  branch: b\nserver:\n  url: v\n\n# more\n"),
        ("{server: {url: x}}\n", URL, "{server: {url: v}}\n"),
        ("current: a\n", ["contexts", "a", *URL],
         "current: a\ncontexts:\n  a:\n    server:\n      url: v\n"),
        ("contexts:\n  a: {}\n", ["contexts", "b", *URL],
         "contexts:\n  a: {}\n  b:\n    server:\n      url: v\n"),
        ("contexts: {a: {}}\n", ["contexts", "a", *URL],
         "contexts: {a: {server: {url: v}}}\n"),
        ("\ufeffserver:\n  url: x\n", URL, "\ufeffserver:\n  url: v\n"),
        ("server:\n  token: é😀\n  url: x # ü\n", URL,
         "server:\n  token: é😀\n  url: v # ü\n"),
    ],
)  # fmt: skip
def test_put(before: str, path: list[str], after: str) -> None:
    """A value comes into its place; comments and everything else stay."""
    assert after == put(before, path, "v")


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("server:\n  url: x # why\n  token: t\n", URL, "server:\n  token: t\n"),
        ("server:\n  url: x\n", URL, "server:\n"),
        ("server:\n  url:\n", URL, "server:\n"),
        ("server:\n  url: x", URL, "server:\n"),
        ("server: {url: x, token: t}\n", URL, "server: {url: null, token: t}\n"),
        ("server:\n  token: t\n", URL, "server:\n  token: t\n"),
        ("server:\n", URL, "server:\n"),
        ("", URL, ""),
        ("a: 1\n", URL, "a: 1\n"),
        ("contexts:\n  a:\n    server:\n      url: x\n  b: {}\n", ["contexts", "a"],
         "contexts:\n  b: {}\n"),
        ("contexts:\n  a: {}\n# end\n", ["contexts", "a"], "contexts:\n# end\n"),
    ],
)  # fmt: skip
def test_remove(before: str, path: list[str], after: str) -> None:
    """A value goes, with its line; everything else stays."""
    assert after == remove(before, path)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("http://x:1", "url: http://x:1"),
        ("0123", "url: '0123'"),
        ("true", "url: 'true'"),
        ("a: b # c", "url: 'a: b # c'"),
        ("-", "url: '-'"),
        ("é", "url: é"),
    ],
)
def test_quotation_marks(value: str, line: str) -> None:
    """A value that YAML would read otherwise is put into quotation marks."""
    assert f"server:\n  {line}\n" == put("", URL, value)


names = st.sampled_from(["url", "token", "dir"])
values = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1
)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), names, values), max_size=8))
def test_what_is_put_is_read(edits: list[tuple[str, str, str]]) -> None:
    """After any edits, the file says what was put last, everywhere."""
    text = "# ours\n"
    expected: dict[tuple[str, ...], str] = {}
    for context, name, value in edits:
        path = [*(["contexts", context] if context else []), "server", name]
        text = put(text, path, value)
        expected[tuple(path)] = value

    for place, value in expected.items():
        found = yaml.safe_load(text)
        for name in place:
            found = found[name]
        assert value == found
    assert text.startswith("# ours\n")


def test_save(tmp_path: Path) -> None:
    """The file is made with its folder, for its owner alone, and nothing beside it."""
    path = tmp_path / "a" / "b" / "config.yaml"
    save(str(path), "server:\n  token: s3cret\n")

    assert "server:\n  token: s3cret\n" == path.read_text() == read_text(str(path))
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    assert ["config.yaml"] == [found.name for found in path.parent.iterdir()]


def test_save_over_a_link(tmp_path: Path) -> None:
    """A file that is elsewhere and linked to is written where it is; mode included."""
    real = tmp_path / "dotfiles" / "st8.yaml"
    real.parent.mkdir()
    real.write_text("server:\n")
    real.chmod(0o644)
    link = tmp_path / "config.yaml"
    link.symlink_to(real)
    save(str(link), "server:\n  url: x\n")

    assert link.is_symlink()
    assert "server:\n  url: x\n" == real.read_text()
    assert 0o600 == stat.S_IMODE(real.stat().st_mode)


def test_save_nothing_that_is_wrong(tmp_path: Path) -> None:
    """A file that st8ctl would refuse is not written."""
    path = tmp_path / "config.yaml"
    path.write_text("server:\n")
    with pytest.raises(InvalidInput, match="line 1: the file has no setting 'sever'"):
        save(str(path), "sever:\n")

    assert "server:\n" == path.read_text()


def test_save_where_nothing_can_be(tmp_path: Path) -> None:
    """A folder that can't be is an error that names the file; nothing is left."""
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "config.yaml")
    with pytest.raises(
        InvalidInput, match=r"can't write configuration file '.*File exists"
    ):
        save(path, "server:\n")
    with pytest.raises(InvalidInput, match=r"can't read configuration file '.*Not a d"):
        read_text(path)

    assert ["file"] == [found.name for found in tmp_path.iterdir()]
