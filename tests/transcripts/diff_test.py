"""What ``st8ctl diff`` shows, in a pipe and on a terminal."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage

LIMITS = "requests: 100\nburst: 20\n"


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """Three revisions on two branches, an hour apart, a checkpoint and a directory."""
    stage.write("conf/limits.yaml", LIMITS)
    stage.write("conf/note.txt", "hi")
    for args in (
        ["apply", "-R", "conf"],
        ["checkpoint", "good"],
        ["apply", "-v", "limits.yaml=requests: 5\nburst: 20\n", "-v", "extra=1\n2\n"],
        ["branch", "create", "side", "--checkpoint", "good"],
        ["apply", "--branch", "side", "--delete", "note.txt", "--yes"],
    ):
        assert 0 == stage.pipe(*args).code
        stage.clock.advance(3600)
    return stage


def test_between_any_two(applied: Stage) -> None:
    """Revisions, checkpoints, branches and times can be compared with each other."""
    limits = """\

--- limits.yaml
+++ limits.yaml
@@ -1,2 +1,2 @@
-requests: 100
+requests: 5
 burst: 20
"""
    extra = """\

--- /dev/null
+++ extra
@@ -0,0 +1,2 @@
+1
+2
"""
    note = """\

--- /dev/null
+++ note.txt
@@ -0,0 +1 @@
+hi
\\ No newline at end of file
"""
    for earlier in ("1", "-1", "checkpoint:good", "branch:main@1", "branch:side@-1"):
        head = "Diff from revision 1 to 2\n"
        if earlier == "branch:main@1":
            head = 'Diff from revision 1 of branch "main" to revision 2\n'
        elif earlier == "branch:side@-1":
            head = 'Diff from revision 1 of branch "side" to revision 2\n'
        assert (0, head + extra + limits, "") == applied.pipe("diff", "--from", earlier)
    assert (0, f"Diff from revision 1 to 2\n{extra}{limits}", "") == applied.pipe(
        "diff", "--from", "at:2026-01-01T01:00:00Z", "--to", "head"
    )
    assert (0, f"Diff from revision 1 to 2\n{extra}{limits}", "") == applied.pipe(
        "diff", "--from", "at:2026-01-01", "--to", "2"
    )
    assert (0, "No differences.\n", "") == applied.pipe("diff", "--from", "at:-1h")
    assert (
        0,
        f'Diff from revision 3 of branch "side" to revision 2\n{extra}{limits}{note}',
        "",
    ) == applied.pipe("diff", "--from", "branch:side")


def test_formats(applied: Stage) -> None:
    """Programs get the revisions and the changes."""
    assert (
        0,
        """\
{
  "from_revision": 2,
  "to_revision": 1,
  "changes": [
    {"key": "extra", "type": "delete", "before": "1\\n2\\n"},
    {"key": "limits.yaml", "type": "update", "before": "requests: 5\\nburst: 20\\n", \
"after": "requests: 100\\nburst: 20\\n"}
  ]
}
""",
        "",
    ) == applied.pipe("diff", "--to", "1", "-o", "json")
    assert (
        0,
        """\
from_revision: 2
to_revision: 1
changes:
- key: extra
  type: delete
- key: limits.yaml
  type: update
""",
        "",
    ) == applied.pipe("diff", "--to", "1", "--name-only", "-o", "yaml")
    assert (
        0,
        """\
{
  "from_revision": 2,
  "to_revision": 1,
  "changes": [
    {"key": "extra", "type": "delete", "insertions": 0, "deletions": 2},
    {"key": "limits.yaml", "type": "update", "insertions": 1, "deletions": 1}
  ]
}
""",
        "",
    ) == applied.pipe("diff", "--revision", "1", "--stat", "-o", "json")
    assert (
        0,
        '{\n  "from_revision": 2,\n  "to_revision": 2,\n  "changes": []\n}\n',
        "",
    ) == applied.pipe("diff", "-o", "json")


def test_stat_and_names(applied: Stage) -> None:
    """How much changed, or the keys alone."""
    assert (
        0,
        """\
 extra       | 2 ++
 limits.yaml | 2 +-
 2 document(s) changed, 3 insertion(s)(+), 1 deletion(s)(-)
