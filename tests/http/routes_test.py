"""Every route does what it says, in the shapes that the Go client reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from st8.core import limits
from tests.http.asgi import Api, subset

if TYPE_CHECKING:
    from tests.http.asgi import Answer

DEV = {"namespace": "default", "branch": "dev"}


def changes(answer: Any) -> list[tuple[str, str, str | None, str | None]]:
    """Return the changes of a result, one line each."""
    return [
        (c["key"], c["type"], c.get("before"), c.get("after"))
        for c in answer["changes"]
    ]


# --- apply ----------------------------------------------------------------------


def test_apply_answers_what_it_did(api: Api) -> None:
    """An apply answers the new revision and its changes in key order."""
    result = api.apply({"b": "2", "a": "1"})

    assert 1 == result["revision"]
    assert not result["noop"]
    assert not result["dry_run"]
    assert [("a", "create", None, "1"), ("b", "create", None, "2")] == changes(result)
    assert "2026-01-01T00:00:01Z" == result["created_at"]


def test_empty_contents_are_there(api: Api) -> None:
    """An empty content is a content; only a missing side is left out."""
    created = api.apply({"a": ""})
    updated = api.apply({"a": "x"})

    assert [{"key": "a", "type": "create", "after": ""}] == created["changes"]
    assert [{"key": "a", "type": "update", "before": "", "after": "x"}] == updated[
        "changes"
    ]


def test_a_noop_has_no_changes(api: Api) -> None:
    """Where nothing differs, changes are null and the head is answered."""
    first = api.apply({"a": "1"})

    again = api.apply({"a": "1"})

    assert {**first, "changes": None, "noop": True} == again


def test_apply_deletes(api: Api) -> None:
    """Keys to delete go in the same revision."""
    api.apply({"a": "1", "b": "2"})

    result = api.apply({"c": "3"}, deletes=["a", "absent"])

    assert [("a", "delete", "1", None), ("c", "create", None, "3")] == changes(result)
    assert {"b": "2", "c": "3"} == api.state()["objects"]


def test_apply_keeps_every_byte(api: Api) -> None:
    """A content comes back as it was sent."""
    content = "\ufeff{\r\n\t'ä': \"😀\\u0041 <&>\u2028\0\x7f\u00a0\n\n"

    api.apply({"a": content})

    assert content == api.state()["objects"]["a"]


def test_a_dry_run_changes_nothing(api: Api) -> None:
    """A dry run answers the changes and the root that would be."""
    api.apply({"a": "1"})

    dry = api.apply({"a": "2"}, dry_run=True)

    assert dry["dry_run"]
    assert 1 == dry["revision"]
    assert [("a", "update", "1", "2")] == changes(dry)
    assert 1 == api.state()["revision"]
    assert dry["root"] == api.apply({"a": "2"})["root"]


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("full", [{"key": "a", "type": "create", "after": "1"}]),
        ("keys", [{"key": "a", "type": "create"}]),
        ("none", []),
    ],
)
def test_changes_come_in_the_detail_asked(
    api: Api, detail: str, expected: list[object]
) -> None:
    """Every route that answers changes takes how much of them."""
    result = api.apply({"a": "1"}, changes=detail)
    logged = api.get(f"/v1/log?changes={detail}").json["entries"][0]
    diff = api.post(
        "/v1/diff", {"from": {"exact": True}, "to": {}, "changes": detail}
    ).json

    assert expected == result["changes"]
    assert expected == logged["changes"]
    assert expected == diff["changes"]


def test_what_a_revision_says_of_itself_is_logged(api: Api) -> None:
    """Message, author, kind and digest of a write are in the log."""
    result = api.apply({"a": "1"}, message="  first \n", author="Ann <ann@x>")

    (entry,) = api.get("/v1/log").json["entries"]

    assert {
        "id": 1,
        "parent_id": 0,
        "message": "first",
        "created_at": result["created_at"],
        "branch": "main",
        "author": "Ann <ann@x>",
        "kind": "apply",
        "digest": result["digest"],
        "root": result["root"],
        "parents": [],
        "changes": [{"key": "a", "type": "create", "after": "1"}],
    } == entry


def test_an_expected_head_must_be_found(api: Api) -> None:
    """A write that expects another head is refused; the right one is taken."""
    api.apply({"a": "1"}, expect_revision=0)

    answer = api.post(
        "/v1/apply",
        {"documents": [{"key": "a", "content": "2"}], "expect_revision": 0},
    )

    assert (409, "head_moved") == (answer.status, answer.code)
    assert (0, 1) == (answer.json["expected"], answer.json["actual"])
    assert 2 == api.apply({"a": "2"}, expect_revision=1)["revision"]


def test_an_idempotency_key_is_done_once(api: Api) -> None:
    """The same key and request answer the same, and are done once."""
    body = {"documents": [{"key": "a", "content": "1"}]}
    first = api.post("/v1/apply", body, idempotency_key="k-1")
    api.apply({"a": "2"})

    again = api.post("/v1/apply", body, idempotency_key="k-1")
    other = api.post("/v1/apply", {"deletes": ["a"]}, idempotency_key="k-1")

    assert first.json == again.json
    assert 2 == api.state()["revision"]
    assert (409, "idempotency_mismatch") == (other.status, other.code)


def test_blank_names_stand_for_the_defaults(api: Api) -> None:
    """A blank namespace is ``default`` and a blank branch ``main``, everywhere."""
    api.apply({"a": "1"}, scope={"namespace": " ", "branch": "\t"})

    assert 1 == api.state()["revision"]
    assert 1 == api.state("namespace=&branch=+")["revision"]
    assert 1 == api.state("namespace=default&branch=main")["revision"]


def test_names_with_slashes_never_alias(api: Api) -> None:
    """A slash in a name makes no other name."""
    api.apply({"k": "1"}, scope={"namespace": "a", "branch": "b/main"})
    api.apply({"k": "2"}, scope={"namespace": "a/b", "branch": "main"})
    api.apply({"b/k": "3"}, scope={"namespace": "a", "branch": "main"})

    assert {"k": "1"} == api.state("namespace=a&branch=b%2Fmain")["objects"]
    assert {"k": "2"} == api.state("namespace=a%2Fb")["objects"]
    assert {"b/k": "3"} == api.state("namespace=a")["objects"]
    assert ["a", "a/b"] == [
        n["name"] for n in api.get("/v1/namespaces").json["namespaces"]
    ]


# --- state ----------------------------------------------------------------------


def test_a_state_has_the_fields_of_go_and_more(api: Api) -> None:
    """A state carries what identifies it."""
    result = api.apply({"a": "1", "b": "2"})

    assert {
        "revision": 1,
        "digest": result["digest"],
        "root": result["root"],
        "count": 2,
        "objects": {"a": "1", "b": "2"},
    } == api.state()


def test_an_empty_scope_is_revision_0(api: Api) -> None:
    """A scope that nothing was applied to answers with nothing in it."""
    state = api.state("namespace=nowhere")

    assert (0, None, 0, {}) == (
        state["revision"],
        state["digest"],
        state["count"],
        state["objects"],
    )
    assert {"entries": None} == api.get("/v1/log?namespace=nowhere").json
    assert {"branches": []} == api.get("/v1/branches?namespace=nowhere").json
    assert {"checkpoints": []} == api.get("/v1/checkpoints?namespace=nowhere").json
    assert {"namespaces": []} == api.get("/v1/namespaces").json
    api.apply({"x": "1"})
    assert 0 == api.state("branch=other")["revision"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("revision=1", "1"),
        ("revision=0", "3"),
        ("revision=-1", "2"),
        ("revision=-2", "1"),
        ("checkpoint=second", "2"),
        ("at=2026-01-01T00:00:01Z", "1"),
        ("at=2026-01-01T01:00:02.5%2B01:00", "2"),
        ("at=2027-01-01T00:00:00Z", "3"),
    ],
)
def test_states_are_selected(api: Api, query: str, expected: str) -> None:
    """A state is named by number, distance from the head, checkpoint or time."""
    api.apply({"a": "1"})
    api.apply({"a": "2"})
    api.apply({"a": "3"})
    api.post("/v1/checkpoints", {"name": "second", "revision": 2})

    assert {"a": expected} == api.state(query)["objects"]


@pytest.mark.parametrize(
    ("query", "objects", "following"),
    [
        ("key=b&key=nope&key=a/1", {"a/1": "1", "b": "3"}, None),
        ("prefix=a/", {"a/1": "1", "a/2": "2"}, None),
        ("prefix=none", {}, None),
        ("limit=2", {"a/1": "1", "a/2": "2"}, "a/2"),
        ("limit=2&after=a/2", {"b": "3", "c": "4"}, None),
        ("limit=4", {"a/1": "1", "a/2": "2", "b": "3", "c": "4"}, None),
        ("prefix=a/&limit=1", {"a/1": "1"}, "a/1"),
        ("prefix=a/&limit=1&after=a/1", {"a/2": "2"}, None),
        ("after=b", {"c": "4"}, None),
    ],
)
def test_documents_are_selected(
    api: Api, query: str, objects: dict[str, str], following: str | None
) -> None:
    """Documents are read by key, by prefix and by page; the count is of all."""
    api.apply({"a/1": "1", "a/2": "2", "b": "3", "c": "4"})

    state = api.state(query)
    names = api.state(f"{query}&contents=false")

    assert (objects, following, 4) == (
        state["objects"],
        state.get("next"),
        state["count"],
    )
    assert (list(objects), following) == (names["keys"], names.get("next"))
    assert "objects" not in names


# --- diff -----------------------------------------------------------------------


def test_documents_are_compared_with_the_head(api: Api) -> None:
    """Documents alone are laid over the head, as the Go client asks."""
    api.apply({"a": "1", "b": "2"})

    diff = api.post(
        "/v1/diff",
        {"documents": [{"key": "a", "content": "x"}], "deletes": ["b"]},
    ).json

    assert (1, 1) == (diff["from_revision"], diff["to_revision"])
    assert [("a", "update", "1", "x"), ("b", "delete", "2", None)] == changes(diff)
    assert 1 == api.state()["revision"]


@pytest.mark.parametrize(
    ("body", "numbers", "expected"),
    [
        ({}, (3, 3), []),
        ({"revision_id": 1}, (3, 1), [("a", "update", "3", "1")]),
        ({"revision_id": -1}, (3, 2), [("a", "update", "3", "2")]),
        ({"checkpoint_name": "one"}, (3, 1), [("a", "update", "3", "1")]),
        ({"from": {"revision": 1}}, (1, 3), [("a", "update", "1", "3")]),
        ({"to": {"revision": 1}}, (3, 1), [("a", "update", "3", "1")]),
        (
            {"from": {"checkpoint": "one"}, "to": {"at": "2026-01-01T00:00:02Z"}},
            (1, 2),
            [("a", "update", "1", "2")],
        ),
        ({"to": {"branch": "dev"}}, (3, 4), [("d", "create", None, "4")]),
        (
            {"from": {"branch": "dev", "revision": -1}, "to": {"branch": "dev"}},
            (3, 4),
            [("d", "create", None, "4")],
        ),
        (
            {
                "from": {"revision": 1, "documents": [{"key": "z", "content": "!"}]},
                "to": {"exact": True, "documents": [{"key": "a", "content": "1"}]},
            },
            (1, 3),
            [("z", "delete", "!", None)],
        ),
        ({"from": {"exact": True}}, (3, 3), [("a", "create", None, "3")]),
    ],
)
def test_any_two_states_are_compared(
    api: Api,
    body: dict[str, object],
    numbers: tuple[int, int],
    expected: list[object],
) -> None:
    """Each side is any state there is, with documents over it."""
    for content in ("1", "2", "3"):
        api.apply({"a": content})
    api.post("/v1/checkpoints", {"name": "one", "revision": 1})
    api.post("/v1/branches", {"name": "dev"})
    api.apply({"d": "4"}, scope=DEV)

    diff = api.post("/v1/diff", body).json

    assert (*numbers, expected) == (
        diff["from_revision"],
        diff["to_revision"],
        changes(diff),
    )


def test_a_diff_comes_in_pages(api: Api) -> None:
    """A limit cuts a diff, and its last key goes on behind it."""
    api.apply({name: name for name in "abcde"})
    body: dict[str, object] = {"from": {"exact": True}, "limit": 2}

    pages = [api.post("/v1/diff", body).json]
    while "next" in pages[-1]:
        pages.append(api.post("/v1/diff", {**body, "after": pages[-1]["next"]}).json)

    assert [["a", "b"], ["c", "d"], ["e"]] == [
        [change["key"] for change in page["changes"]] for page in pages
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"revision_id": 1, "documents": [{"key": "a", "content": ""}]},
        {"checkpoint_name": "c", "deletes": ["a"]},
        {"revision_id": 1, "to": {}},
        {"documents": [{"key": "a", "content": ""}], "from": {}},
        {"revision_id": 1, "checkpoint_name": "c"},
        {"from": {"revision": 1, "at": "2026-01-01T00:00:00Z"}},
    ],
)
def test_a_diff_is_not_guessed(api: Api, body: dict[str, object]) -> None:
    """What names two things where one can be meant is refused."""
    api.apply({"a": "1"})

    answer = api.post("/v1/diff", body)

    assert (422, "invalid_value") == (answer.status, answer.code)


# --- rollback and restore ---------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        {"revision_id": 1},
        {"revision_id": -1},
        {"checkpoint_name": "one"},
        {"at": "2026-01-01T00:00:01Z"},
    ],
)
def test_a_rollback_is_a_new_revision(api: Api, target: dict[str, object]) -> None:
    """A rollback makes a revision with the state of the target."""
    first = api.apply({"a": "1"})
    api.apply({"a": "2", "b": "2"})
    api.post("/v1/checkpoints", {"name": "one", "revision": 1})

    result = api.post("/v1/rollback", {**target, "message": "back"}).json

    assert (3, False) == (result["revision"], result["noop"])
    assert [("a", "update", "2", "1"), ("b", "delete", "2", None)] == changes(result)
    assert first["root"] == result["root"]
    entry = api.get("/v1/log?limit=1").json["entries"][0]
    assert ("rollback", "back", 2) == (
        entry["kind"],
        entry["message"],
        entry["parent_id"],
    )


@pytest.mark.parametrize("route", ["rollback", "restore"])
def test_without_a_target_nothing_changes(api: Api, route: str) -> None:
    """No target is a no-op, as for the Go client."""
    api.apply({"a": "1"})

    result = api.post(f"/v1/{route}", {}).json

    assert (1, None, True) == (result["revision"], result["changes"], result["noop"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"from_branch": "dev"}, {"a": "1", "d": "2"}),
        ({"from_branch": "dev", "from_revision": -1}, {"a": "1", "d": "1"}),
        ({"from_branch": "dev", "from_at": "2026-01-01T00:00:03Z"}, {"a": "1"}),
        ({"from_revision": 1}, {"a": "1"}),
        ({"from_checkpoint": "one"}, {"a": "1"}),
        ({"from_at": "2026-01-01T00:00:01Z"}, {"a": "1"}),
    ],
)
def test_a_restore_takes_a_state_over(
    api: Api, source: dict[str, object], expected: dict[str, str]
) -> None:
    """A restore makes a revision with the state of a source, on any branch."""
    api.apply({"a": "1"})
    api.post("/v1/branches", {"name": "dev"})
    api.post("/v1/checkpoints", {"name": "one"})
    api.apply({"d": "1"}, scope=DEV)
    api.apply({"d": "2"}, scope=DEV)
    api.apply({"a": "9"})

    result = api.post("/v1/restore", source).json

    assert 5 == result["revision"]
    assert expected == api.state()["objects"]


def test_resets_take_what_applies_take(api: Api) -> None:
    """Dry run, expected head and idempotency key work on rollback and restore."""
    api.apply({"a": "1"})
    api.apply({"a": "2"})

    dry = api.post("/v1/rollback", {"revision_id": 1, "dry_run": True}).json
    moved = api.post("/v1/restore", {"from_revision": 1, "expect_revision": 1})
    once = api.post("/v1/rollback", {"revision_id": 1}, idempotency_key="k")
    twice = api.post("/v1/rollback", {"revision_id": 1}, idempotency_key="k")

    assert (2, True) == (dry["revision"], dry["dry_run"])
    assert (409, "head_moved") == (moved.status, moved.code)
    assert once.json == twice.json
    assert 3 == api.state()["revision"]


# --- log ------------------------------------------------------------------------


def numbers(answer: Answer) -> list[int]:
    """Return the numbers of a log's entries."""
    assert 200 == answer.status, answer.body
    return [entry["id"] for entry in answer.json["entries"] or []]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("limit=2", [5, 4]),
        ("limit=0", [5, 4, 3, 2, 1]),
        ("limit=2&after=4", [3, 2]),
        ("after=1", []),
        ("key=a", [5, 4, 3, 2, 1]),
        ("key=b", [3]),
        ("key=absent", []),
        ("prefix=d/", [4]),
        ("author=Ann", [2]),
        ("since=2026-01-01T00:00:04Z", [5, 4]),
        ("until=2026-01-01T00:00:02Z", [2, 1]),
        ("since=2026-01-01T00:00:02Z&until=2026-01-01T00:00:03Z", [3, 2]),
        ("revision=2", [2, 1]),
        ("revision=-3", [2, 1]),
        ("checkpoint=two", [2, 1]),
        ("at=2026-01-01T00:00:02Z", [2, 1]),
    ],
)
def test_logs_are_selected(api: Api, query: str, expected: list[int]) -> None:
    """A log is read from the newest on, by page, document, author and time."""
    api.apply({"a": "1"})
    api.apply({"a": "2"}, author="Ann")
    api.apply({"a": "3", "b": "3"})
    api.apply({"a": "4", "d/x": "4"})
    api.apply({"a": "5"})
    api.post("/v1/checkpoints", {"name": "two", "revision": 2})

    assert expected == numbers(api.get(f"/v1/log?{query}" if query else "/v1/log"))


