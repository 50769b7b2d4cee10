"""Runs st8ctl inside the test, against a daemon that nothing was applied to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from st8.cli.root import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from st8.testing.clock import FakeClock

__all__ = ["Ended", "St8ctl"]


class Ended(NamedTuple):
    """How a run of st8ctl ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class St8ctl:
    """The command line, with a folder to work in and a daemon to talk to.

    Attributes:
        url: Where the daemon is; it is named by ``--server`` in every call.
        folder: The working folder.
        home: The home folder; it has no configuration file.
        clock: The daemon's clock.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        home: Path,
        clock: FakeClock,
        captured: pytest.CaptureFixture[bytes],
    ) -> None:
        self.url = url
        self.folder = folder
        self.home = home
        self.clock = clock
        self._captured = captured

    def __call__(self, *args: str) -> Ended:
        """Run ``st8ctl --server URL`` with ``args``."""
        return self.bare("--server", self.url, *args)

    def bare(self, *args: str) -> Ended:
        """Run ``st8ctl`` with ``args`` and nothing else."""
        code = run(args)
        out, err = self._captured.readouterr()
        return Ended(code, out.decode(), err.decode())

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file into the working folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def configure(self, text: str) -> Path:
        """Write the configuration file; return where it is."""
        path = self.home / ".config" / "st8ctl" / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path
