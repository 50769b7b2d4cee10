"""Garbage collection on a schedule, by rules that are read anew at SIGHUP."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from st8.client import Client
from st8.config import RetentionRule, Settings, UsageError, load
from st8.core.ids import Namespace
from st8.daemon.collecting import Retentions, Schedule
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.faulty import FaultyStore
from tests.daemon.process import Daemon
from tests.engine.acts import applied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


def _collected(daemon: Daemon) -> list[dict[str, Any]]:
    return [e for e in daemon.events() if e["event"] == "garbage was collected"]


def _numbers(client: Client) -> list[int]:
    return [entry.revision for entry in client.log().entries]


def test_it_collects_by_itself(tmp_path: Path) -> None:
    """With an interval old revisions go, as the rules say, and the log tells."""
    daemon = Daemon(
        tmp_path,
        *("--gc-interval", "1s", "--log-format", "json"),
        *("--retention", "kept:never", "--retention", "*:keep=2"),
    )
    with daemon:
        kept, other = (Client(daemon.url, namespace=name) for name in ("kept", "other"))
        for client in (kept, other):
            for number in range(6):
                client.apply({"k": f"{number}"})
        before = len(_collected(daemon))
        _wait_until(lambda: len(_collected(daemon)) > before + 1)

        assert [6, 5, 4, 3, 2, 1] == _numbers(kept)
        assert [6, 5] == _numbers(other)
        for client in (kept, other):
            client.close()
        assert 4 == sum(event["revisions"] for event in _collected(daemon))
        text = daemon.get("/metrics").decode()
        assert "st8_gc_revisions_total 4.0" in text
        assert 'st8_gc_runs_total{result="error"} 0.0' in text
        assert 0 == daemon.stop()


def test_rules_and_interval_are_read_anew(tmp_path: Path) -> None:
    """SIGHUP brings new rules and another interval into force."""
    settings = tmp_path / "st8d.yaml"
    settings.write_text('retention: ["*:never"]\n', encoding="utf-8")
    flags = ("--config", str(settings), "--log-format", "json")
    with (
        Daemon(tmp_path / "state", *flags) as daemon,
        closing(Client(daemon.url)) as client,
    ):
        for number in range(5):
            client.apply({"k": f"{number}"})
        assert 0 == client.gc(1).revisions  # never is never
        settings.write_text(
            'gc-interval: 1s\nretention:\n  - "*:keep=3"\n', encoding="utf-8"
        )
        daemon.process.send_signal(signal.SIGHUP)
        _wait_until(lambda: _collected(daemon))

        assert [5, 4, 3] == _numbers(client)
        assert 2 == sum(event["revisions"] for event in _collected(daemon))


def test_the_first_rule_that_matches_holds() -> None:
    """Rules are gone through in their order; what none matches is kept by ten."""
    rules = (RetentionRule("a/*", 5, 60.0), RetentionRule("a/b", 7))
    retentions = Retentions(Settings(retention=rules))
    found = [retentions.of(Namespace(name)).text for name in ("a/b", "a/c", "c")]

    assert ["keep=5,younger-than=1m", "keep=5,younger-than=1m", "keep=10"] == found
    retentions.take(Settings(retention=(RetentionRule("*", 1, never=True),)))
    assert "never" == retentions.of(Namespace("a/b")).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*:keep=3", RetentionRule("*", 3)),
        ("a:b:keep=3", RetentionRule("a:b", 3)),
        ("a:younger-than=2w", RetentionRule("a", 10, 14 * 86_400.0)),
        ("a:younger-than=1h30m,keep=1", RetentionRule("a", 1, 5_400.0)),
        ("audit/*:never", RetentionRule("audit/*", 1, never=True)),
    ],
)
def test_rules_that_are_read(text: str, expected: RetentionRule) -> None:
    """A rule is a pattern and what is kept of the namespaces that it matches."""
    assert (expected,) == load(["--retention", text], {}).retention


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("keep=3", "is no rule; write 'payments/*:keep=100"),
        (":keep=3", "is no rule"),
        ("a:", "'' in 'a:' is none of never, keep=N"),
        ("a:keep=0", "keep=0 in 'a:keep=0' is no number of revisions; it is from 1"),
        ("a:keep=-1", "is no number of revisions"),
        ("a:keep=2000000000", "gc_keep_max"),
        ("a:keep=1,keep=2", "is there twice"),
        ("a:never,keep=2", "'never' in 'a:never,keep=2' is none of"),
        ("a:younger-than=soon", "'soon' is not an age such as 12h, 30d or 2w"),
        ("a:younger-than=999999w", "gc_younger_seconds_max"),
        ("[a:keep=1", "has a [ without its ]"),
    ],
)
def test_rules_that_can_not_be_read(text: str, reason: str) -> None:
    """What is wrong with a rule is said, with the rule."""
    with pytest.raises(UsageError) as caught:
        load(["--retention", text], {})

    assert reason in caught.value.problems[0]
    assert caught.value.problems[0].startswith("--retention: ")


@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        (["*:keep=3", "audit:never"], "'audit:never'"),
        (["audit:keep=3", "audit:never", "*:keep=3"], "'audit:never'"),
    ],
)
def test_a_rule_that_could_never_hold_is_refused(rules: list[str], hidden: str) -> None:
    """What it was to keep would go."""
    flags = [part for rule in rules for part in ("--retention", rule)]
    with pytest.raises(UsageError) as caught:
        load(flags, {})

    (problem,) = caught.value.problems
    assert f"has {hidden} behind a rule that holds for all that it would" in problem


def test_one_of_several_daemons_collects() -> None:
    """A daemon that sees that another has collected leaves it at that, once."""
    store = FaultyStore(MemoryStore())
    store.exclusive = False
    engine, other = (Engine(store, FakeClock()) for _ in range(2))
    applied(engine, "1", "2")
    retentions = Retentions(Settings())
    schedule = Schedule(engine, retentions, 0)
    before = store.calls["raise_epoch"]

    def raised() -> int:
        return store.calls["raise_epoch"] - before

    schedule._collect()
    assert 1 == raised()
    schedule._collect()  # nobody else has
    assert 2 == raised()
    other.collect()
    assert 3 == raised()
    schedule._collect()
    assert 3 == raised()
    other.collect()
    schedule._collect()  # not twice in a row
    assert 5 == raised()
    schedule.close()
    engine.close()
    other.close()


def test_a_collection_that_fails_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure ends neither the schedule nor st8d; it is counted, and says why."""
    store = FaultyStore(MemoryStore())
    engine = Engine(store, FakeClock())
    applied(engine, "1", "2")
    schedule = Schedule(engine, Retentions(Settings()), 0)
    store.fail("raise_epoch", OSError("fault"))
    schedule._collect()
    stats = engine.stats().collections

    assert (0, 1) == (stats.runs, stats.failures)
    assert "collecting garbage met something unforeseen" in caplog.text
    schedule._collect()
    assert (1, 1) == (stats.runs, stats.failures)
    schedule.close()
    engine.close()
