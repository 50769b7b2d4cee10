"""Files and directories that become documents."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import answer, problem, scripted

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl
    from tests.client.scripted import Wire


def keys(st8ctl: St8ctl, *args: str) -> list[str]:
    """Return the keys that are put, sorted."""
    done = st8ctl("apply", "--dry-run", "-o", "json", *args)
    assert 0 == done.code, done.err
    return [change["key"] for change in json.loads(done.out)["changes"]]


@pytest.fixture
def tree(st8ctl: St8ctl) -> St8ctl:
    """A directory with files, folders and hidden names."""
    for name in (
        "b.yaml", "a.txt", "d/e/deep.yaml", "d/x.txt", ".hidden", ".git/config",
        "d/.env", "node_modules/m.yaml",
    ):  # fmt: skip
        st8ctl.write(f"conf/{name}", f"k: {name}")
    return st8ctl


def test_selection(tree: St8ctl) -> None:
    """Paths below the directory are keys; hidden names and patterns choose."""
    every = ["a.txt", "b.yaml", "d/e/deep.yaml", "d/x.txt", "node_modules/m.yaml"]

    for path in ("conf", "./conf/", "conf/d/.."):
        assert every == keys(tree, "-R", path)
    assert [f"p/q/{key}" for key in every] == keys(
        tree, "-R", "conf", "--prefix", "p//q/"
    )
    assert every == keys(tree, "-R", "conf", "--prefix", ".")
    assert ["b.yaml", "d/e/deep.yaml"] == keys(
        tree, "-R", "conf", "--include", "*.yaml", "--exclude", "node_modules"
    )
    assert ["d/e/deep.yaml", "d/x.txt"] == keys(tree, "-R", "conf", "--include", "d")
    assert [".git/config", ".hidden", "d/.env"] == sorted(
        set(keys(tree, "-R", "conf", "--hidden")) - set(every)
    )


def test_files_beside_a_directory(tree: St8ctl) -> None:
    """A file beside a directory keeps its path, and takes the prefix too."""
    assert ["conf/a.txt", "e/deep.yaml", "v", "x.txt"] == keys(
        tree, "-R", "conf/d", "conf/a.txt", "-v", "v=1"
    )
    assert ["p/conf/a.txt", "p/e/deep.yaml", "p/x.txt", "v"] == keys(
        tree, "-R", "conf/d", "conf/a.txt", "-v", "v=1", "--prefix", "p"
    )


def test_later_directories_win(tree: St8ctl) -> None:
    """Of two directories with one path the last counts, so overlays can be laid."""
    tree.write("over/a.txt", "over")
    tree("apply", "-R", "conf", "over")

    assert "over" == tree("get", "a.txt").out


def test_links(tree: St8ctl) -> None:
    """Links to files of the directory are read, others refused; folders not followed."""
    conf = tree.folder / "conf"
    (conf / "in").symlink_to("d/x.txt")
    (conf / "folder").symlink_to("d")
    tree.write("outside", "x")

    assert (
        "note: the link 'conf/folder' to a directory is not followed\n"
        == tree("apply", "-R", "conf").err
    )
    assert (0, "k: d/x.txt", "") == tree("get", "in")
    assert 3 == tree("get", "folder/x.txt").code
    for name, target in (
        ("up", "../outside"), ("absolute", str(tree.folder / "outside")),
        ("twice", "up"), ("broken", "nothing"), ("loop", "loop"),
    ):  # fmt: skip
        (conf / name).symlink_to(target)
        code, out, err = tree("apply", "-R", "conf", "--exclude", "folder")
        assert (7, "") == (code, out)
        assert f"'conf/{name}'" in err
        if name != "up":
            (conf / name).unlink()
    # A directory that is a link itself was named, and is read.
    (conf / "up").unlink()
    (tree.folder / "link").symlink_to("conf")
    assert "in" in keys(tree, "-R", "link", "--namespace", "other")


def test_what_is_no_file(tree: St8ctl) -> None:
    """A pipe is refused without waiting for it; it can be left out."""
    os.mkfifo(tree.folder / "conf" / "pipe")

    assert (
        7,
        "",
        "error: 'conf/pipe' is no regular file; leave it out with --exclude\n",
    ) == tree("apply", "-R", "conf")
    assert 0 == tree("apply", "-R", "conf", "--exclude", "pipe").code


def test_name_that_is_no_text(st8ctl: St8ctl) -> None:
    """A file name that is no UTF-8 makes no key."""
    st8ctl.write("conf/a", "1")
    try:
        (st8ctl.folder / "conf" / os.fsdecode(b"\xff")).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    code, _, err = st8ctl("apply", "-R", "conf")

    assert 7 == code
    assert "not valid UTF-8" in err


def test_problems_are_bounded(st8ctl: St8ctl) -> None:
    """Twenty problems are told, and how many more there are."""
    for number in range(30):
        st8ctl.write(f"conf/{number:02}.json", "{")
    code, out, err = st8ctl("apply", "-R", "conf", "-v", "v.json=}")
    lines = err.splitlines()

    assert (7, "", 22) == (code, out, len(lines))
    assert lines[0].startswith("error: conf/00.json:1:2: not JSON: ")
    assert [
        "error: and 11 more",
        "error: 31 documents can't be applied as they are; nothing was sent",
    ] == lines[-2:]


def test_exactly_as_many_as_fit(st8ctl: St8ctl) -> None:
    """10,000 documents are one apply; with one more nothing is sent."""
    folder = st8ctl.folder / "conf"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"{number:05}").write_bytes(b"x")
    too_many = (
        "error: documents at once: 10001, where apply_documents_max is 10000; apply it in "
        "parts, for example one folder at a time, or by --include\n"
    )

    assert 0 == st8ctl("apply", "-R", "conf").code
    assert (7, "", too_many) == st8ctl("apply", "-R", "conf", "-v", "one=more")
    assert (7, "", too_many) == st8ctl("diff", "-R", "conf", "--delete", "one")
    assert 0 == st8ctl("apply", "-R", "conf", "-v", "00000=y").code
    # What is pruned counts too, as soon as it is known.
    for number in range(5_000):
        (folder / f"{number:05}").unlink()
    prune = ["apply", "-R", "conf", "--prune", "--yes"]
    st8ctl("apply", "-v", "more=1")
    code, out, err = st8ctl(*prune)
    assert (7, "") == (code, out)
    assert "10001, where apply_documents_max is 10000; apply it in parts" in err
    st8ctl("apply", "--delete", "more", "--yes")
    assert 0 == st8ctl(*prune).code


def test_prune_takes_the_selected_only(st8ctl: St8ctl) -> None:
    """What patterns, dots or the prefix leave out is not deleted."""
    left = ["p/.env", "p/b.txt", "p/old/c.yaml", "pa.yaml", "q/a.yaml"]
    gone = ["p/a.yaml", "p/d/a.yaml"]
    st8ctl("apply", *(f"-v{key}=1" for key in left + gone))
    st8ctl.write("conf/new.yaml", "a: 1")
    args = ["--prefix=p", "--include=*.yaml", "--exclude=old", "--prune", "--yes"]
    st8ctl("apply", "-R", "conf", *args)

    assert sorted([*left, "p/new.yaml"]) == st8ctl("get").out.splitlines()[1:]


def test_prune_begins_anew(st8ctl: St8ctl) -> None:
    """If the head moves while what to delete is found, that is found anew."""
    written = {"revision": 3, "noop": False, "changes": []}

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(answer({"revision": 1, "keys": ["old"]}))
        wire.request()
        wire.send(
            problem(409, "head_moved", namespace="d", branch="m", expected=1, actual=2)
        )
        wire.request()
        wire.send(answer({"revision": 2, "keys": ["old", "older"]}))
        wire.request()
        wire.send(answer(written))

    st8ctl.write("conf/a", "1")
    with scripted(script) as server:
        args = ["--server", server.url, "apply", "-R", "conf", "--prune", "--yes"]
        done = st8ctl.bare(*args)
        bodies = [json.loads(seen.body) for seen in server.requests if seen.body]

    assert (0, "Applied 0 change(s) at revision 3.\n", "") == done
    assert [(1, ["old"]), (2, ["old", "older"])] == [
        (body["expect_revision"], body["deletes"]) for body in bodies
    ]


def test_prune_of_nothing(st8ctl: St8ctl) -> None:
    """A branch that nothing was applied to can be pruned; an empty directory can't."""
    st8ctl.write("conf/a", "1")
    (st8ctl.folder / "empty").mkdir()

    assert (0, "Applied 1 change(s) at revision 1.\nCREATE a\n", "") == st8ctl(
        "apply", "-R", "conf", "--prune", "--yes"
    )
    assert (7, "", "error: no file of the directory 'empty' is selected\n") == st8ctl(
        "apply", "-R", "empty", "--prune", "--yes"
    )