def test_a_log_is_read_to_its_end_by_pages(api: Api) -> None:
    """``next`` leads from page to page and is absent on the last one."""
    for n in range(45):
        api.apply({"a": str(n)})
    seen: list[int] = []
    page = api.get("/v1/log")
    while True:
        seen += numbers(page)
        following = page.json.get("next")
        if following is None:
            break
        page = api.get(f"/v1/log?after={following}")

    assert list(range(45, 0, -1)) == seen


def test_a_branch_log_goes_on_into_its_parents(api: Api) -> None:
    """The log of a branch leads into the history that it was made from."""
    api.apply({"a": "1"})
    api.post("/v1/branches", {"name": "dev"})
    api.apply({"a": "2"}, scope=DEV)

    entries = api.get("/v1/log?branch=dev").json["entries"]

    assert [(2, 1, "dev"), (1, 0, "main")] == [
        (e["id"], e["parent_id"], e["branch"]) for e in entries
    ]


# --- branches, checkpoints, namespaces ----------------------------------------------


def test_a_branch_is_a_pointer(api: Api) -> None:
    """A new branch begins at its base and takes no number."""
    api.apply({"a": "1"})
    second = api.apply({"a": "2"})

    made = api.post("/v1/branches", {"name": "dev"}).json
    older = api.post("/v1/branches", {"name": "old", "from_revision": 1}).json

    assert {"name": "dev", "base_revision": 2, "head_revision": 2} == made
    assert {"name": "old", "base_revision": 1, "head_revision": 1} == older
    listed = api.get("/v1/branches?branch=dev").json["branches"]
    assert ["dev", "main", "old"] == [branch["name"] for branch in listed]
    assert {
        "name": "dev",
        "base_revision": 2,
        "head_revision": 2,
        "current": True,
        "head_digest": second["digest"],
    } == listed[0]
    assert 3 == api.apply({"a": "3"}, scope=DEV)["revision"]


