"""A backup that is damaged, tampered with or wrongly made: nothing of it gets in."""

from __future__ import annotations

import hashlib
from contextlib import closing
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import pytest
import zstandard

from st8.core import backup as form
from st8.core import node
from st8.core.backup import Counts, Head, Kind, NamespacePart
from st8.core.errors import BadBackup, Overtaken
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Digest,
    Key,
    Message,
    Namespace,
    RevisionNumber,
    Scope,
    digest_of,
)
from st8.core.limits import CONTENT_BYTES, NODE_ENTRIES
from st8.core.node import EMPTY_ROOT, Node, level_of
from st8.core.redactions import Redaction
from st8.core.revisions import (
    Branch,
    Checkpoint,
    Link,
    Parent,
    Revision,
    encode,
    make_revision,
)
from st8.engine.engine import Engine
from st8.engine.intake import Intake
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from tests.engine.acts import apply, branch, checkpoint, contents, scope
from tests.engine.backups import (
    Record,
    backup,
    leftovers,
    reader,
    records_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

A: Final = Namespace("a")
MAIN: Final = BranchName("main")
N = RevisionNumber
LOW: Final = [k for n in range(3_000) if not level_of(k := b"k%05d" % n)]
"""Keys that begin no node."""
HIGH: Final = [k for n in range(3_000) if level_of(k := b"k%05d" % n) == 1]
"""Keys that begin a leaf, and nothing above."""


@pytest.fixture
def target() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def other(target: MemoryStore) -> Iterator[Engine]:
    """An engine over ``target``."""
    with closing(Engine(target, FakeClock())) as engine:
        yield engine


def _refused(engine: Engine, target: MemoryStore, data: bytes) -> str:
    """Return why a backup is refused, of which nothing is left."""
    with pytest.raises(BadBackup) as info:
        engine.restore_backup(reader(data))
    assert [] == leftovers(target, ("a", "b", "default"))
    return info.value.wrong


def _small(engine: Engine) -> bytes:
    """Return a backup with something of everything in few bytes."""
    apply(engine, {"k": "1"}, at=scope("a"))
    apply(engine, {"k": "2", "l": ""}, at=scope("a"))
    branch(engine, "dev", at=scope("a"))
    checkpoint(engine, "good", at=scope("a"))
    return backup(engine)


# --- damage ---------------------------------------------------------------------------


def test_every_truncation_is_refused(
    engine: Engine, other: Engine, target: MemoryStore
) -> None:
    """However few bytes are missing at the end, nothing is restored."""
    data = _small(engine)
    for size in range(len(data)):
        _refused(other, target, data[:size])


def test_every_wrong_byte_is_refused(
    engine: Engine, other: Engine, target: MemoryStore
) -> None:
    """Whichever byte has a bit that is wrong, nothing is restored."""
    data = _small(engine)
    for at in range(len(data)):
        wrong = bytearray(data)
        wrong[at] ^= 1 << at % 8
        _refused(other, target, bytes(wrong))
    other.restore_backup(reader(data))
    assert {"k": "2", "l": ""} == contents(other, scope("a"))


def test_what_follows_the_end_is_refused(
    engine: Engine, other: Engine, target: MemoryStore
) -> None:
    """Not a byte may follow, nor be missing in front."""
    data = _small(engine)
    for wrong in (data + b"\0", data + data[:20], data[1:], b"\n" + data, b""):
        _refused(other, target, wrong)


def test_a_newer_format_is_told(other: Engine, target: MemoryStore) -> None:
    """What a later version of st8 may make is refused at its beginning."""
    newer = form.MAGIC.replace(b"1", b"2") + bytes(40)

    assert "not begin" in _refused(other, target, newer)


@pytest.mark.parametrize(
    "problem",
    [
        Overtaken("begin again").problem(),
        {"code": "bad_backup", "detail": "begin again"},
        {"code": "internal_error", "detail": "begin again"},
        {"code": "outcome_unknown", "detail": "begin again"},
        {"code": "rate_limited", "detail": "begin again"},
        {"code": "store_fenced", "detail": "begin again\ud800" + "x" * 100_000},
    ],
    ids=itemgetter("code"),
)
def test_a_stream_that_was_broken_off_is_no_backup(
    engine: Engine, other: Engine, target: MemoryStore, problem: dict[str, object]
) -> None:
    """Whatever its maker says, it is a bad backup here, and nothing is left of it."""
    data = _small(engine)

    said = _refused(other, target, data[:-36] + form.broken_off(problem))

    assert "broken off" in said
    assert "begin again" in said
    assert len(said) < 400


def test_a_stream_that_was_broken_off_oddly_is_no_backup(
    engine: Engine, other: Engine
) -> None:
    """What does not even say why it ends is told too."""
    data = _small(engine)
    for odd in (b"[]", b"no json", b""):
        block = form.block(form.BROKEN_OFF, odd)
        with pytest.raises(Exception, match="broken off"):
            other.restore_backup(reader(data[:-36] + block))


def _sealed(*blocks: bytes) -> bytes:
    """Return a backup of these blocks, with its digest."""
    data = b"".join((form.MAGIC, *blocks, bytes(4)))
    return data + hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("block", "wrong"),
    [
        (form.block(9, b""), "how it is packed"),
        (form.block(form.ZSTD, b"no frame"), "does not decompress"),
        (
            form.block(form.ZSTD, zstandard.compress(bytes(form.BLOCK_BYTES_MAX + 1))),
            "claims to hold 4194305 bytes",
        ),
        ((2**31).to_bytes(4, "big"), "claims a size of 2147483648 bytes"),
        (form.block(form.PLAIN, b"\x01" + b"\xff" * 20), "no length"),
        (form.block(form.PLAIN, b"\x01\xff\xff\xff\x7f"), "claims a size"),
        (form.block(form.PLAIN, form.record(8, b"")), "records of kind 8"),
        (form.block(form.PLAIN, form.record(Kind.OBJECT, b"")), "wrong kind of block"),
        (form.block(form.PLAIN, form.record(Kind.NAMESPACE, b"")), "order"),
        (form.block(form.PLAIN, form.record(Kind.HEAD, b"")), "garbled"),
        (form.block(form.PLAIN, form.record(Kind.HEAD, bytes(10))), "garbled"),
        (form.block(form.PLAIN, form.record(Kind.HEAD, bytes(9))), "last record"),
        (form.block(form.PLAIN, form.record(Kind.HEAD, bytes(9)) * 2), "two heads"),
        (form.block(form.PLAIN, form.record(Kind.HEAD, bytes(9))[:-1]), "last record"),
        (form.block(form.PLAIN, b"\x01"), "last record"),
    ],
)
def test_odd_blocks_are_refused(
    other: Engine, target: MemoryStore, block: bytes, wrong: str
) -> None:
    """Blocks and records that can't be are refused, whatever the digest says."""
    assert wrong in _refused(other, target, _sealed(block))


