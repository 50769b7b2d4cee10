"""Where transcripts are taken: ``st8ctl`` in a pipe and on a terminal, side by side.

What is compared must be the same in every run: the daemon's clock is a fake one, and
its address, or that of another server, stands in what is shown as ``URL``, the working
folder as ``FOLDER``.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from st8.cli.root import run
from tests.transcripts.terminal import Shown, on_terminal, plain_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from st8.testing.clock import FakeClock
    from tests.transcripts.terminal import Reply

__all__ = ["Piped", "Stage"]


class Piped(NamedTuple):
    """How a run in a pipe ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Stage:
    """A working folder, a home, and a daemon to talk to.

    Attributes:
        url: Where the daemon is; ``ST8_SERVER`` is not set, ``--server`` is given.
        folder: The working folder.
        home: The home folder.
        clock: The daemon's clock; it stands still unless it is moved.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        home: Path,
        clock: FakeClock,
        *,
        patch: pytest.MonkeyPatch,
        captured: pytest.CaptureFixture[bytes],
    ) -> None:
        self.url = url
        self.folder = folder
        self.home = home
        self.clock = clock
        self._patch = patch
        self._captured = captured

    def pipe(
        self,
        *args: str,
        stdin: str | bytes = b"",
        server: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Piped:
        """Run ``st8ctl --server URL`` with ``args``, in this process, in a pipe.

        Args:
            args: The arguments.
            stdin: What is read from standard input.
            server: Another daemon; ``""`` to give no ``--server`` at all.
            env: Variables to set.
        """
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        with self._patch.context() as patch:
            for name in [*_environment_names(), "XDG_CONFIG_HOME"]:
                patch.delenv(name, raising=False)
            patch.setenv("HOME", str(self.home))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            code = run([*self._server(server), *args])
        out, err = self._captured.readouterr()
        return Piped(
            code, self._same(out.decode(), server), self._same(err.decode(), server)
        )

    def terminal(
        self,
        *args: str,
        replies: Sequence[Reply] = (),
        server: str | None = None,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
        rows: int = 24,
    ) -> Shown:
        """Run it on a terminal; see :func:`tests.transcripts.terminal.on_terminal`."""
        code, text = on_terminal(
            *self._server(server),
            *args,
            replies=replies,
            env=env,
            home=self.home,
            cwd=self.folder,
            columns=columns,
            rows=rows,
        )
        return Shown(code, self._same(text, server))

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file into the working folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def _server(self, server: str | None) -> list[str]:
        url = self.url if server is None else server
        return ["--server", url] if url else []

    def _same(self, text: str, server: str | None) -> str:
        """Return ``text`` without what differs from run to run."""
        return text.replace(server or self.url, "URL").replace(
            str(self.folder), "FOLDER"
        )


def _environment_names() -> list[str]:
    """Return the variables of this process that change ``st8ctl``."""
    return sorted(os.environ.keys() - plain_environment().keys())
