"""``st8ctl apply``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import answer, scripted

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl
    from tests.client.scripted import Wire


def test_file(st8ctl: St8ctl) -> None:
    """A file is applied; again, nothing changes."""
    st8ctl.write("config.json", '{"timeout": 30}\n')

    assert (
        0,
        "Applied 1 change(s) at revision 1.\nCREATE config.json\n",
        "",
    ) == st8ctl("apply", "-f", "config.json")
    assert (0, "No changes. Head stays at revision 1.\n", "") == st8ctl(
        "apply", "config.json"
    )


def test_everything_at_once(st8ctl: St8ctl) -> None:
    """Files, positionals, values and deletes make one revision, in key order."""
    for name in ("a", "b", "deep/er/c"):
        st8ctl.write(name, name)
    st8ctl("apply", "-v", "old=1", "-v", "b=")

    assert (
        0,
        ("Applied 5 change(s) at revision 2.\n"
        "CREATE a\n"
        "UPDATE b\n"
        "CREATE deep/er/c\n"
        "DELETE old\n"
        "CREATE x\n"),
        "",
    ) == st8ctl(
        "apply", "-f", "a", "b", "--value", "x=1=2", "--delete", "old", "--yes", "deep/er/c",
        "--message", "all", "--author", "me",
    )  # fmt: skip
    assert "1=2" == st8ctl("get", "x").out
    assert (
        'rev=2 parent=1 branch=main at=2026-01-01T00:00:00Z message="all" changes=5 '
        'author="me"\n'
    ) == st8ctl("log", "--limit", "1").out


def test_later_beats_earlier(st8ctl: St8ctl) -> None:
    """Of two documents with one key the last counts; values come after files."""
    st8ctl.write("k", "file")
    st8ctl("apply", "-v", "k=1", "-v", "./k=2", "-f", "k")

    assert "2" == st8ctl("get", "k").out


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a.txt", "a.txt"),
        ("./a.txt", "a.txt"),
        ("d//e/../a.txt", "d/a.txt"),
        ("d/./a.txt", "d/a.txt"),
        ("./-", "-"),
        ("--x", "--x"),
        ("a b/ü.txt", "a b/ü.txt"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_keys_of_files(st8ctl: St8ctl, path: str, key: str) -> None:
    """The cleaned path of a file is its key; files, values and get agree on it."""
    (st8ctl.folder / "d" / "e").mkdir(parents=True)
    st8ctl.write(path, "content")

    assert f"CREATE {key}\n" == st8ctl("apply", "--", path).out.split("\n", 1)[1]
    assert (0, "content", "") == st8ctl("get", "--", path)
    assert 0 == st8ctl("apply", f"--value={path}=value").code
    assert (0, "value", "") == st8ctl("get", "--", key)
    assert 0 == st8ctl("apply", "-y", f"--delete={path}").code
    assert 3 == st8ctl("get", "--", key).code


def test_absolute_path(st8ctl: St8ctl) -> None:
    """An absolute path stays one."""
    st8ctl.write("a", "1")
    path = str(st8ctl.folder / "a")

    assert f"CREATE {path}\n" in st8ctl("apply", f"/{path}").out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"  leading and trailing  \n\n",
        b"\xef\xbb\xbfbom\r\n",
        b'{"b": 1.0, "a": 12345678901234567890, "a": "<&>"}',
        b"nul \x00 and esc \x1b[31m",
        "ü 😀 \u2028".encode(),
    ],
)
def test_contents_are_kept_to_the_byte(st8ctl: St8ctl, content: bytes) -> None:
    """A file comes back as it was, JSON or not."""
    st8ctl.write("x.json", content)
    st8ctl("apply", "x.json", "--no-validate")

    assert content.decode() == st8ctl("get", "x.json").out


def test_dry_run(st8ctl: St8ctl) -> None:
    """A dry run says what would change, and changes nothing."""
    assert (0, "Would apply 1 change(s); nothing was changed.\nCREATE a\n", "") == (
        st8ctl("apply", "-v", "a=1", "--dry-run")
    )
    assert 3 == st8ctl("get", "a").code


def test_expected_revision(st8ctl: St8ctl) -> None:
    """Where the head has moved, nothing is changed and the code says conflict."""
    assert 0 == st8ctl("apply", "-v", "a=1", "--expect-revision", "0").code
    assert (
        4,
        "",
        (
            "error: the head of namespace 'default', branch 'main' is revision 1, not 0; "
            "look at what changed and try again\n"
        ),
    ) == st8ctl("apply", "-v", "a=2", "--expect-revision", "0")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], ("give at least one FILE, --value KEY=VALUE or --delete KEY; see 'st8ctl "
             "apply --help'")),
        (["-v", "x"], "--value 'x': expected KEY=VALUE"),
        (["-v", "=x"], "--value '=x': expected KEY=VALUE"),
        (["-v", "x=1", "--delete", "./x", "-y"], "'x' is both given and deleted"),
        (["--expect-revision", "-1", "-v", "x=1"],
         ("--expect-revision: -1 is no whole number from 0 on; see "
         "'st8ctl apply --help'")),
        (["-f"], "-f needs a value"),
    ],
)  # fmt: skip
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """Wrong usage is told before anything is sent."""
    code, out, err = st8ctl("apply", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["-", "--key", "x"], 2, "--prune needs -R and a directory"),
        (["/dev/null"], 2, "--prune needs -R and a directory"),
        (["missing"], 7, "can't read 'missing': No such file or directory"),
        (
            ["-", "missing", "--key", "x"],
            7,
            "can't read 'missing': No such file or directory",
        ),
    ],
)
def test_prune_without_a_directory(
    st8ctl: St8ctl, args: list[str], code: int, message: str
) -> None:
    """Nothing is deleted for a directory that is not there, or was not named."""
    st8ctl("apply", "-v", "a=1", "-v", "b=2")

    ended = st8ctl("apply", "-R", "--prune", "--yes", *args)

    assert (code, "") == ended[:2]
    assert ended.err.startswith(f"error: {message}")
    assert "revision: 1\na\nb\n" == st8ctl("get").out


def test_files_that_can_not_be_applied(st8ctl: St8ctl) -> None:
    """A file that can't be read, is no text or too large is named; nothing is sent."""
    st8ctl.write("folder/a", "1")
    st8ctl.write("binary", b"abc\xff")
    with (st8ctl.folder / "large").open("wb") as file:
        file.truncate(4 * 1024 * 1024 + 1)
    os.mkfifo(st8ctl.folder / "pipe")

    for name, message in (
        ("missing", "can't read 'missing': No such file or directory"),
        (
            "folder",
            "'folder' is a directory; name its files, or read all of them with -R",
        ),
        ("binary", "'binary': not UTF-8 text: byte 0xff at offset 3"),
        (
            "large",
            "'large' in bytes: 4194305, where content_bytes_max is 4194304",
        ),
    ):
        assert (7, "", f"error: {message}\n") == st8ctl("apply", "-v", "a=1", name)
    assert 3 == st8ctl("get").code


