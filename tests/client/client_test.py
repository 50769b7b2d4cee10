"""Every operation of the library, against the real daemon over a memory store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from st8.client import Branch, Checkpoint, Client, Select
from st8.core.documents import Change, Document
from st8.core.errors import (
    BranchExists,
    BranchNotFound,
    CheckpointExists,
    CheckpointNotFound,
    Conflict,
    HeadMoved,
    IdempotencyMismatch,
    InvalidInput,
    KeyNotFound,
    NoRevisionAt,
    NothingApplied,
    RevisionCollected,
    RevisionNotFound,
    Unauthenticated,
)
from st8.core.ids import Key
from st8.testing.clock import FakeClock
from st8.testing.server import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> FakeClock:
    """A clock that starts at 2026-01-01 and stands still."""
    return FakeClock()


@pytest.fixture
def client(clock: FakeClock) -> Iterator[Client]:
    """A client of a daemon to which nothing was applied."""
    with (
        running_server(clock=clock) as server,
        Client(server.url, namespace="payments/prod") as client,
    ):
        yield client


def change(
    key: str, kind: str, before: str | None = None, after: str | None = None
) -> Change:
    """Return a change."""
    return Change(Key(key), kind, before, after)  # type: ignore[arg-type]


# --- apply ------------------------------------------------------------------------


def test_apply(client: Client) -> None:
    """An apply makes a revision, says what it changed, and can be read back."""
    done = client.apply({"b": "2", "a": ""}, message="first", author="me")

    assert (1, False, False) == (done.revision, done.noop, done.dry_run)
    assert (change("a", "create"), change("b", "create")) == done.changes
    assert [64, 64] == [len(done.digest), len(done.root)]
    assert "2026-01-01T00:00:00Z" == done.created_at
    assert {"a": "", "b": "2"} == client.state().documents


def test_apply_again(client: Client) -> None:
    """An apply that changes nothing is a no-op at the head."""
    first = client.apply({"a": "1"})
    again = client.apply({"a": "1"})

    assert (1, True, ()) == (again.revision, again.noop, again.changes)
    assert (first.root, first.digest) == (again.root, again.digest)


def test_apply_with_contents(client: Client) -> None:
    """The changes carry contents when asked to; an empty one is not an absent one."""
    client.apply({"a": "1", "b": ""})
    done = client.apply({"a": "", "c": ""}, deletes=["b"], contents=True)

    assert (
        change("a", "update", "1", ""),
        change("b", "delete", "", None),
        change("c", "create", None, ""),
    ) == done.changes


def test_dry_run(client: Client) -> None:
    """A dry run says what would change, and changes nothing."""
    client.apply({"a": "1"})
    done = client.apply({"a": "2"}, dry_run=True)

    assert (True, (change("a", "update"),)) == (done.dry_run, done.changes)
    assert ("1", 1) == (client.get("a"), client.state().revision)


def test_expected_revision(client: Client) -> None:
    """An apply that expects another head is refused; 0 expects none."""
    client.apply({"a": "1"}, expect_revision=0)
    with pytest.raises(HeadMoved) as raised:
        client.apply({"a": "2"}, expect_revision=0)

    assert (0, 1, 4) == (
        raised.value.expected,
        raised.value.actual,
        raised.value.exit_code,
    )
    assert 2 == client.apply({"a": "2"}, expect_revision=1).revision


def test_idempotency_key(client: Client) -> None:
    """One key makes one revision; used for something else it is a conflict."""
    first = client.apply({"a": "1"}, idempotency_key="deploy-1")
    client.apply({"a": "2"})
    again = client.apply({"a": "1"}, idempotency_key="deploy-1")

    assert first == again
    assert "2" == client.get("a")
    with pytest.raises(IdempotencyMismatch):
        client.apply({"a": "3"}, idempotency_key="deploy-1")


def test_contents_are_kept_to_the_byte(client: Client) -> None:
    """Whatever text is applied comes back as it was."""
    documents = {
        "crlf": "a\r\nb\r",
        "empty": "",
        "no newline": "x",
        "unicode/ü/😀": "\u2028\u2029\ufeff<>&'\"\\\x00\x1b\x7f",
        "json": '{"b": 1.0, "a": 12345678901234567890}',
        "dots...": " ",
        "//double//": "\n\n",
    }
    client.apply(documents)

    assert documents == client.state().documents
    assert documents == {key: client.get(key) for key in documents}
    assert documents == client.get_many(list(documents))


def test_nothing_to_apply(client: Client) -> None:
    """An apply of nothing is refused."""
    with pytest.raises(InvalidInput):
        client.apply()


# --- reads ------------------------------------------------------------------------


def test_earlier_states(client: Client, clock: FakeClock) -> None:
    """A state is read by number, relative to the head, by checkpoint and by time."""
    for value in "123":
        client.apply({"a": value})
        clock.advance(60)
    client.create_checkpoint("second", revision=2)

    assert ["3", "1", "2", "2", "2", "1"] == [
        client.get("a"),
        client.get("a", revision=1),
        client.get("a", revision=-1),
        client.get("a", checkpoint="second"),
        client.get("a", at="2026-01-01T00:01:30Z"),
        client.state(revision=-2).documents["a"],
    ]
    with pytest.raises(RevisionNotFound):
        client.get("a", revision=4)
    with pytest.raises(CheckpointNotFound):
        client.get("a", checkpoint="third")
    with pytest.raises(NoRevisionAt):
        client.get("a", at="2025-12-31T23:59:59Z")


def test_key_that_is_not_there(client: Client) -> None:
    """A missing key is an error for get, and left out by get_many."""
    client.apply({"a": "1"})
    with pytest.raises(KeyNotFound) as raised:
        client.get("b")

    assert ("b", 1) == (raised.value.key, raised.value.revision)
    assert {"a": "1"} == client.get_many(["b", "a"])


@pytest.mark.parametrize(
    "read",
    [
        lambda client: client.get("a"),
        lambda client: client.get_many(["a"]),
        lambda client: client.state(),
        lambda client: client.state_if_changed(""),
        lambda client: list(client.documents()),
        lambda client: list(client.keys()),
        lambda client: client.log(),
        lambda client: client.log(key="a"),
        lambda client: list(client.history()),
        lambda client: list(client.branches()),
        lambda client: client.diff(),
        lambda client: list(client.diff_pages()),
    ],
)
def test_scope_that_nothing_was_applied_to(
    client: Client, read: Callable[[Client], object]
) -> None:
    """A mistyped namespace is never taken for an empty one."""
    client.scope("payments/test").apply({"a": "1"})
    with pytest.raises(NothingApplied) as raised:
        read(client)

    assert ("payments/prod", "main", 3) == (
        raised.value.namespace,
        raised.value.branch,
        raised.value.exit_code,
    )


def test_state_that_became_empty(client: Client) -> None:
    """A state without documents is a state."""
    client.apply({"a": "1"})
    client.apply(deletes=["a"])

    assert (2, {}) == client.state()[:2]
    assert [] == list(client.documents())
    assert [] == list(client.keys())
    with pytest.raises(KeyNotFound):
        client.get("a")


def test_pages(client: Client) -> None:
    """Documents and keys are read in pages, in key order, all at one revision."""
    client.apply({f"k{n:02}": str(n) for n in range(25)})
    documents = client.documents(page_size=10)
    first = next(documents)
    client.apply({"k99": "new"}, deletes=["k24"])
    rest = list(documents)

    assert Document(Key("k00"), "0") == first
    assert ([f"k{n:02}" for n in range(1, 25)], "24") == (
        [d.key for d in rest],
        rest[-1].content,
    )
    pages = list(client.key_pages(page_size=10))
    assert [(2, 10), (2, 10), (2, 5)] == [(p.revision, len(p.items)) for p in pages]
    assert [f"k1{n}" for n in range(10)] == list(client.keys("k1"))
    assert [d.key for d in client.documents("k2")] == list(client.keys("k2"))


def test_pages_of_a_checkpoint_of_another_branch(client: Client) -> None:
    """A checkpoint of another branch is read in pages too; moved, it is a conflict."""
    client.apply({"a": "1"})
    client.create_branch("other")
    other = client.scope(branch="other")
    other.apply({"b": "2", "c": "3"})
    other.create_checkpoint("c")

    assert ["a", "b", "c"] == [
        d.key for d in client.documents(checkpoint="c", page_size=1)
    ]
    documents = client.documents(checkpoint="c", page_size=1)
    next(documents)
    client.create_checkpoint("c", revision=1, replace=True)
    with pytest.raises(Conflict, match="moved from revision 2 to 1"):
        list(documents)


def test_state_if_changed(client: Client) -> None:
    """A state is answered once, and again only when it has changed."""
    client.apply({"a": "1"})
    state = client.state_if_changed("")
    assert state is not None

    assert state.etag
    assert client.state_if_changed(state.etag) is None
    client.apply({"a": "2"})
    changed = client.state_if_changed(state.etag)
    assert changed is not None
    assert {"a": "2"} == changed.documents


# --- diff, log ----------------------------------------------------------------------


def test_diff_of_documents(client: Client) -> None:
    """Documents and deletes are compared with the head, or with what they lie on."""
    client.apply({"a": "1", "b": "2"})
    client.apply({"a": "3"})

    found = client.diff({"a": "4"}, deletes=["b"])
    assert (2, 2) == found[:2]
    assert (
        change("a", "update", "3", "4"),
        change("b", "delete", "2"),
    ) == found.changes
    assert (change("a", "update"),) == client.diff({"a": "4"}, contents=False).changes
    found = client.diff({"a": "4"}, source=Select(1))
    assert ((1, 1), (change("a", "update", "1", "4"),)) == (found[:2], found.changes)
    assert () == client.diff({"a": "3"}).changes
    assert 2 == client.state().revision


def test_diff_on_nothing(client: Client) -> None:
    """Documents can be compared with a scope that nothing was applied to yet."""
    found = client.diff({"a": "1"})

    assert (0, 0, (change("a", "create", None, "1"),)) == found[:3]


def test_diff_of_states(client: Client) -> None:
    """Any two of revision, checkpoint and branch are compared."""
    client.apply({"a": "1"})
    client.create_checkpoint("first")
    client.create_branch("other")
    client.apply({"a": "2"})
    client.scope(branch="other").apply({"b": "3"})

    found = client.diff(target=Select(checkpoint="first"))
    assert (2, 1, (change("a", "update", "2", "1"),)) == found[:3]
    found = client.diff(source=Select(1), target=Select(branch="other"))
    assert (1, 3, (change("b", "create", None, "3"),)) == found[:3]
    found = client.diff(target=Select(exact=True, documents={"c": "4"}))
    assert ["a", "c"] == [c.key for c in found.changes]
    assert ((), 2) == (client.diff().changes, client.diff().to_revision)


def test_diff_in_pages(client: Client) -> None:
    """A diff of any size comes in pieces, all of the same two revisions."""
    client.apply({f"k{n:02}": "1" for n in range(25)})
    client.apply({f"k{n:02}": "2" for n in range(25)})
    pages = client.diff_pages(source=Select(-1), page_size=10)
    first = next(pages)
    client.apply({"k00": "3"})
    rest = list(pages)

    assert [10, 10, 5] == [len(page.changes) for page in (first, *rest)]
    assert {(1, 2)} == {page[:2] for page in (first, *rest)}
    assert [f"k{n:02}" for n in range(25)] == [
        c.key for page in (first, *rest) for c in page.changes
    ]
    (only,) = client.diff_pages({f"k{n:02}": "4" for n in range(25)}, page_size=10)
    assert 25 == len(only.changes)


def test_log(client: Client, clock: FakeClock) -> None:
    """The log has the newest first, with who, why, when and what."""
    client.apply({"a": "1"}, message="first", author="me")
    clock.advance(1)
    client.apply({"b": "1"})
    client.rollback(1, message="back")

    page = client.log()
    assert [(3, 2, "back", "rollback"), (2, 1, "apply", "apply"), (1, 0, "first", "apply")] == [
        (e.revision, e.parent, e.message, e.kind) for e in page.entries
    ]  # fmt: skip
    last = page.entries[-1]
    assert ("me", "main", "2026-01-01T00:00:00Z", ()) == (
        last.author,
        last.branch,
        last.created_at,
        last.parents,
    )
    assert (change("a", "create"),) == last.changes
    assert (change("a", "create", None, "1"),) == (
        client.log(1, after=2, contents=True).entries[0].changes
    )
    assert [64, 64] == [len(last.digest), len(last.root)]


def test_log_in_part(client: Client, clock: FakeClock) -> None:
    """The log is cut by number, filtered, and gone through in pages."""
    for n in range(5):
        client.apply({f"k{n % 2}": str(n)}, author="ab"[n % 2])
        clock.advance(60)

    def numbers(**wanted: object) -> list[int]:
        return [e.revision for e in client.log(**wanted).entries]  # type: ignore[arg-type]

    assert [5, 4] == numbers(limit=2)
    assert 4 == client.log(2).next
    assert [3, 2, 1] == numbers(after=4)
    assert [4, 2] == numbers(key="k1")
    assert [5, 3, 1] == numbers(author="a")
    assert [5, 4, 3, 2, 1] == numbers(prefix="k")
    assert [] == numbers(key="k7")
    assert [3, 2] == numbers(since="2026-01-01T00:01:00Z", until="2026-01-01T00:02:30Z")
    assert [2, 1] == numbers(revision=2)
    assert [5, 4, 3, 2, 1] == [e.revision for e in client.history()]
    assert [5, 4, 3, 2, 1] == [e.revision for e in client.log(5_000).entries]


def test_collected_log(client: Client) -> None:
    """What garbage collection removed is said, in the log and of a read."""
    for n in range(5):
        client.apply({"k": str(n)})
    collected = client.gc(2)

    assert 3 == collected.revisions
    page = client.log()
    assert ([5, 4], 3) == ([e.revision for e in page.entries], page.collected)
    with pytest.raises(RevisionCollected):
        client.get("k", revision=1)
    assert 0 == client.gc(2, namespace="payments/prod").revisions


# --- rollback, restore ----------------------------------------------------------------


def test_rollback(client: Client) -> None:
    """A rollback makes a new revision with the old state; again it is a no-op."""
    client.apply({"a": "1"})
    client.apply({"a": "2", "b": "2"})
    done = client.rollback(1, message="m", author="me", contents=True)

    assert (3, (change("a", "update", "2", "1"), change("b", "delete", "2", None))) == (
        done.revision,
        done.changes,
    )
    assert {"a": "1"} == client.state().documents
    assert client.rollback(1).noop
    assert 4 == client.rollback(-1).revision
    assert client.rollback(checkpoint=client.create_checkpoint("c").name).noop


def test_rollback_that_can_not_be(client: Client) -> None:
    """A rollback to what is not there changes nothing, not even a branch."""
    client.apply({"a": "1"})
    with pytest.raises(RevisionNotFound):
        client.rollback(7)
    with pytest.raises(BranchNotFound):
        client.scope(branch="mistyped").rollback(1)
    with pytest.raises(HeadMoved):
        client.rollback(
            checkpoint=client.create_checkpoint("c").name, expect_revision=9
        )

    assert ["main"] == [b.name for b in client.branches()]
    assert 1 == client.state().revision


def test_restore(client: Client) -> None:
    """A restore takes over the state of a branch, or of a revision of it."""
    client.apply({"a": "1"})
    client.create_branch("other")
    other = client.scope(branch="other")
    other.apply({"a": "2"})
    other.apply({"a": "3"})

    assert (4, "3") == (client.restore(branch="other").revision, client.get("a"))
    client.restore(branch="other", revision=2)
    assert "2" == client.get("a")
    client.restore(revision=1)
    assert "1" == client.get("a")
    with pytest.raises(BranchNotFound):
        client.restore(branch="nowhere")


# --- checkpoints, branches, namespaces ----------------------------------------------


def test_checkpoints(client: Client) -> None:
    """Checkpoints are made, listed, moved on request, and deleted."""
    client.apply({"a": "1"})
    made = client.create_checkpoint("good", description="d", author="me")
    client.apply({"a": "2"})

    when = "2026-01-01T00:00:00Z"
    assert Checkpoint("good", 1, "main", "d", when, "me") == made
    assert made == client.checkpoint("good")
    with pytest.raises(CheckpointExists) as raised:
        client.create_checkpoint("good")
    assert 1 == raised.value.revision
    assert 2 == client.create_checkpoint("good", replace=True).revision
    client.create_checkpoint("a/b", revision=1)
    assert ["a/b", "good"] == [c.name for c in client.checkpoints()]
    assert ["good"] == [c.name for c in client.checkpoints("g")]
    client.delete_checkpoint("good")
    for call in (client.checkpoint, client.delete_checkpoint):
        with pytest.raises(CheckpointNotFound):
            call("good")


def test_branches(client: Client) -> None:
    """Branches start where they are told, take no number, and can be deleted."""
    client.apply({"a": "1"})
    client.apply({"a": "2"})
    made = client.create_branch("other", revision=1)

    assert Branch("other", 1, 1) == made
    assert [("main", 0, 2, True), ("other", 1, 1, False)] == [
        b[:4] for b in client.branches()
    ]
    assert [("other", True)] == [
        (b.name, b.current) for b in client.scope(branch="other").branches("o")
    ]
    with pytest.raises(BranchExists):
        client.create_branch("other")
    with pytest.raises(HeadMoved):
        client.delete_branch("other", expect_revision=2)
    client.delete_branch("other", expect_revision=1)
    with pytest.raises(BranchNotFound):
        client.delete_branch("other")


def test_namespaces(client: Client) -> None:
    """Namespaces are listed, whatever their names."""
    assert [] == list(client.namespaces())
    for name in ("a/b", "a", "ü"):
        client.scope(name).apply({"k": "v"})
    client.scope("a").apply({"k": "w"})

    assert [("a", 2), ("a/b", 1), ("ü", 1)] == list(client.namespaces())
    assert [("a", 2), ("a/b", 1)] == list(client.namespaces("a"))


def test_scopes(client: Client) -> None:
    """A client for another scope keeps what it is not told."""
    other = client.scope("n").scope(branch="b")

    assert ("n", "b") == (other.namespace, other.branch)
    assert ("payments/prod", "main") == (client.namespace, client.branch)
    assert ("default", "main") == (client.scope("").namespace, client.branch)


def test_version(client: Client) -> None:
    """The daemon says what it is."""
    version = client.version()

    assert ("v1", True, True) == (
        version.api,
        bool(version.version),
        version.store.startswith("memory"),
    )


# --- access, threads ----------------------------------------------------------------


def test_token() -> None:
    """A token that the daemon wants must be the right one."""
    with running_server(token="s3cret") as server:
        with Client(server.url, token="s3cret") as client:
            assert 1 == client.apply({"a": "1"}).revision
        for token in (None, "other"):
            with (
                Client(server.url, token=token) as client,
                pytest.raises(Unauthenticated) as raised,
            ):
                client.get("a")
            assert "other" not in raised.value.detail


def test_threads(client: Client) -> None:
    """Threads share a client; each write is done once."""

    def write(n: int) -> None:
        for m in range(10):
            client.apply({f"k{n}": str(m)})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 80 == client.state().revision
    assert {f"k{n}": "9" for n in range(8)} == client.state().documents
