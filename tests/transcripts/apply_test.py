"""What ``st8ctl apply`` shows, in a pipe and on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transcripts.terminal import CTRL_C, CTRL_D

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage

LIMITS = "requests: 100\nburst: 20\n"


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """A directory with two files, of which three documents were applied."""
    stage.write("conf/limits.yaml", LIMITS)
    stage.write("conf/web/routes.yaml", "- /pay\n")
    stage.write("conf/web/old.txt", "x\n")
    stage.pipe("apply", "-R", "conf")
    (stage.folder / "conf/web/old.txt").unlink()
    stage.write("conf/limits.yaml", LIMITS.replace("100", "250"))
    return stage


def test_in_a_pipe(stage: Stage) -> None:
    """A directory is applied; what was done is said in text, JSON and YAML."""
    stage.write("conf/limits.yaml", LIMITS)

    assert (
        0,
        "Applied 1 change(s) at revision 1.\nCREATE shop/limits.yaml\n",
        "",
    ) == stage.pipe("apply", "-R", "conf", "--prefix", "shop")
    assert (0, "No changes. Head stays at revision 1.\n", "") == stage.pipe(
        "apply", "-R", "conf", "--prefix", "shop"
    )
    stage.clock.advance(1.5)
    assert (
        0,
        """\
{
  "revision": 2,
  "changes": [
    {
      "key": "a",
      "type": "create"
    },
    {
      "key": "shop/limits.yaml",
      "type": "delete"
    }
  ],
  "noop": false,
  "dry_run": false,
  "digest": "9c53672690d79a36b0878d08d8c14c06b7c3c24294e0b1c1c6371346656f405f",
  "root": "82e6f608433e5e9cd86441601ff419ddfeb8a67fe70c183e564303ca311188dd",
  "created_at": "2026-01-01T00:00:01.5Z",
  "kept": []
}
""",
        "",
    ) == stage.pipe(
        "apply", "-v", "a=1", "--delete", "shop/limits.yaml", "--yes", "-o", "json"
    )
    assert (
        0,
        """\
revision: 2
changes:
- key: a
  type: update
noop: false
dry_run: true
digest: 9c53672690d79a36b0878d08d8c14c06b7c3c24294e0b1c1c6371346656f405f
root: 43a728ff6f71de0104c2af29bc0e8b75ba4eca28f41bab36208cf33e75a5a7d4
created_at: '2026-01-01T00:00:01.5Z'
kept: []
""",
        "",
    ) == stage.pipe("apply", "-v", "a=2", "--dry-run", "-o", "yaml")


def test_pruning_in_a_pipe(applied: Stage) -> None:
    """In a pipe nothing is deleted without --yes, and a dry run says what would be."""
    assert (
        2,
        "",
        (
            "error: this may delete documents and there is no terminal to ask on; add "
            "--yes to delete them, or --dry-run to see them; see 'st8ctl apply --help'\n"
        ),
    ) == applied.pipe("apply", "-R", "conf", "--prune")
    assert (
        0,
        (
            "Would apply 2 change(s); nothing was changed.\n"
            "UPDATE limits.yaml\n"
            "DELETE web/old.txt\n"
        ),
        "",
    ) == applied.pipe("apply", "-R", "conf", "--prune", "--dry-run")
    assert (
        0,
        (
            "Applied 2 change(s) at revision 2.\n"
            "UPDATE limits.yaml\n"
            "DELETE web/old.txt\n"
        ),
        "",
    ) == applied.pipe("apply", "-R", "conf", "--prune", "--yes")


SHOWN = """
--- limits.yaml
+++ limits.yaml
@@ -1,2 +1,2 @@
-requests: 100
+requests: 250
 burst: 20

--- web/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-x