# --- other records ---------------------------------------------------------------------


def _counted(records: Sequence[Record]) -> list[Record]:
    """Return records with the end that fits them."""
    kinds = [kind for kind, _ in records]
    counts = Counts(
        *(
            kinds.count(kind)
            for kind in (
                Kind.NAMESPACE,
                Kind.BRANCH,
                Kind.CHECKPOINT,
                Kind.OBJECT,
                Kind.REVISION,
                Kind.REDACTION,
            )
        )
    )
    return [*records, (Kind.END, form.encode_counts(counts))]


def _named(
    revisions: Sequence[tuple[Revision, bytes]],
    *,
    parts: Iterable[bytes] = (),
    last: int | None = None,
    name: str = "a",
    branches: Sequence[Branch] | None = None,
    checkpoints: Sequence[Checkpoint] = (),
) -> bytes:
    """Return the backup of a namespace with these revisions, its objects in front."""
    head, _ = revisions[-1]
    space = str.__new__(Namespace, name)
    last_number = N(head.number if last is None else last)
    if branches is None:
        branches = [Branch(MAIN, N(0), N(0), *head.link)]
    return written(
        _counted(
            [
                (Kind.HEAD, form.encode_head(Head(0, None))),
                (
                    Kind.NAMESPACE,
                    form.encode_namespace(
                        NamespacePart(space, last_number, Link(N(0), Digest(b"")), N(0))
                    ),
                ),
                *((Kind.BRANCH, form.encode_branch(space, one)) for one in branches),
                *(
                    (Kind.CHECKPOINT, form.encode_checkpoint(space, one))
                    for one in checkpoints
                ),
                *((Kind.OBJECT, data) for data in parts),
                *((Kind.REVISION, data) for _, data in revisions),
            ]
        )
    )


