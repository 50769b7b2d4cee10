"""A directory of files made of documents, all of it or nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from st8.cli.folder import Folder
from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, beside the working directory and the home."""
    for name in ("work", "home", "place"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "place"


def write(
    path: Path | str, *keys: str, prefix: str = "", replace: bool = False
) -> None:
    """Write documents whose contents are their keys."""
    Folder(str(path), keys, prefix, replace=replace).write((key, key) for key in keys)


def test_paths_of_keys(place: Path) -> None:
    """The prefix is left off up to its last slash."""
    write(place / "a", "p/q/x", "p/q/y/z", prefix="p/q/")
    write(place / "b", "p/qa", "p/qb/c", prefix="p/q")

    assert "p/q/y/z" == (place / "a/y/z").read_text()
    assert "p/qa" == (place / "b/qa").read_text()
    assert "p/qb/c" == (place / "b/qb/c").read_text()


@pytest.mark.parametrize(
    "keys",
    [
        ["/etc/passwd"],
        ["a//b"],
        ["a/"],
        ["../a"],
        ["a/../../b"],
        ["a/."],
        ["a\0b"],
        ["a", "a/b"],
        ["a/b/c", "a"],
        ["é" * 130],
    ],
)
def test_keys_that_are_no_paths(place: Path, keys: list[str]) -> None:
    """What could leave the directory, or can't be there, is refused at once."""
    with pytest.raises(InvalidInput, match=r"^key '.*' can't be a "):
        Folder(str(place / "a"), keys, "", replace=False)
    assert [] == list(place.iterdir())


def test_places_that_are_refused(place: Path) -> None:
    """A file, a link, a directory that holds something, a parent that is not there."""
    (place / "file").write_text("x")
    (place / "empty").mkdir()
    (place / "link").symlink_to("empty")
    (place / "full").mkdir()
    (place / "full/x").write_text("x")

    for name, message in (
        ("file", "is there and is no directory"),
        ("link", "is there and is no directory"),
        ("full", "is not empty; name another one, or add --force"),
        ("no/where", "there is no directory"),
    ):
        with pytest.raises(InvalidInput, match=message):
            write(place / name, "a", replace=name in {"file", "link"})
    with pytest.raises(InvalidInput, match="is the working directory; name another"):
        write(".", "a")
    write(place / "empty", "a")
    assert "a" == (place / "empty/a").read_text()


def test_what_is_never_replaced(place: Path, tmp_path: Path) -> None:
    """The home, the working directory, and what is more than files of documents."""
    (tmp_path / "home/x").write_text("x")
    (tmp_path / "work/x").write_text("x")
    for path in (tmp_path, tmp_path / "home", "/", ".."):
        with pytest.raises(
            InvalidInput, match="the working directory or the home is in"
        ):
            write(path, "a", replace=True)
    (place / "repo/.git").mkdir(parents=True)
    (place / "links/sub").mkdir(parents=True)
    (place / "links/sub/link").symlink_to("/etc")
    (place / "special").mkdir()
    os.mkfifo(place / "special/pipe")
    for name, reason in (
        ("repo", "'.git' in it has a hidden name that is no document's"),
        ("links", "'sub/link' in it is a link or a special file"),
        ("special", "'pipe' in it is a link or a special file"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            write(place / name, "a", replace=True)
    assert {"repo", "links", "special"} == {path.name for path in place.iterdir()}


def test_hidden_documents_are_replaced(place: Path) -> None:
    """A hidden name is no hindrance where a document has it."""
    for _ in range(2):
        write(place / "a", ".env", ".d/x", "b", replace=True)

    assert {".env", ".d", "b"} == {path.name for path in (place / "a").iterdir()}


def test_all_or_nothing(place: Path) -> None:
    """If it breaks off, what was there stays, and nothing is left behind."""
    (place / "old").mkdir()
    (place / "old/x").write_text("old")

    def documents() -> Iterator[tuple[str, str]]:
        yield "x", "new"
        raise KeyboardInterrupt

    for name in ("old", "new"):
        folder = Folder(str(place / name), ["x", "y"], "", replace=True)
        with pytest.raises(KeyboardInterrupt):
            folder.write(documents())

    assert "old" == (place / "old/x").read_text()
    assert ["old"] == [path.name for path in place.iterdir()]


def test_one_key_for_two_files(place: Path) -> None:
    """A file that is there already is an error: a file system may fold case."""
    folder = Folder(str(place / "a"), ["x"], "", replace=False)

    with pytest.raises(InvalidInput, match="File exists"):
        folder.write([("x", "1"), ("x", "2")])
    assert [] == list(place.iterdir())


def test_what_can_not_be_written(place: Path) -> None:
    """A place that can't be written to is an error that says why; nothing is left."""
    with pytest.raises(InvalidInput, match="File name too long"):
        write(place / ("x" * 300), "a")
    assert [] == list(place.iterdir())
