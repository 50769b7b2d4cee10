"""What was redacted is gone from every revision, and does not come back."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING

import pytest

from st8.core import failpoints
from st8.core.errors import (
    ContentInUse,
    ContentRedacted,
    Forbidden,
    KeyNotFound,
    LimitExceeded,
    RevisionNotFound,
)
from st8.core.ids import Author, Key, Message, digest_of
from st8.core.limits import REDACTED_PLACES
from st8.engine.engine import Engine
from st8.engine.requests import Redact
from st8.engine.transfer import Place, transfer
from st8.store.codec import pack
from st8.store.directory import hold_directory
from st8.store.memory import MemoryStore
from st8.store.peers import Peers
from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    apply,
    apply_request,
    branch,
    changes,
    checkpoint,
    contents,
    diff,
    reset,
    scope,
    selector,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from st8.core.ids import Digest, Namespace
    from st8.core.ports import Store
    from st8.engine.results import Redacted
    from st8.testing.faulty import FaultyStore
    from tests.postgres.server import PostgresServer

SECRET = "hunter2 and 40 bytes of noise: 8f0e21c99b7a"
OTHER = scope("other", "main")


def redact(
    engine: Engine,
    key: str = "db/password",
    *,
    revision: int = 1,
    dry_run: bool = False,
    guard: Callable[[Namespace], None] | None = None,
) -> Redacted:
    """Redact what a document had at a revision."""
    return engine.redact(
        Redact(
            SCOPE,
            Key(key),
            selector(revision),
            Message("in a\nticket"),
            Author("ops"),
            dry_run,
            guard,
        )
    )


def _leak(engine: Engine) -> None:
    """Leak a secret under two keys and in two namespaces, and change it since."""
    apply(engine, {"db/password": SECRET, "db/host": "one"})
    apply(engine, {"db/host": "two", "copy": SECRET})
    apply(engine, {"db/password": "new", "db/host": "three"}, ["copy"])
    apply(engine, {"elsewhere": SECRET}, at=OTHER)
    apply(engine, {"elsewhere": "new"}, at=OTHER)


MARK = "[st8: redacted 2026-01-01T00:00:05Z by ops: in a ticket]\n"


def test_a_content_is_gone_from_every_revision(any_engine: Engine) -> None:
    """Its mark is read in its place, wherever it stood; the rest is as it was."""
    _leak(any_engine)
    digests = [any_engine.state(SCOPE, selector(n)).root for n in (1, 2, 3)]
    redacted = redact(any_engine)

    assert digest_of(SECRET.encode()) == redacted.digest
    assert [
        ("default", "copy"),
        ("default", "db/password"),
        ("other", "elsewhere"),
    ] == redacted.places
    assert {"db/password": MARK, "db/host": "one"} == contents(
        any_engine, source=selector(1)
    )
    assert {"elsewhere": MARK} == contents(any_engine, OTHER, selector(1))
    assert {"db/password": "new", "db/host": "three"} == contents(any_engine)
    assert digests == [any_engine.state(SCOPE, selector(n)).root for n in (1, 2, 3)]
    shown = changes(any_engine.log(SCOPE).entries[1].changes)
    assert [
        ("copy", "create", None, MARK),
        ("db/host", "update", "one", "two"),
    ] == shown
    assert ("db/password", "update", MARK, "new") in diff(
        any_engine, selector(1), selector(3)
    )


def test_it_can_be_asked_what_would_be_redacted(any_engine: Engine) -> None:
    """A dry run says where the content stands, and leaves it there."""
    _leak(any_engine)
    told = redact(any_engine, dry_run=True)

    assert told.dry_run
    assert 3 == len(told.places)
    assert SECRET == contents(any_engine, source=selector(1))["db/password"]
    assert redact(any_engine).places == told.places


def test_redacting_again_changes_nothing(any_engine: Engine) -> None:
    """The mark stays that of the first time."""
    _leak(any_engine)
    first = redact(any_engine)

    assert first == redact(any_engine)
    assert MARK == contents(any_engine, source=selector(1))["db/password"]


def test_what_a_head_has_is_not_redacted(any_engine: Engine) -> None:
    """It is refused by name, for every branch of every namespace."""
    _leak(any_engine)
    branch(any_engine, "dev", selector(2))
    with pytest.raises(
        ContentInUse, match="'copy' of branch 'dev' of namespace 'default', key 'db/pas"
    ):
        redact(any_engine)
    assert SECRET == contents(any_engine, source=selector(1))["db/password"]
    apply(any_engine, {"db/password": "new"}, ["copy"], at=DEV)
    redact(any_engine)

    assert (
        MARK.replace(":05Z", ":07Z")
        == contents(any_engine, source=selector(1))["db/password"]
    )


@pytest.mark.parametrize(
    ("heads", "more"), [(5, ""), (6, " and 1 more"), (8, " and 3 more")]
)
def test_not_every_head_that_has_it_is_named(
    engine: Engine, heads: int, more: str
) -> None:
    """Five are named, and the others counted."""
    apply(engine, {f"k/{n}": SECRET for n in range(heads)})
    with pytest.raises(ContentInUse) as caught:
        redact(engine, "k/0")

    assert 5 == caught.value.detail.count("of branch 'main'")
    assert f"'default'{more}; apply" in caught.value.detail


def test_what_was_never_changed_is_not_redacted(engine: Engine) -> None:
    """A head that is the first and only revision is found too."""
    apply(engine, {"db/password": SECRET})
    with pytest.raises(ContentInUse, match="'db/password' of branch 'main'"):
        redact(engine)

    assert {"db/password": SECRET} == contents(engine)


@pytest.mark.parametrize(
    ("key", "revision", "error"),
    [("nothing", 2, KeyNotFound), ("db/password", 9, RevisionNotFound)],
)
def test_what_is_not_there_is_not_redacted(
    engine: Engine, key: str, revision: int, error: type[Exception]
) -> None:
    """A key or revision that is not there is named."""
    _leak(engine)
    with pytest.raises(error, match=f"revision {revision}"):
        redact(engine, key, revision=revision)


def test_who_may_not_touch_a_namespace_redacts_nothing_there(engine: Engine) -> None:
    """Where a content stands that is somebody else's, nothing is redacted."""
    _leak(engine)

    def guard(namespace: Namespace) -> None:
        if namespace != SCOPE.namespace:
            raise Forbidden("not yours")

    with pytest.raises(Forbidden):
        redact(engine, guard=guard)

    assert SECRET == contents(engine, source=selector(1))["db/password"]