def _revision(
    number: int = 1,
    parent: Revision | None = None,
    root: Digest = EMPTY_ROOT,
    *,
    time_ns: int = 5,
    name: str = "a",
) -> tuple[Revision, bytes]:
    return make_revision(
        N(number),
        Scope(str.__new__(Namespace, name), MAIN),
        parent,
        None,
        root=root,
        kind="apply",
        message=Message("m"),
        author=Author(""),
        time_ns=time_ns,
    )


def _changed(revision: Revision, **changes: object) -> tuple[Revision, bytes]:
    """Return a revision that is not as make_revision makes it."""
    changed = revision._replace(**changes)  # type: ignore[arg-type]
    data = encode(changed)
    return changed._replace(digest=digest_of(data)), data


ONE, ONE_DATA = _revision()
TWO, TWO_DATA = _revision(2, ONE, time_ns=7)
X: Final = Digest(bytes(range(32)))


def test_what_is_built_here_is_taken_when_it_is_right(
    other: Engine, target: MemoryStore
) -> None:
    """The builder of the wrong backups makes right ones, too."""
    other.restore_backup(reader(_named([(ONE, ONE_DATA), (TWO, TWO_DATA)])))

    assert ["a", "a: 1", "a: 2", "a: main"] == leftovers(target, ["a"])


_PARENT = Parent(N(1), ONE.digest, EMPTY_ROOT)


@pytest.mark.parametrize(
    ("second", "wrong"),
    [
        (_changed(TWO, parents=(_PARENT._replace(digest=X),)), "another one"),
        (_changed(TWO, parents=(_PARENT._replace(root=X),)), "another one"),
        (_changed(TWO, parents=(_PARENT, _PARENT)), "more than one parent"),
        (_changed(TWO, parents=(_PARENT._replace(number=N(2)),)), "by the rules"),
        (_changed(TWO, parents=(_PARENT._replace(number=N(3)),)), "by the rules"),
        (_changed(TWO, parents=(), skip=None), "by the rules"),
        (_changed(TWO, depth=1), "by the rules"),
        (_changed(TWO, depth=3), "by the rules"),
        (_changed(TWO, time_ns=4), "by the rules"),
        (_changed(TWO, skip=Link(N(1), X)), "is one here"),
        (_changed(TWO, skip=Link(N(0), X)), "by the rules"),
        (_changed(TWO, time_ns=2**64 - 1), "by the rules"),
        (_changed(TWO, author="two\nlines"), "control characters"),
        (_changed(TWO, message="\0"), "NUL"),
        (_changed(TWO, scope=Scope(A, str.__new__(BranchName, " "))), "white space"),
        (_changed(TWO, scope=Scope(Namespace("b"), MAIN)), "unannounced"),
        (_changed(TWO, number=N(0)), "do not ascend"),
        (_changed(TWO, number=N(1)), "do not ascend"),
        (_changed(TWO, number=N(9)), "above the newest"),
        ((TWO, TWO_DATA + b"\0"), "too long"),
        ((TWO, TWO_DATA[:-1]), "too early"),
        ((TWO, TWO_DATA[:3] + b"\x82\x00" + TWO_DATA[4:]), "or is garbled"),
        (_revision(2, ONE, root=X), "is missing"),
        (_revision(2, ONE, root=digest_of(b"text")), "is missing"),
    ],
)
def test_a_revision_that_breaks_the_chain_is_refused(
    other: Engine, target: MemoryStore, second: tuple[Revision, bytes], wrong: str
) -> None:
    """A revision is let in only if st8 could have made it after those before it."""
    data = _named([(ONE, ONE_DATA), second], last=2, branches=[])
    if wrong == "is one here":
        # A skip to the parent does not repeat its digest, so this is the same one.
        other.restore_backup(reader(data))
        return
    assert wrong in _refused(other, target, data)