Delete 1 document(s)? [y/N] """


def test_pruning_on_a_terminal(applied: Stage) -> None:
    """On a terminal the difference is shown, and yes applies it."""
    assert (
        0,
        SHOWN + "y\n"
        "Applied 2 change(s) at revision 2.\n"
        "UPDATE limits.yaml\n"
        "DELETE web/old.txt\n",
    ) == applied.terminal(
        "apply",
        "-R",
        "conf",
        "--prune",
        replies=[("[y/N] ", "y\n")],
        env={"NO_COLOR": "1"},
    )
    assert (3, "") == applied.pipe("get", "web/old.txt")[:2]


@pytest.mark.parametrize(
    ("reply", "echo"),
    [
        ("n\n", "n\nNothing was changed.\n"),
        ("\n", "\nNothing was changed.\n"),
        ("yess\n", "yess\nNothing was changed.\n"),
        (CTRL_D, "\nNothing was changed.\n"),
        (CTRL_C, "^C\n"),
    ],
)
def test_no_is_an_answer(applied: Stage, reply: str, echo: str) -> None:
    """Anything but yes changes nothing."""
    assert (130, SHOWN + echo) == applied.terminal(
        "apply",
        "-R",
        "conf",
        "--prune",
        replies=[("[y/N] ", reply)],
        env={"NO_COLOR": "1"},
    )
    assert (0, "x\n", "") == applied.pipe("get", "web/old.txt")


def test_what_was_shown_is_what_is_applied(applied: Stage) -> None:
    """If somebody else makes a revision before the answer, nothing is changed."""

    def meanwhile() -> str:
        assert 0 == applied.pipe("apply", "-v", "other=1").code
        return "y\n"

    assert (
        4,
        SHOWN + "y\n"
        "error: the head of namespace 'default', branch 'main' is revision 2, not 1; look "
        "at what changed and try again\n",
    ) == applied.terminal(
        "apply",
        "-R",
        "conf",
        "--prune",
        replies=[("[y/N] ", meanwhile)],
        env={"NO_COLOR": "1"},
        columns=200,
    )
    assert (0, "x\n", "") == applied.pipe("get", "web/old.txt")


def test_colours(applied: Stage) -> None:
    """On a terminal the difference is in colour, and contents can't drive it."""
    applied.pipe("apply", "-v", "e=\x1b[31m\n")

    assert (
        0,
        (
            "\n"
            "\x1b[1m--- e\x1b[0m\n"
            "\x1b[1m+++ /dev/null\x1b[0m\n"
            "\x1b[36m@@ -1 +0,0 @@\x1b[0m\n"
            "\x1b[31m-\\x1b[31m\x1b[0m\n"
            "\n"
            "Delete 1 document(s)? [y/N] y\n"
            "Applied 1 change(s) at revision 3.\n"
            "DELETE e\n"
        ),
    ) == applied.terminal("apply", "--delete", "e", replies=[("[y/N] ", "y\n")])


def test_nothing_is_asked(applied: Stage) -> None:
    """Where nothing would be deleted, or --yes is given, nothing is asked."""
    assert (0, "Applied 1 change(s) at revision 2.\nUPDATE limits.yaml\n") == (
        applied.terminal("apply", "-R", "conf")
    )
    assert (0, "No changes. Head stays at revision 2.\n") == applied.terminal(
        "apply", "--delete", "nothing"
    )
    assert (0, "Applied 1 change(s) at revision 3.\nDELETE web/old.txt\n") == (
        applied.terminal("apply", "--delete", "web/old.txt", "-y")
    )


def test_standard_input(stage: Stage) -> None:
    """What comes from standard input gets the key that is given for it."""
    assert (0, "Applied 1 change(s) at revision 1.\nCREATE a.json\n", "") == stage.pipe(
        "apply", "-", "--key", "./a.json", stdin="{}\n"
    )
    assert (0, "{}\n", "") == stage.pipe("get", "a.json")
    assert (
        7,
        "",
        (
            "error: standard input:1:2: not JSON: expecting property name enclosed in "
            "double quotes (--no-validate takes it)\n"
        ),
    ) == stage.pipe("apply", "-", "--key", "a.json", stdin="{")
    assert (
        7,
        "",
        "error: standard input: not UTF-8 text: byte 0xff at offset 0\n",
    ) == (stage.pipe("apply", "-", "--key", "a", stdin=b"\xff"))


def test_standard_input_of_a_terminal(stage: Stage) -> None:
    """It can be typed, too."""
    assert (
        0,
        "by hand\nApplied 1 change(s) at revision 1.\nCREATE typed\n",
    ) == stage.terminal(
        "apply", "-", "--key", "typed", replies=[("", "by hand\n"), ("hand", CTRL_D)]
    )
    assert (0, "by hand\n", "") == stage.pipe("get", "typed")


