"""Revisions: their bytes, the chain of their digests, and their long steps."""

from __future__ import annotations

import random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.errors import Corrupt
from st8.core.ids import (
    Author,
    BranchName,
    Digest,
    Message,
    Namespace,
    RevisionNumber,
    Scope,
    digest_of,
)
from st8.core.node import EMPTY_ROOT
from st8.core.revisions import Link, Parent, Revision, decode, encode, make_revision
from tests.core.trees import value

SCOPE = Scope(Namespace("payments/prod"), BranchName("main"))
TIME_NS = 1_767_225_600_000_000_000
EMPTY_HEX = "21a0f84ff35282151bae0eeb1e6d8d545db1e1f9a0ac1aa57f4885df1dc5c467"
V1 = digest_of(b"v1\n")

FIRST_HEX = (
    "ff5231"  # tag
    "01"  # number
    "00"  # kind: apply
    "18867251edfa0000"  # time
    "01"  # depth
    "00"  # parents
    + EMPTY_HEX  # root
    + "0d7061796d656e74732f70726f64"  # payments/prod
    "046d61696e"  # main
    "00"  # author
    "056170706c79"  # apply
)
FIRST_DIGEST = "40307dbf2c4aa7992e4c8bf48b69af43776281f1b047a098a4e2fecd175b8114"
SECOND_HEX = (
    "ff5231"
    "ac02"  # 300
    "01"  # rollback
    "18867251edfa0001"
    "02"
    "01"
    "01"
    + FIRST_DIGEST
    + EMPTY_HEX  # the parent: number, digest, root
    + "01"  # skip: the parent, whose digest stands there already
    "2d27fbdf4e8ca207afbfa388ca9172fbcc6c70e534af2476b3b704f87debadcf"
    "0d7061796d656e74732f70726f64"
    "046d61696e"
    "096f7073203c6140783e"  # ops <a@x>
    "087a7572c3bc636b0a"  # zurück and LF
)
SECOND_DIGEST = "013e7c5869d676ab3c95a74e70c677a5c9823d205193909cb384cee196d0ad1f"
FOURTH_HEX = (
    "ff5231"
    "04"
    "02"  # restore
    "18867251edfa0000"
    "04"
    "01"
    "03"
    "166933aa79bcca8a15dca05331367fac762eb925e87bb7717ca6ffa6aa8ed62b"
    + EMPTY_HEX
    + "01"
    + FIRST_DIGEST  # skip: further back than the parent
    + EMPTY_HEX
    + "0d7061796d656e74732f70726f64"
    "046d61696e"
    "00"
    "0172"
)
FOURTH_DIGEST = "473d407c90abebff6e963a945d239cab9593c2b9b3dfd3e1bf0e7e93e0fddeb1"


def _make(
    number: int,
    parent: Revision | None,
    parent_skip: Revision | None,
    *,
    root: Digest = EMPTY_ROOT,
    kind: Literal["apply", "rollback", "restore"] = "apply",
    message: str = "apply",
    author: str = "",
    time_ns: int = TIME_NS,
) -> tuple[Revision, bytes]:
    return make_revision(
        RevisionNumber(number),
        SCOPE,
        parent,
        parent_skip,
        root=root,
        kind=kind,
        message=Message(message),
        author=Author(author),
        time_ns=time_ns,
    )


FIRST, FIRST_DATA = _make(1, None, None)
SECOND, SECOND_DATA = _make(
    300,
    FIRST,
    None,
    root=V1,
    kind="rollback",
    message="zurück\n",
    author="ops <a@x>",
    time_ns=TIME_NS + 1,
)

THIRD, _ = _make(3, _make(2, FIRST, None)[0], FIRST)
FOURTH, FOURTH_DATA = _make(
    4, THIRD, _make(2, FIRST, None)[0], kind="restore", message="r"
)

DIGESTS = st.integers(0, 99).map(value)
NUMBERS = st.integers(1, 2**63 - 1).map(RevisionNumber)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")),
    min_size=1,
    max_size=20,
)