def test_a_wrong_skip_is_refused(other: Engine, target: MemoryStore) -> None:
    """A skip leads where the rule says, or to the parent where that one was collected."""
    chain = [(ONE, ONE_DATA)]
    for number in range(2, 9):
        parent = chain[-1][0]
        skip = parent.skip
        known = None if skip is None else chain[skip.number - 1][0]
        chain.append(
            make_revision(
                N(number),
                Scope(A, MAIN),
                parent,
                known,
                root=EMPTY_ROOT,
                kind="apply",
                message=Message("m"),
                author=Author(""),
                time_ns=5,
            )
        )
    last, _ = chain[-1]
    assert last.skip is not None
    assert 1 == last.skip.number
    for number in (2, 3, 6):
        wrong = _changed(last, skip=chain[number - 1][0].link)
        _refused(other, target, _named([*chain[:-1], wrong]))
    wrong = _changed(last, skip=Link(N(1), X))
    _refused(other, target, _named([*chain[:-1], wrong]))
    shorter = _changed(last, skip=chain[-2][0].link)
    other.restore_backup(reader(_named([*chain[:-1], shorter])))


def test_an_orphan_needs_the_state_before_it(
    other: Engine, target: MemoryStore
) -> None:
    """Where the parent was collected, what the revision changed must still be told."""
    content = b"1"
    leaf = node.encode(Node(0, [b"k"], digest_of(content), None))
    one = _revision(1, None, digest_of(leaf))[0]
    two = _revision(2, one)

    assert "is missing" in _refused(other, target, _named([two]))
    other.restore_backup(reader(_named([two], parts=[content, leaf])))
    assert [2] == [e.revision.number for e in other.log(scope("a"), limit=9).entries]


FOUR: Final = _changed(TWO, number=N(4), parents=(Parent(N(2), X, EMPTY_ROOT),))
ORPHAN: Final = _changed(
    TWO,
    number=N(9),
    parents=(Parent(N(8), X, EMPTY_ROOT),),
    depth=5,
    skip=FOUR[0].link,
)
"""It follows what was collected, and skips to what was not."""
CHILD: Final = _changed(
    ORPHAN[0],
    number=N(10),
    parents=(Parent(N(9), ORPHAN[0].digest, EMPTY_ROOT),),
    depth=6,
    skip=ORPHAN[0].link,
)


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"skip": Link(N(3), X)}, True),
        ({"skip": Link(N(4), X)}, False),
        ({"skip": Link(N(8), X)}, True),
        ({"skip": Link(N(9), X)}, False),
        ({"parents": (Parent(N(9), X, EMPTY_ROOT),)}, False),
        ({"depth": 1}, False),
        ({"depth": 2}, True),
        ({"depth": 9}, True),
        ({"depth": 10}, False),
        ({"time_ns": 2**63 - 1}, True),
        ({"time_ns": 2**63}, False),
    ],
)
def test_what_follows_a_collected_revision_is_as_it_can_be(
    other: Engine, target: MemoryStore, changes: dict[str, object], *, right: bool
) -> None:
    """Where the parent was collected, what can still be told of it has to be right."""
    data = _named([FOUR, _changed(ORPHAN[0], **changes)], branches=[])
    if right:
        other.restore_backup(reader(data))
    else:
        assert "by the rules" in _refused(other, target, data)


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"skip": Link(N(3), X)}, True),
        ({"skip": Link(N(4), X)}, False),
        ({"depth": 5}, False),
        ({"depth": 7}, False),
        ({"time_ns": 7}, True),
        ({"time_ns": 6}, False),
    ],
)
def test_what_may_skip_to_a_collected_revision_is_as_it_can_be(
    other: Engine, target: MemoryStore, changes: dict[str, object], *, right: bool
) -> None:
    """Where what the parent skips to was collected, the parent still has to fit."""
    parent = _changed(ORPHAN[0], skip=Link(N(3), X))
    named = (Parent(N(9), parent[0].digest, EMPTY_ROOT),)
    child = _changed(CHILD[0], **{"parents": named, "skip": parent[0].link, **changes})
    data = _named([FOUR, parent, child], branches=[])
    if right:
        other.restore_backup(reader(data))
    else:
        assert "by the rules" in _refused(other, target, data)


_ROOT_LINK = (ONE.number, ONE.digest)


