"""What is claimed of Client holds for AsyncClient, on every kind of event loop.

The tests of the blocking client run here once more, with AsyncClient in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from tests.client import client_test, tls_test, transport_test, watch_test
from tests.client.awaited import Awaited, AwaitedWatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

_MODULES = (client_test, transport_test, tls_test, watch_test)

# What async_watch_test.py has in a form of its own.
_LEFT_OUT = {
    "test_cut_at_every_byte",
    "test_end_while_it_waits_to_try_again",
    "test_secrets_are_not_shown",
}

clock = client_test.clock
client = client_test.client
server = watch_test.server


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def portal(request: pytest.FixtureRequest) -> Iterator[BlockingPortal]:
    """An event loop in a thread."""
    with start_blocking_portal(request.param) as portal:
        yield portal


@pytest.fixture(autouse=True)
def in_place_of_client(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests of the blocking client use AsyncClient."""
    monkeypatch.setattr(Awaited, "portal", portal, raising=False)
    for module in _MODULES:
        monkeypatch.setattr(module, "Client", Awaited)
    monkeypatch.setattr(watch_test, "Watch", AwaitedWatch)


for _module in _MODULES:
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and _name not in _LEFT_OUT:
            assert _name not in globals(), f"{_name} is there twice"
            globals()[_name] = _test
