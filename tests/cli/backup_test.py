"""``st8ctl backup`` and ``st8ctl restore-backup``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from st8.core.backup import broken_off
from st8.core.errors import Overtaken
from tests.client.scripted import answer, problem, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.st8ctl import Ended, St8ctl
    from tests.client.scripted import Wire


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two namespaces, a branch and a checkpoint."""
    st8ctl("apply", "-v", "k=1", "-v", "l=2")
    st8ctl("apply", "-v", "k=2")
    st8ctl("branch", "create", "dev")
    st8ctl("checkpoint", "good")
    st8ctl("--namespace", "a/b", "apply", "-v", "x=1")
    return st8ctl


def other(st8ctl: St8ctl, *args: str) -> Ended:
    """Run st8ctl on a store of its own."""
    return st8ctl.bare("--local", "--state-dir", str(st8ctl.folder / "other"), *args)


def test_backup_and_restore(applied: St8ctl) -> None:
    """A file is written that only its owner may read, and restored elsewhere."""
    code, out, err = applied("backup", "b.backup")
    path = applied.folder / "b.backup"

    assert (0, "") == (code, err)
    assert out == (
        "b.backup: the backup has 2 namespace(s), 3 revision(s) and 10 object(s) in "
        f"{path.stat().st_size} bytes\n"
    )
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(applied.folder.glob("b.backup*"))
    restored = (
        "restored 2 namespace(s) with 3 branch(es), 1 checkpoint(s) and 3 revision(s)\n"
    )
    assert (0, restored, "") == other(applied, "restore-backup", "b.backup")
    for args in (["log"], ["get", "k"], ["branch"], ["checkpoint"], ["namespace"]):
        assert applied(*args) == other(applied, *args)
    assert "Applied 1 change(s) at revision 3.\nCREATE new\n" == (
        other(applied, "apply", "-v", "new=1").out
    )


def test_an_increment(applied: St8ctl) -> None:
    """On top of a backup there is only what it lacks; both are restored in order."""
    applied("backup", "full")
    applied("apply", "-v", "k=3")
    code, out, _ = applied("backup", "--base", "full", "more")

    assert 0 == code
    assert out.startswith(
        "more: the increment has 2 namespace(s), 1 revision(s) and 3 object(s) in "
    )
    code, _, err = other(applied, "restore-backup", "more")
    assert 7 == code
    assert err.startswith("error: 'more' stands on another backup, with the digest ")
    for wrong, word in (
        (["more", "full"], "'more' stands on another backup"),
        (["full", "full"], "'full' stands alone"),
        (["full", "more", "more"], "'more' does not stand on the one before it"),
    ):
        code, _, err = other(applied, "restore-backup", *wrong)
        assert (7, f"error: {word}") == (code, err[: len(word) + 7])
    assert 0 == other(applied, "restore-backup", "full", "more").code
    assert "3" == other(applied, "get", "k").out


def test_one_namespace(applied: St8ctl) -> None:
    """With --namespace, only that one is backed up; a backup is restored whole."""
    assert 0 == applied("backup", "--namespace", "a/b", "b").code
    code, _, err = other(applied, "restore-backup", "b", "--namespace", "a/b")
    assert (2, "error: a backup is restored whole") == (code, err[:33])
    assert 0 == other(applied, "restore-backup", "b").code
    assert "a/b" in other(applied, "namespace").out
    assert "default" not in other(applied, "namespace").out
    assert 3 == applied("backup", "--namespace", "nowhere", "c").code
    assert [] == list(applied.folder.glob("c*"))


def test_a_file_that_is_there(applied: St8ctl) -> None:
    """It is replaced only with --force, and not by what is no backup."""
    applied.write("b", "precious")
    code, _, err = applied("backup", "b")
    assert (7, "error: 'b' is there already; name a new file, or replace it w") == (
        code,
        err[:61],
    )
    assert 3 == applied("backup", "b", "--force", "--namespace", "nowhere").code
    assert b"precious" == (applied.folder / "b").read_bytes()
    assert 0 == applied("backup", "b", "--force").code
    assert (applied.folder / "b").read_bytes().startswith(b"\xffst8-backup 1\n")
    assert (7, f"error: {str(applied.folder)!r} is a directory") == (
        (ended := applied("backup", str(applied.folder))).code,
        ended.err.partition(";")[0],
    )
    assert 7 == applied("backup", "nowhere/b").code


def test_no_increment_takes_the_place_of_its_base(applied: St8ctl) -> None:
    """Without the base it could never be restored; a link to that is another name."""
    applied("backup", "full")
    whole = (applied.folder / "full").read_bytes()
    (applied.folder / "latest").symlink_to("full")
    for base in ("full", "./full", "latest"):
        code, _, err = applied("backup", "--base", base, "--force", "full")
        assert 7 == code
        assert err.startswith("error: 'full' is the base, without which the increment")
    assert whole == (applied.folder / "full").read_bytes()
    assert 0 == applied("backup", "--base", "full", "--force", "latest").code
    assert 0 == other(applied, "restore-backup", "full", "latest").code


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_only_a_file_is_replaced(applied: St8ctl, force: tuple[str, ...]) -> None:
    """A pipe, as a device, stays what it is, also with --force, and is not waited for."""
    os.mkfifo(applied.folder / "pipe")
    code, _, err = applied("backup", "pipe", *force)

    assert (7, "error: 'pipe' is no file, and is not replaced; name a new file\n") == (
        code,
        err,
    )
    assert (applied.folder / "pipe").is_fifo()
    assert "error: 'pipe' is no file\n" == applied("restore-backup", "pipe").err


