"""A daemon, a folder and a command line for every transcript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.testing.clock import FakeClock
from st8.testing.server import running_server
from tests.transcripts.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Iterator[Stage]:
    """An empty folder, an empty home, and a daemon that nothing was applied to."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    clock = FakeClock()
    with running_server(clock=clock) as server:
        yield Stage(
            server.url,
            folder,
            home,
            clock,
            patch=monkeypatch,
            captured=capsysbinary,
        )
