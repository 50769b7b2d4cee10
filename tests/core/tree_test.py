"""The state tree against a plain dictionary, and against its two rules."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from st8.core import tree
from st8.core.errors import LimitExceeded
from st8.core.ids import digest_of
from st8.core.key_set import prefix_end
from st8.core.limits import NODE_ENTRIES
from st8.core.node import EMPTY_ROOT, decode, encode, level_of
from tests.core.trees import (
    CLOSE_DOCUMENTS,
    CLOSE_EDITS,
    DOCUMENTS,
    EDITS,
    KEYS,
    LEVEL_4,
    LEVEL_5,
    Documents,
    Nodes,
    canonical_root,
    differences,
    edited,
    folder,
    keys_by_level,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from st8.core.ids import Digest

ANY_DOCUMENTS = DOCUMENTS | CLOSE_DOCUMENTS
ANY_EDITS = EDITS | CLOSE_EDITS
ZERO, ONE, TWO = (keys_by_level()[level] for level in range(3))


def _zero_keys(size: int) -> list[bytes]:
    """Return keys none of which begins a node."""
    found = [
        key
        for number in range(size * 2)
        if level_of(key := f"zero/{number:06d}".encode()) == 0
    ]
    return found[:size]


# --- one tree for one set of documents ---------------------------------------------


@given(documents=ANY_DOCUMENTS)
def test_root_is_what_the_rules_demand(documents: Documents) -> None:
    """A tree made in one edit is the one that its two rules describe."""
    assert canonical_root(documents) == Nodes().build(documents)


@given(start=ANY_DOCUMENTS, steps=st.lists(ANY_EDITS, max_size=6))
@example(start={ONE[0]: value(0)}, steps=[{min(ZERO): value(1)}, {ONE[0]: None}])
@example(  # a node whose first key goes belongs to the one before, which is replaced
    start={b"a": value(0), ONE[0]: value(1), b"z": value(2)},
    steps=[{b"a": value(3), ONE[0]: None}],
)
@example(start=dict.fromkeys(LEVEL_5, value(0)), steps=[dict.fromkeys(LEVEL_5[1:])])
def test_root_depends_on_the_documents_alone(
    start: Documents, steps: list[dict[bytes, Digest | None]]
) -> None:
    """After any history of edits a root is that of the documents made at once."""
    nodes = Nodes()
    documents = start
    root = nodes.build(start)
    for edits in steps:
        documents = edited(documents, edits)
        root = nodes.edit(root, edits).root

        assert canonical_root(documents) == root


@given(
    documents=ANY_DOCUMENTS,
    noise=ANY_DOCUMENTS,
    seed=st.integers(0, 2**32),
    size=st.integers(1, 12),
)
def test_order_and_batches_do_not_matter(
    documents: Documents, noise: Documents, seed: int, size: int
) -> None:
    """Puts in any order and batches, with others that go again, give one root."""
    rng = random.Random(seed)
    nodes = Nodes()
    order = [*documents, *(key for key in noise if key not in documents)]
    rng.shuffle(order)
    root = EMPTY_ROOT
    for at in range(0, len(order), size):
        batch = order[at : at + size]
        root = nodes.edit(root, {key: noise.get(key, value(9)) for key in batch}).root
    last: list[tuple[bytes, Digest | None]] = [
        *documents.items(),
        *((key, None) for key in noise if key not in documents),
    ]
    rng.shuffle(last)
    for at in range(0, len(last), size):
        root = nodes.edit(root, dict(last[at : at + size])).root

    assert canonical_root(documents) == root


@given(documents=ANY_DOCUMENTS)
def test_empty_again_is_empty(documents: Documents) -> None:
    """Deleting every document gives the empty root and no new node."""
    nodes = Nodes()
    root = nodes.build(documents)
    edit = nodes.edit(root, dict.fromkeys(documents))

    assert (EMPTY_ROOT, {}) == (edit.root, edit.nodes)


def test_a_folder_of_100_000_is_independent_of_its_history() -> None:
    """100,000 keys of one folder, put in four random batches, give the same root."""
    documents = folder()
    nodes = Nodes()
    order = list(documents)
    random.Random(4).shuffle(order)
    root = EMPTY_ROOT
    for at in range(0, len(order), 25_000):
        batch = {key: documents[key] for key in order[at : at + 25_000]}
        root = nodes.edit(root, batch).root

    assert canonical_root(documents) == root
    assert len(documents) == tree.count(nodes, root)
    some = b"services/payments/instances/0999"
    assert 100 == tree.count(nodes, root, some, prefix_end(some))


# --- what an edit gives ---------------------------------------------------------------


@given(documents=ANY_DOCUMENTS, edits=ANY_EDITS)
def test_edit_tells_what_changed(
    documents: Documents, edits: dict[bytes, Digest | None]
) -> None:
    """The differences of an edit are those between the two dictionaries, in order."""
    nodes = Nodes()
    edit = nodes.edit(nodes.build(documents), edits)

    assert differences(documents, edited(documents, edits)) == edit.differences


@given(documents=ANY_DOCUMENTS, edits=ANY_EDITS)
def test_every_node_is_new_or_old(
    documents: Documents, edits: dict[bytes, Digest | None]
) -> None:
    """Every node of the new tree is either returned as new or in the old tree."""
    nodes = Nodes()
    root = nodes.build(documents)
    old = nodes.reachable(root)
    edit = nodes.edit(root, edits)

    assert set() == nodes.reachable(edit.root) - old - edit.nodes.keys()


@given(documents=ANY_DOCUMENTS, edits=ANY_EDITS)
@example(  # a new last key that begins a node leaves the one before as it was
    documents={min(ZERO): value(0)}, edits={max(ONE): value(1)}
)
@example(documents={max(ONE): value(0)}, edits={min(ZERO): value(1)})
def test_only_new_nodes_are_returned(
    documents: Documents, edits: dict[bytes, Digest | None]
) -> None:
    """The nodes that an edit returns are in the new tree and not in the old one."""
    nodes = Nodes()
    root = nodes.build(documents)
    old = nodes.reachable(root)
    edit = nodes.edit(root, edits)

    assert nodes.reachable(edit.root) - old == set(edit.nodes)


@given(documents=ANY_DOCUMENTS, edits=ANY_EDITS)
def test_nodes_come_with_their_canonical_bytes(
    documents: Documents, edits: dict[bytes, Digest | None]
) -> None:
    """Each new node is stored under the digest of bytes that decode to it."""
    nodes = Nodes()
    edit = nodes.edit(nodes.build(documents), edits)

    for digest, (node, data) in edit.nodes.items():
        decoded = decode(data)
        assert data == encode(node) == encode(decoded)
        assert digest_of(data) == digest
        assert (node.level, node.keys, node.digests, node.counts, node.count) == (
            decoded.level,
            decoded.keys,
            decoded.digests,
            decoded.counts,
            decoded.count,
        )


@given(documents=ANY_DOCUMENTS, absent=st.lists(KEYS, max_size=5))
def test_an_edit_without_effect_gives_the_same_root(
    documents: Documents, absent: list[bytes]
) -> None:
    """Putting what is there and deleting what is not changes and makes nothing."""
    nodes = Nodes()
    root = nodes.build(documents)
    edits: dict[bytes, Digest | None] = dict.fromkeys(absent)
    edit = nodes.edit(root, edits | documents)

    assert tree.Edit(root, {}, []) == edit


@given(documents=ANY_DOCUMENTS, edits=ANY_EDITS)
def test_the_old_tree_is_left_as_it_was(
    documents: Documents, edits: dict[bytes, Digest | None]
) -> None:
    """An edit changes no node of the tree that it began from."""
    nodes = Nodes()
    root = nodes.build(documents)
    before = {digest: encode(nodes.node(digest)) for digest in nodes.reachable(root)}
    nodes.edit(root, edits)

    assert before == {
        digest: encode(nodes.node(digest)) for digest in nodes.reachable(root)
    }


# --- reading -------------------------------------------------------------------------


@given(documents=ANY_DOCUMENTS, others=st.lists(KEYS, max_size=8))
def test_get_finds_what_is_there(documents: Documents, others: list[bytes]) -> None:
    """Get gives the digest of every key that is there, and None for all others."""
    nodes = Nodes()
    root = nodes.build(documents)

    for key in [*documents, *others, b"", b"\xff"]:
        assert documents.get(key) == tree.get(nodes, root, key)


@given(documents=ANY_DOCUMENTS, start=KEYS | st.just(b""), end=KEYS | st.none())
def test_ranges_agree_with_a_dictionary(
    documents: Documents, start: bytes, end: bytes | None
) -> None:
    """Items, leaves and count of any range are those of the sorted dictionary."""
    nodes = Nodes()
    root = nodes.build(documents)
    wanted = [
        (key, digest)
        for key, digest in sorted(documents.items())
        if start <= key and (end is None or key < end)
    ]
    from_start = [key for key in sorted(documents) if start <= key]

    assert wanted == list(tree.items(nodes, root, start, end))
    assert len(wanted) == tree.count(nodes, root, start, end)
    leaves = list(tree.leaves(nodes, root, start))
    assert from_start == [key for keys, _ in leaves for key in keys]
    assert all(len(keys) == len(digests) > 0 for keys, digests in leaves)


@given(documents=ANY_DOCUMENTS, prefix=KEYS, size=st.integers(0, 12))
def test_prefixes_agree_with_a_dictionary(
    documents: Documents, prefix: bytes, size: int
) -> None:
    """The range up to prefix_end has exactly the keys that begin with the prefix."""
    start = prefix.decode()[:size].encode()
    nodes = Nodes()
    root = nodes.build(documents)
    wanted = [key for key in sorted(documents) if key.startswith(start)]
    end = prefix_end(start)

    assert wanted == [key for key, _ in tree.items(nodes, root, start, end)]
    assert len(wanted) == tree.count(nodes, root, start, end)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", b"b"),
        ("a/", b"a0"),
        ("\x7f", b"\x80"),
        ("é", b"\xc3\xaa"),
        ("\U0010ffff", b"\xf4\x8f\xbf\xc0"),
    ],
)
def test_prefix_end_is_the_first_key_after(prefix: str, end: bytes | None) -> None:
    """The end of a prefix is its bytes with the last one counted up."""
    assert end == prefix_end(prefix.encode())


# --- diff ------------------------------------------------------------------------------


@given(documents=ANY_DOCUMENTS, edits=ANY_EDITS)
def test_diff_of_neighbours_agrees_with_dictionaries(
    documents: Documents, edits: dict[bytes, Digest | None]
) -> None:
    """The diff of a tree and its edit is that of the dictionaries, both ways."""
    nodes = Nodes()
    before = nodes.build(documents)
    after = nodes.edit(before, edits).root
    changed = edited(documents, edits)

    assert differences(documents, changed) == list(tree.diff(nodes, before, after))
    assert differences(changed, documents) == list(tree.diff(nodes, after, before))


@given(before=ANY_DOCUMENTS, after=ANY_DOCUMENTS)
@example(before={}, after=dict.fromkeys(LEVEL_5, value(0)))
@example(
    before=dict.fromkeys(ZERO[:40], value(0)),
    after=dict.fromkeys([*ZERO[20:60], *LEVEL_4], value(0)),
)
def test_diff_of_strangers_agrees_with_dictionaries(
    before: Documents, after: Documents
) -> None:
    """The diff of two trees without a common history is that of the dictionaries."""
    nodes = Nodes()
    roots = nodes.build(before), nodes.build(after)

    assert differences(before, after) == list(tree.diff(nodes, *roots))


@given(
    before=ANY_DOCUMENTS,
    edits=ANY_EDITS,
    start=KEYS | st.just(b""),
    end=KEYS | st.none(),
)
def test_diff_of_a_range_is_a_part_of_the_diff(
    before: Documents,
    edits: dict[bytes, Digest | None],
    start: bytes,
    end: bytes | None,
) -> None:
    """A diff within a range gives the differences whose keys lie in it."""
    nodes = Nodes()
    root = nodes.build(before)
    after = nodes.edit(root, edits).root
    wanted = [
        difference
        for difference in differences(before, edited(before, edits))
        if start <= difference.key and (end is None or difference.key < end)
    ]

    assert wanted == list(tree.diff(nodes, root, after, start, end))


def test_diff_of_two_folders_of_100_000() -> None:
    """Puts, changes and deletes spread over 100,000 documents are all found."""
    documents = folder()
    keys = list(documents)
    rng = random.Random(5)
    edits: dict[bytes, Digest | None] = {}
    for key in rng.sample(keys, 500):
        edits[key] = rng.choice([None, value(-1)])
    for key in rng.sample(keys, 500):
        edits[key + b".new"] = value(-2)
    nodes = Nodes()
    root = nodes.build(documents)
    edit = nodes.edit(root, edits)
    wanted = differences(documents, edited(documents, edits))

    assert wanted == edit.differences
    assert wanted == list(tree.diff(nodes, root, edit.root))


# --- the limit of a node ---------------------------------------------------------------


def _one_level_keys(size: int) -> list[bytes]:
    """Return keys of level 1 exactly: all are leaves of their own below one node."""
    found: list[bytes] = []
    number = 0
    while len(found) < size:
        key = f"one/{number:06d}".encode()
        number += 1
        if level_of(key) == 1:
            found.append(key)
    return found


@pytest.mark.parametrize("keys", [_zero_keys, _one_level_keys])
def test_a_node_holds_as_many_entries_as_its_limit(
    keys: Callable[[int], list[bytes]],
) -> None:
    """As many keys as node_entries_max may share a node; one more is refused."""
    chosen = keys(NODE_ENTRIES.maximum + 1)
    nodes = Nodes()
    allowed = dict.fromkeys(chosen[:-1], value(0))
    root = nodes.build(allowed)

    assert canonical_root(allowed) == root
    with pytest.raises(LimitExceeded) as caught:
        nodes.edit(root, {chosen[-1]: value(0)})
    assert ("node_entries_max", 1024, 1025) == (
        caught.value.fields["limit"],
        caught.value.fields["maximum"],
        caught.value.fields["actual"],
    )
    with pytest.raises(LimitExceeded):
        nodes.build(dict.fromkeys(chosen, value(0)))


def test_a_full_node_can_still_be_edited() -> None:
    """A node at its limit takes updates, deletes, and puts in place of deletes."""
    *keys, extra = _zero_keys(NODE_ENTRIES.maximum + 1)
    nodes = Nodes()
    documents = dict.fromkeys(keys, value(0))
    root = nodes.build(documents)
    steps: list[Mapping[bytes, Digest | None]] = [
        {keys[0]: value(1)},
        {keys[1]: None, extra: value(2)},
        {keys[500]: None},
    ]
    for edits in steps:
        documents = edited(documents, edits)
        root = nodes.edit(root, edits).root

        assert canonical_root(documents) == root


def test_a_node_that_would_grow_by_a_delete_is_refused() -> None:
    """Taking away the key between two full nodes would join them, so it is refused."""
    keys = _zero_keys(NODE_ENTRIES.maximum + 100)
    boundary = next(
        key
        for number in range(10_000)
        if level_of(key := keys[600] + b"/%d" % number) == 1
    )
    assert keys[600] < boundary < keys[601]
    nodes = Nodes()
    documents = dict.fromkeys([*keys, boundary], value(0))
    root = nodes.build(documents)

    with pytest.raises(LimitExceeded):
        nodes.edit(root, {boundary: None})
    assert documents == dict(tree.items(nodes, root))


# --- shapes ----------------------------------------------------------------------------


def test_a_tree_of_two_may_be_a_tower() -> None:
    """A key of level 5 beside another one puts the root on level 5, and back."""
    nodes = Nodes()
    low = nodes.build({b"a": value(0)})
    high = nodes.edit(low, {LEVEL_5[0]: value(1)})

    assert 5 == nodes.node(high.root).level
    assert low == nodes.edit(high.root, {LEVEL_5[0]: None}).root


def test_the_first_key_of_all_makes_no_difference() -> None:
    """The first key begins the first node whatever its level says."""
    nodes = Nodes()
    only = nodes.build({LEVEL_5[0]: value(0)})

    assert 0 == nodes.node(only).level


def test_every_node_keeps_the_rules_inside() -> None:
    """In a big tree keys ascend, counts add up, and first keys agree, everywhere."""
    nodes = Nodes()
    documents = folder(20_000)
    root = nodes.build(documents)
    for digest in nodes.reachable(root):
        node = nodes.node(digest)
        assert sorted(set(node.keys)) == list(node.keys)
        assert len(node.keys) * 32 == len(node.digests)
        for index, key in enumerate(node.keys):
            assert index == 0 or level_of(key) <= node.level
            if node.counts is not None:
                child = nodes.node(node.digest_at(index))
                assert (node.level - 1, key) == (child.level, child.keys[0])
                assert node.counts[index] == child.count
    keys = sorted(documents)
    assert bisect_left(keys, keys[777]) == tree.count(nodes, root, b"", keys[777])
