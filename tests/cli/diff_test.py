"""``st8ctl diff``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl

CONFIG = '{\n  "enabled": true,\n  "timeout": 30\n}\n'


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two revisions, and a file that differs from both."""
    st8ctl.write("config.json", CONFIG)
    st8ctl("apply", "config.json")
    st8ctl("checkpoint", "first")
    st8ctl("apply", "-v", "extra=on")
    st8ctl.write("config.json", CONFIG.replace("30", "3000"))
    return st8ctl


def test_on_nothing(st8ctl: St8ctl) -> None:
    """The first diff of all works, before anything was applied."""
    st8ctl.write("config.json", CONFIG)

    assert (
        0,
        (
            "Diff from revision 0 to these files\n"
            "\n"
            "--- /dev/null\n"
            "+++ config.json\n"
            "@@ -0,0 +1,4 @@\n"
            "+{\n"
            '+  "enabled": true,\n'
            '+  "timeout": 30\n'
            "+}\n"
        ),
        "",
    ) == st8ctl("diff", "config.json")


def test_files(applied: St8ctl) -> None:
    """Files, values and deletes are laid over the current state."""
    assert (
        0,
        (
            "Diff from revision 2 to what is given\n"
            "\n"
            "--- config.json\n"
            "+++ config.json\n"
            "@@ -1,4 +1,4 @@\n"
            " {\n"
            '   "enabled": true,\n'
            '-  "timeout": 30\n'
            '+  "timeout": 3000\n'
            " }\n"
            "\n"
            "--- extra\n"
            "+++ /dev/null\n"
            "@@ -1 +0,0 @@\n"
            "-on\n"
            "\\ No newline at end of file\n"
            "\n"
            "--- /dev/null\n"
            "+++ new\n"
            "@@ -0,0 +1 @@\n"
            "+1\n"
            "\\ No newline at end of file\n"
        ),
        "",
    ) == applied("diff", "-f", "config.json", "-v", "new=1", "--delete", "extra")


def test_what_a_rollback_would_do(applied: St8ctl) -> None:
    """A revision or checkpoint is compared as what would become of the state."""
    expected = (
        0,
        (
            "Diff from revision 2 to 1\n"
            "\n"
            "--- extra\n"
            "+++ /dev/null\n"
            "@@ -1 +0,0 @@\n"
            "-on\n"
            "\\ No newline at end of file\n"
        ),
        "",
    )

    assert expected == applied("diff", "--revision", "1")
    assert expected == applied("diff", "--revision", "-1")
    assert expected == applied("diff", "--checkpoint", "first")


def test_files_over_a_revision(applied: St8ctl) -> None:
    """Files together with a revision are laid over that revision, not over the head."""
    applied("rollback", "--revision", "1")
    applied("apply", "config.json")

    assert (0, "No differences.\n", "") == applied("diff", "config.json")
    for picked in (["--revision", "1"], ["--checkpoint", "first"]):
        code, out, _ = applied("diff", "config.json", *picked)
        assert 0 == code
        assert out.startswith(
            "Diff from revision 1 to these files\n\n--- config.json\n"
        )
        assert '-  "timeout": 30\n+  "timeout": 3000\n' in out


def test_no_differences(applied: St8ctl) -> None:
    """Equal states are said to be equal."""
    for args in ([], ["--revision", "2"], ["-v", "extra=on"], ["--delete", "nothing"]):
        assert (0, "No differences.\n", "") == applied("diff", *args)


def test_empty_contents(applied: St8ctl) -> None:
    """An empty document that appears or goes is shown."""
    applied("apply", "-v", "empty=")

    assert (
        "Diff from revision 3 to 2\n"
        "\n"
        "diff --git empty empty\n"
        "deleted file mode 100644\n"
        "index e69de29..0000000\n"
    ) == applied("diff", "--revision", "2").out


def test_patch_applies_it(applied: St8ctl) -> None:
    """What is printed, headline and all, turns the one state into the other."""
    applied(
        "apply", "-v", "a b=x", "-v", "sub/dir/k=1\n2\n", "-v", "gone=", "config.json"
    )
    target = applied.folder / "target"
    target.mkdir()
    for key in applied("get").out.splitlines()[1:]:
        path = target / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(applied("get", key).out.encode())
    text = applied("diff", "--revision", "1").out
    subprocess.run(
        ["patch", "-p0"],
        cwd=target,
        input=text.encode(),
        check=True,
        capture_output=True,
    )

    assert {"config.json": CONFIG} == {
        str(path.relative_to(target)): path.read_bytes().decode()
        for path in target.rglob("*")
        if path.is_file()
    }


def test_large_diff(st8ctl: St8ctl) -> None:
    """A diff of more than one page is shown whole, under one headline."""
    st8ctl("apply", *(f"-vk{n:04}=1\n" for n in range(1_200)))
    st8ctl("apply", *(f"-vk{n:04}=2\n" for n in range(1_200)))
    out = st8ctl("diff", "--revision", "1").out

    assert 1 == out.count("Diff from")
    assert 1_200 == out.count("\n-2\n+1\n")


def test_mistyped_scope(applied: St8ctl) -> None:
    """A diff without documents of a scope nobody used says so."""
    code, out, err = applied("diff", "--branch", "mistyped")

    assert (3, "") == (code, out)
    assert err.startswith("error: nothing has been applied to namespace 'default', bra")
    assert 3 == applied("diff", "--revision", "1", "--branch", "mistyped").code


def test_wrong_usage(st8ctl: St8ctl) -> None:
    """Two targets are one too many."""
    assert (
        2,
        "",
        (
            "error: --revision and --checkpoint can't be used together; see 'st8ctl diff "
            "--help'\n"
        ),
    ) == st8ctl("diff", "--revision", "1", "--checkpoint", "x")