def test_keys_that_can_not_be(st8ctl: St8ctl) -> None:
    """A path that leads out of the folder makes no key."""
    (st8ctl.folder.parent / "up").write_text("x")

    assert (
        7,
        "",
        "error: key: '../up' must not have '.' or '..' as a path segment\n",
    ) == st8ctl("apply", "../up")
    assert (7, "error: key: '.' must not have '.' or '..' as a path segment\n") == (
        st8ctl("apply", "-v", ".=1")[::2]
    )


def test_value_that_is_no_text(st8ctl: St8ctl) -> None:
    """Bytes on the command line that are no UTF-8 are refused, not replaced."""
    code, _, err = st8ctl("apply", "-v", os.fsdecode(b"k=\xff"))

    assert 7 == code
    assert "not valid UTF-8" in err


def test_named_change(st8ctl: St8ctl) -> None:
    """A change with an idempotency key is made once, and another one refused."""
    first = st8ctl("apply", "-v", "a=1", "--idempotency-key", "deploy-7")
    st8ctl("apply", "-v", "a=2")

    assert first == st8ctl("apply", "-v", "a=1", "--idempotency-key", "deploy-7")
    assert "2" == st8ctl("get", "a").out
    code, out, err = st8ctl("apply", "-v", "a=3", "--idempotency-key", "deploy-7")
    assert (4, "") == (code, out)
    assert "already used for a different request" in err
    assert 0 == st8ctl("rollback", "--revision", "1", "--idempotency-key", "x").code
    assert "rev=3 " in st8ctl("log", "--limit", "1").out
    assert 0 == st8ctl("rollback", "--revision", "1", "--idempotency-key", "x").code
    assert "rev=3 " in st8ctl("log", "--limit", "1").out


def test_what_depends_on_what_is_there_has_no_name(st8ctl: St8ctl) -> None:
    """What --prune deletes is not one and the same change each time."""
    st8ctl.write("conf/a", "1")

    code, out, err = st8ctl(
        "apply", "-R", "conf", "--prune", "--yes", "--idempotency-key", "k"
    )

    assert (2, "") == (code, out)
    assert "leave it out, or name what to delete with --delete and --yes" in err


@pytest.mark.parametrize("kind", ["application/problem+json", "text/html"])
def test_what_stands_before_the_daemon_may_refuse_a_size(
    st8ctl: St8ctl, kind: str
) -> None:
    """A proxy that takes less than the daemon names no limit of st8."""
    reply = answer(
        {"code": "limit_exceeded"}, status=413, headers={"content-type": kind}
    )

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(reply)

    with scripted(script) as server:
        code, out, err = st8ctl.bare("--server", server.url, "apply", "-v", "a=1")

    assert (7, "") == (code, out)
    assert err.startswith("error: ")
    assert "Traceback" not in err