@pytest.mark.parametrize(
    ("source", "head"),
    [
        ({"from_checkpoint": "one"}, 1),
        ({"from_at": "2026-01-01T00:00:01Z"}, 1),
        ({"from_revision": -1}, 1),
        ({"scope": {"branch": "dev"}}, 3),
    ],
)
def test_a_branch_begins_where_it_is_told(
    api: Api, source: dict[str, object], head: int
) -> None:
    """A branch is made from a checkpoint, a time, a revision or another branch."""
    api.apply({"a": "1"})
    api.post("/v1/checkpoints", {"name": "one"})
    api.apply({"a": "2"})
    api.post("/v1/branches", {"name": "dev"})
    api.apply({"a": "3"}, scope=DEV)

    made = api.post("/v1/branches", {"name": "new", **source}).json

    assert head == made["head_revision"]


def test_a_branch_is_deleted(api: Api) -> None:
    """A deleted branch is gone; expecting another head keeps it."""
    api.apply({"a": "1"})
    api.post("/v1/branches", {"name": "dev"})

    moved = api.delete("/v1/branches", {"name": "dev", "expect_revision": 7})
    done = api.delete("/v1/branches", {"name": "dev", "expect_revision": 1})
    again = api.delete("/v1/branches", {"name": "dev"})

    assert (409, "head_moved") == (moved.status, moved.code)
    assert (200, {}) == (done.status, done.json)
    assert (404, "branch_not_found") == (again.status, again.code)


