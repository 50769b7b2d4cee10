"""What every operation says of a revision that was collected, and of one that never was.

Each that takes a revision says ``revision_collected`` of the one and
``revision_not_found`` of the other, and changes nothing.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from st8.core.limits import WAITING_COLLECTIONS

if TYPE_CHECKING:
    from tests.http.asgi import Answer, Api

GONE, NEVER = 1, 99

ASKED: dict[str, tuple[str, dict[str, object] | None]] = {
    "state": ("/v1/state?revision={}", None),
    "document": ("/v1/state?key=a&revision={}", None),
    "prefix": ("/v1/state?prefix=a&revision={}", None),
    "page": ("/v1/state?limit=1&revision={}", None),
    "log": ("/v1/log?revision={}", None),
    "diff to the head": ("/v1/diff", {"revision_id": 0}),
    "diff from": ("/v1/diff", {"from": {"revision": 0}, "to": {}}),
    "diff to": ("/v1/diff", {"from": {}, "to": {"revision": 0}}),
    "checkpoint": ("/v1/checkpoints", {"name": "c", "revision": 0}),
    "branch": ("/v1/branches", {"name": "b", "from_revision": 0}),
    "rollback": ("/v1/rollback", {"revision_id": 0}),
    "rollback, dry": ("/v1/rollback", {"revision_id": 0, "dry_run": True}),
    "restore": ("/v1/restore", {"from_revision": 0}),
    "restore, dry": ("/v1/restore", {"from_revision": 0, "dry_run": True}),
}


@pytest.fixture
def collected(api: Api) -> Api:
    """Eight revisions of which the two newest are left."""
    for number in range(8):
        api.apply({"a": str(number)})
    assert 6 == api.post("/v1/gc", {"keep": 2}).json["pruned"]
    return api


def _ask(api: Api, name: str, revision: int) -> Answer:
    target, body = ASKED[name]
    if body is None:
        return api.get(target.format(revision))
    filled = {
        field: _filled(value, revision) if field != "name" else value
        for field, value in body.items()
    }
    return api.post(target, filled)


def _filled(value: object, revision: int) -> object:
    if isinstance(value, dict):
        return dict.fromkeys(value, revision)
    return revision if value == 0 and not isinstance(value, bool) else value


@pytest.mark.parametrize("name", ASKED)
def test_collected_is_not_unknown(collected: Api, name: str) -> None:
    """A revision that was removed is told apart from one that never was."""
    before = collected.get("/v1/state").json, collected.get("/v1/branches").json
    gone, never = (_ask(collected, name, n) for n in (GONE, NEVER))

    assert (404, "revision_collected", GONE) == (
        gone.status,
        gone.code,
        gone.json["revision"],
    )
    assert (
        "revision 1 of namespace 'default' was removed by garbage collection"
        in (gone.json["detail"])
    )
    assert (404, "revision_not_found") == (never.status, never.code)
    after = collected.get("/v1/state").json, collected.get("/v1/branches").json
    assert before == after
    assert [] == collected.get("/v1/checkpoints").json["checkpoints"]


@pytest.mark.parametrize("back", [-3, -7])
def test_collected_by_its_distance(collected: Api, back: int) -> None:
    """So many before the head is collected, or further than history ever went."""
    gone = collected.get(f"/v1/state?revision={back}")
    never = collected.get("/v1/state?revision=-8")

    assert (404, "revision_collected") == (gone.status, gone.code)
    assert (404, "revision_not_found") == (never.status, never.code)


def test_a_log_says_where_it_was_cut(collected: Api) -> None:
    """A page that begins below the cut, or ends at it, says which one is gone."""
    whole = collected.get("/v1/log").json
    below = collected.get("/v1/log?after=3").json

    assert ([8, 7], 6) == ([e["id"] for e in whole["entries"]], whole["collected"])
    assert (None, 6) == (below["entries"], below["collected"])


def test_an_expected_head_that_was_collected_is_a_conflict(collected: Api) -> None:
    """Who expects a head that is gone is told the head there is, as of any other."""
    documents = [{"key": "a", "content": "new"}]
    for revision in (GONE, NEVER):
        body = {"documents": documents, "expect_revision": revision}
        answer = collected.post("/v1/apply", body)
        assert (409, "head_moved", 8) == (
            answer.status,
            answer.code,
            answer.json["actual"],
        )


def test_a_retry_of_what_was_collected_says_so(api: Api) -> None:
    """An answer that can't be given again, since its revision is gone, is an error."""
    body = {"documents": [{"key": "a", "content": "once"}]}
    assert 200 == api.post("/v1/apply", body, **{"idempotency-key": "k"}).status
    for number in range(3):
        api.apply({"a": str(number)})
    api.post("/v1/gc", {"keep": 1})
    again = api.post("/v1/apply", body, **{"idempotency-key": "k"})

    assert (404, "revision_collected") == (again.status, again.code)
    assert [4] == [e["id"] for e in api.get("/v1/log").json["entries"]]