def _cp(name: str = "good", number: int = 1, digest: Digest = ONE.digest) -> Checkpoint:
    return Checkpoint(
        str.__new__(CheckpointName, name),
        N(number),
        digest,
        MAIN,
        Message(""),
        Author(""),
        1,
    )


@pytest.mark.parametrize(
    ("branches", "checkpoints", "wrong"),
    [
        ([Branch(MAIN, N(0), N(0), N(1), X)], [], "missing or another one"),
        ([Branch(MAIN, N(0), N(0), N(2), X)], [], "too far on"),
        ([Branch(MAIN, N(0), N(2), *_ROOT_LINK)], [], "too far on"),
        ([Branch(MAIN, N(0), N(0), N(0), X)], [], "garbled"),
        ([Branch(MAIN, N(1), N(0), *_ROOT_LINK)], [], "garbled"),
        (
            [Branch(str.__new__(BranchName, ""), N(0), N(0), *_ROOT_LINK)],
            [],
            "must not be empty",
        ),
        ([Branch(MAIN, N(0), N(0), *_ROOT_LINK)] * 2, [], "do not ascend"),
        ([], [_cp(number=2)], "missing or another one"),
        ([], [_cp(digest=X)], "missing or another one"),
        ([], [_cp(number=0)], "garbled"),
        ([], [_cp("a\nb")], "control characters"),
        ([], [_cp(), _cp()], "do not ascend"),
        ([], [_cp()._replace(time_ns=2**63)], "garbled"),
    ],
)
def test_a_wrong_pointer_is_refused(
    other: Engine,
    target: MemoryStore,
    branches: Sequence[Branch],
    checkpoints: Sequence[Checkpoint],
    wrong: str,
) -> None:
    """What a branch or checkpoint names has to be there, under a name that can be."""
    data = _named([(ONE, ONE_DATA)], branches=branches, checkpoints=checkpoints)

    assert wrong in _refused(other, target, data)


def _redaction(namespace: str, key: str) -> bytes:
    return form.encode_redaction(
        Redaction(
            X,
            Namespace(namespace),
            str.__new__(Key, key),
            Author("ops"),
            Message(""),
            1,
        )
    )


def test_a_missing_base_is_refused(other: Engine, target: MemoryStore) -> None:
    """The revision that a branch was made from is kept always, so it has to be there."""
    three = _revision(3, TWO)
    four = _revision(4, three[0])
    branches = [Branch(MAIN, N(2), N(2), *four[0].link)]
    data = _named([three, four], branches=branches)

    assert "made from revision 2" in _refused(other, target, data)


@pytest.mark.parametrize(
    ("name", "last", "wrong"),
    [
        ("\x01restore", 1, "control characters"),
        ("", 1, "must not be empty"),
        ("a" * 2_000, 1, "of 2000 bytes"),
        ("a", 0, "garbled"),
        ("a", 2**63, "garbled"),
    ],
)
def test_a_wrong_namespace_is_refused(
    other: Engine, target: MemoryStore, name: str, last: int, wrong: str
) -> None:
    """A namespace has a name that can be, and a number that was given."""
    assert wrong in _refused(
        other, target, _named([_revision(name=name)], name=name, last=last)
    )


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda r: r.insert(1, r[0]), "two heads"),
        (lambda r: r.pop(0), "order"),
        (lambda r: r.insert(1, r.pop(3)), "unannounced"),
        (lambda r: r.insert(1, r[1]), "do not ascend"),
        (lambda r: r.append(r[1]), "order"),
        (lambda r: r.insert(3, r.pop(5)), "order"),
        (lambda r: r.pop(5), "is missing"),
        (lambda r: r.append((Kind.OBJECT, b"\xfe")), "neither a node nor a text"),
        (lambda r: r.append((Kind.OBJECT, b"\xff")), "begin with its tag"),
        (lambda r: r.append((Kind.OBJECT, b"\xffN1")), "too early"),
        (lambda r: r.append((Kind.OBJECT, node.encode(node.EMPTY))), "0 entries"),
        (lambda r: r.append((Kind.REVISION, b"\xff")), "too early"),
        (lambda r: r.append((Kind.REDACTION, b"\xff")), "garbled"),
        (lambda r: r.append((Kind.REDACTION, _redaction("b", "k"))), "unannounced"),
        (lambda r: r.append((Kind.REDACTION, _redaction("a", "./k"))), "path segment"),
    ],
)
def test_records_in_disorder_are_refused(
    engine: Engine,
    other: Engine,
    target: MemoryStore,
    change: Callable[[list[Record]], object],
    wrong: str,
) -> None:
    """Records come in one order, and none may be missing, odd or there twice."""
    records = records_of(_small(engine))[:-1]
    change(records)

    assert wrong in _refused(other, target, written(_counted(records)))


