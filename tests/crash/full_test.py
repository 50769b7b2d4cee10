"""A full disk costs nothing that was acknowledged, and is over when there is space.

``make faults`` fills it 500 times, in both ways.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.testing import fullrig
from st8.testing.armed import Action, Armed
from st8.testing.child import call

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.server import PostgresServer

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1_200)]

_POINTS = 20


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Filled 20 times below SQLite: reads go on, writes are refused by name.

    With space again the same daemon takes the next write. A daemon that is started on
    a full disk serves, or says why it does not.
    """
    outcome = fullrig.run(tmp_path, points=_POINTS, seed=secrets.randbelow(2**32))

    assert [] == outcome.wrong, str(outcome)
    assert _POINTS == outcome.points
    assert outcome.refused >= _POINTS


def test_a_full_file_system_loses_nothing(tmp_path: Path) -> None:
    """The same on a small file system, whose kernel says that it is full."""
    reason = fullrig.can_mount()
    if reason is not None:
        pytest.skip(f"a user can't mount a file system here: {reason}")

    outcome = fullrig.run(
        tmp_path, points=5, seed=secrets.randbelow(2**32), mounted=True
    )

    assert [] == outcome.wrong, str(outcome)
    assert outcome.refused >= outcome.points == 5


def test_a_full_server_is_said_to_be_full(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Where PostgreSQL has no space (53100), the answer is the same, and so is after.

    507 ``storage_full``, to be tried again, with nothing done; the next write works.
    """
    url = postgres.url(postgres.new_schema())
    body = {"documents": [{"key": "k", "content": "v"}]}
    with Armed(tmp_path) as armed:
        daemon = armed.serve("--store", url)
        assert daemon.is_up(), daemon.log()
        with closing(daemon.connect()) as connection:
            armed.board.arm("postgres.before_commit", Action.ENOSPC)
            status, answer = call(connection, "POST", "/v1/apply", body)
            read, log = call(connection, "GET", "/v1/log")
            again, made = call(connection, "POST", "/v1/apply", body)
        daemon.kill()

    assert (507, "storage_full") == (status, answer["code"])
    assert (True, "none") == (answer["retryable"], answer["outcome"])
    assert (200, None) == (read, log["entries"])
    assert (200, 1) == (again, made["revision"])
