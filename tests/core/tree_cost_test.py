"""What the state tree's operations cost, in nodes read and made; never in time.

Reads are counted twice: all of them, and the distinct ones, which is what a store
sees behind a cache. Every bound is in terms of the tree's height, which is pinned.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from st8.core import tree
from st8.core.key_set import prefix_end
from st8.core.node import level_of
from tests.core.trees import LEVEL_5, Documents, Nodes, edited, folder, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.core.ids import Digest

HEIGHTS = {10: 2, 1_000: 3, 100_000: 5}
ROUNDS = 100


class Forest(NamedTuple):
    """A tree to measure.

    Attributes:
        nodes: Where it lives.
        documents: What is in it.
        keys: Their keys.
        root: Its root.
        height: Nodes from the root to a document.
    """

    nodes: Nodes
    documents: Documents
    keys: list[bytes]
    root: Digest
    height: int


@pytest.fixture(scope="module", params=HEIGHTS)
def forest(request: pytest.FixtureRequest) -> Forest:
    """A folder of 10, 1,000 or 100,000 documents."""
    size: int = request.param
    documents = folder(size)
    nodes = Nodes()
    root = nodes.build(documents)
    height = nodes.node(root).level + 1
    return Forest(nodes, documents, list(documents), root, height)


def _rng(forest: Forest) -> random.Random:
    return random.Random(len(forest.keys))


def test_height_grows_with_the_logarithm(forest: Forest) -> None:
    """From 10 to 100,000 documents a tree grows from two nodes high to five."""
    assert HEIGHTS[len(forest.keys)] == forest.height


def test_get_reads_one_path(forest: Forest) -> None:
    """To get a document reads one node a level, and none beside."""
    rng = _rng(forest)
    for _ in range(ROUNDS):
        forest.nodes.start_counting()
        tree.get(forest.nodes, forest.root, rng.choice(forest.keys))

        assert forest.height == forest.nodes.reads


def test_count_reads_two_paths(forest: Forest) -> None:
    """To count a range reads at most the paths to its two ends."""
    rng = _rng(forest)
    for _ in range(ROUNDS):
        start, end = sorted(rng.choices(forest.keys, k=2))
        forest.nodes.start_counting()
        tree.count(forest.nodes, forest.root, start, end)

        assert forest.nodes.reads <= 2 * forest.height


def test_an_update_reads_and_makes_one_path(forest: Forest) -> None:
    """To change a document reads one path and makes another one, no node more."""
    rng = _rng(forest)
    for number in range(ROUNDS):
        forest.nodes.start_counting()
        edit = forest.nodes.edit(forest.root, {rng.choice(forest.keys): value(-number)})

        assert forest.height >= len(forest.nodes.seen)
        assert forest.height**2 >= forest.nodes.reads
        assert forest.height >= len(edit.nodes)


def test_an_insert_reads_one_path(forest: Forest) -> None:
    """To add a document reads one path; a node that it cuts is made of that."""
    rng = _rng(forest)
    for number in range(ROUNDS):
        key = rng.choice(forest.keys) + b"/%d" % number
        forest.nodes.start_counting()
        edit = forest.nodes.edit(forest.root, {key: value(number)})

        assert forest.height >= len(forest.nodes.seen)
        assert forest.height**2 >= forest.nodes.reads
        # Each level that the key begins a node on is cut in two.
        assert forest.height + 2 * level_of(key) >= len(edit.nodes)


def test_a_delete_reads_two_paths(forest: Forest) -> None:
    """To take a document away reads its path, and its neighbour's where they join."""
    begins = [key for key in forest.keys if level_of(key)]
    for key in [*begins[:ROUNDS], *forest.keys[:ROUNDS]]:
        forest.nodes.start_counting()
        edit = forest.nodes.edit(forest.root, {key: None})

        assert 2 * forest.height >= len(forest.nodes.seen)
        assert 2 * forest.height**2 >= forest.nodes.reads
        assert forest.height >= len(edit.nodes)


def test_the_key_of_a_tower_costs_its_height(forest: Forest) -> None:
    """A key of level 5 costs as many nodes as it has levels, in a small tree too."""
    forest.nodes.start_counting()
    edit = forest.nodes.edit(forest.root, {LEVEL_5[0]: value(0)})

    assert forest.height >= len(forest.nodes.seen)
    assert 2 * 6 >= len(edit.nodes)
    forest.nodes.start_counting()
    assert 1 == len(list(tree.diff(forest.nodes, forest.root, edit.root)))
    assert 2 * (forest.height + 6) >= forest.nodes.reads


