"""What a verification says of stores that are whole, and of each kind of damage."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pytest

from st8.core import node, revisions, tree
from st8.core.errors import Corrupt, StorageFailed
from st8.core.findings import Event, Finding, Head, Progress, Verified
from st8.core.ids import (
    BranchName,
    CheckpointName,
    Digest,
    Namespace,
    RevisionNumber,
    Scope,
    digest_of,
)
from st8.core.node import Node
from st8.core.ports import DamagedRow, SelfCheck
from st8.engine import claim
from st8.engine.checked import CheckedStore
from st8.engine.engine import Engine
from st8.engine.verify import verify
from st8.store.memory import MemoryStore
from st8.testing.clock import SECOND_NS, FakeClock
from st8.testing.faulty import FaultyStore
from tests.engine.acts import SCOPE, applied, apply, branch, checkpoint, selector
from tests.engine.redact_test import redact
from tests.engine.transfer_test import SHOP, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from st8.core.ports import Store

_T = TypeVar("_T")

NAMESPACE = SCOPE.namespace


def N(number: int) -> RevisionNumber:  # noqa: N802 - as in the contract
    """Return a revision's number."""
    return RevisionNumber(number)


def all_events(
    store: Store,
    *,
    full: bool = False,
    heads: bool = False,
    expected: Sequence[Head] = (),
) -> list[Event]:
    """Return everything that a verification says."""
    return list(verify(store, "HERE", full=full, heads=heads, expected=expected))


def only(events: Sequence[Event], kind: type[_T]) -> list[_T]:
    """Return the events of a kind."""
    return [event for event in events if isinstance(event, kind)]


def findings(
    store: Store, *, full: bool = False, expected: Sequence[Head] = ()
) -> list[Finding]:
    """Return what is found; the last event says how much that is."""
    events = all_events(store, full=full, expected=expected)
    found = only(events, Finding)
    last = events[-1]
    assert isinstance(last, Verified)
    assert len(found) == last.findings
    return found


def codes(store: Store, *, full: bool = False) -> list[str]:
    """Return the codes of what is found."""
    return [finding.code for finding in findings(store, full=full)]


def copy_of(store: MemoryStore) -> MemoryStore:
    """Return a copy that a test may damage."""
    copy = MemoryStore()
    copy._epoch = store._epoch
    copy._objects = dict(store._objects)
    copy._last = dict(store._last)
    copy._revisions = {name: dict(some) for name, some in store._revisions.items()}
    copy._branches = dict(store._branches)
    copy._checkpoints = dict(store._checkpoints)
    copy._answers = dict(store._answers)
    copy._redactions = dict(store._redactions)
    return copy


@pytest.fixture(scope="module")
def whole() -> MemoryStore:
    """A store with everything in it, collected and written to again."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
    fill(engine)
    engine._committer.close()
    return store


@pytest.fixture
def store(whole: MemoryStore) -> MemoryStore:
    """A copy of it, which a test may damage."""
    return copy_of(whole)


# --- a whole store --------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_store_has_no_findings(
    any_engine: Engine, any_store: Store, *, full: bool
) -> None:
    """Of a store with everything in it nothing is found, and all of it is counted."""
    fill(any_engine)
    events = all_events(any_store, full=full, heads=True)

    done = events[-1]
    assert isinstance(done, Verified)
    assert (0, 3, 14, 5, 2, 12, 89, 0) == done[:8]
    assert [] == only(events, Finding)
    assert [
        (NAMESPACE, "a/b", 6),
        (NAMESPACE, "dev", 14),
        (NAMESPACE, "main", 15),
        (SHOP.namespace, "main", 7),
    ] == [head[:3] for head in only(events, Head)][:4]
    progress = only(events, Progress)
    itself = {"the store itself"} if full else set()
    # Where nothing is missing nobody looks for who needs it.
    assert {"revisions", "answers", "objects", *itself} == {p.doing for p in progress}
    for doing, count in (("revisions", 14), ("objects", 89)):
        told = [p for p in progress if p.doing == doing]
        assert (doing, count, count) == told[-1]
        assert {count} == {p.total for p in told}


@pytest.mark.parametrize("full", [False, True])
def test_an_empty_store_has_no_findings(any_store: Store, *, full: bool) -> None:
    """There is nothing wrong with nothing."""
    events = all_events(any_store, full=full)
    done = events[-1]
    any_store.close()

    assert isinstance(done, Verified)
    assert Verified() == done._replace(skipped="")


def test_a_branch_that_was_just_made_has_no_findings() -> None:
    """Whether it begins at the newest revision of its namespace, or at another one."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
    applied(engine, "1", "2")
    branch(engine, "dev")
    branch(engine, "old", selector(1))
    engine._committer.close()

    assert [] == findings(store)


def test_what_nothing_needs_is_counted(store: MemoryStore) -> None:
    """Objects that no revision needs are no damage; they are counted, with bytes."""
    for content in (b"waste", b"more waste"):
        store._objects[digest_of(content)] = (1, content)
    for full in (False, True):
        done = all_events(store, full=full)[-1]

        assert isinstance(done, Verified)
        assert (0, 2, 15) == (done.findings, done.unneeded, done.unneeded_bytes)


def test_half_a_copy_is_not_verified(store: MemoryStore) -> None:
    """A store that is half a copy of another one can't be told whole or damaged."""
    claim.claim(store, "there")
    with pytest.raises(StorageFailed, match="half-done migration from there"):
        verify(store, "HERE")


# --- damaged --------------------------------------------------------------------