@st.composite
def _revisions(draw: st.DrawFn) -> Revision:
    parents = tuple(
        draw(st.lists(st.builds(Parent, NUMBERS, DIGESTS, DIGESTS), max_size=3))
    )
    skip: Link | None = None
    if parents:
        first = Link(parents[0].number, parents[0].digest)
        far = draw(st.builds(Link, NUMBERS, DIGESTS))
        skip = first if far.number == first.number or draw(st.booleans()) else far
    return _with_digest(
        Revision(
            draw(NUMBERS),
            Scope(Namespace(draw(NAMES)), BranchName(draw(NAMES))),
            parents,
            draw(DIGESTS),
            draw(st.sampled_from(["apply", "rollback", "restore"])),
            Message(
                draw(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
            ),
            Author(draw(NAMES | st.just(""))),
            draw(st.integers(0, 2**63 - 1)),
            draw(st.integers(1, 2**40)),
            skip,
            Digest(b""),
        )
    )


REVISIONS = _revisions()


def _with_digest(revision: Revision) -> Revision:
    return revision._replace(digest=digest_of(encode(revision)))


# --- bytes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "made", "data", "digest"),
    [
        (FIRST, FIRST_DATA, FIRST_HEX, FIRST_DIGEST),
        (SECOND, SECOND_DATA, SECOND_HEX, SECOND_DIGEST),
        (FOURTH, FOURTH_DATA, FOURTH_HEX, FOURTH_DIGEST),
    ],
    ids=["first", "second", "fourth"],
)
def test_bytes_are_those_of_the_format(
    revision: Revision, made: bytes, data: str, digest: str
) -> None:
    """A revision's bytes and digest are what they were when the format was fixed."""
    assert data == encode(revision).hex() == made.hex()
    assert digest == revision.digest.hex() == digest_of(made).hex()
    assert revision == decode(bytes.fromhex(data))


@given(revision=REVISIONS)
def test_decoding_undoes_encoding(revision: Revision) -> None:
    """A revision's bytes decode to it, its digest included, and encode again."""
    data = encode(revision)

    assert revision == decode(data)
    assert data == encode(decode(data))


@given(revision=REVISIONS, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_shows(revision: Revision, at: int, bit: int) -> None:
    """With one bit flipped, a record is Corrupt or has another digest."""
    data = bytearray(encode(revision))
    data[at % len(data)] ^= 1 << bit
    try:
        flipped = decode(bytes(data))
    except Corrupt:
        return
    assert revision.digest != flipped.digest


def test_every_byte_is_covered() -> None:
    """Changing any byte of a record, to anything, changes its digest or is Corrupt."""
    for at in range(len(SECOND_DATA)):
        for flip in range(1, 256):
            data = bytearray(SECOND_DATA)
            data[at] ^= flip
            try:
                actual = decode(bytes(data)).digest
            except Corrupt:
                continue
            assert SECOND.digest != actual


@given(revision=REVISIONS, cut=st.integers(0, 10_000))
def test_a_record_cut_short_is_corrupt(revision: Revision, cut: int) -> None:
    """A beginning of a record that is not all of it is Corrupt."""
    data = encode(revision)

    with pytest.raises(Corrupt):
        decode(data[: cut % len(data)])


@given(revision=REVISIONS, more=st.binary(min_size=1, max_size=20))
def test_bytes_behind_a_record_are_corrupt(revision: Revision, more: bytes) -> None:
    """A record with anything behind it is Corrupt."""
    with pytest.raises(Corrupt):
        decode(encode(revision) + more)


@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(b"\xffR1".__add__))
def test_garbage_is_corrupt_and_nothing_worse(data: bytes) -> None:
    """Whatever the bytes, they are those of a revision or Corrupt."""
    try:
        revision = decode(data)
    except Corrupt:
        return
    assert digest_of(data) == revision.digest
    assert data == encode(revision)


@given(text=st.text())
def test_no_content_is_a_revision(text: str) -> None:
    """No UTF-8 text decodes as a revision."""
    with pytest.raises(Corrupt):
        decode(text.encode())


# --- what follows what ------------------------------------------------------------------


