"""The audit log has every request that needs permission, and no contents."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from st8.auth.simple import OneToken
from st8.core.errors import Unavailable
from st8.http.audit import AuditLog
from tests.http.asgi import VERSION, Api, connection, exchange
from tests.http.permissions_test import (
    PLACES,
    POLICIES,
    ROWS,
    Allow,
    Someone,
    call,
    scoped,
    world,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = ("content-of", "message mine", "sys/x", "app/a", "Bearer", "sesame")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the audit log is."""
    return tmp_path / "audit.jsonl"


@pytest.fixture
def api(log: Path) -> Iterator[Api]:
    """A daemon that records, for somebody who may write one branch."""
    with world() as api:
        audit = AuditLog.open(str(log), api.clock)
        api.serve(Someone(POLICIES["one branch"]), audit)
        yield api
        audit.close()


def void(_: object) -> None:
    """Take anything, return nothing."""


def lines(log: Path) -> list[dict[str, Any]]:
    """Return what was recorded."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_line_for_each_request_allowed_or_refused(api: Api, log: Path) -> None:
    """Every operation of the matrix is in it once, in order, with its status."""
    expected: list[tuple[str, int]] = []
    for operation, makers in ROWS.items():
        for make in makers:
            for place in PLACES:
                answer = call(api, make(*place))
                if operation not in {"health", "ready", "openapi", "docs"}:
                    expected.append((operation, answer.status))

    recorded = lines(log)
    assert expected == [(line["operation"], line["status"]) for line in recorded]
    refused = {403: "refused", 200: "allowed"}
    for line in recorded:
        assert refused.get(line["status"], "failed") == line["outcome"]
        assert ("ci", "token") == (line["who"], line["method"])
        assert "127.0.0.1:" in line["from"]
    for secret in SECRETS:
        assert secret not in log.read_text()


def test_what_a_line_says(api: Api, log: Path) -> None:
    """A write is told with its scope, its size, its author and its revision."""
    main = scoped("mine", "main")
    api.apply({"app/new": "1", "b": "2"}, message="a message", **main)
    api.post("/v1/rollback", {**main, "checkpoint_name": "c-main"})
    api.post("/v1/restore", {**main, "from_branch": "hidden"})
    api.delete("/v1/checkpoints", {"namespace": "mine", "name": "c-main"})

    applied, back, restored, deleted = lines(log)
    common = {"who": "ci", "method": "token", "verb": "write", "namespace": "mine"}
    where = {**common, "from": applied["from"]}
    assert {
        **where,
        "time": applied["time"],
        "operation": "apply",
        "branch": "main",
        "puts": 2,
        "deletes": 0,
        "author": "ci",
        "dry_run": False,
        "outcome": "allowed",
        "status": 200,
        "revision": 5,
    } == applied
    assert {"checkpoint": "c-main"} == back["target"]
    assert 6 == back["revision"]
    assert (["hidden"], {"branch": "hidden"}, "refused", "forbidden") == (
        restored["reads"],
        restored["target"],
        restored["outcome"],
        restored["code"],
    )
    assert "revision" not in restored
    assert ("delete_checkpoint", "c-main") == (deleted["operation"], deleted["name"])


def test_reads_from_memory_are_recorded_too(api: Api, log: Path) -> None:
    """The short way of the commonest read leaves the same lines, also for a 304."""
    target = "/v1/state?namespace=mine&branch=main"
    tag = api.get(target).headers["etag"]
    for _ in range(3):
        api.get(target, if_none_match=tag)
        api.get(target)

    assert [200, 304, 200, 304, 200, 304, 200] == [x["status"] for x in lines(log)]
    assert {"main"} == {line["branch"] for line in lines(log)}


def test_who_is_not_known_is_recorded(log: Path) -> None:
    """A wrong token is a refusal by nobody; neither it nor its body is told."""
    with world() as api:
        audit = AuditLog(str(log), api.clock)
        api.serve(OneToken("sesame"), audit)
        assert 401 == api.post("/v1/apply", {}, authorization="Bearer wrong").status
        assert 422 == api.post("/v1/apply", {}, authorization="Bearer sesame").status
        audit.close()

    wrong, invalid = lines(log)
    assert ("", "none", "refused", "unauthenticated") == (
        wrong["who"],
        wrong["method"],
        wrong["outcome"],
        wrong["code"],
    )
    assert "namespace" not in wrong
    assert ("admin", "failed", 422) == (
        invalid["who"],
        invalid["outcome"],
        invalid["status"],
    )
    for secret in SECRETS:
        assert secret not in log.read_text()


def test_every_branch_of_a_watch_is_told(api: Api, log: Path) -> None:
    """A stream of several names all of them, also where it is refused for one."""
    scopes = [json.dumps({"namespace": "mine", "branch": b}) for b in ("main", "x/1")]
    for scope in (scopes[:1], scopes):
        api.call("HEAD", "/v1/watch?" + urlencode({"scope": scope}, doseq=True))

    one, several = lines(log)
    assert ("mine", "main", "allowed") == (
        one["namespace"],
        one["branch"],
        one["outcome"],
    )
    assert "refused" == several["outcome"]
    assert [
        {"namespace": "mine", "branch": "main"},
        {"namespace": "mine", "branch": "x/1"},
    ] == several["scopes"]
    assert "namespace" not in several


class Broken:
    """An audit log whose file fails until it is mended."""

    def __init__(self, api: Api, log: Path) -> None:
        self.audit = AuditLog(str(log), api.clock)
        self._good = self.audit._file
        self._bad = os.open(os.devnull, os.O_RDONLY)

    def fail(self) -> None:
        """Let every write fail."""
        self.audit._file = self._bad

    def mend(self) -> None:
        """Let writes succeed again."""
        self.audit._file = self._good


def test_what_can_not_be_recorded_is_not_done(log: Path) -> None:
    """From the first failure on nothing is done; what was done meanwhile is told so.

    When the log can be written again it has every line, and requests go on.
    """
    with world() as api:
        broken = Broken(api, log)
        api.serve(Someone((Allow("read write"),)), broken.audit)
        main = scoped("mine", "main")
        api.apply({"a": "1"}, **main)
        broken.fail()

        first = api.post("/v1/apply", {**main, "deletes": ["a"]})
        second = api.post("/v1/apply", {**main, "deletes": ["app/a"]})
        third = api.get("/v1/state?namespace=mine")
        assert (503, "outcome_unknown") == (first.status, first.code)
        assert "it was done" in first.json["detail"]
        for refused in (second, third):
            assert (503, "audit_unavailable") == (refused.status, refused.code)
        assert 200 == api.get("/healthz").status
        broken.mend()
        objects = api.state("namespace=mine")["objects"]
        broken.audit.close()

    assert ["app/a", "app/b", "sys/x"] == list(objects)
    assert [("apply", 5), ("apply", 6), ("get", None)] == [
        (line["operation"], line.get("revision")) for line in lines(log)
    ]


def test_a_log_that_fails_holds_no_more_for_strangers(log: Path) -> None:
    """While it can't be written, refusals of wrong tokens don't pile up in memory."""
    with world() as api:
        broken = Broken(api, log)
        api.serve(OneToken("sesame"), broken.audit)
        broken.fail()
        answers = [
            api.get("/v1/version", authorization="Bearer wrong").status
            for _ in range(9)
        ]
        held = broken.audit._unwritten
        broken.mend()
        broken.audit.ensure()
        broken.audit.close()

    assert [503] * 9 == answers
    assert 1 == held.count(b"\n")
    assert ["unauthenticated"] == [line["code"] for line in lines(log)]


def test_a_write_that_is_given_up_is_recorded(log: Path) -> None:
    """A daemon that is stopped before it can answer records that it does not know."""
    with world() as api:
        audit = AuditLog(str(log), api.clock)
        api.serve(Someone((Allow("read write"),)), audit)
        held = threading.Event()
        api.engine._committer.between_batches(lambda: void(held.wait(10)))
        body = {**scoped("mine", "main"), "documents": [{"key": "a", "content": "1"}]}

        async def stop() -> None:
            data = [json.dumps(body).encode()]
            asked = asyncio.create_task(exchange(api.app, "POST", "/v1/apply", data))
            while not api.engine.stats().pending:  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0)
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await asked

        api.run(stop())
        held.set()
        audit.close()

    (line,) = lines(log)
    assert ("unknown", "outcome_unknown", 0) == (
        line["outcome"],
        line["code"],
        line["status"],
    )


def test_a_read_without_its_client_was_allowed(api: Api, log: Path) -> None:
    """Of what changes nothing nothing is unknown; no status was answered."""
    target = "/v1/state?namespace=mine&branch=main&min_revision=99&wait=60s"

    async def leave() -> None:
        asked = asyncio.create_task(exchange(api.app, "GET", target))
        while not api.app.service.hub._topics:  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked

    api.run(leave())

    (line,) = lines(log)
    assert ("allowed", 0, "main") == (line["outcome"], line["status"], line["branch"])
    assert "code" not in line


def test_a_restore_that_its_client_leaves_is_recorded(log: Path) -> None:
    """Nothing was restored, but names may be kept free for it."""
    with world() as api:
        audit = AuditLog(str(log), api.clock)
        api.serve(Someone((Allow("read write admin"),)), audit)
        backup = api.post("/v1/backup").body
        parts = [{"type": "http.request", "body": backup[:99], "more_body": True}]

        async def receive() -> dict[str, Any]:
            return parts.pop() if parts else {"type": "http.disconnect"}

        async def send(message: object) -> None:
            raise AssertionError(message)

        scope = connection("POST", "/v1/restore-backup")
        api.run(api.app(scope, receive, send))
        audit.close()

    _, line = lines(log)
    assert ("restore_backup", "failed", "malformed_request", 0) == (
        line["operation"],
        line["outcome"],
        line["code"],
        line["status"],
    )


def test_the_file_is_its_owners_and_grows(api: Api, log: Path) -> None:
    """It is made for its owner alone, and opened again it goes on."""
    api.get("/v1/version")
    again = AuditLog(str(log), api.clock)
    again.close()

    assert 0o600 == log.stat().st_mode & 0o777
    assert 1 == len(lines(log))


def test_reopen_follows_rotation(log: Path, tmp_path: Path) -> None:
    """After the file was renamed, lines go to the new one."""
    with world() as api:
        audit = AuditLog(str(log), api.clock)
        api.serve(audit=audit)
        api.get("/v1/version")
        old = log.rename(tmp_path / "audit.1")
        api.get("/v1/version")
        audit.reopen()
        api.get("/v1/version")
        audit.close()

    assert (2, 1) == (len(lines(old)), len(lines(log)))


def test_a_log_that_can_not_be_opened(tmp_path: Path) -> None:
    """It is told why, and what would be right."""
    with world() as api, pytest.raises(Unavailable, match="choose a file"):
        AuditLog(str(tmp_path / "no" / "file"), api.clock)


def test_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """With ``-`` the lines go to standard output."""
    with world() as api:
        audit = AuditLog("-", api.clock)
        api.serve(audit=audit)
        assert VERSION == api.get("/v1/version").json["version"]
        audit.close()

    assert "version" == json.loads(capfd.readouterr().out)["operation"]
