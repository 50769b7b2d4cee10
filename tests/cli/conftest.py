"""A command line, a daemon and a folder for every test that asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.cli.flags import VARIABLES
from st8.testing.clock import FakeClock
from st8.testing.server import running_server
from tests.cli.st8ctl import St8ctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def st8ctl(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Iterator[St8ctl]:
    """The command line, in an empty folder and an empty home."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    clock = FakeClock()
    with running_server(clock=clock) as server:
        yield St8ctl(server.url, folder, home, clock, capsysbinary)