def test_the_first_revision_follows_nothing() -> None:
    """A first revision has no parent, depth 1 and the empty state before it."""
    assert ((), 1, None, 0, EMPTY_ROOT) == (
        FIRST.parents,
        FIRST.depth,
        FIRST.skip,
        FIRST.parent_number,
        FIRST.parent_root,
    )


def test_a_revision_names_its_parent_by_digest() -> None:
    """A later revision holds its parent's number, digest and root, and skips to it."""
    parent, _ = _make(7, None, None, root=V1)
    child, _ = _make(9, parent, None)

    assert (Parent(RevisionNumber(7), parent.digest, V1),) == child.parents
    assert (7, V1, 2, parent.link) == (
        child.parent_number,
        child.parent_root,
        child.depth,
        child.skip,
    )


@pytest.mark.parametrize("backwards_ns", [1, 10**9, TIME_NS])
def test_time_never_runs_backwards(backwards_ns: int) -> None:
    """A revision made when the clock was set back has its parent's time."""
    child, data = _make(2, FIRST, None, time_ns=TIME_NS - backwards_ns)

    assert TIME_NS == child.time_ns == decode(data).time_ns


def test_time_ends_where_64_bits_end() -> None:
    """A clock beyond the year 2262 gives the last time that can be stored."""
    late, data = _make(1, None, None, time_ns=2**63)

    assert 2**63 - 1 == late.time_ns == decode(data).time_ns


# --- long steps ---------------------------------------------------------------------------


def _skip_of(revision: Revision) -> int:
    return 0 if revision.skip is None else revision.skip.number


class Chain:
    """A history of one branch, of which some revisions may be gone."""

    def __init__(self) -> None:
        """Begin without a revision."""
        self.revisions: dict[int, Revision] = {}
        self.head: Revision | None = None

    def grow(self, size: int) -> None:
        """Add ``size`` revisions."""
        for _ in range(size):
            number = 1 if self.head is None else self.head.number + 1
            skip = 0 if self.head is None else _skip_of(self.head)
            self.head, _ = _make(number, self.head, self.revisions.get(skip))
            self.revisions[number] = self.head

    def steps(self, number: int) -> int:
        """Return how many revisions a walk to ``number`` reads, by the longest steps."""
        assert self.head is not None
        at = self.head
        read = 0
        while at.number != number:
            far = self.revisions.get(_skip_of(at))
            read += 1
            if far is None or far.number < number:
                far = self.revisions[at.parent_number]
                read += 1
            at = far
        return read


def test_any_ancestor_is_near() -> None:
    """From the head of n revisions, any ancestor is at most 4 log2(n) reads away."""
    for size in (1, 2, 3, 10, 100, 1_000, 5_000):
        chain = Chain()
        chain.grow(size)
        bound = 4 * size.bit_length()

        assert bound >= max(chain.steps(number) for number in range(1, size + 1))


def test_skips_are_those_of_a_skew_binary_list() -> None:
    """The skips of the first revisions are those that Myers' list prescribes."""
    chain = Chain()
    chain.grow(16)

    assert [0, 1, 2, 1, 4, 5, 4, 1, 8, 9, 8, 11, 12, 11, 8, 1] == [
        _skip_of(revision) for revision in chain.revisions.values()
    ]


@pytest.mark.parametrize("seed", range(8))
def test_ancestors_stay_near_when_revisions_are_collected(seed: int) -> None:
    """History that grows on after collections is still walked in O(log n) steps.

    Each round keeps the newest ten and some named ones, as a collection does.
    """
    rng = random.Random(seed)
    chain = Chain()
    for _ in range(12):
        chain.grow(rng.randrange(1, 400))
        assert chain.head is not None
        oldest = chain.head.number - 10
        named = set(rng.sample(range(1, chain.head.number + 1), 1))
        chain.revisions = {
            number: revision
            for number, revision in chain.revisions.items()
            if number > oldest or number in named
        }
    start = chain.head
    assert start is not None
    chain.grow(4_000)
    bound = 6 * (4_000).bit_length()

    reachable = range(start.number, start.number + 4_001)
    assert bound >= max(chain.steps(number) for number in reachable)