def test_a_wrong_end_is_refused(
    engine: Engine, other: Engine, target: MemoryStore
) -> None:
    """The last record counts the others, and is the last."""
    records = records_of(_small(engine))
    for n in range(len(Counts._fields)):
        counts = list(form.decode_counts(records[-1][1]))
        counts[n] += 1
        end = Kind.END, form.encode_counts(Counts(*counts))
        assert "as many records" in _refused(
            other, target, written([*records[:-1], end])
        )
    assert "follows its last record" in _refused(
        other, target, written([*records, records[-1]])
    )
    assert "last record is missing" in _refused(other, target, written(records[:-1]))


# --- on top of another ------------------------------------------------------------------


def _space(last: int) -> Record:
    part = NamespacePart(A, N(last), Link(N(0), Digest(b"")), N(0))
    return Kind.NAMESPACE, form.encode_namespace(part)


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ([], "lacks a namespace"),
        ([_space(1)], "goes back"),
        ([_space(2), (Kind.REVISION, _changed(TWO, depth=3)[1])], "one here and an"),
        ([_space(2)], None),
        ([_space(2), (Kind.REVISION, TWO_DATA)], None),
        ([_space(3), (Kind.REVISION, _revision(3, TWO, time_ns=7)[1])], None),
    ],
)
def test_an_increment_adds_to_what_is_under_it(
    other: Engine, target: MemoryStore, records: list[Record], wrong: str | None
) -> None:
    """It may repeat what the backup under it has, and lacks or changes none of it."""
    full = _named([(ONE, ONE_DATA), (TWO, TWO_DATA)], branches=[])
    head = Kind.HEAD, form.encode_head(Head(0, Digest(full[-32:])))
    data = full + written(_counted([head, *records]))
    if wrong is None:
        other.restore_backup(reader(data))
    else:
        assert wrong in _refused(other, target, data)


# --- other trees ------------------------------------------------------------------------


def _leaf(*keys: bytes, content: bytes = b"1") -> Node:
    return Node(0, list(keys), digest_of(content) * len(keys), None)


def _above(*nodes: Node, counts: list[int] | None = None, level: int = 0) -> Node:
    return Node(
        level or nodes[0].level + 1,
        [one.keys[0] for one in nodes],
        b"".join(digest_of(node.encode(one)) for one in nodes),
        counts or [one.count for one in nodes],
    )


def _tree(*nodes: Node, content: bytes = b"1") -> bytes:
    """Return the backup of the tree whose root is the last of its nodes."""
    parts = [content, *map(node.encode, nodes)]
    return _named([_revision(root=digest_of(parts[-1]))], parts=parts)


def _after(key: bytes, keys: Sequence[bytes]) -> bytes:
    return next(other for other in keys if other > key)


FIRST: Final = _leaf(LOW[0], _after(LOW[0], LOW))
SECOND: Final = _leaf(_after(FIRST.keys[-1], HIGH))
THIRD: Final = _leaf(_after(SECOND.keys[-1], HIGH))
RIGHT: Final = _above(FIRST, SECOND, THIRD)
LATE: Final = _leaf(LOW[0], _after(THIRD.keys[0], LOW))


def test_a_right_tree_is_taken(other: Engine) -> None:
    """The builder of the wrong trees makes right ones, too."""
    other.restore_backup(reader(_tree(FIRST, SECOND, THIRD, RIGHT)))

    assert 4 == len(contents(other, scope("a")))


def test_a_node_may_be_as_large_as_any(other: Engine) -> None:
    """As many entries as a node can have are taken."""
    other.restore_backup(reader(_tree(_leaf(*LOW[: NODE_ENTRIES.maximum]))))

    assert NODE_ENTRIES.maximum == len(contents(other, scope("a")))


