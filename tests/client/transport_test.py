"""What the client does when the network, or what answers, misbehaves."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from st8.client import Client
from st8.core.errors import (
    HeadMoved,
    InternalError,
    InvalidValue,
    LimitExceeded,
    MalformedRequest,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    St8Error,
    TimedOut,
    Unavailable,
    Unreachable,
)
from tests.client.scripted import always, answer, once, problem, scripted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.scripted import Wire

STATE = answer({"revision": 1, "objects": {"k": "v"}})
WRITTEN = answer({"revision": 1, "changes": [], "noop": False})
BRANCH = answer({"name": "b", "base_revision": 1, "head_revision": 1})
OVERLOADED = problem(503, "overloaded")


def reset(wire: Wire) -> None:
    """Take a request and break off without an answer."""
    wire.request()
    wire.reset()


def hang_up(wire: Wire) -> None:
    """Take a request and close without an answer."""
    wire.request()


def stay_silent(wire: Wire) -> None:
    """Take a request and never answer."""
    wire.request()
    wire.wait_for_close()


def half(data: bytes) -> Callable[[Wire], None]:
    """Return the script that sends all but the last byte of an answer."""
    return once(data[:-1])


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# --- connections -----------------------------------------------------------------


def test_connection_is_kept() -> None:
    """Calls one after the other share a connection."""
    with scripted(always(STATE)) as server, Client(server.url) as client:
        values = [client.get("k") for _ in range(3)]

    assert (["v", "v", "v"], 1) == (values, server.connections)


def test_connection_closed_while_idle() -> None:
    """A connection that the daemon closed while idle is replaced without an error."""
    closed = threading.Event()

    def once_and_tell(wire: Wire) -> None:
        once(WRITTEN)(wire)
        wire.close()
        closed.set()

    with (
        scripted(once_and_tell, always(BRANCH)) as server,
        Client(server.url, retries=0) as client,
    ):
        client.apply({"k": "v"})
        assert closed.wait(60)
        made = client.create_branch("b")

    assert ("b", 2, 2) == (made.name, server.connections, len(server.requests))


def test_connection_closed_on_the_next_request() -> None:
    """A kept connection that ends instead of answering is replaced: reads, keyed."""

    def once_then_close(wire: Wire) -> None:
        once(STATE)(wire)
        wire.request()

    with (
        scripted(once_then_close, always(WRITTEN)) as server,
        Client(server.url, retries=0) as client,
    ):
        client.get("k")
        client.apply({"k": "v"})
        keys = [r.headers.get("idempotency-key") for r in server.requests]

    assert keys[1] == keys[2]
    assert (None, 3) == (keys[0], len(keys))


def test_answer_that_ends_the_connection() -> None:
    """``Connection: close`` is obeyed."""
    closing = answer(
        {"revision": 1, "objects": {"k": "v"}}, headers={"connection": "close"}
    )
    with scripted(once(closing), once(closing)) as server, Client(server.url) as client:
        values = [client.get("k"), client.get("k")]

    assert (["v", "v"], 2) == (values, server.connections)


def test_many_threads() -> None:
    """Threads that call at once have a connection each, and each its own answer."""
    together = threading.Barrier(4)

    def echo(wire: Wire) -> None:
        while True:
            seen = wire.request()
            together.wait(60)
            key = seen.target.rpartition("=")[2]
            wire.send(answer({"revision": 1, "objects": {key: f"of {key}"}}))

    found: dict[str, str] = {}

    def read(key: str) -> None:
        found[key] = client.get(key)

    with scripted(echo) as server, Client(server.url) as client:
        threads = [threading.Thread(target=read, args=(k,)) for k in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert ({k: f"of {k}" for k in "abcd"}, 4) == (found, server.connections)


def test_closed_client() -> None:
    """A closed client refuses calls, and so does one that shares its connections."""
    with scripted(always(STATE)) as server:
        client = Client(server.url)
        other = client.scope("elsewhere")
        client.get("k")
        client.close()
        for closed in (client, other):
            with pytest.raises(RuntimeError, match="closed"):
                closed.get("k")


def test_nothing_is_connected_before_the_first_call() -> None:
    """A client can be made before its daemon runs."""
    with Client(f"http://127.0.0.1:{free_port()}"):
        pass


# --- nobody answers ---------------------------------------------------------------


def test_connection_refused() -> None:
    """Where nobody listens, nothing was sent: Unreachable, also for a write."""
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Client(url, retries=1) as client,
        pytest.raises(Unreachable) as raised,
    ):
        client.apply({"k": "v"})

    assert (
        f"can't reach {url}: connection refused; check the address, and that st8d "
        "runs there"
    ) == raised.value.detail
    assert ("none", 6) == (raised.value.outcome, raised.value.exit_code)


def test_unknown_host() -> None:
    """A host that does not exist is Unreachable at once."""
    with (
        Client("http://no-such-host.invalid:1") as client,
        pytest.raises(Unreachable, match=r"no-such-host\.invalid"),
    ):
        client.version()


def test_read_is_repeated() -> None:
    """A read whose connection breaks is sent again."""
    with (
        scripted(reset, half(STATE), always(STATE)) as server,
        Client(server.url) as client,
    ):
        value = client.get("k")

    assert ("v", 3) == (value, len(server.requests))


def test_read_is_given_up() -> None:
    """A read is repeated as often as asked for and no more."""
    with (
        scripted(reset) as server,
        Client(server.url, retries=2) as client,
        pytest.raises(Unreachable, match=r"lost .* during get"),
    ):
        client.get("k")

    assert 3 == len(server.requests)


def test_keyed_write_is_repeated_with_its_key() -> None:
    """An apply without an answer is sent again: same body, same key."""
    with (
        scripted(reset, half(WRITTEN), always(WRITTEN)) as server,
        Client(server.url) as client,
    ):
        done = client.apply({"k": "v"})
        first, second, third = server.requests

    assert 1 == done.revision
    assert first.body == second.body == third.body
    keys = {r.headers["idempotency-key"] for r in server.requests}
    assert 1 == len(keys)
    assert 32 == len(keys.pop())


@pytest.mark.parametrize("break_off", [reset, hang_up, half(WRITTEN)])
def test_keyed_write_is_given_up(break_off: Callable[[Wire], None]) -> None:
    """An apply that never gets an answer is OutcomeUnknown, and names its key."""
    with (
        scripted(break_off) as server,
        Client(server.url, retries=1) as client,
        pytest.raises(OutcomeUnknown) as raised,
    ):
        client.apply({"k": "v"}, idempotency_key="deploy-7")

    assert 2 == len(server.requests)
    assert ("unknown", 8) == (raised.value.outcome, raised.value.exit_code)
    assert {"idempotency_key": "deploy-7"} == raised.value.fields
    assert "same idempotency key" in raised.value.detail


def test_lost_answer_then_refused_connection() -> None:
    """When the daemon dies after an apply was sent, it stays unknown."""
    dead = threading.Event()

    def die(wire: Wire) -> None:
        wire.request()
        assert dead.wait(60)
        wire.reset()

    with scripted(die) as server, Client(server.url) as client:

        def kill() -> None:
            while not server.requests:
                threading.Event().wait(0.01)
            server.refuse()
            dead.set()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(OutcomeUnknown):
            client.apply({"k": "v"})
        killer.join()


def test_unkeyed_write_is_never_repeated() -> None:
    """A branch creation without an answer is OutcomeUnknown at once."""
    with (
        scripted(reset) as server,
        Client(server.url) as client,
        pytest.raises(OutcomeUnknown, match="branch create was sent") as raised,
    ):
        client.create_branch("b")

    assert (1, {}) == (len(server.requests), raised.value.fields)


def test_dry_run_is_a_read() -> None:
    """A dry run changes nothing, so a lost answer is no unknown outcome."""
    with (
        scripted(reset) as server,
        Client(server.url, retries=1) as client,
        pytest.raises(Unreachable),
    ):
        client.apply({"k": "v"}, dry_run=True)

    assert ["idempotency-key" in r.headers for r in server.requests] == [False, False]


# --- time ----------------------------------------------------------------------


def test_silent_daemon() -> None:
    """A read that gets no answer in time is TimedOut; a write is OutcomeUnknown."""
    with scripted(stay_silent) as server, Client(server.url, timeout_s=2) as client:
        with pytest.raises(TimedOut, match=r"nothing within 2 s"):
            client.get("k")
        with pytest.raises(OutcomeUnknown, match=r"nothing within 2 s"):
            client.apply({"k": "v"})


def test_trickling_daemon() -> None:
    """A daemon that sends a byte now and then can't stretch a call."""
    stop = threading.Event()

    def trickle(wire: Wire) -> None:
        wire.request()
        for byte in STATE:
            wire.send(bytes([byte]))
            if stop.wait(0.1):
                return

    with scripted(trickle) as server, Client(server.url, timeout_s=0.5) as client:
        with pytest.raises(TimedOut):
            client.get("k")
        stop.set()