@pytest.mark.parametrize("size", [1, 10, 100])
def test_an_edit_of_k_documents_costs_k_paths(forest: Forest, size: int) -> None:
    """An edit of k documents reads and makes at most 2 k paths, the store through."""
    size = min(size, len(forest.keys))
    rng = _rng(forest)
    for _ in range(20):
        edits = _random_edits(forest, rng, size)
        forest.nodes.start_counting()
        edit = forest.nodes.edit(forest.root, edits)

        assert 2 * size * forest.height >= len(forest.nodes.seen)
        assert 2 * size * forest.height**2 >= forest.nodes.reads
        assert 2 * size * forest.height >= len(edit.nodes)


@pytest.mark.parametrize("size", [0, 1, 10, 100])
def test_a_diff_of_d_documents_costs_d_paths(forest: Forest, size: int) -> None:
    """A diff of d documents reads at most 2 (d + 1) paths of both trees together."""
    size = min(size, len(forest.keys))
    rng = _rng(forest)
    for _ in range(20):
        edits = _random_edits(forest, rng, size)
        after = forest.nodes.edit(forest.root, edits).root
        forest.nodes.start_counting()
        found = list(tree.diff(forest.nodes, forest.root, after))

        assert size == len(found)
        assert 2 * (size + 1) * forest.height >= forest.nodes.reads


def test_equal_trees_are_seen_to_be_equal_at_once(forest: Forest) -> None:
    """A diff of a root with itself reads nothing below it."""
    forest.nodes.start_counting()

    assert [] == list(tree.diff(forest.nodes, forest.root, forest.root))
    assert 2 >= forest.nodes.reads


def test_trees_with_another_history_are_seen_to_be_equal_at_once(
    forest: Forest,
) -> None:
    """Two ways to the same documents end at one digest, so nothing is compared."""
    half = forest.keys[::2]
    taken = forest.nodes.edit(forest.root, dict.fromkeys(half)).root
    back = {key: forest.documents[key] for key in half}
    root = forest.nodes.edit(taken, back).root

    assert forest.root == root


def test_a_diff_of_a_range_reads_two_paths_more(forest: Forest) -> None:
    """Where one change of many lies in the range, the diff reads only its path."""
    rng = _rng(forest)
    edits = _random_edits(forest, rng, min(1_000, len(forest.keys)))
    after = forest.nodes.edit(forest.root, edits).root
    key = next(iter(edits))
    forest.nodes.start_counting()
    found = list(tree.diff(forest.nodes, forest.root, after, key, key + b"\0"))

    assert [key] == [difference.key for difference in found]
    assert 4 * forest.height >= forest.nodes.reads


def test_a_range_reads_no_leaf_behind_it(forest: Forest) -> None:
    """To list one document by its prefix reads its path and one leaf more at most."""
    rng = _rng(forest)
    most = 0
    for _ in range(ROUNDS):
        key = rng.choice(forest.keys)
        forest.nodes.start_counting()
        found = list(tree.items(forest.nodes, forest.root, key, prefix_end(key)))
        most = max(most, forest.nodes.reads)

        assert [(key, forest.documents[key])] == found
    assert 2 * forest.height >= most


def test_a_whole_state_reads_every_node_once(forest: Forest) -> None:
    """To list all documents reads each node of the tree exactly once."""
    forest.nodes.start_counting()

    assert len(forest.keys) == sum(1 for _ in tree.items(forest.nodes, forest.root))
    assert len(forest.nodes.reachable(forest.root)) == len(forest.nodes.seen)


def test_neighbouring_edits_share_their_path(forest: Forest) -> None:
    """An edit of documents side by side costs little more than one of them."""
    at = len(forest.keys) // 2
    edits = dict.fromkeys(forest.keys[at : at + 5], value(-1))
    forest.nodes.start_counting()
    edit = forest.nodes.edit(forest.root, edits)

    assert edited(forest.documents, edits).items() >= edits.items()
    assert 2 * forest.height >= len(edit.nodes)


def _random_edits(
    forest: Forest, rng: random.Random, size: int
) -> Mapping[bytes, Digest | None]:
    """Return puts, changes and deletes, each of which changes something."""
    edits: dict[bytes, Digest | None] = {}
    for key in rng.sample(forest.keys, size):
        kind = rng.randrange(3)
        if kind == 0:
            edits[key] = None
        elif kind == 1:
            edits[key] = value(-1)
        else:
            edits[key + b".new"] = value(-2)
    return edits