def test_what_is_there_stays(applied: St8ctl) -> None:
    """A store that has one of the namespaces is left as it is."""
    applied("backup", "b")
    before = applied("log")
    code, _, err = applied("restore-backup", "b")

    assert (4, "error: namespace 'a/b' is there already, and a") == (code, err[:46])
    assert before == applied("log")


@pytest.mark.parametrize("size", [0, 10, 200, -1])
def test_a_part_is_no_backup(applied: St8ctl, size: int) -> None:
    """A file that is not whole is refused before anything is sent, as base too."""
    applied("backup", "b")
    whole = (applied.folder / "b").read_bytes()
    applied.write("part", whole[:size])
    for args in (
        ["restore-backup", "part"],
        ["restore-backup", "--check", "part"],
        ["backup", "c", "--base", "part"],
    ):
        code, _, err = applied(*args)
        assert (7, "error: 'part' is no whole backup: ") == (code, err[:34])
    assert not (applied.folder / "c").exists()


def test_check(applied: St8ctl) -> None:
    """It is looked at without a daemon, to the last object."""
    applied("backup", "b")
    code, out, err = applied.bare("restore-backup", "--check", "b")

    assert (0, "") == (code, err)
    assert out == (
        "2 namespace(s) with 3 branch(es), 1 checkpoint(s) and 3 revision(s) can be "
        "restored\n"
    )


def test_for_programs(applied: St8ctl) -> None:
    """With -o json there is an object for each."""
    backup = json.loads(applied("backup", "b", "-o", "json").out)
    path = applied.folder / "b"
    restored = json.loads(other(applied, "restore-backup", "b", "-o", "json").out)

    assert {
        "file": "b",
        "digest": path.read_bytes()[-32:].hex(),
        "base": None,
        "namespaces": 2,
        "branches": 3,
        "checkpoints": 1,
        "objects": 10,
        "revisions": 3,
        "redactions": 0,
        "bytes": path.stat().st_size,
    } == backup
    assert {
        "backups": 1,
        "namespaces": 2,
        "branches": 3,
        "checkpoints": 1,
        "revisions": 3,
        "objects": 10,
    } == restored


def test_a_backup_that_breaks_off(st8ctl: St8ctl) -> None:
    """Where the daemon or the connection fails halfway there is no file."""
    head = b"\xffst8-backup 1\n"
    overtaken = broken_off(Overtaken("begin again").problem())
    for reply, ended in (
        (answer(raw=head), (7, "the backup can't be restored: it ends too early")),
        (answer(raw=head)[:-1], (6, "lost URL during backup: the answer broke off")),
        (answer(raw=head + overtaken), (4, "begin again")),
        (answer(raw=head + overtaken + b"x")[:-1], (4, "begin again")),
        (problem(403, "forbidden", "not you"), (5, "not you")),
    ):

        def script(wire: Wire, reply: bytes = reply) -> None:
            wire.request()
            wire.send(reply)

        with scripted(script) as server:
            code, out, err = st8ctl.bare("--server", server.url, "backup", "b")
        assert "" == out
        problem_said = err.replace(server.url, "URL").removeprefix("error: ")
        assert ended == (code, problem_said[: len(ended[1])])
        assert [] == list(st8ctl.folder.iterdir())


def test_a_refusal_ends_the_sending(st8ctl: St8ctl) -> None:
    """Where the daemon refuses while much is still to be sent, that is told."""
    st8ctl("apply", *(f"--value=k{n}={os.urandom(40_000).hex()}" for n in range(80)))
    assert 0 == st8ctl("backup", "b").code
    assert (st8ctl.folder / "b").stat().st_size > 3_000_000

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(problem(409, "namespace_exists", "it is there"))
        wire.wait_for_close()

    with scripted(script) as server:
        ended = st8ctl.bare("--server", server.url, "restore-backup", "b")
    assert (4, "", "error: it is there\n") == ended


def test_an_answer_that_is_lost(applied: St8ctl) -> None:
    """After all was sent it is not known whether it was done; before, nothing was."""
    applied("backup", "b")

    def loses_the_answer(wire: Wire) -> None:
        wire.request()
        wire.chunked()

    with scripted(loses_the_answer) as server:
        code, _, err = applied.bare("--server", server.url, "restore-backup", "b")
    assert 8 == code
    assert "it is not known whether it was done" in err
    code, _, err = applied.bare("--server", "http://127.0.0.1:9", "restore-backup", "b")
    assert (6, "error: can't reach") == (code, err[:18])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["backup"], "FILE is missing"),
        (["backup", "a", "b"], "unexpected extra argument (b)"),
        (
            ["backup", "a", "--bas", "b"],
            "there is no flag '--bas' (did you mean '--base'?)",
        ),
        (["restore-backup"], "FILE... is missing"),
        (["restore-back", "a"], "'st8ctl' has no command 'restore-back'"),
    ],
)
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """What can't be meant is told."""
    code, out, err = st8ctl(*args)

    assert (2, "") == (code, out)
    assert message in err


def test_files_that_can_not_be_read(st8ctl: St8ctl, tmp_path: Path) -> None:
    """Each is told with its name."""
    for args in (
        ["restore-backup", "nowhere"],
        ["backup", "b", "--base", "nowhere"],
        ["restore-backup", str(tmp_path)],
    ):
        code, _, err = st8ctl(*args)
        assert 7 == code
        assert args[-1] in err