def test_daemon_that_does_not_read() -> None:
    """A write that can't be sent whole in time was not acted on: no unknown outcome."""
    over = threading.Event()

    def never_read(_: Wire) -> None:
        over.wait(60)

    big = {f"k{i}": "x" * 4_000_000 for i in range(4)}
    with (
        scripted(never_read) as server,
        Client(server.url, timeout_s=0.5) as client,
    ):
        with pytest.raises(TimedOut):
            client.apply(big)
        over.set()


# --- the daemon says no -------------------------------------------------------------


def test_refusal_before_the_body_is_read() -> None:
    """An answer that comes while the body is still being sent is read."""

    def refuse_early(wire: Wire) -> None:
        wire._file.readline()
        wire.send(problem(413, "limit_exceeded", "too large", limit="x", maximum=1))
        wire._sock.shutdown(socket.SHUT_WR)
        wire.wait_for_close()

    big = {f"k{i}": "x" * 4_000_000 for i in range(4)}
    with (
        scripted(refuse_early) as server,
        Client(server.url) as client,
        pytest.raises(LimitExceeded, match="too large"),
    ):
        client.apply(big)


def test_busy_daemon() -> None:
    """An overloaded daemon is asked again, and its last word is raised."""
    with scripted(always(OVERLOADED)) as server, Client(server.url) as client:
        with pytest.raises(Overloaded):
            client.get("k")
        with pytest.raises(Overloaded):
            client.apply({"k": "v"})
        with pytest.raises(Overloaded):
            client.create_branch("b")

    assert 3 + 3 + 1 == len(server.requests)


