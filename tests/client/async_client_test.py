"""What is AsyncClient's own: event loops, many tasks, and httpx below it."""

from __future__ import annotations

import inspect
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme

from st8.client import AsyncClient, Client, _async_connection, _async_transport
from st8.core.errors import Overloaded, Unreachable
from st8.testing.server import running_server
from tests.client.certified import Certified
from tests.client.scripted import always, answer, problem, scripted
from tests.client.transport_test import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.client.scripted import Wire

STATE = answer({"revision": 1, "objects": {"k": "v"}})

both_loops = pytest.mark.parametrize("loop", ["asyncio", "trio"])

# A local copy is kept by a thread; programs with an event loop watch instead.
_BLOCKING_ONLY = {"live"}


# --- the same as Client ------------------------------------------------------------


def _public(cls: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith("_") or name == "__init__"
    }


def _expected(text: str) -> str:
    """Return the type that AsyncClient has where Client has ``text``."""
    awaited = text.replace("Iterator[", "AsyncIterator[")
    return {"Client": "AsyncClient", "Watch": "AsyncWatch"}.get(text, awaited)


def test_it_has_the_methods_of_client() -> None:
    """Both clients have the same public names, but for what needs a thread."""
    assert set(_public(Client)) - _BLOCKING_ONLY == set(_public(AsyncClient))


@pytest.mark.parametrize("name", sorted(set(_public(Client)) - _BLOCKING_ONLY))
def test_method_is_that_of_client(name: str) -> None:
    """Each has the same parameters, the same result, awaited, and the same purpose."""
    blocking, awaited = _public(Client)[name], _public(AsyncClient)[name]
    first, second = (inspect.getdoc(x).splitlines()[0] for x in (blocking, awaited))  # type: ignore[union-attr]

    assert first == second
    if isinstance(blocking, property):
        assert isinstance(awaited, property)
        return
    one, other = inspect.signature(blocking), inspect.signature(awaited)
    assert list(one.parameters.values()) == list(other.parameters.values())
    assert _expected(one.return_annotation) == other.return_annotation
    at_once = name in {"__init__", "scope", "watch"} or "Iterator[" in str(one)
    assert at_once != inspect.iscoroutinefunction(awaited)


# --- httpx -------------------------------------------------------------------------


def _run(*lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        check=False,
        text=True,
    )


def test_httpx_that_is_not_there() -> None:
    """Without httpx everything can be imported; making the client says what to do."""
    done = _run(
        "import sys",
        "sys.modules['httpx'] = None",
        "from st8 import *",
        "Client('http://127.0.0.1:1').close()",
        "AsyncClient('http://127.0.0.1:1')",
    )

    assert (
        "ImportError: AsyncClient needs httpx, which is not installed: "
        'pip install "st8[async]"'
    ) == done.stderr.splitlines()[-1]


def test_httpx_is_loaded_by_the_first_client() -> None:
    """To import the name costs no more than the module it is in."""
    done = _run(
        "import sys",
        "from st8 import AsyncClient",
        "print(*sys.modules.keys() & {'asyncio', 'anyio', 'httpx'})",
    )

    assert ("", "\n") == (done.stderr, done.stdout)


@both_loops
def test_environment_is_not_read(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no netrc and no file of authorities comes from the environment."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("NETRC", "/nowhere")

    async def main() -> str:
        async with AsyncClient(server.url) as client:
            return await client.get("k")

    with scripted(always(STATE)) as server:
        assert "v" == anyio.run(main, backend=loop)
        assert "authorization" not in server.requests[0].headers


# --- where it connects to ------------------------------------------------------------


@both_loops
def test_socket_of_this_machine(loop: str, tmp_path: Path) -> None:
    """A daemon is reached through a socket of this machine, or said to be away."""
    socket = tmp_path / "st8d.sock"

    async def main() -> None:
        async with AsyncClient(f"unix:{socket}", retries=0) as client:
            with pytest.raises(Unreachable, match=f"{socket}: no such file"):
                await client.version()
            relay = await anyio.create_unix_listener(socket)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_relay, relay, port)
                assert 1 == (await client.apply({"k": "v"})).revision
                assert "v" == await client.get("k")
                tasks.cancel_scope.cancel()
            await relay.aclose()

    with running_server() as server:
        port = int(server.url.rpartition(":")[2])
        anyio.run(main, backend=loop)