""",
        "",
    ) == applied.pipe("diff", "--from", "1", "--stat")
    assert (0, "extra\nlimits.yaml\n", "") == applied.pipe(
        "diff", "--from", "1", "--name-only"
    )
    assert (0, "", "") == applied.pipe("diff", "--name-only")
    assert (0, "No differences.\n", "") == applied.pipe("diff", "--stat")


def test_directory(applied: Stage) -> None:
    """A directory is laid over a state, or stands for a whole one."""
    limits = """\

--- limits.yaml
+++ limits.yaml
@@ -1,2 +1,2 @@
-requests: 5
+requests: 100
 burst: 20
"""
    extra = """\

--- extra
+++ /dev/null
@@ -1,2 +0,0 @@
-1
-2
"""
    assert (0, f"Diff from revision 2 to these files\n{limits}", "") == applied.pipe(
        "diff", "-R", "conf"
    )
    assert (
        0,
        f"Diff from revision 2 to these files\n{extra}{limits}",
        "",
    ) == applied.pipe("diff", "-R", "conf", "--prune")
    assert (
        0,
        f'Diff from revision 2 to directory "conf"\n{extra}{limits}',
        "",
    ) == applied.pipe("diff", "--to", "dir:conf")
    assert (0, "No differences.\n", "") == applied.pipe(
        "diff", "--from", "checkpoint:good", "--to", "dir:conf"
    )
    assert (
        0,
        (
            'Diff from directory "conf" to revision 3 of branch "side"\n'
            "\n--- note.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-hi\n"
            "\\ No newline at end of file\n"
        ),
        "",
    ) == applied.pipe("diff", "--from", "dir:conf", "--to", "branch:side")
    assert (0, "No differences.\n", "") == applied.pipe(
        "diff", "--from", "dir:conf", "--to", "branch:side", "--include", "*.yaml"
    )
    assert (
        0,
        (
            " shop/note.txt | 1 +\n 1 document(s) changed, 1 insertion(s)(+), "
            "0 deletion(s)(-)\n"
        ),
        "",
    ) == applied.pipe(
        "diff", "--to", "dir:conf", "--prefix=shop", "--exclude=*.yaml", "--stat"
    )


def test_directory_and_nothing(stage: Stage) -> None:
    """A directory can be compared before anything was applied."""
    stage.write("conf/a", "1\n")

    for args in (["-R", "conf", "--prune"], ["--to", "dir:conf"]):
        code, out, err = stage.pipe("diff", *args)
        assert (0, "\n--- /dev/null\n+++ a\n@@ -0,0 +1 @@\n+1\n", "") == (
            code,
            out[out.index("\n") + 1 :],
            err,
        )
    assert 3 == stage.pipe("diff", "--from", "1", "--to", "dir:conf").code


def test_exit_code(applied: Stage) -> None:
    """With --exit-code differences are told by the exit code too."""
    for form in ([], ["--stat"], ["--name-only"], ["-o", "json"], ["-o", "yaml"]):
        assert 1 == applied.pipe("diff", "--from", "1", "--exit-code", *form).code
        assert 0 == applied.pipe("diff", "--from", "2", "--exit-code", *form).code
    assert 1 == applied.terminal("diff", "--from", "1", "--exit-code").code


@pytest.mark.parametrize(
    "args",
    [
        ["--from", "head", "--to", "checkpoint:good"],
        ["--from", "head", "--to", "branch:side"],
        ["--to", "dir:conf"],
        ["-R", "conf", "--prune"],
        ["-R", "conf", "--delete", "extra"],
    ],
)
def test_patch_applies_it(applied: Stage, args: list[str]) -> None:
    """Whatever is compared, `patch` makes the later side of the earlier one."""
    assert 0 == applied.pipe("get", "--out", "target").code
    target = applied.folder / "target"
    done = subprocess.run(
        ["patch", "-p0"],
        cwd=target,
        input=applied.pipe("diff", *args).out.encode(),
        check=True,
        capture_output=True,
    )
    expected = {"limits.yaml": LIMITS, "note.txt": "hi"}
    if "branch:side" in args:
        del expected["note.txt"]

    assert b"" == done.stderr
    assert expected == {
        str(path.relative_to(target)): path.read_text()
        for path in target.rglob("*")
        if path.is_file()
    }


def test_on_a_terminal(applied: Stage) -> None:
    """On a terminal it is in colour, unless that is not wanted."""
    plain = (
        "Diff from revision 2 to 1\n\n--- extra\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-1\n-2\n"
        "\n--- limits.yaml\n+++ limits.yaml\n@@ -1,2 +1,2 @@\n-requests: 5\n"
        "+requests: 100\n burst: 20\n"
    )
    args = ["diff", "--to", "1"]

    assert (0, plain) == applied.terminal(*args, env={"NO_COLOR": "1"})
    assert (0, plain) == applied.terminal(*args, env={"TERM": "dumb"})
    assert (
        0,
        (
            "Diff from revision 2 to 1\n"
            "\n"
            "\x1b[1m--- extra\x1b[0m\n"
            "\x1b[1m+++ /dev/null\x1b[0m\n"
            "\x1b[36m@@ -1,2 +0,0 @@\x1b[0m\n"
            "\x1b[31m-1\x1b[0m\n"
            "\x1b[31m-2\x1b[0m\n"
            "\n"
            "\x1b[1m--- limits.yaml\x1b[0m\n"
            "\x1b[1m+++ limits.yaml\x1b[0m\n"
            "\x1b[36m@@ -1,2 +1,2 @@\x1b[0m\n"
            "\x1b[31m-requests: 5\x1b[0m\n"
            "\x1b[32m+requests: 100\x1b[0m\n"
            " burst: 20\n"
        ),
    ) == applied.terminal(*args, env={"NO_COLOR": ""})
    assert (
        0,
        (
            " extra       | 2 \x1b[31m--\x1b[0m\n"
            " limits.yaml | 2 \x1b[32m+\x1b[0m\x1b[31m-\x1b[0m\n"
            " 2 document(s) changed, 1 insertion(s)(+), 3 deletion(s)(-)\n"
        ),
    ) == applied.terminal(*args, "--stat")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--from", "9"], 3, "revision 9 not found in namespace 'default', branch 'main'"),
        (["--to", "checkpoint:bad"], 3, "checkpoint 'bad' not found in namespace 'default'"),
        (["--to", "branch:no"], 3, "branch 'no' not found in namespace 'default'"),
        (
            ["--to", "at:2025-01-01"],
            3,
            "namespace 'default', branch 'main' had no revision at 2025-01-01T00:00:00Z;",
        ),
        (
            ["--to", "good"],
            7,
            "--to: 'good' is no state; write 12, -1, head, checkpoint:NAME, branch:NAME,",
        ),
        (["--from", "branch:"], 7, "--from: 'branch:' is no state; write 12, "),
        (["--to", "at:noon"], 7, "--to: 'noon' is no time; write it like 2026-01-31T"),
        (["--to", "dir:missing"], 7, "there is no directory 'missing'"),
        (["--to", "dir:empty"], 7, "no file of the directory 'empty' is selected"),
        (["--from", "dir:conf", "--to", "dir:conf"], 2, "two directories are compared by"),
        (["conf/note.txt", "--to", "dir:conf"], 2, "dir:PATH is a whole side; it can't"),
        (["conf/note.txt", "--to", "1"], 2, "--to can't be used with files or values"),
        (["--revision", "1", "--to", "1"], 2, "--revision and --to can't be used"),
        (["--checkpoint", "a", "--from", "1"], 2, "--checkpoint and --from can't be"),
        (["--stat", "--name-only"], 2, "--stat and --name-only can't be used together"),
        (["--include", "x"], 2, "--include needs -R and a directory"),
        (["-R", "conf/note.txt", "--prune"], 2, "--prune needs -R and a directory"),
        (["-R", "conf", "--include", "x"], 7, "no file of the directory 'conf' is se"),
        (["conf"], 7, "'conf' is a directory; name its files, or read all of them with"),
        (["--key", "x"], 2, "--key is for standard input; give - as the file"),
        (["-"], 2, "- is standard input and needs --key KEY; for a file named - write"),
        (["-", "-", "--key", "x"], 2, "standard input can be read only once"),
        (["--prefix", "x", "-v", "a=1"], 2, "--prefix is for files; name one"),
        (["conf/note.txt", "--prefix", "../x"], 7, "key: '../x/x' must not have '.' or"),
        (["-R", "conf", "--exclude", "[z-a]"], 7, "'[z-a]' is no pattern: bad character"),
    ],
)  # fmt: skip
def test_failures(applied: Stage, args: list[str], code: int, message: str) -> None:
    """What can't be compared is told in a sentence, and nothing is written."""
    (applied.folder / "empty").mkdir()
    ended, out, err = applied.pipe("diff", *args)

    assert (code, "") == (ended, out)
    assert err.startswith(f"error: {message}")