def test_a_checkpoint_names_a_revision(api: Api) -> None:
    """A checkpoint is made, listed, shown, kept, moved when told to, and deleted."""
    api.apply({"a": "1"})
    body = {"name": "c", "description": "good", "author": "Ann"}

    made = api.post("/v1/checkpoints", body).json
    same = api.post("/v1/checkpoints", body)
    api.apply({"a": "2"})
    taken = api.post("/v1/checkpoints", body)
    shown = api.get("/v1/checkpoints?name=c").json["checkpoints"]
    moved = api.post("/v1/checkpoints", {**body, "replace": True}).json
    gone = api.delete("/v1/checkpoints", {"name": "c"})
    again = api.delete("/v1/checkpoints", {"name": "c"})

    assert {
        "name": "c",
        "revision_id": 1,
        "branch": "main",
        "description": "good",
        "created_at": made["created_at"],
        "author": "Ann",
    } == made
    assert made == same.json
    assert (409, "checkpoint_exists") == (taken.status, taken.code)
    assert [made] == shown
    assert 2 == moved["revision_id"]
    assert (200, {}) == (gone.status, gone.json)
    assert (404, "checkpoint_not_found") == (again.status, again.code)


def test_a_checkpoint_is_made_of_any_revision(api: Api) -> None:
    """A checkpoint takes a number, a distance or a time."""
    api.apply({"a": "1"})
    api.apply({"a": "2"})

    found = [
        api.post("/v1/checkpoints", {"name": name, **source}).json["revision_id"]
        for name, source in (
            ("a", {"revision": 1}),
            ("b", {"revision": -1}),
            ("c", {"at": "2026-01-01T00:00:01Z"}),
            ("d", {}),
        )
    ]

    assert [1, 1, 1, 2] == found