def test_bad_files(stage: Stage) -> None:
    """All files that are wrong are named, and nothing is sent."""
    stage.write("conf/a.json", '{"a": 1,}')
    stage.write("conf/b.yaml", "b: [\n")
    stage.write("conf/c.toml", "c = \n")
    stage.write("conf/d", b"\xff")
    stage.write("conf/e", "fine")
    (stage.folder / "conf/out").symlink_to("/etc/hostname")

    assert (
        7,
        "",
        """\
error: 'conf/out' is a link to '/etc/hostname', which is outside of the directory; name \
the file itself, or leave the link out with --exclude
error: conf/a.json:1:9: not JSON: expecting property name enclosed in double quotes \
(--no-validate takes it)
error: conf/b.yaml:2:1: not YAML: did not find expected node content (--no-validate \
takes it)
error: conf/c.toml:1:5: not TOML: invalid value (--no-validate takes it)
error: 'conf/d': not UTF-8 text: byte 0xff at offset 0
error: 5 documents can't be applied as they are; nothing was sent
""",
    ) == stage.pipe("apply", "-R", "conf")
    code, out, err = stage.pipe(
        "apply", "-R", "conf", "--exclude", "[a-c].*", "-o", "json"
    )
    assert (
        7,
        "",
        (
            '{"error": {"code": "invalid", "detail": "2 documents can\'t be applied as they '
            "are; nothing was sent: 'conf/out' is a link to '/etc/hostname', which is outside "
            "of the directory; name the file itself, or leave the link out with --exclude; "
            '\'conf/d\': not UTF-8 text: byte 0xff at offset 0", "exit_code": 7}}\n'
        ),
    ) == (code, out, err)
    assert 3 == stage.pipe("get").code


def test_too_large(stage: Stage) -> None:
    """What is more than one apply may hold is refused before anything is sent."""
    for number in range(6):
        with stage.folder.joinpath(f"{number}").open("wb") as file:
            file.truncate(4 * 1024 * 1024)
    with stage.folder.joinpath("large").open("wb") as file:
        file.truncate(4 * 1024 * 1024 + 1)

    assert (
        7,
        "",
        (
            "error: these files in bytes: 25165824, where body_bytes_max is 20971520; "
            "apply it in parts, for example one folder at a time, or by --include\n"
        ),
    ) == stage.pipe("apply", *"012345", server="http://127.0.0.1:1")
    assert (
        7,
        "",
        "error: 'large' in bytes: 4194305, where content_bytes_max is 4194304\n",
    ) == stage.pipe("apply", "large", server="http://127.0.0.1:1")
    # NUL takes six bytes of JSON, so four such files are too many too.
    assert (
        7,
        "",
        (
            "error: apply in bytes: 25165929, where body_bytes_max is 20971520; apply it "
            "in parts, for example one folder at a time, or by --include\n"
        ),
    ) == stage.pipe("apply", "0", server="http://127.0.0.1:1")


def test_conflict(stage: Stage) -> None:
    """An expected head that is not the head is a conflict, in every format."""
    stage.pipe("apply", "-v", "a=1")
    detail = (
        "the head of namespace 'default', branch 'main' is revision 1, not 7; look at "
        "what changed and try again"
    )
    args = ["apply", "-v", "a=2", "--expect-revision", "7"]

    assert (4, "", f"error: {detail}\n") == stage.pipe(*args)
    assert (4, f"error: {detail}\n") == stage.terminal(*args, columns=200)
    assert (
        4,
        "",
        f'{{"error": {{"code": "head_moved", "detail": "{detail}", "exit_code": 4}}}}\n',
    ) == stage.pipe(*args, "-o", "json")
    pruning = [*args, "-R", ".", "--prune", "--yes"]
    stage.write("b", "1")
    assert (4, "", f"error: {detail}\n") == stage.pipe(*pruning)


def test_progress(stage: Stage) -> None:
    """On a terminal long work says what it is at, and the line is gone at the end."""
    for number in range(1_100):
        stage.write(f"conf/{number:04}", "x")
    code, text = stage.terminal("apply", "-R", "conf")
    lines = text.split("\r\x1b[K")

    assert (0, "") == (code, lines[0])
    assert "reading files ..." == lines[1]
    assert "sending 1,100 documents ..." in lines
    assert lines[-1].startswith("Applied 1100 change(s) at revision 1.\nCREATE 0000\n")
    code, text = stage.terminal("get", "--out", "out")
    lines = text.split("\r\x1b[K")
    assert "writing files ..." == lines[1]
    assert 'Wrote 1100 document(s) of revision 1 to "out".\n' == lines[-1]
    assert "" == stage.pipe("apply", "-R", "conf").err