class Damage(NamedTuple):
    """A way to damage a store, and what has to be said of it.

    Attributes:
        harm: Does it; returns the object it was done to, if any.
        code: The code of the first finding.
        namespace: Whose it is.
        revision: Which revision.
        key: Under which key.
        branch: Which branch.
        checkpoint: Which checkpoint.
        full_only: Only a full verification finds it.
        says: A part of the sentence.
    """

    harm: Callable[[MemoryStore], Digest | None]
    code: str
    namespace: str | None = NAMESPACE
    revision: int | None = None
    key: str | None = None
    branch: str | None = None
    checkpoint: str | None = None
    full_only: bool = False
    says: str = ""


def record_at(store: MemoryStore, number: int) -> revisions.Revision:
    """Return a revision of the first namespace."""
    return revisions.decode(store._revisions[NAMESPACE][N(number)])


def content_at(store: MemoryStore, number: int, key: str) -> Digest:
    """Return the digest of a document's content at a revision."""
    engine = Engine(store, FakeClock())
    digest = tree.get(engine._objects, record_at(store, number).root, key.encode())
    engine._committer.close()
    assert digest is not None
    return digest


def lose_content(store: MemoryStore) -> Digest:
    """Take a content away that all revisions need."""
    digest = content_at(store, 3, "svc/020")
    del store._objects[digest]
    return digest


def change_content(store: MemoryStore) -> Digest:
    """Change a byte of it."""
    digest = content_at(store, 3, "svc/020")
    store._objects[digest] = (1, b"X" + store._objects[digest][1][1:])
    return digest


def swap_content(store: MemoryStore) -> Digest:
    """Put another content, whole in itself, in its place."""
    digest = content_at(store, 3, "svc/020")
    other = content_at(store, 3, "svc/021")
    store._objects[digest] = store._objects[other]
    return digest


def change_unneeded(store: MemoryStore) -> Digest:
    """Damage an object that no revision needs."""
    digest = digest_of(b"waste")
    store._objects[digest] = (1, b"wasted")
    return digest


def lose_root(store: MemoryStore) -> Digest:
    """Take the root of a state away that others do not share."""
    digest = record_at(store, 15).root
    del store._objects[digest]
    return digest


def change_root(store: MemoryStore) -> Digest:
    """Flip a bit of it."""
    digest = record_at(store, 15).root
    epoch, data = store._objects[digest]
    store._objects[digest] = (epoch, data[:-1] + bytes([data[-1] ^ 1]))
    return digest


def set_record(store: MemoryStore, number: int, **fields: Any) -> None:
    """Forge fields of a revision."""
    forged = record_at(store, number)._replace(**fields)
    store._revisions[NAMESPACE][N(number)] = revisions.encode(forged)


def forge_head(store: MemoryStore, **fields: Any) -> None:
    """Forge the newest revision, and have the branch name the forgery."""
    set_record(store, 15, **fields)
    at = (NAMESPACE, BranchName("main"))
    digest = record_at(store, 15).digest
    store._branches[at] = store._branches[at]._replace(head_digest=digest)


def cut_record(store: MemoryStore) -> None:
    """Cut the end off a record."""
    data = store._revisions[NAMESPACE][N(13)]
    store._revisions[NAMESPACE][N(13)] = data[:-1]


def swap_records(store: MemoryStore) -> None:
    """Put one record in the place of another."""
    records = store._revisions[NAMESPACE]
    records[N(13)] = records[N(14)]


def change_message(store: MemoryStore) -> None:
    """Change the message of a revision that another one follows."""
    set_record(store, 13, message="forged")


def lose_head(store: MemoryStore) -> None:
    """Take the record away that a branch points at."""
    del store._revisions[NAMESPACE][N(15)]


def lose_checkpointed(store: MemoryStore) -> None:
    """Take the record away that a checkpoint names."""
    del store._revisions[NAMESPACE][N(3)]


def set_branch(store: MemoryStore, name: str, **fields: Any) -> None:
    """Change the row of a branch."""
    at = (NAMESPACE, BranchName(name))
    store._branches[at] = store._branches[at]._replace(**fields)


def move_back(store: MemoryStore) -> None:
    """Put an earlier row of a branch back."""
    earlier = record_at(store, 13)
    set_branch(store, "dev", head=earlier.number, head_digest=earlier.digest)


def move_checkpoint(store: MemoryStore) -> None:
    """Have a checkpoint name another revision, by the old digest."""
    at = (NAMESPACE, CheckpointName("v1"))
    store._checkpoints[at] = store._checkpoints[at]._replace(revision=N(6))


def count_back(store: MemoryStore) -> None:
    """Set the newest number of a namespace back."""
    store._last[NAMESPACE] = N(14)