@pytest.mark.parametrize(
    ("nodes", "wrong"),
    [
        ([FIRST, SECOND, RIGHT], "is missing"),
        ([RIGHT], "is missing"),
        ([FIRST, _above(FIRST)], "not the root of a tree"),
        ([_leaf(LOW[1], LOW[0])], "do not ascend"),
        ([_leaf(LOW[0], LOW[0])], "do not ascend"),
        ([_leaf(LOW[0], _after(LOW[0], HIGH))], "end where it should"),
        ([FIRST, b := _leaf(_after(FIRST.keys[-1], LOW)), _above(FIRST, b)], "end wh"),
        ([_leaf(b"a/../b")], "path segment"),
        ([_leaf(b"")], "must not be empty"),
        ([_leaf(b"\xff")], "not UTF-8"),
        ([_leaf(b"k" * 2_000)], "of 2000 bytes"),
        ([_leaf(*LOW[:1_025])], "1025 entries"),
        ([FIRST, SECOND, _above(FIRST, SECOND, counts=[1, 2])], "what its parent"),
        ([FIRST, SECOND, _above(FIRST, SECOND, counts=[3, 0])], "without documents"),
        ([FIRST, SECOND, _above(FIRST, SECOND, level=2)], "end where it should"),
        ([FIRST, _above(FIRST, level=2)], "what its parent"),
        ([LATE, SECOND, THIRD, _above(LATE, SECOND, THIRD)], "what its parent"),
        (
            [FIRST, SECOND, Node(1, [LOW[0], HIGH[9]], RIGHT.digests[:64], [2, 1])],
            "what its parent",
        ),
        ([FIRST, Node(0, [LOW[0]], digest_of(node.encode(FIRST)), None)], "what its p"),
    ],
)
def test_a_wrong_tree_is_refused(
    other: Engine, target: MemoryStore, nodes: Sequence[Node], wrong: str
) -> None:
    """A state is let in only as the one tree of its documents."""
    assert wrong in _refused(other, target, _tree(*nodes))


@pytest.mark.parametrize("late", [False, True])
def test_what_is_far_below_may_not_reach_too_far(
    other: Engine, target: MemoryStore, *, late: bool
) -> None:
    """The last key of a part is before the first one behind it, on every level."""
    tall = next(k for n in range(500, 3_000) if level_of(k := b"k%05d" % n) == 2)
    second = _leaf(SECOND.keys[0], _after(tall if late else SECOND.keys[0], LOW))
    left, third = _above(FIRST, second), _leaf(tall)
    right = _above(third)
    assert second.keys[0] < tall
    data = _tree(FIRST, second, left, third, right, _above(left, right))
    if late:
        assert "what its parent" in _refused(other, target, data)
    else:
        other.restore_backup(reader(data))
        assert 5 == len(contents(other, scope("a")))


def test_a_shared_part_in_a_wrong_place_is_refused(
    other: Engine, target: MemoryStore
) -> None:
    """What the state before has too may not be laid over what follows it now."""
    first = _leaf(LOW[0], _after(THIRD.keys[0], LOW))
    last = _leaf(_after(first.keys[-1], HIGH))
    right, wrong = _above(first, last), _above(first, SECOND, last)
    parts = [b"1", *map(node.encode, (first, last, right, SECOND, wrong))]
    one = _revision(root=digest_of(node.encode(right)))
    two = _revision(2, one[0], digest_of(node.encode(wrong)))

    assert "what its parent" in _refused(other, target, _named([one, two], parts=parts))
    other.restore_backup(reader(_named([one], parts=parts[:4])))


@pytest.mark.parametrize("content", [b"\xfe", b"\xff\xfe", b"a\xc3"])
def test_a_content_that_is_no_text_is_refused(
    other: Engine, target: MemoryStore, content: bytes
) -> None:
    """What a leaf names is UTF-8."""
    data = _tree(_leaf(b"k", content=content), content=content)

    assert _refused(other, target, data)