@pytest.mark.parametrize("kind", ["branches", "checkpoints", "namespaces"])
def test_lists_come_in_pages(api: Api, kind: str) -> None:
    """Every list is cut by a limit, goes on behind a name and takes a prefix."""
    api.apply({"a": "1"})
    for name in ("x/1", "x/2", "x/3", "y"):
        if kind == "namespaces":
            api.apply({"a": "1"}, scope={"namespace": name})
        else:
            api.post(f"/v1/{kind}", {"name": name})

    first = api.get(f"/v1/{kind}?prefix=x/&limit=2").json
    second = api.get(f"/v1/{kind}?prefix=x/&limit=2&after={first['next']}").json

    assert ["x/1", "x/2"] == [item["name"] for item in first[kind]]
    assert ["x/3"] == [item["name"] for item in second[kind]]
    assert "next" not in second


def test_namespaces_are_listed(api: Api) -> None:
    """A namespace tells its newest number."""
    api.apply({"a": "1"}, scope={"namespace": "n"})
    api.apply({"a": "2"}, scope={"namespace": "n"})

    assert {"namespaces": [{"name": "n", "last_revision": 2}]} == api.get(
        "/v1/namespaces"
    ).json


# --- the daemon itself ----------------------------------------------------------------


def test_collection_keeps_what_is_asked(api: Api) -> None:
    """A collection removes what is old, and what is gone says that it is."""
    for n in range(6):
        api.apply({"a": str(n)})

    collected = api.post("/v1/gc", {"keep": 2}).json

    assert 4 == collected["pruned"]
    assert collected["objects_deleted"] > 0
    log = api.get("/v1/log").json
    assert [6, 5] == [entry["id"] for entry in log["entries"]]
    assert 4 == log["collected"]
    assert "next" not in log
    gone = api.get("/v1/state?revision=2")
    assert (404, "revision_collected") == (gone.status, gone.code)