async def _relay(listener: Any, port: int) -> None:
    """Connect what comes to ``listener`` with a port of the loopback."""

    async def both_ways(stream: Any) -> None:
        async with (
            stream,
            await anyio.connect_tcp("127.0.0.1", port) as upstream,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_copy, stream, upstream)
            await _copy(upstream, stream)
            tasks.cancel_scope.cancel()

    await listener.serve(both_ways)


async def _copy(source: Any, target: Any) -> None:
    async for data in source:
        await target.send(data)


@both_loops
def test_daemon_that_wants_a_certificate(loop: str, tmp_path: Path) -> None:
    """A client certificate is shown; without one the daemon's refusal is told."""
    certified = Certified(tmp_path, "127.0.0.1")
    certified.server.verify_mode = ssl.CERT_REQUIRED
    certified.authority.configure_trust(certified.server)
    own = certified.authority.issue_cert("client.example")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")

    async def main() -> str:
        options: dict[str, Any] = {"ca_file": certified.ca_file, "retries": 0}
        async with AsyncClient(server.url, **options) as client:
            with pytest.raises(Unreachable, match=r"client certificate.*cert file"):
                await client.get("k")
        options["cert_file"] = tmp_path / "own.pem"
        async with AsyncClient(server.url, **options) as client:
            return await client.get("k")

    with scripted(always(STATE), tls=certified.server) as server:
        assert "v" == anyio.run(main, backend=loop)


@both_loops
def test_certificate_that_can_not_be_trusted(loop: str, tmp_path: Path) -> None:
    """What is wrong with a certificate is said as the blocking client says it."""
    certified = Certified(tmp_path, "127.0.0.1")
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    details: list[str] = []

    async def main() -> None:
        async with AsyncClient(server.url, ca_file=other) as client:
            with pytest.raises(Unreachable) as raised:
                await client.get("k")
            details.append(raised.value.detail)

    with scripted(always(STATE), tls=certified.server) as server:
        anyio.run(main, backend=loop)
        with (
            Client(server.url, ca_file=other) as client,
            pytest.raises(Unreachable) as raised,
        ):
            client.get("k")

    assert [raised.value.detail] == details


@both_loops
def test_error_that_is_being_handled_is_not_blamed(loop: str) -> None:
    """An error of the caller's own has no part in what is said of the connection."""
    port = free_port()

    def fail() -> None:
        raise PermissionError(13, "Own trouble")

    async def main() -> str:
        async with AsyncClient(f"http://127.0.0.1:{port}", retries=0) as client:
            try:
                fail()
            except PermissionError:
                with pytest.raises(Unreachable) as raised:
                    await client.get("k")
                return raised.value.detail
        raise AssertionError

    assert "connection refused" in anyio.run(main, backend=loop)


# --- tasks -------------------------------------------------------------------------


@both_loops
def test_many_tasks(loop: str) -> None:
    """Tasks share a client and a bounded number of connections; none is mixed up."""
    tasks = 4 * _async_connection._CONNECTIONS_MAX

    def echo(wire: Wire) -> None:
        while True:
            key = wire.request().target.rpartition("=")[2]
            wire.send(answer({"revision": 1, "objects": {key: f"of {key}"}}))

    async def main() -> dict[str, str]:
        found: dict[str, str] = {}

        async def read(key: str) -> None:
            found[key] = await client.get(key)

        async with (
            AsyncClient(server.url) as client,
            anyio.create_task_group() as group,
        ):
            for n in range(tasks):
                group.start_soon(read, f"k{n}")
        return found

    with scripted(echo) as server:
        found = anyio.run(main, backend=loop)

    assert {f"k{n}": f"of k{n}" for n in range(tasks)} == found
    assert server.connections <= _async_connection._CONNECTIONS_MAX


