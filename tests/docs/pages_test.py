"""README and first steps run as printed: every command, with the output shown.

A block in ``sh`` is run; one in ``text`` behind it is what it prints, times apart. A
block whose last command is st8d is started, and ends the one before it. A block in
``yaml`` is st8ctl's configuration file. A block in ``python`` is run as a program. The other guides: ``guides_test.py``.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.docs.shell import (
    ROOT,
    Block,
    Shell,
    blocks_of,
    free_port,
    on_loopback,
    without_times,
)

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", ROOT / "docs" / "guide-first-steps.md"]
# These set up what the tests already run in.
NOT_RUN = {"Install", "Development"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_as_printed(page: Path, tmp_path: Path) -> None:
    """Every command of the page succeeds and prints what the page shows."""
    replace = on_loopback(free_port()) | {
        "/etc/st8d": "etc",
        "script/setup": ":",
        ".venv/bin/": "",
    }
    _make_certificate(tmp_path / "etc")
    with Shell(tmp_path, replace) as shell:
        reader = _Reader(shell)
        blocks = [block for block in blocks_of(page) if block.heading not in NOT_RUN]
        assert blocks
        for block in blocks:
            reader.read(block)
        reader.finish()


class _Reader:
    """Somebody who does what a page says."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._daemon = False
        self._printed = ""

    def read(self, block: Block) -> None:
        """Do what a block says, or compare it with what was printed."""
        match block.language:
            case "text":
                expected = without_times(self._shell.as_run(block.text))
                # A block ends with a newline, even if what it shows does not.
                actual = without_times(self._printed.removesuffix("\n") + "\n")
                assert expected == actual
                self._printed = ""
            case "yaml":
                self._shell.write(".config/st8ctl/config.yaml", block.text)
            case "python":
                self._shell.write("program.py", block.text)
                self._run("python program.py")
            case "sh" if _last_command(block.text).startswith("st8d "):
                self.finish()
                self._shell.start(block.text)
                self._daemon = True
                self._printed = ""
            case "sh":
                self._run(block.text)
            case other:
                raise AssertionError(f"a block in {other!r}")

    def finish(self) -> None:
        """Stop the daemon that runs, if one does."""
        if self._daemon:
            assert 0 == self._shell.stop()
        self._daemon = False

    def _run(self, text: str) -> None:
        done = self._shell.run(text)
        assert 0 == done.code, f"{text}\n{done.output}{done.errors}"
        self._printed = done.output


def _last_command(text: str) -> str:
    return text.replace("\\\n", "").strip().splitlines()[-1]


def _make_certificate(folder: Path) -> None:
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(folder / "server.crt"), append=number > 0)


def test_what_pages_use_is_there() -> None:
    """The programs that pages use beside st8's own are those of every system."""
    for program in ("sh", "cat", "sed", "patch", "sha256sum"):
        assert shutil.which(program), program