@pytest.mark.parametrize("body", [{}, {"keep": 0}, {"keep": None}, {"namespace": ""}])
def test_collection_keeps_ten_unless_told(api: Api, body: dict[str, object]) -> None:
    """Without a number ten revisions of each branch stay."""
    for n in range(12):
        api.apply({"a": str(n)})

    assert 2 == api.post("/v1/gc", body).json["pruned"]


def test_collection_of_one_namespace_leaves_the_others(api: Api) -> None:
    """A collection may be told where."""
    for namespace in ("a", "b"):
        for n in range(4):
            api.apply({"k": str(n)}, scope={"namespace": namespace})

    assert 3 == api.post("/v1/gc", {"keep": 1, "namespace": "a"}).json["pruned"]
    assert 4 == len(numbers(api.get("/v1/log?namespace=b")))


def test_version_tells_what_answers(api: Api) -> None:
    """The daemon, the API and the store have versions."""
    assert {"version": "1.2.3", "api": "v1", "store": "memory"} == api.get(
        "/v1/version"
    ).json


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "BREW"])
def test_probes_answer_any_method(api: Api, path: str, method: str) -> None:
    """Probes say ok to whatever asks."""
    answer = api.call(method, path)

    assert (200, b"" if method == "HEAD" else b"ok\n") == (answer.status, answer.body)
    assert "text/plain; charset=utf-8" == answer.headers["content-type"]