DAMAGES: dict[str, Damage] = {
    "a content is missing": Damage(
        lose_content, "object_missing", revision=3, key="svc/020", says="is missing"
    ),
    "a content is changed": Damage(
        change_content, "object_damaged", revision=3, key="svc/020", full_only=True
    ),
    "a content is another": Damage(
        swap_content, "object_damaged", revision=3, key="svc/020", full_only=True
    ),
    "what nothing needs is changed": Damage(
        change_unneeded,
        "object_damaged",
        namespace=None,
        full_only=True,
        says=f"nothing needs, found by {digest_of(b'waste').hex()}",
    ),
    "a root is missing": Damage(lose_root, "object_missing", revision=15),
    "a root is changed": Damage(change_root, "object_damaged", revision=15),
    "a record is cut": Damage(cut_record, "record_damaged", revision=13),
    "a record is another": Damage(
        swap_records, "record_damaged", revision=13, says="record of revision 14"
    ),
    "a message is changed": Damage(
        change_message, "chain_broken", revision=14, says="revision 13 is not the one"
    ),
    "a root that was before is another": Damage(
        lambda s: forge_head(
            s,
            parents=(record_at(s, 15).parents[0]._replace(root=record_at(s, 6).root),),
        ),
        "chain_broken",
        revision=15,
    ),
    "a time goes back": Damage(
        lambda s: forge_head(s, time_ns=1), "chain_broken", revision=15, says="older"
    ),
    "a depth is wrong": Damage(
        lambda s: forge_head(s, depth=77),
        "chain_broken",
        revision=15,
        says="depth is 77",
    ),
    "a skip leads elsewhere": Damage(
        lambda s: forge_head(s, skip=record_at(s, 14).link),
        "chain_broken",
        revision=15,
        says="does not come from",
    ),
    "a parent is not older": Damage(
        lambda s: forge_head(
            s, parents=(record_at(s, 15).parents[0]._replace(number=N(15)),)
        ),
        "chain_broken",
        revision=15,
        says="which is not older",
    ),
    "the first of a history is not the first": Damage(
        lambda s: forge_head(s, parents=(), skip=None),
        "chain_broken",
        revision=15,
        says="it follows nothing, and its depth is",
    ),
    "a head is missing": Damage(
        lose_head, "revision_missing", revision=15, branch="main"
    ),
    "a checkpoint's revision is missing": Damage(
        lose_checkpointed, "revision_missing", revision=3, checkpoint="v1"
    ),
    "a head is another": Damage(
        lambda s: set_branch(s, "dev", head_digest=digest_of(b"")),
        "ref_wrong",
        revision=14,
        branch="dev",
    ),
    "a branch points at one of another branch": Damage(
        lambda s: set_branch(s, "dev", head=N(15), head_digest=record_at(s, 15).digest),
        "ref_wrong",
        revision=15,
        branch="dev",
        says="made on 'main'",
    ),
    "a branch is back at an earlier revision": Damage(
        move_back, "branch_behind", revision=13, branch="dev", says="14 was made on it"
    ),
    "a branch was made from what was not there": Damage(
        lambda s: set_branch(s, "dev", base=N(12)),
        "ref_wrong",
        revision=14,
        branch="dev",
    ),
    "a branch without a revision of its own points beside its base": Damage(
        lambda s: set_branch(s, "a/b", base=N(3)), "ref_wrong", revision=6, branch="a/b"
    ),
    "a checkpoint names another": Damage(
        move_checkpoint, "ref_wrong", revision=6, checkpoint="v1"
    ),
    "the newest number is too low": Damage(
        count_back, "last_revision_behind", revision=15
    ),
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(store: MemoryStore, name: str, *, full: bool) -> None:
    """Each kind of damage has its code, and says where it is and who needs it."""
    damage = DAMAGES[name]
    digest = damage.harm(store)
    found = findings(store, full=full)
    if damage.full_only and not full:
        assert [] == found
        return

    first = found[0]
    assert (
        damage.code,
        damage.namespace,
        damage.revision,
        damage.key,
        damage.branch,
        damage.checkpoint,
        None if digest is None else digest.hex(),
    ) == (first.code, *first[2:])
    for part in (damage.says, damage.namespace, damage.branch, damage.checkpoint):
        assert str(part or "") in first.detail
    assert (damage.key is None) == (", key " not in first.detail)
    assert 1 == len({finding.detail for finding in found if finding == first})
    needless = ["nothing needs" in finding.detail for finding in found]
    assert ("nothing needs" in damage.says) == any(needless)
    assert len(found) == len(set(found))


def test_everything_that_is_damaged_is_named(store: MemoryStore) -> None:
    """One damage hides no other, unless it lies below it."""
    cut_record(store)
    lose_content(store)
    move_checkpoint(store)
    change_unneeded(store)
    count_back(store)

    assert sorted(
        [
            "record_damaged",  # of 13; and 14 is known to follow it, or not
            "object_missing",
            "ref_wrong",
            "object_damaged",
            "last_revision_behind",
        ]
    ) == sorted(codes(store, full=True))


@pytest.mark.parametrize("full", [False, True])
def test_a_content_in_the_wrong_place_is_named(
    store: MemoryStore, *, full: bool
) -> None:
    """A content whose row is found by what nothing needs is told by who needs it."""
    digest = content_at(store, 3, "svc/020")
    store._objects[digest_of(b"waste")] = store._objects.pop(digest)
    (found,) = findings(store, full=full)

    assert (3, "svc/020", digest.hex()) == (found.revision, found.key, found.object)
    assert ("object_damaged" if full else "object_missing") == found.code


def test_it_is_told_how_far_it_is_between_findings(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found is told when it is, and after each piece how far that is."""
    for name in ("_REVISIONS", "_REFS"):
        monkeypatch.setattr(f"st8.engine.verify.{name}", 1)
    for number in (10, 11):
        data = store._revisions[NAMESPACE][N(number)]
        store._revisions[NAMESPACE][N(number)] = data[:-1]
    for name in ("a/b", "dev"):
        set_branch(store, name, head_digest=digest_of(b""))
    for at, named in list(store._checkpoints.items()):
        if at[0] == NAMESPACE:
            store._checkpoints[at] = named._replace(digest=digest_of(b""))
    events = all_events(store)
    found = [event for event in events if isinstance(event, Finding)]

    assert {"record_damaged", "ref_wrong"} == {finding.code for finding in found}
    assert 6 == len(found)
    assert not any(
        isinstance(one, Finding) and isinstance(following, Finding)
        for one, following in pairwise(events)
    )


def test_every_missing_content_is_named_with_its_key(store: MemoryStore) -> None:
    """Of many that are missing each is named once, by a key that it has."""
    for digest, (_, data) in list(store._objects.items()):
        if data[:1] != b"\xff":
            del store._objects[digest]
    for full in (False, True):
        found = findings(store, full=full)

        assert {"object_missing"} == {finding.code for finding in found}
        assert len(found) == len({finding.object for finding in found}) > 40
        assert {None} != {finding.key for finding in found}
        assert all(finding.key for finding in found)


def test_one_bit_of_any_node_or_record_is_named(store: MemoryStore) -> None:
    """Whatever node or record has a flipped bit, it is found without reading it all."""
    for digest, (epoch, data) in list(store._objects.items()):
        if data[:1] == b"\xff":
            flipped = data[:-3] + bytes([data[-3] ^ 4]) + data[-2:]
            store._objects[digest] = (epoch, flipped)

            assert "object_damaged" in codes(store)
            store._objects[digest] = (epoch, data)
    for records in store._revisions.values():
        for number, data in list(records.items()):
            for at in range(0, len(data), 7):
                records[number] = data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]

                assert codes(store)
            records[number] = data
    assert [] == codes(store)


# --- the shape of a tree --------------------------------------------------------


def _put(store: MemoryStore, found: Node) -> Digest:
    data = node.encode(found)
    digest = digest_of(data)
    store._objects[digest] = (store._epoch, data)
    return digest


def _leaf(*keys: str) -> Node:
    empty = digest_of(b"")
    return Node(0, [key.encode() for key in keys], empty * len(keys), None)


def _above(store: MemoryStore, *nodes: Node, **fields: Any) -> Node:
    """Return the node above some others, with something wrong if ``fields`` say."""
    return Node(
        fields.get("level", nodes[0].level + 1),
        fields.get("keys", [found.keys[0] for found in nodes]),
        b"".join(_put(store, found) for found in nodes),
        fields.get("counts", [found.count for found in nodes]),
    )


PLAIN = [k for n in range(3_000) if not node.level_of((k := f"k{n:04d}").encode())]
"""Keys that begin no node."""

# Levels of keys: app/2.json 0, app/3.json 1, app/19.json 2; see docs/format.md.
SHAPES: dict[str, tuple[Callable[[MemoryStore], Node], str]] = {
    "right": (lambda s: _above(s, _leaf("app/2.json"), _leaf("app/3.json")), ""),
    "two in one": (lambda _: _leaf("app/2.json", "app/3.json"), "begins or ends"),
    "cut too often": (
        lambda s: _above(s, _leaf("app/1.json"), _leaf("app/2.json")),
        "begins or ends",
    ),
    "descending": (lambda _: _leaf("b", "a"), "do not ascend"),
    "twice": (lambda _: _leaf("a", "a"), "do not ascend"),
    "alone above one": (
        lambda s: _above(s, _leaf("app/2.json")),
        "above a single node",
    ),
    "another count": (
        lambda s: _above(s, _leaf("app/2.json"), _leaf("app/3.json"), counts=[1, 7]),
        "count differ",
    ),
    "another first key": (
        lambda s: _above(
            s,
            _leaf("app/2.json"),
            _leaf("app/30.json"),
            keys=[b"app/2.json", b"app/3.json"],
        ),
        "first key or count",
    ),
    "another level": (
        lambda s: _above(s, _leaf("app/2.json"), _leaf("app/3.json"), level=2),
        "level, first key",
    ),
    "beyond the next": (
        lambda s: _above(s, _leaf("app/2.json", "app/4.json"), _leaf("app/3.json")),
        "the node behind",
    ),
    "no text": (lambda _: Node(0, [b"\xc3"], digest_of(b""), None), "not UTF-8"),
    "too many": (lambda _: _leaf(*PLAIN[:1_025]), "has 1025 entries"),
    "as many as may be": (lambda _: _leaf(*PLAIN[:1_024]), ""),
    "empty": (lambda _: _leaf(), "0 entries"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_tree_has_its_shape(name: str) -> None:
    """Nodes that are whole, but not those that the documents have, are named."""
    make, problem = SHAPES[name]
    store = MemoryStore()
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
    apply(engine, {"x": ""})
    engine._committer.close()
    root = _put(store, make(store))
    first = revisions.decode(store._revisions[NAMESPACE][N(1)])
    data = revisions.encode(first._replace(root=root))
    store._revisions[NAMESPACE][N(1)] = data
    at = (NAMESPACE, BranchName("main"))
    store._branches[at] = store._branches[at]._replace(head_digest=digest_of(data))
    if name == "empty":
        # The empty state has a digest that everybody knows; it is never stored.
        assert [] == codes(store)
        return
    found = findings(store)

    assert ({"node_wrong"} if problem else set()) == {f.code for f in found}
    assert [] == [f.detail for f in found if problem not in f.detail]


def test_a_node_that_is_not_shortest_is_named(store: MemoryStore) -> None:
    """A length that takes more bytes than it needs is no node's."""
    right = node.encode(_leaf("k"))
    longer = right[:4] + b"\x81\x00" + right[5:]
    digest = digest_of(longer)
    store._objects[digest] = (1, longer)
    store._objects[digest_of(b"")] = (1, b"")
    forge_head(store, root=digest)

    assert ["object_damaged"] == codes(store)


def test_a_shared_node_is_looked_at_in_each_place(store: MemoryStore) -> None:
    """A node that is right in one state is found to be wrong in another one."""
    two, three = _leaf("app/2.json"), _leaf("app/3.json")
    store._objects[digest_of(b"")] = (1, b"")
    _put(store, _above(store, two, three))
    forge_head(
        store,
        root=_put(store, _above(store, two, three)),
        parents=(
            record_at(store, 15)
            .parents[0]
            ._replace(root=_put(store, _above(store, two, three, counts=[1, 2]))),
        ),
    )

    assert {"chain_broken", "node_wrong"} == set(codes(store))


# --- rows that do not match their seals -------------------------------------------


class _Unsealed:
    """A store with rows that are damaged, so that reading them raises."""

    def __init__(self, store: Store, kind: str, *names: str) -> None:
        self._store = store
        self._kind = kind
        self._names = names

    def __getattr__(self, name: str) -> Any:
        """Return what is not changed here."""
        return getattr(self._store, name)

    def _checked(
        self, kind: str, found: Sequence[_T], name: Callable[[_T], str]
    ) -> Any:
        for item in found:
            if kind == self._kind and name(item) in self._names:
                raise DamagedRow("owner", (name(item),))
        return found

    def namespaces(self, prefix: str, after: str, limit: int) -> Any:
        """See :class:`~st8.core.ports.Store`."""
        found = self._store.namespaces(prefix, after, limit)
        return self._checked("namespace", found, lambda info: info.name)

    def branches(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Any:
        """See :class:`~st8.core.ports.Store`."""
        found = self._store.branches(namespace, prefix, after, limit)
        return self._checked("branch", found, lambda one: one.name)

    def checkpoints(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Any:
        """See :class:`~st8.core.ports.Store`."""
        found = self._store.checkpoints(namespace, prefix, after, limit)
        return self._checked("checkpoint", found, lambda one: one.name)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("namespace", ("default",)),
        ("branch", ("a/b",)),
        ("branch", ("a/b", "dev")),
        ("branch", ("main",)),
        ("checkpoint", ("v1",)),
        ("checkpoint", ("v1/é",)),
    ],
)
def test_a_damaged_row_hides_none_behind_it(
    store: MemoryStore, kind: str, names: tuple[str, ...]
) -> None:
    """Rows that do not match their seals are named, and the others are looked at."""
    count_back(store)
    lose_content(store)
    others = {"namespace": ["object_missing"]}.get(
        kind, ["object_missing", "last_revision_behind"]
    )
    unsealed = cast("Store", _Unsealed(store, kind, *names))
    found = findings(unsealed)
    rows = [finding for finding in found if finding.code == "row_damaged"]
    done = all_events(unsealed)[-1]

    # Two namespaces have a branch of that name.
    twice = [*names, *names] if names == ("main",) else list(names)
    assert twice == [getattr(finding, kind) for finding in rows]
    assert sorted(others) == sorted(
        finding.code for finding in found if finding.code != "row_damaged"
    )
    assert isinstance(done, Verified)
    assert (3, 14) == (done.namespaces, done.revisions)
    assert 5 - (len(twice) if kind == "branch" else 0) == done.branches
    assert 2 - (len(twice) if kind == "checkpoint" else 0) == done.checkpoints


class _Bad:
    """A store with methods that a test has put others in the place of."""

    def __init__(self, store: Store, **methods: Callable[..., Any]) -> None:
        self._store = store
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        """Return what is not changed here."""
        return getattr(self._store, name)


def changed(store: Store, **methods: Callable[..., Any]) -> Store:
    """Return a store with other methods."""
    return cast("Store", _Bad(store, **methods))


def test_a_damaged_answer_hides_none_behind_it(store: MemoryStore) -> None:
    """Answers that do not match their seals are named, and the others are counted."""
    bad = {(NAMESPACE, "k4"), (NAMESPACE, "k5"), ("not/yet", "noop")}

    def answers(after: tuple[str, str], limit: int) -> Any:
        found = store.answers(after, limit)
        for at, _ in found:
            if at in bad:
                raise DamagedRow(at[0], at)
        return found

    events = all_events(changed(store, answers=answers))
    done = events[-1]

    assert [
        ("row_damaged", NAMESPACE, "k4"),
        ("row_damaged", NAMESPACE, "k5"),
        ("row_damaged", "not/yet", "noop"),
    ] == [
        (found.code, found.namespace, str(at))
        for found in only(events, Finding)
        for _, at in sorted(bad)
        if f", {at!r}: " in found.detail
    ]
    assert isinstance(done, Verified)
    assert 12 - 3 == done.answers


LISTS = ("namespaces", "numbers", "branches", "checkpoints", "answers", "redactions")


@pytest.mark.parametrize("method", LISTS)
def test_a_list_that_can_not_be_read_is_named(store: MemoryStore, method: str) -> None:
    """Where not even a name can be told, that is said once, and the list ends there."""
    calls = 0

    def read(*_: object) -> Any:
        nonlocal calls
        calls += 1
        raise DamagedRow("nobody", ())

    found = findings(changed(store, **{method: read}))

    rows = [finding for finding in found if finding.code == "row_damaged"]
    owners = {"numbers", "branches", "checkpoints"}
    assert (3 if method in owners else 1) == len(rows)
    assert all("does not match its seal" in finding.detail for finding in rows)
    assert calls < 20


@pytest.mark.parametrize("method", ["namespaces", "branches", "checkpoints", "answers"])
@pytest.mark.parametrize("named", [True, False])
def test_a_list_that_stands_still_comes_to_an_end(
    store: MemoryStore, method: str, *, named: bool
) -> None:
    """A list that leads back to where it was is named, and not read for ever."""
    first = {"namespaces": ("", "", 1), "answers": (("", ""), 1)}.get(
        method, (NAMESPACE, "", "", 1)
    )
    page = getattr(store, method)(*first)
    names = page[0][0] if method == "answers" else (page[0].name,)

    def read(*_: object) -> Any:
        if named:
            raise DamagedRow("owner", names)
        return page

    found = findings(changed(store, **{method: read}))
    rows = [finding for finding in found if finding.code == "row_damaged"]

    assert rows
    said = "does not match its seal" if named else "do not ascend"
    assert all(said in finding.detail for finding in rows)


def test_a_damaged_record_hides_none_beside_it(store: MemoryStore) -> None:
    """Where records can't be read together, each that can be is looked at."""
    bad = {N(11), N(13)}

    def read(namespace: Namespace, numbers: Sequence[RevisionNumber]) -> Any:
        if namespace == NAMESPACE and bad.intersection(numbers):
            raise Corrupt("bad")
        return store.revisions(namespace, numbers)

    lose_content(store)
    found = findings(changed(store, revisions=read))

    assert [("record_damaged", 11), ("record_damaged", 13), ("object_missing", 3)] == [
        (finding.code, finding.revision) for finding in found
    ]


@pytest.mark.parametrize("full", [False, True])
def test_an_unreadable_object_hides_none_beside_it(
    store: MemoryStore, *, full: bool
) -> None:
    """Where objects can't be read together, each that can be is looked at."""
    bad = {record_at(store, number).root for number in (3, 15)}

    def objects(digests: Sequence[Digest], size_max: int | None = None) -> Any:
        if bad.intersection(digests):
            raise Corrupt("bad")
        return store.objects(digests, size_max)

    lost = lose_content(store)
    found = findings(changed(store, objects=objects), full=full)
    damaged = [one for one in found if one.code == "object_damaged"]
    (missing,) = [one for one in found if one.code == "object_missing"]

    assert {digest.hex() for digest in bad} == {one.object for one in damaged}
    assert [3, 15] == [one.revision for one in damaged]
    assert all("can't be read: bad" in one.detail for one in damaged)
    assert (3, lost.hex(), "svc/020") == (len(found), missing.object, missing.key)


def test_little_is_in_memory_where_objects_are_read_one_by_one(
    store: MemoryStore,
) -> None:
    """Where objects can't be read together, pieces are as small as ever, and whole."""

    def objects(digests: Sequence[Digest], size_max: int | None = None) -> Any:
        if len(digests) > 1:
            raise Corrupt("bad")
        return store.objects(digests, size_max)

    def read(of: Store, size: int) -> list[dict[Digest, bytes]]:
        checked = CheckedStore(of, "HERE", "", bytes_at_once=size)
        states = [record_at(store, number) for number in (14, 15)]
        return list(checked.objects_of(states, set()))

    pieces = read(changed(store, objects=objects), 100)

    assert 40 < sum(map(len, pieces))
    assert dict(item for piece in read(store, 1 << 20) for item in piece.items()) == (
        dict(item for piece in pieces for item in piece.items())
    )
    assert all(sum(map(len, [*piece.values()][:-1])) <= 100 for piece in pieces)


def test_a_namespace_that_can_not_be_found_is_named(store: MemoryStore) -> None:
    """What the list of namespaces shows may be damaged where it is looked up."""
    faulty = FaultyStore(store)
    faulty.fail("namespace", Corrupt("bad"))
    (found,) = findings(faulty)

    assert ("row_damaged", "default") == (found.code, found.namespace)
    assert "namespace 'default': bad" == found.detail


@pytest.mark.parametrize("full", [False, True])
def test_objects_that_can_not_be_listed_are_no_missing_ones(
    store: MemoryStore, *, full: bool
) -> None:
    """A list of objects that is damaged is named, and objects behind it are found."""

    def broken(after: int, limit: int, size_max: int) -> Any:
        if after:
            raise Corrupt("bad")
        return store.held_objects(after, min(limit, 10), size_max)

    def endless(after: int, limit: int, size_max: int) -> Any:
        del after, limit
        return store.held_objects(0, 10, size_max)

    (found,) = findings(changed(store, held_objects=broken), full=full)
    assert "store_damaged" == found.code
    assert "the objects behind position 10 can't be listed: bad" == found.detail
    (found,) = findings(changed(store, held_objects=endless), full=full)
    assert "store_damaged" == found.code
    assert "the list of objects goes back, from 10 to 10" == found.detail


def test_what_the_store_finds_itself_is_named(store: MemoryStore) -> None:
    """With ``full`` it is told what is wrong below, and what was not looked at."""

    def check_itself() -> SelfCheck:
        return SelfCheck(["page 7 is lost", "page 9 is lost"], "no tool")

    bad = changed(store, check_itself=check_itself)
    events = all_events(bad, full=True)
    done = events[-1]

    assert [
        ("store_damaged", "page 7 is lost"),
        ("store_damaged", "page 9 is lost"),
    ] == [found[:2] for found in only(events, Finding)]
    assert isinstance(done, Verified)
    assert "no tool" == done.skipped
    assert [] == findings(bad)


# --- while others write -----------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("call", range(1, 12))
@pytest.mark.parametrize("method", ["objects", "revisions", "held_objects", "branches"])
def test_a_collection_that_overtakes_it_is_no_damage(
    whole: MemoryStore, method: str, call: int, *, full: bool
) -> None:
    """Whatever is collected and written meanwhile, nothing is found to be damaged."""
    store = copy_of(whole)
    faulty = FaultyStore(store)

    def overtake() -> None:
        engine = Engine(store, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
        applied(engine, "new", "newer", "newest")
        applied(engine, *map(str, range(4)), at=SHOP)
        engine.collect(keep=1)
        applied(engine, "last")
        engine._committer.close()

    faulty.before(method, *[lambda: None] * (call - 1), overtake)

    assert [] == findings(faulty, full=full)


def test_damage_is_named_beside_a_collection(whole: MemoryStore) -> None:
    """What is damaged and kept is named, though a collection goes on meanwhile."""
    for call in range(1, 8):
        store = copy_of(whole)
        lose_content(store)
        faulty = FaultyStore(store)

        def overtake(store: MemoryStore = store) -> None:
            gone = [N(10), N(11), N(12)]
            store.raise_epoch({NAMESPACE: gone}, store._epoch)

        faulty.before("objects", *[lambda: None] * (call - 1), overtake)

        assert ["object_missing"] == codes(faulty)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("call", range(1, 9))
def test_damage_of_what_is_kept_is_named_beside_a_collection(
    call: int, *, full: bool
) -> None:
    """Whoever needed it first may be collected meanwhile: another one needs it."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
    apply(engine, {f"svc/{n:03d}": f"{n}" for n in range(40)})
    applied(engine, *map(str, range(6)))
    digest = digest_of(b"20")
    del store._objects[digest]
    faulty = FaultyStore(store)

    def overtake() -> None:
        engine.collect(keep=1)

    faulty.before("objects", *[lambda: None] * (call - 1), overtake)

    assert [("object_missing", "svc/020", digest.hex())] == [
        (found.code, found.key, found.object) for found in findings(faulty, full=full)
    ]
    engine._committer.close()


@pytest.mark.parametrize("method", ["held_objects", "revisions"])
@pytest.mark.parametrize("needed", [False, True])
def test_a_damaged_content_is_named_beside_a_collection(
    method: str, *, needed: bool
) -> None:
    """Who needs it may be collected while it is told: by then another one does, or none."""
    keys: set[str | None] = set()
    for call in range(1, 12):
        store = MemoryStore()
        engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
        apply(engine, {"old": "content", "k": "0"})
        applied(engine, "1", "2")
        if not needed:
            apply(engine, {}, ["old"])
        applied(engine, "3", "4")
        engine._committer.close()
        store._objects[digest_of(b"content")] = (1, b"damaged")
        faulty = FaultyStore(store)

        def overtake(store: MemoryStore = store) -> None:
            gone = [N(1), N(2), N(3), N(4)]
            store.raise_epoch({NAMESPACE: gone}, store._epoch)

        faulty.before(method, *[lambda: None] * (call - 1), overtake)
        (found,) = findings(faulty, full=True)

        assert ("object_damaged", digest_of(b"content").hex()) == (
            found.code,
            found.object,
        )
        keys.add(found.key)
    assert ({"old"} if needed else {"old", None}) == keys


@pytest.mark.parametrize("last", [False, True])
def test_what_is_swept_meanwhile_is_not_named(
    store: MemoryStore, *, last: bool
) -> None:
    """A damaged object that nothing needs, and that is gone by now, is no finding."""
    digest = change_unneeded(store)
    if not last:
        store._objects[digest_of(b"more")] = (1, b"more")
    faulty = FaultyStore(store)

    def sweep() -> None:
        del store._objects[digest]

    faulty.after("held_objects", lambda: None, sweep)  # the second page is the last

    assert [] == findings(faulty, full=True)


def test_a_branch_that_moves_all_the_time_is_no_damage(store: MemoryStore) -> None:
    """Where a branch is somewhere else on each look, what it named may be collected."""
    looks = 0

    def moving(namespace: Namespace, name: BranchName) -> Any:
        nonlocal looks
        looks += 1
        found = store.branch(namespace, name)
        assert found is not None
        return found._replace(head=N(100 + looks))

    del store._revisions[NAMESPACE][N(14)]

    assert ["revision_missing"] == codes(store)
    assert [] == codes(changed(store, branch=moving))
    assert 5 < looks < 50


# --- expected heads -----------------------------------------------------------------


@pytest.fixture
def long() -> MemoryStore:
    """A store with a history of 40 revisions, and a branch from the middle of it."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
    applied(engine, *map(str, range(40)))
    branch(engine, "dev", selector(20))
    checkpoint(engine, "v1", selector(5))
    engine._committer.close()
    return store


def head(store: MemoryStore, number: int, name: str = "main") -> Head:
    """Return what is expected by somebody who has seen a revision."""
    return Head(NAMESPACE, BranchName(name), N(number), record_at(store, number).digest)


def test_every_ancestor_may_be_expected(long: MemoryStore) -> None:
    """The head, and every revision before it, is in the history."""
    expected = [head(long, number) for number in range(1, 41)]
    expected += [head(long, number, "dev") for number in range(1, 21)]

    assert [] == findings(long, expected=expected)


def test_a_store_that_was_put_back_is_found_out(long: MemoryStore) -> None:
    """An earlier copy of a store is whole, and only who expects a head can tell."""
    earlier = copy_of(long)
    engine = Engine(long, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
    apply(engine, {"k": "later"})
    engine._committer.close()
    expected = head(long, 41)
    assert [] == findings(long, expected=[expected])
    (found,) = findings(earlier, expected=[expected])
    assert ("head_unexpected", NAMESPACE, 41, "main") == (
        *found[:1],
        *found[2:4],
        found.branch,
    )
    assert "is at revision 40, and has been at 41" in found.detail
    # Also when it was written to since.
    engine = Engine(earlier, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
    applied(engine, "other", "more")
    engine._committer.close()
    (found,) = findings(earlier, expected=[expected])

    assert "head_unexpected" == found.code
    assert "its history is another one" in found.detail


def test_a_revision_of_another_branch_is_not_expected(long: MemoryStore) -> None:
    """What is not in the branch's own history is not found in it."""
    (found,) = findings(long, expected=[head(long, 30, "dev")])
    assert "head_unexpected" == found.code
    gone = head(long, 3)._replace(branch=BranchName("nobody"))
    (found,) = findings(long, expected=[gone])

    assert ("head_unexpected", "nobody") == (found.code, found.branch)


def test_a_collected_revision_may_be_expected_or_unproven(long: MemoryStore) -> None:
    """What a stored revision follows is proven; what lies behind a gap is not."""
    expected = [head(long, number) for number in range(1, 41)]
    engine = Engine(long, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
    engine.collect(keep=5)
    engine._committer.close()
    left = {40, 39, 38, 37, 36}
    for one in expected:
        found = findings(long, expected=[one])

        if one.revision in left or one.revision == 35:
            assert [] == found
        elif found:
            assert ["head_unproven"] == [finding.code for finding in found]
    assert findings(long, expected=expected[:1])


def test_a_branch_that_began_later_has_not_been_there(long: MemoryStore) -> None:
    """Where a history begins behind what is expected of it, it is another one."""
    engine = Engine(long, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
    applied(engine, "new", "newer", at=Scope(NAMESPACE, BranchName("later")))
    engine._committer.close()
    (found,) = findings(long, expected=[head(long, 40, "later")])

    assert "head_unexpected" == found.code
    assert "its history is another one" in found.detail


def test_a_damaged_branch_proves_nothing(long: MemoryStore) -> None:
    """Where the branch can't be read it can't be told what it has."""
    expected = head(long, 30)
    faulty = FaultyStore(long)
    faulty.fail("branch", Corrupt("bad"))
    (found,) = findings(faulty, expected=[expected])

    assert "head_unproven" == found.code


# --- what it does not do --------------------------------------------------------


def test_nothing_is_written(whole: MemoryStore) -> None:
    """A verification commits nothing, and removes nothing."""
    faulty = FaultyStore(copy_of(whole))
    findings(faulty, full=True)

    assert 0 == sum(faulty.calls[n] for n in ("commit", "raise_epoch", "sweep", "turn"))


def test_a_content_that_is_no_text_is_named(store: MemoryStore) -> None:
    """A content can have its digest and still be nothing that st8 could have taken."""
    bad = b"\xc3("
    store._objects[digest_of(bad)] = (1, bad)
    leaf = Node(0, [b"k"], digest_of(bad), None)
    forge_head(store, root=_put(store, leaf))
    (found,) = findings(store, full=True)

    assert ("object_damaged", 15, "k") == (found.code, found.revision, found.key)
    assert "is not UTF-8" in found.detail


# --- redactions -----------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_what_was_redacted_is_not_missed(
    any_engine: Engine, any_store: Store, *, full: bool
) -> None:
    """A content that was redacted is missing, and nothing is found for that."""
    applied(any_engine, "secret", "public")
    redact(any_engine, "k")

    events = all_events(any_store, full=full)
    assert [] == only(events, Finding)
    assert {} == any_store.objects([digest_of(b"secret")])
    # Nor does anybody look for who needs it.
    doing = {event.doing for event in only(events, Progress)}
    assert "who needs what is damaged" not in doing


def test_what_was_redacted_and_is_there_is_named(store: MemoryStore) -> None:
    """A content that came back after it was redacted is found."""
    engine = Engine(store, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
    apply(engine, {"k": "secret"})
    number = apply(engine, {"k": "public"}).number - 1
    redact(engine, "k", revision=number)
    engine._committer.close()
    store._objects[digest_of(b"secret")] = (1, b"secret")
    for full in (False, True):
        (found,) = findings(store, full=full)

        assert ("redacted_there", "k", digest_of(b"secret").hex()) == (
            found.code,
            found.key,
            found.object,
        )


def test_what_was_redacted_and_can_not_be_read_is_no_finding(
    store: MemoryStore,
) -> None:
    """Whatever lies where a redacted content was: what nobody can read is gone."""
    engine = Engine(store, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
    apply(engine, {"k": "secret"})
    number = apply(engine, {"k": "public"}).number - 1
    redact(engine, "k", revision=number)
    engine._committer.close()
    digest = digest_of(b"secret")

    def objects(digests: Sequence[Digest], size_max: int | None = None) -> Any:
        if digest in digests:
            raise Corrupt("bad")
        return store.objects(digests, size_max)

    assert [] == findings(changed(store, objects=objects))


def test_a_redaction_that_overtakes_it_is_no_damage(whole: MemoryStore) -> None:
    """What is redacted while the store is verified is not missed either."""
    for call in range(1, 6):
        store = copy_of(whole)
        engine = Engine(store, FakeClock(2 * 10**18, tick_ns=SECOND_NS))
        apply(engine, {"k": "secret"})
        number = apply(engine, {"k": "public"}).number - 1
        faulty = FaultyStore(store)

        def overtake(engine: Engine = engine, number: int = number) -> None:
            redact(engine, "k", revision=number)

        faulty.before("objects", *[lambda: None] * (call - 1), overtake)

        assert [] == findings(faulty, full=bool(call % 2))
        engine._committer.close()
