"""After a redaction no answer has the content, whatever was kept of earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http.asgi import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2"
TARGETS = (
    "/v1/state?revision=1",
    "/v1/state?revision=1&key=password",
    "/v1/log",
    "/v1/state?revision=1&prefix=pass",
)


@pytest.fixture
def leaked() -> Iterator[Api]:
    """A daemon with a secret in its first revision."""
    api = Api()
    api.apply({"password": SECRET, "host": "a"})
    api.apply({"password": "new"})
    yield api
    api.close()


def test_what_is_kept_of_answers_is_given_up(leaked: Api) -> None:
    """What was answered before, and is ready to be sent again, is not."""
    for _ in range(3):
        for target in TARGETS:
            assert SECRET.encode() in leaked.get(target).body
    body = {"key": "password", "revision": 1, "reason": "it leaked", "author": "ops"}
    answer = leaked.post("/v1/redact", body)

    assert [{"namespace": "default", "key": "password"}] == answer.json["places"]
    for _ in range(3):
        for target in TARGETS:
            again = leaked.get(target)
            assert 200 == again.status
            assert SECRET.encode() not in again.body
            assert b"by ops: it leaked]" in again.body


def test_the_tag_of_a_state_changes_with_its_text(leaked: Api) -> None:
    """Who asks with the tag of what was read before gets what is read now.

    Every daemon on the store has the same tag for it.
    """
    target = TARGETS[0]
    before = leaked.get(target).headers["etag"]
    leaked.post("/v1/redact", {"key": "password", "revision": 1})
    again = leaked.get(target, if_none_match=before)
    after = again.headers["etag"]
    beside = Api(leaked.engine._store)

    assert 200 == again.status
    assert b"[st8: redacted" in again.body
    assert 304 == leaked.get(target, if_none_match=after).status
    assert after == beside.get(target).headers["etag"]
    beside.close()


def test_an_answer_that_was_begun_before_is_not_kept(leaked: Api) -> None:
    """What was read before and is ready only after the redaction is not kept."""
    app = leaked.app
    lane = app.service.lane
    since = lane.forgotten
    leaked.get(TARGETS[0])
    [kept] = lane.responses._new.values()
    leaked.post("/v1/redact", {"key": "password", "revision": 1})
    lane.keep(b"d", b"t", kept, since)

    assert lane.kept(b"d", b"t") is None


def test_it_says_in_which_revision(leaked: Api) -> None:
    """A request that names none is told how to name one."""
    answer = leaked.post("/v1/redact", {"key": "password"})

    assert (422, "invalid_value") == (answer.status, answer.code)
    assert "say in which revision" in answer.json["detail"]
