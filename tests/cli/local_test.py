"""``--local``: the daemon inside the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.daemon import serve_in_thread

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


def test_quick_start(st8ctl: St8ctl) -> None:
    """The state outlives the command, in ``~/.st8``; nothing else is said."""
    st8ctl.write("config.json", '{"timeout": 30}\n')
    scope = ["--local", "--namespace", "payments/prod"]

    assert (0, "Applied 1 change(s) at revision 1.\nCREATE config.json\n", "") == (
        st8ctl.bare(*scope, "apply", "-f", "config.json")
    )
    assert (0, "Checkpoint good -> revision 1\n", "") == (
        st8ctl.bare(*scope, "checkpoint", "good")
    )
    assert (0, "revision: 1\nconfig.json\n", "") == st8ctl.bare(*scope, "get")
    assert (0, '{"timeout": 30}\n', "") == st8ctl.bare("get", "config.json", *scope)
    assert (st8ctl.home / ".st8").is_dir()


def test_state_dir(st8ctl: St8ctl) -> None:
    """The state is where the flag says, else where the file says."""
    st8ctl.configure("server:\n  url: local\n  dir: ~/elsewhere\n")
    st8ctl.bare("apply", "-v", "k=file")
    st8ctl.bare("apply", "-v", "k=flag", "--state-dir", "~/here")

    assert ["file", "flag", "file"] == [
        st8ctl.bare("get", "k").out,
        st8ctl.bare("get", "k", f"--state-dir={st8ctl.home / 'here'}").out,
        st8ctl.bare("get", "k", "--local").out,
    ]
    assert not (st8ctl.folder / "~").exists()


def test_flag_beats_the_file(st8ctl: St8ctl) -> None:
    """--local beats an address in the file, and --server beats ``local`` there."""
    st8ctl.configure("server:\n  url: http://127.0.0.1:9\n  token: t\n")
    assert 3 == st8ctl.bare("get", "--local").code
    st8ctl.configure("server:\n  url: local\n")
    assert 3 == st8ctl("get").code
    assert not (st8ctl.folder / "local").exists()


def test_directory_in_use(st8ctl: St8ctl) -> None:
    """A state directory that somebody else holds is unavailable, and named."""
    with serve_in_thread(st8ctl.home / ".st8"):
        code, out, err = st8ctl.bare("get", "--local")

    assert (6, "") == (code, out)
    assert str(st8ctl.home / ".st8") in err
    assert 1 == err.count("\n")


def test_timeout(st8ctl: St8ctl) -> None:
    """The timeout holds inside the process, too."""
    assert 7 == st8ctl.bare("get", "--local", "--timeout", "x").code
    assert 3 == st8ctl.bare("get", "--local", "--timeout", "20s").code
