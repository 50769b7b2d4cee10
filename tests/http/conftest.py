"""An app over a fresh memory store for every test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http.asgi import TOKEN, Api

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api() -> Iterator[Api]:
    """A client of an app that lets everybody in."""
    client = Api()
    yield client
    client.close()


@pytest.fixture
def guarded() -> Iterator[Api]:
    """A client, with the token, of an app that wants one."""
    client = Api(token=TOKEN)
    yield client
    client.close()