# --- what a collection is asked ------------------------------------------------------


def test_a_dry_run_changes_nothing_and_explains(api: Api) -> None:
    """A dry run tells what would go and what stays and why; then that is what goes."""
    for number in range(6):
        api.apply({"a": str(number)})
    api.post("/v1/checkpoints", {"name": "good", "revision": 2})
    told = api.post("/v1/gc", {"keep": 2, "dry_run": True}).json
    [share] = told["namespaces"]

    assert 6 == len(api.get("/v1/log").json["entries"])
    assert (3, True, 1) == (told["pruned"], told["dry_run"], told["namespaces_all"])
    assert {
        "namespace": "default",
        "retention": "keep=2",
        "pruned": 3,
        "kept": {"head": 1, "checkpoint": 1, "newest": 1},
        "ranges": [
            {"first": 1, "last": 1, "revisions": 1},
            {"first": 3, "last": 4, "revisions": 2},
        ],
        "ranges_all": 2,
    } == share
    done = api.post("/v1/gc", {"keep": 2}).json
    assert {name: told[name] for name in done} == done


def test_an_age_is_kept(api: Api) -> None:
    """With an age nothing that is younger goes; ten of each branch stay besides."""
    for number in range(14):
        api.apply({"a": str(number)})

    assert 0 == api.post("/v1/gc", {"younger_than": "30d", "keep": 1}).json["pruned"]
    wrong = api.post("/v1/gc", {"younger_than": "soon"})
    assert (422, "invalid_value") == (wrong.status, wrong.code)
    assert "younger_than: 'soon' is not an age such as 12h" in wrong.json["detail"]


def test_an_age_that_no_number_holds_is_refused(api: Api) -> None:
    """An age of four hundred digits is the client's fault, not the daemon's."""
    api.apply({"a": "1"})

    wrong = api.post("/v1/gc", {"younger_than": "9" * 400 + "s"})

    assert (422, "invalid_value") == (wrong.status, wrong.code)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/gc", {}), ("/v1/gc", {"dry_run": True}), ("/v1/redact", None)],
    ids=["collect", "explain", "redact"],
)
def test_no_more_wait_than_the_limit(
    api: Api, path: str, body: dict[str, object] | None
) -> None:
    """One more is refused and not begun; those that wait are done, and then it is too."""
    api.apply({"a": "secret"})
    api.apply({"a": "new"})
    asked = {"key": "a", "revision": 1} if body is None else body
    end = threading.Event()

    async def begin() -> list[asyncio.Task[bool]]:
        collect = api.app.service.collect
        tasks = [
            asyncio.create_task(collect(end.wait))
            for _ in range(WAITING_COLLECTIONS.maximum + 1)
        ]
        await asyncio.sleep(0)
        return tasks

    async def finish() -> list[bool]:
        return await asyncio.gather(*waiting)

    waiting = api.run(begin())
    try:
        refused = api.post(path, asked)
    finally:
        end.set()

    assert (503, "overloaded") == (refused.status, refused.code)
    assert WAITING_COLLECTIONS.name in refused.json["detail"]
    assert all(api.run(finish()))
    assert 200 == api.post(path, asked).status