def test_a_daemon_that_stops_is_not_ready(api: Api) -> None:
    """While it stops, a daemon is alive, serves, and wants no new work."""
    api.app.begin_shutdown()

    ready = api.get("/readyz")

    assert (503, "shutting_down", "1") == (
        ready.status,
        ready.code,
        ready.headers["retry-after"],
    )
    assert 200 == api.get("/healthz").status
    assert 200 == api.get("/v1/state").status


def test_responses_say_who_made_them(api: Api) -> None:
    """Every response has the headers that all have."""
    for answer in (api.get("/v1/state"), api.get("/nope"), api.get("/healthz")):
        assert "st8d/1.2.3" == answer.headers["server"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert len(answer.body) == int(answer.headers["content-length"])
        assert answer.body.endswith(b"\n")


@pytest.mark.parametrize(
    "target",
    ["/v1/state", "/v1/log", "/v1/branches", "/metrics", "/openapi.json", "/docs"],
)
def test_head_answers_without_a_body(api: Api, target: str) -> None:
    """HEAD goes wherever GET goes, and tells the same headers."""
    api.apply({"a": "1"})

    got, head = api.get(target), api.call("HEAD", target)

    assert (200, b"") == (head.status, head.body)
    if target != "/metrics":
        assert got.headers == head.headers


def test_paths_are_compared_as_they_stand(api: Api) -> None:
    """No path is cleaned, redirected or guessed."""
    for path in (
        "/",
        "/v1",
        "/v1/",
        "/v1/state/",
        "//v1/state",
        "/v1//state",
        "/v1/./state",
        "/v1/../v1/state",
        "/V1/state",
        "/v1/state;x",
        "/v2/state",
    ):
        answer = api.get(path)

        assert (404, "route_not_found") == (answer.status, answer.code), path


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/apply", "POST"),
        ("PUT", "/v1/state", "GET, HEAD"),
        ("POST", "/v1/log", "GET, HEAD"),
        ("PATCH", "/v1/checkpoints", "DELETE, GET, HEAD, POST"),
        ("OPTIONS", "/v1/diff", "POST"),
        ("BREW", "/v1/gc", "POST"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ],
)
def test_methods_that_are_not_taken_are_told(
    api: Api, method: str, path: str, allow: str
) -> None:
    """A known path answers 405 with the methods that it takes."""
    answer = api.call(method, path)

    assert (405, "method_not_allowed", allow) == (
        answer.status,
        answer.code,
        answer.headers["allow"],
    )


