"""Rate limits: how many requests whoever asks may send, and what the rest hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.auth.access import ALLOW_ALL, ANYONE, Principal
from st8.core import limits
from st8.core.errors import Overloaded, RateLimited
from st8.core.rates import Rate
from st8.http.answers import Answers
from st8.http.connections import Connections, GuardSettings
from st8.http.rates import RateLimiter
from tests.http.asgi import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

SOMEBODY = Principal("ci", ALLOW_ALL, method="token")
ANOTHER = Principal("app", ALLOW_ALL, method="token")
HERE = {"client": ("192.0.2.1", 1234)}


@pytest.fixture
def limited() -> Iterator[Api]:
    """An API of which everybody may ask twice, and then once in a minute."""
    api = Api()
    api.app.service.rates.rate = Rate(1 / 60, 2)
    yield api
    api.close()


def _let_through(limiter: RateLimiter, at_s: float, principal: Principal) -> int:
    """Return how many requests are let through at a time, until one is refused."""
    number = 0
    while True:
        try:
            limiter.take(principal, HERE, at_s)
        except RateLimited:
            return number
        number += 1


def test_a_burst_and_then_the_rate() -> None:
    """A full bucket lets its burst through, and then so many a second."""
    limiter = RateLimiter(Rate(10.0, 25))
    found = [_let_through(limiter, at_s, SOMEBODY) for at_s in (0.0, 0.5, 0.55, 1.5)]

    assert [25, 5, 0, 10] == found
    assert 25 == _let_through(limiter, 1_000.0, SOMEBODY)
    assert 5 == limiter.refused


def test_everybody_has_a_bucket() -> None:
    """Whoever is known by name has a bucket of their own, others by address."""
    limiter = RateLimiter(Rate(1.0, 3))
    own = Principal("own", ALLOW_ALL, rate=Rate(1.0, 7))
    free = Principal("free", ALLOW_ALL, rate=Rate(0.0, 1))

    assert 3 == _let_through(limiter, 0.0, SOMEBODY)
    assert 3 == _let_through(limiter, 0.0, ANOTHER)
    assert 7 == _let_through(limiter, 0.0, own)
    assert 3 == _let_through(limiter, 0.0, ANYONE)
    limiter.take(ANYONE, {"client": ("192.0.2.2", 1)}, 0.0)
    limiter.take(ANYONE, {"client": None}, 0.0)
    for _ in range(100):
        limiter.take(free, HERE, 0.0)
    with pytest.raises(RateLimited):
        limiter.take(ANYONE, {"client": ("192.0.2.1", 9)}, 0.0)


def test_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, a bounded number of buckets is kept, the newest among them."""
    monkeypatch.setattr("st8.http.rates._BUCKETS_MAX", 10)
    limiter = RateLimiter(Rate(1.0, 1))
    for number in range(95):
        limiter.take(Principal(f"{number}", ALLOW_ALL), HERE, number / 10)
        assert len(limiter._buckets) <= 10

    with pytest.raises(RateLimited):
        limiter.take(Principal("94", ALLOW_ALL), HERE, 9.4)


def test_the_answer_says_when(limited: Api) -> None:
    """Too many is 429 with whole seconds to wait; nothing was begun, or is counted."""
    limited.apply({"a": "1"})
    before = limited.get("/v1/state").json
    refused = limited.post("/v1/apply", {"documents": [{"key": "a", "content": "2"}]})

    assert (429, "rate_limited", "none", True) == (
        refused.status,
        refused.code,
        refused.json["outcome"],
        refused.json["retryable"],
    )
    assert refused.headers["retry-after"] == str(refused.json["retry_after"])
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    limited.app.service.rates.rate = None
    assert before == limited.get("/v1/state").json


def test_probes_are_let_in(limited: Api) -> None:
    """Probes, metrics and the description of the API are not counted or refused."""
    for _ in range(5):
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert 200 == limited.get(path).status
    assert [200, 200, 429] == [limited.get("/v1/version").status for _ in range(3)]
    assert b"st8_rate_limited_total 1.0" in limited.get("/metrics").body


def test_what_is_in_the_fast_lane_is_counted_too(limited: Api) -> None:
    """Repeated reads that are answered from memory count as any other."""
    limited.app.service.rates.rate = Rate(1 / 60, 5)
    limited.apply({"a": "1"})

    assert [200, 200, 200, 200, 429, 429] == [
        limited.get("/v1/state").status for _ in range(6)
    ]


def test_it_is_no_overload() -> None:
    """Clients tell the two apart: one is about them, the other about everybody."""
    assert not issubclass(RateLimited, Overloaded)


# --- what large answers hold --------------------------------------------------------------


def test_large_answers_are_counted_while_somebody_has_them() -> None:
    """What an answer holds counts until it is dropped, whichever way that happens."""
    answers = Answers()
    places = [answers.place(64 * 1024) for _ in range(3)]
    each = answers.held_bytes // 3
    places[0].hold(1024 * 1024)

    assert each > 1024 * 1024
    assert answers.held_bytes > 2 * each + 3 * 1024 * 1024
    places[0].hold(10)  # what has been held may be again
    del places[1:]
    assert answers.held_bytes > 3 * 1024 * 1024
    places.clear()
    assert 0 == answers.held_bytes


def test_no_large_answer_is_begun_beyond_the_room() -> None:
    """Beyond the room none is begun; at twice that, those that grow are cut off."""
    answers = Answers()
    answers.check()
    room = limits.ANSWERS_BYTES.maximum
    first = answers.place(room // 3)
    with pytest.raises(Overloaded, match="answers_bytes_max"):
        answers.check()
    second = answers.place(1_000)
    with pytest.raises(Overloaded, match="answers_bytes_max"):
        second.hold(room // 2)
    del first, second
    answers.check()


def test_reads_are_not_begun_when_clients_take_nothing(api: Api) -> None:
    """While clients leave too much, reads and writes are refused, before they begin."""
    api.apply({"a": "1"})
    shared = Connections(api.app, GuardSettings(unsent_bytes_max=1_000))
    api.app.service.answers.watch(shared)
    shared.unsent_bytes = 1_001
    read = api.get("/v1/state?key=a&revision=1")
    write = api.post("/v1/apply", {"documents": [{"key": "a", "content": "2"}]})
    for answer in (read, write):
        assert (503, "overloaded", "1", "none") == (
            answer.status,
            answer.code,
            answer.headers["retry-after"],
            answer.json["outcome"],
        )
    shared.unsent_bytes = 0

    assert [1] == [entry["id"] for entry in api.get("/v1/log").json["entries"]]
