"""What docs/configuration.md shows of AsyncClient runs as printed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from st8.testing.server import running_server
from tests.docs.shell import ROOT, blocks_of

if TYPE_CHECKING:
    from pathlib import Path


def test_example_runs_as_printed(tmp_path: Path) -> None:
    """The program prints what the page shows."""
    blocks = {
        block.language: block.text
        for block in blocks_of(ROOT / "docs" / "configuration.md")
        if block.heading == "AsyncClient"
    }
    program = tmp_path / "program.py"
    with running_server() as server:
        program.write_text(
            blocks["python"].replace("http://127.0.0.1:8748", server.url)
        )
        done = subprocess.run(
            [sys.executable, program], capture_output=True, check=False, text=True
        )

    assert ("", blocks["text"]) == (done.stderr, done.stdout)