def test_rate_limited() -> None:
    """Who has sent too many waits as long as is asked, and tries again, writes too.

    Nothing was begun, so even what could not be sent twice is sent again.
    """
    limited = answer(
        {"detail": "later", "code": "rate_limited", "status": 429, "retry_after": 1},
        status=429,
        headers={"content-type": "application/problem+json", "retry-after": "1"},
    )
    with scripted(always(limited)) as server, Client(server.url, retries=1) as client:
        with pytest.raises(RateLimited) as caught:
            client.get("k")
        with pytest.raises(RateLimited):
            client.create_branch("b")

    assert 2 + 2 == len(server.requests)
    assert (1, True, "none") == (
        caught.value.retry_after,
        caught.value.retryable,
        caught.value.outcome,
    )


def test_busy_daemon_that_asks_to_wait_long() -> None:
    """A daemon that asks for more patience than the client has is not asked again."""
    busy = answer(
        {"detail": "later", "code": "overloaded"},
        status=503,
        headers={"content-type": "application/problem+json", "retry-after": "60"},
    )
    with (
        scripted(always(busy)) as server,
        Client(server.url) as client,
        pytest.raises(Overloaded),
    ):
        client.get("k")

    assert 1 == len(server.requests)


def test_lost_answer_then_busy_daemon() -> None:
    """An overloaded daemon does not settle what became of the attempt before."""
    with (
        scripted(reset, always(OVERLOADED)) as server,
        Client(server.url) as client,
        pytest.raises(OutcomeUnknown),
    ):
        client.apply({"k": "v"})


def test_lost_answer_then_conflict() -> None:
    """A conflict settles it: the daemon would have remembered the key."""
    moved = problem(409, "head_moved", expected=1, actual=2)
    with (
        scripted(reset, always(moved)) as server,
        Client(server.url) as client,
        pytest.raises(HeadMoved) as raised,
    ):
        client.apply({"k": "v"}, expect_revision=1)

    assert (1, 2) == (raised.value.expected, raised.value.actual)


def test_unknown_outcome_from_the_daemon() -> None:
    """A commit whose end the daemon does not know is asked for again by its key."""
    unknown = problem(503, "outcome_unknown")
    with (
        scripted(once(unknown), always(WRITTEN)) as server,
        Client(server.url) as client,
    ):
        assert 1 == client.apply({"k": "v"}).revision


def test_fault_of_the_daemon() -> None:
    """A fault of the daemon is raised as what it is, and not repeated."""
    with (
        scripted(always(problem(500, "internal_error"))) as server,
        Client(server.url) as client,
        pytest.raises(InternalError),
    ):
        client.get("k")

    assert 1 == len(server.requests)


def test_code_of_a_later_version() -> None:
    """A code that this version does not know gives the nearest class by status."""
    with (
        scripted(always(problem(409, "brand_new"))) as server,
        Client(server.url) as client,
        pytest.raises(St8Error) as raised,
    ):
        client.create_branch("b")

    assert ("conflict", "it is so") == (raised.value.code, raised.value.detail)


# --- something else answers --------------------------------------------------------


def test_text_of_the_go_daemon() -> None:
    """A plain text is the error's sentence."""
    text = answer(
        raw=b'checkpoint "x" not found\n',
        status=400,
        headers={"content-type": "text/plain; charset=utf-8"},
    )
    with (
        scripted(always(text)) as server,
        Client(server.url) as client,
        pytest.raises(MalformedRequest) as raised,
    ):
        client.get("k")

    assert 'checkpoint "x" not found' == raised.value.detail