def test_sizes_are_held_to_limits(api: Api) -> None:
    """Each limit that a request can pass answers with its name and number."""
    many = [{"key": f"k{n}", "content": ""} for n in range(10_001)]
    one = {"key": "a", "content": "x" * (limits.CONTENT_BYTES.maximum + 1)}
    for path, body, name in (
        ("/v1/apply", {"documents": many}, "apply_documents_max"),
        ("/v1/apply", {"documents": [one]}, "content_bytes_max"),
        ("/v1/apply", {"deletes": ["k" * 1025]}, "key_bytes_max"),
        ("/v1/apply", {"deletes": ["k"], "message": "m" * 16385}, "message_bytes_max"),
        ("/v1/apply", {"deletes": ["k"], "author": "a" * 257}, "author_bytes_max"),
        ("/v1/diff", {"limit": 100_001}, "state_page_documents_max"),
        ("/v1/gc", {"keep": 2_000_000_000}, "gc_keep_max"),
    ):
        answer = api.post(path, body)

        limit = next(limit for limit in limits.ALL if limit.name == name)
        assert [] == subset(
            {"code": "limit_exceeded", "limit": name, "maximum": limit.maximum},
            answer.json,
        )
        assert 413 == answer.status
    assert "limit_exceeded" == api.get("/v1/log?limit=1001").code
    assert (
        "idempotency_key_bytes_max"
        == api.post("/v1/apply", {"deletes": ["k"]}, idempotency_key="k" * 256).json[
            "limit"
        ]
    )


@pytest.mark.parametrize(
    ("target", "field", "body"),
    [
        ("/v1/apply", "message", {"deletes": ["k"]}),
        ("/v1/checkpoints", "description", {"name": "c"}),
        ("/v1/redact", "reason", {"key": "k", "revision": 1}),
    ],
)
def test_a_text_that_is_too_long_is_named_as_it_was_given(
    api: Api, target: str, field: str, body: dict[str, object]
) -> None:
    """Each by its own field, though all are messages."""
    answer = api.post(target, {**body, field: "m" * 16385})

    assert answer.json["detail"].startswith(f"{field} of 16385 bytes")