@both_loops
def test_too_many_tasks(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that never got a connection, as all are in use, says so; it is not sent."""
    monkeypatch.setattr(_async_connection, "_CONNECTIONS_MAX", 1)

    asked = threading.Event()

    def never_answer(wire: Wire) -> None:
        wire.request()
        asked.set()
        wire.wait_for_close()

    async def main() -> None:
        async with (
            AsyncClient(server.url, timeout_s=None) as patient,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(patient.get, "k")
            await anyio.to_thread.run_sync(asked.wait, 60)
            hurried = patient.scope()
            hurried._transport = other = object.__new__(_async_transport.AsyncTransport)
            vars(other).update(vars(patient._transport), _timeout_s=0.1)
            with pytest.raises(Unreachable, match="all 1 connections of the client"):
                await hurried.apply({"k": "v"})
            tasks.cancel_scope.cancel()

    with scripted(never_answer) as server:
        anyio.run(main, backend=loop)

    assert ["GET"] == [seen.method for seen in server.requests]


@both_loops
def test_cancelled_call(loop: str) -> None:
    """A cancelled call takes its connection with it: no later call gets its answer."""
    asked = threading.Event()
    gone = threading.Event()

    def answer_late(wire: Wire) -> None:
        wire.request()
        asked.set()
        gone.wait(60)
        wire.send(answer({"revision": 1, "objects": {"k": "late"}}))

    async def main() -> str:
        async with AsyncClient(server.url) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, "k")
                await anyio.to_thread.run_sync(asked.wait, 60)
                tasks.cancel_scope.cancel()
            gone.set()
            return await client.get("k")

    with scripted(answer_late, always(STATE)) as server:
        assert "v" == anyio.run(main, backend=loop)
        assert 2 == server.connections


@both_loops
def test_closed_while_in_use(loop: str) -> None:
    """What was asked before the client was closed is answered; nothing after it."""
    asked = threading.Event()
    closed = threading.Event()
    ended = threading.Event()

    def wait(wire: Wire) -> None:
        wire.request()
        asked.set()
        closed.wait(60)
        wire.send(STATE)
        wire.wait_for_close()
        ended.set()

    async def main() -> list[str]:
        found: list[str] = []
        client = AsyncClient(server.url)

        async def read() -> None:
            found.append(await client.get("k"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.to_thread.run_sync(asked.wait, 60)
            await client.close()
            closed.set()
            with pytest.raises(RuntimeError, match="closed"):
                await client.get("k")
        await anyio.to_thread.run_sync(ended.wait, 10)
        return found

    with scripted(wait) as server:
        assert ["v"] == anyio.run(main, backend=loop)
        assert ended.is_set()


@both_loops
def test_list_that_is_not_read_to_its_end(loop: str) -> None:
    """Whoever stops reading a list leaves nothing open; after an error it has ended."""
    first = answer({"revision": 1, "objects": {"k": "v"}, "next": "k"})

    async def main() -> None:
        async with AsyncClient(server.url, retries=0) as client:
            documents = client.documents(page_size=1)
            assert "k" == (await anext(documents)).key
            with pytest.raises(Overloaded):
                await anext(documents)
            with pytest.raises(StopAsyncIteration):
                await anext(documents)
            assert "k" == (await anext(client.documents(page_size=1))).key

    def play(wire: Wire) -> None:
        for data in (first, problem(503, "overloaded"), first):
            wire.request()
            wire.send(data)

    with scripted(play) as server:
        anyio.run(main, backend=loop)


@both_loops
def test_secrets_do_not_show(loop: str) -> None:
    """A token is in no repr, no error and no log line."""
    texts: list[str] = []

    async def main() -> None:
        url = f"http://127.0.0.1:{free_port()}"
        async with AsyncClient(url, token="s3cret", retries=0) as client:
            texts.extend([repr(client), repr(vars(client)), repr(client.scope("x"))])
            calls: list[Callable[[], Awaitable[object]]] = [
                client.version,
                lambda: client.apply({"k": "v"}),
            ]
            for call in calls:
                with pytest.raises(Unreachable) as raised:
                    await call()
                texts.extend([str(raised.value), repr(raised.value.__cause__)])

    anyio.run(main, backend=loop)

    assert not [text for text in texts if "s3cret" in text]


@both_loops
def test_head_of_a_request(loop: str) -> None:
    """A request has the fields of the blocking client's, and no more."""

    async def main() -> None:
        async with AsyncClient(f"{server.url}/st8/", token="s3cret") as client:
            await client.get("a b/ü")
            await client.apply({"k": "v"}, idempotency_key="one")

    found = answer({"revision": 1, "objects": {"a b/ü": "v"}})
    written = answer({"revision": 1, "changes": [], "noop": False})

    def play(wire: Wire) -> None:
        for data in (found, written):
            wire.request()
            wire.send(data)

    with scripted(play) as server:
        anyio.run(main, backend=loop)
        with Client(f"{server.url}/st8/", token="s3cret") as client:
            client.get("a b/ü")
            client.apply({"k": "v"}, idempotency_key="one")

        read, write, *expected = server.requests
    assert expected == [read, write]