def test_what_stands_in_too_many_places_is_no_secret(engine: Engine) -> None:
    """A content under more than the limit of keys is refused by the limit's name."""
    many = [f"k/{n}" for n in range(REDACTED_PLACES.maximum)]
    apply(engine, dict.fromkeys([*many, "one/more"], "true\n"))
    apply(engine, dict.fromkeys(many, "yes\n"), ["one/more"])
    apply(engine, dict.fromkeys(many, "false\n"))
    with pytest.raises(LimitExceeded, match="redacted_places_max"):
        redact(engine, "k/0")
    redacted = redact(engine, "k/0", revision=2)

    assert REDACTED_PLACES.maximum == len(redacted.places)


def test_what_revisions_share_is_looked_through_once(
    store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To find where a content stands, no node is read for each revision that has it."""
    asked: Counter[Digest] = Counter()
    read = store.objects

    def objects(
        digests: Sequence[Digest], size_max: int | None = None
    ) -> Mapping[Digest, bytes]:
        asked.update(digests)
        return read(digests, size_max)

    with closing(Engine(store, FakeClock(), cache_bytes=0)) as engine:
        apply(engine, {f"k/{n:03d}": "1" for n in range(700)})
        apply(engine, {"db/password": SECRET})
        for n in range(20):
            apply(engine, {"db/password": f"{n}"})
        monkeypatch.setattr(store, "objects", objects)
        redact(engine, revision=2, dry_run=True)

    assert 20 < len(asked)
    assert 3 >= max(asked.values())


# --- it does not come back ------------------------------------------------------


def test_it_can_not_be_applied_again(any_engine: Engine) -> None:
    """By nobody, in no namespace; others of the same batch are not harmed."""
    _leak(any_engine)
    redact(any_engine)
    refused = submit(any_engine, apply_request({"x": SECRET}, at=scope("third")))
    done = submit(any_engine, apply_request({"x": "fine"}, at=scope("third")))
    with pytest.raises(ContentRedacted, match="'x' can't be stored") as caught:
        refused.result()

    # Whoever may see where it stood can read there who redacted it, and why.
    assert "ops" not in caught.value.detail
    assert done.result() is not None
    assert {"x": "fine"} == contents(any_engine, at=scope("third"))


def test_a_rollback_leaves_out_what_was_redacted(any_engine: Engine) -> None:
    """The document stays as it is, the others go back, and the answer says so."""
    _leak(any_engine)
    redact(any_engine)
    done = reset(any_engine, selector(2))

    assert ["copy", "db/password"] == list(done.kept)
    assert {"db/password": "new", "db/host": "two"} == contents(any_engine)
    assert [("db/host", "update", "three", "two")] == changes(done.changes)


def test_a_rollback_that_would_only_bring_it_back_is_none(any_engine: Engine) -> None:
    """Where nothing else differs there is no revision."""
    apply(any_engine, {"db/password": SECRET})
    apply(any_engine, {"db/password": "new"})
    redact(any_engine)
    done = reset(any_engine, selector(1))

    assert (True, ["db/password"], 2) == (done.noop, list(done.kept), done.number)


def test_no_branch_begins_where_it_stood(any_engine: Engine) -> None:
    """A branch at such a revision is refused; one at another is made."""
    _leak(any_engine)
    redact(any_engine)
    with pytest.raises(ContentRedacted, match="'copy' was redacted"):
        branch(any_engine, "dev", selector(2))
    branch(any_engine, "dev", selector(3))

    assert {"db/password": "new", "db/host": "three"} == contents(any_engine, at=DEV)


def test_what_is_committed_meanwhile_is_looked_through_too(
    engine: Engine, store: FaultyStore
) -> None:
    """A head that gets the content while it is looked for is found before the end."""
    _leak(engine)
    other = Engine(store, FakeClock())

    def leak_again() -> None:
        apply(other, {"late": SECRET}, at=OTHER)

    store.before("redact", leak_again)
    with pytest.raises(ContentInUse, match="'late' of branch 'main' of namespace 'oth"):
        redact(engine)

    other._committer.close()
    assert SECRET == contents(engine, source=selector(1))["db/password"]


# --- elsewhere ------------------------------------------------------------------


def test_what_is_read_meanwhile_is_not_remembered(
    store: FaultyStore, engine: Engine, clock: FakeClock
) -> None:
    """A content that was read just before it was redacted is not read again."""
    _leak(engine)
    reader = Engine(store, clock)
    list(reader.state(SCOPE, selector(1)).keys())  # of objects, contents come next

    def act() -> None:
        redact(reader)

    store.after("objects", act)

    assert SECRET == contents(reader, source=selector(1))["db/password"]
    assert MARK == contents(reader, source=selector(1))["db/password"]
    reader._committer.close()


def test_its_bytes_are_gone_from_the_files(tmp_path: Path) -> None:
    """No file of the state directory has it, also in pages that are not used."""
    with closing(Engine(SqliteStore(tmp_path), FakeClock())) as engine:
        for number in range(30):
            apply(engine, {"db/password": SECRET * (number % 3 + 1), "n": str(number)})
            apply(engine, {"db/password": "new"})
        there = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        for revision in (1, 3, 5):
            redact(engine, revision=revision)
        left = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert SECRET.encode() in there
    assert SECRET.encode() not in left


def test_bytes_that_moving_rows_left_are_gone_too(tmp_path: Path) -> None:
    """SQLite copies rows to other pages, and leaves them where they were."""
    with closing(Engine(SqliteStore(tmp_path), FakeClock())) as engine:
        _leak_many(engine, engine, tmp_path)


def test_another_that_shares_the_files_does_not_bring_them_back(tmp_path: Path) -> None:
    """What it remembers of pages is no longer so when they were overwritten."""
    with (
        closing(hold_directory(tmp_path)),
        closing(Peers(2)) as peers,
        closing(Engine(SqliteStore(tmp_path, peer=peers.peer(0)), FakeClock())) as one,
        closing(Engine(SqliteStore(tmp_path, peer=peers.peer(1)), FakeClock())) as two,
    ):
        _leak_many(one, two, tmp_path)


def _leak_many(one: Engine, two: Engine, folder: Path) -> None:
    """Write to both, redact with ``one``, and look for the bytes."""
    chance = Random(1)
    leaked = {
        f"k{number}": chance.randbytes(chance.choice([100, 700, 3_000])).hex()
        for number in range(200)
    }
    for number, (key, content) in enumerate(leaked.items()):
        apply(two if number % 2 else one, {key: content})
    for key in list(leaked)[::10]:
        apply(two, {key: "new"})
        redact(one, key, revision=int(key[1:]) + 1)
        # What is stored already is stamped, on the pages where it stands.
        neighbours = [leaked[f"k{int(key[1:]) + near}"] for near in range(1, 10)]
        for engine in (two, one):
            some = {f"{near} of {key}": each for near, each in enumerate(neighbours)}
            apply(engine, some | {"last": chance.randbytes(900).hex()})
    files = b"".join(path.read_bytes() for path in folder.iterdir())

    stored = {key: pack(content.encode()) for key, content in leaked.items()}
    there = {key for key, data in stored.items() if data[40:60] in files}
    assert there == {key for key in leaked if int(key[1:]) % 10}


def test_other_daemons_hear_of_it(postgres: PostgresServer) -> None:
    """One that has the content in memory serves it no more, and takes it no more."""
    url = postgres.url(postgres.new_schema())
    with (
        closing(Engine(PostgresStore(url), FakeClock())) as one,
        closing(Engine(PostgresStore(url), FakeClock())) as two,
    ):
        two.on_move(lambda _: None)
        _leak(one)
        apply(two, {"mine": "1"}, at=OTHER)
        assert SECRET == contents(two, source=selector(1))["db/password"]
        redact(one)
        with pytest.raises(ContentRedacted):
            apply(two, {"mine": SECRET}, at=OTHER)
        while SECRET == contents(two, source=selector(1))["db/password"]:
            time.sleep(0.01)


def test_a_copy_of_the_store_has_the_mark_and_not_the_content(
    any_store: Store,
) -> None:
    """A store that is moved takes its redactions along."""
    copy = MemoryStore()
    clock = FakeClock(tick_ns=SECOND_NS)
    engine = Engine(any_store, clock)
    _leak(engine)
    redact(engine)
    transfer(Place(any_store, "here"), Place(copy, "there"), lambda *_: None)
    engine.close()

    with closing(Engine(copy, clock)) as moved:
        assert MARK == contents(moved, source=selector(1))["db/password"]
        with pytest.raises(ContentRedacted):
            apply(moved, {"x": SECRET})


def test_a_collection_goes_on_beside_redactions(any_engine: Engine) -> None:
    """Old revisions go, the marks stay, and the content stays refused."""
    _leak(any_engine)
    checkpoint(any_engine, "cp", selector(1))
    redact(any_engine)
    any_engine.collect(keep=1)

    assert (
        MARK.replace(":05Z", ":06Z")
        == contents(any_engine, source=selector(1))["db/password"]
    )
    with pytest.raises(ContentRedacted):
        apply(any_engine, {"x": SECRET})


def test_what_may_be_redacted_is_forgotten(any_engine: Engine) -> None:
    """Where the answer was lost, what was done is seen all the same."""
    _leak(any_engine)
    contents(any_engine, source=selector(1))

    def lose_the_answer(name: str) -> None:
        if name == "redact.committed":
            raise ConnectionError

    failpoints.arm(lose_the_answer)
    try:
        with pytest.raises(ConnectionError):
            redact(any_engine)
    finally:
        failpoints.arm(None)

    assert MARK == contents(any_engine, source=selector(1))["db/password"]