def test_page_of_another_program() -> None:
    """An HTML page with an error status is not repeated to the user."""
    page = answer(raw=b"<h1>Hi</h1>", status=404, headers={"content-type": "text/html"})
    with (
        scripted(always(page)) as server,
        Client(server.url) as client,
        pytest.raises(NotFound, match="is this a st8 daemon"),
    ):
        client.get("k")


def test_redirect() -> None:
    """A redirect is not followed, so that no token goes where it points."""
    away = answer({}, status=302, headers={"location": "http://evil.example/x?t=1"})
    with (
        scripted(always(away)) as server,
        Client(server.url, token="s3cret") as client,
        pytest.raises(Unavailable) as raised,
    ):
        client.apply({"k": "v"})

    assert (
        f"{server.url} answered 302 and points to 'http://evil.example/x'; st8 follows "
        "no redirects: use the final address"
    ) == raised.value.detail
    assert 1 == len(server.requests)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<hi/>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"revision":1}',
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"revision":1,"ob',
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: x\r\n" * 1_000 + b"\r\n",
    ],
)
def test_garbage(data: bytes) -> None:
    """Garbage is never data: a read is Unavailable, a write OutcomeUnknown."""
    with scripted(once(data)) as server, Client(server.url, retries=0) as client:
        with pytest.raises(Unavailable) as raised:
            client.get("k")
        assert "none" == raised.value.outcome
        with pytest.raises(OutcomeUnknown):
            client.apply({"k": "v"})


def test_endless_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is larger than memory should hold is given up."""
    monkeypatch.setattr("st8.client._connection.ANSWER_BYTES_MAX", 1 << 20)

    def endless(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):
            wire.send(b" " * 65_536)

    with (
        scripted(endless) as server,
        Client(server.url, retries=0) as client,
        pytest.raises(Unavailable, match="answered more than 1048576 bytes"),
    ):
        client.get("k")


def test_announced_size_is_not_believed() -> None:
    """A huge Content-Length allocates nothing."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999999\r\n\r\n{}"
    with (
        scripted(once(head)) as server,
        Client(server.url, retries=0) as client,
        pytest.raises(Unreachable, match="broke off"),
    ):
        client.get("k")


def test_chunked_answer() -> None:
    """A chunked answer is read to its end, and one that breaks off is not believed."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b'{"revision":1,"objects":{"k":"v"}}'
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body)
    with scripted(always(head + chunks + b"0\r\n\r\n")) as server:
        with Client(server.url) as client:
            values = [client.get("k"), client.get("k")]
        assert (["v", "v"], 1) == (values, server.connections)
    with (
        scripted(once(head + chunks)) as server,
        Client(server.url, retries=0) as client,
        pytest.raises(Unreachable, match="broke off"),
    ):
        client.get("k")


def test_proxy_without_a_daemon() -> None:
    """A gateway's error is asked again; in the end a write is unknown."""
    gateway = answer(raw=b"<html>", status=502, headers={"content-type": "text/html"})
    with scripted(once(gateway), always(STATE)) as server, Client(server.url) as client:
        assert "v" == client.get("k")
    with scripted(always(gateway)) as server, Client(server.url) as client:
        with pytest.raises(Unavailable, match="answered 502 in place of the daemon"):
            client.get("k")
        with pytest.raises(OutcomeUnknown):
            client.apply({"k": "v"})


# --- what is sent --------------------------------------------------------------------


def test_head_of_a_request() -> None:
    """Every request names the host and carries the token; nothing is compressed."""
    found = answer({"revision": 1, "objects": {"a b/ü": "v"}})
    with scripted(always(found)) as server:
        with Client(f"{server.url}/st8/", token="s3cret") as client:
            client.get("a b/ü")
        (seen,) = server.requests

    assert (
        "GET",
        "/st8/v1/state?namespace=default&branch=main&key=a%20b%2F%C3%BC",
        {
            "host": server.url.removeprefix("http://"),
            "user-agent": "st8-python",
            "accept": "application/json",
            "authorization": "Bearer s3cret",
        },
        b"",
    ) == seen


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx: y", "ü"])
def test_token_that_fits_no_header(token: str) -> None:
    """A token that can't stand in a header is refused without being shown."""
    with pytest.raises(InvalidValue) as raised:
        Client("http://127.0.0.1:1", token=token)

    assert (
        "token: must be printable ASCII without spaces, and not empty"
    ) == raised.value.detail


def test_secrets_do_not_show() -> None:
    """A token is in no repr and no error."""
    with Client(f"http://127.0.0.1:{free_port()}", token="s3cret", retries=0) as client:
        texts = [repr(client), repr(vars(client)), repr(client.scope("x"))]
        for call in (client.version, lambda: client.apply({"k": "v"})):
            with pytest.raises(Unreachable) as raised:
                call()
            texts += [str(raised.value), repr(raised.value.fields)]

    assert not [text for text in texts if "s3cret" in text]