def test_a_content_may_be_as_large_as_any(other: Engine, target: MemoryStore) -> None:
    """The largest content that can be applied is restored, a larger one refused."""
    for size in (CONTENT_BYTES.maximum + 1, CONTENT_BYTES.maximum):
        content = b"x" * size
        data = _tree(_leaf(b"k", content=content), content=content)
        if size > CONTENT_BYTES.maximum:
            assert "claims a size" in _refused(other, target, data)
        else:
            other.restore_backup(reader(data))
    assert CONTENT_BYTES.maximum == len(contents(other, scope("a"))["k"])


def test_a_content_that_the_store_has_is_no_larger(
    other: Engine, target: MemoryStore
) -> None:
    """Nor is a larger one let in that the stream leaves out, and the store has."""
    content = b"x" * (CONTENT_BYTES.maximum + 1)
    target._objects[digest_of(content)] = (1, content)
    leaf = node.encode(_leaf(b"k", content=content))
    data = _named([_revision(root=digest_of(leaf))], parts=[leaf])

    assert "where content_bytes_max is 4194304" in _refused(other, target, data)


@pytest.mark.parametrize("known", [1, 3, 300])
@pytest.mark.parametrize("at_once", [(1, 1), (2, 10), (256, 1)])
def test_however_little_is_remembered_all_gets_in(
    other: Engine,
    target: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    known: int,
    at_once: tuple[int, int],
) -> None:
    """What is neither in the stream nor in memory is read from the store."""
    objects, size = at_once
    monkeypatch.setattr("st8.engine.intake._KNOWN", known)
    monkeypatch.setattr("st8.engine.intake._CACHE_BYTES", 0)
    monkeypatch.setattr("st8.engine.intake._READ_AT_ONCE", min(objects, known))
    monkeypatch.setattr("st8.engine.intake._READ_BYTES_AT_ONCE", size)
    texts = {key: b"content of %b" % key for key in LOW[:8]}
    leaf = node.encode(
        Node(0, list(texts), b"".join(map(digest_of, texts.values())), None)
    )
    target._objects.update({digest_of(one): (0, one) for one in texts.values()})
    data = _named([_revision(root=digest_of(leaf))], parts=[leaf])
    other.restore_backup(reader(data))

    # So that no collection takes what was not written but found.
    assert all(stamp > 0 for stamp, _ in target._objects.values())

    assert {key.decode(): text.decode() for key, text in texts.items()} == contents(
        other, scope("a")
    )


def test_what_has_come_is_written_as_it_comes(target: MemoryStore) -> None:
    """Whoever writes is told of each object, and how large all are that wait."""
    sizes: list[int] = []
    intake = Intake(target, lambda: sizes.append(intake.pending_bytes))
    for content in (b"12345", b"678", b"12345"):
        intake.add(content)
    intake.written()

    assert ([5, 8, 8], 0) == (sizes, intake.pending_bytes)


def test_a_node_in_other_bytes_is_refused(other: Engine, target: MemoryStore) -> None:
    """A node is written in one way only."""
    longer = node.encode(_leaf(b"k")).replace(b"\x01\x01k", b"\x81\x00\x01k")
    data = _named([_revision(root=digest_of(longer))], parts=[b"1", longer])

    assert "ends too early" in _refused(other, target, data)


def test_a_wrong_tree_that_the_store_has_is_refused(
    other: Engine, target: MemoryStore
) -> None:
    """What a stream leaves out is not believed because it lies in the store."""
    parts = [b"1", *map(node.encode, (FIRST, wrong := _above(FIRST, level=1)))]
    memory = target._objects
    memory.update({digest_of(data): (1, data) for data in parts})
    data = _named([_revision(root=digest_of(node.encode(wrong)))])

    assert "not the root" in _refused(other, target, data)
    memory[digest_of(b"1")] = (1, b"2")
    right = _named([_revision(root=digest_of(node.encode(FIRST)))])
    with pytest.raises(Exception, match="does not match its digest"):
        other.restore_backup(reader(right))


def test_what_the_store_has_already_is_kept_from_a_collection(
    other: Engine, target: MemoryStore
) -> None:
    """Objects that a restore finds are stamped as those that it writes."""
    parts = [b"1", node.encode(FIRST)]
    target._objects.update({digest_of(data): (0, data) for data in parts})
    other.restore_backup(reader(_named([_revision(root=digest_of(parts[1]))])))
    stamps = {stamp for stamp, _ in target._objects.values()}

    assert {target.namespace(A).epoch} == stamps
