"""State trees for tests: where nodes live, keys, and what the rules demand."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from st8.core import tree
from st8.core.ids import Digest, digest_of
from st8.core.node import EMPTY, EMPTY_ROOT, Node, encode, level_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Documents = dict[bytes, Digest]

FOLDER_SIZE: Final = 100_000

LEVEL_5: Final = (
    b"svc/d5393",
    b"svc/2389e5",
    b"svc/2c8b4f",
    b"svc/4d001e",
    b"svc/6d33be",
    b"svc/6f42f3",
)
"""One key in 16^5 has this level; these were searched for."""
LEVEL_4: Final = (b"svc/a501", b"svc/1c6f8", b"svc/38546", b"svc/75c78", b"svc/8de91")


class Nodes:
    """Every node that was ever made, and how many were asked for.

    Attributes:
        reads: Nodes asked for since :meth:`start_counting`.
        seen: Their digests: what a cold cache would have read.
    """

    def __init__(self) -> None:
        """Begin with the empty tree."""
        self._nodes: dict[Digest, Node] = {EMPTY_ROOT: EMPTY}
        self.reads = 0
        self.seen: set[Digest] = set()

    def node(self, digest: Digest) -> Node:
        """Return a node."""
        self.reads += 1
        self.seen.add(digest)
        return self._nodes[digest]

    def nodes(self, digests: Sequence[Digest]) -> Iterable[Node]:
        """Return nodes in the order of ``digests``."""
        return [self.node(digest) for digest in digests]

    def start_counting(self) -> None:
        """Forget what was asked for."""
        self.reads = 0
        self.seen = set()

    def edit(self, root: Digest, edits: Mapping[bytes, Digest | None]) -> tree.Edit:
        """Return the edited tree, whose new nodes are kept."""
        edit = tree.edit(self, root, edits)
        self._nodes.update((digest, new.node) for digest, new in edit.nodes.items())
        return edit

    def add(self, node: Node) -> Digest:
        """Keep a node, whether it is right or not; return its digest."""
        digest = digest_of(encode(node))
        self._nodes[digest] = node
        return digest

    def build(self, documents: Mapping[bytes, Digest]) -> Digest:
        """Return the root of a tree made in one edit."""
        return self.edit(EMPTY_ROOT, documents).root

    def reachable(self, root: Digest) -> set[Digest]:
        """Return the digests of all stored nodes of a tree; the empty one has none."""
        found: set[Digest] = set()
        waiting = [] if root == EMPTY_ROOT else [root]
        while waiting:
            digest = waiting.pop()
            found.add(digest)
            node = self._nodes[digest]
            if node.level:
                waiting += node.children()
        return found


def canonical_root(documents: Mapping[bytes, Digest]) -> Digest:
    """Return the root that the rules demand, level by level and from nothing.

    A second reading of the rules in the tree's docstring, that shares no code with
    it beside the codec.
    """
    level = 0
    entries = [(key, digest, 1) for key, digest in sorted(documents.items())]
    if not entries:
        return EMPTY_ROOT
    while True:
        groups: list[list[tuple[bytes, Digest, int]]] = []
        for entry in entries:
            if not groups or level_of(entry[0]) > level:
                groups.append([])
            groups[-1].append(entry)
        entries = [(group[0][0], *_node_of(level, group)) for group in groups]
        if len(entries) == 1:
            return entries[0][1]
        level += 1


def _node_of(
    level: int, entries: list[tuple[bytes, Digest, int]]
) -> tuple[Digest, int]:
    counts = [count for _, _, count in entries]
    node = Node(
        level,
        [key for key, _, _ in entries],
        b"".join(digest for _, digest, _ in entries),
        counts if level else None,
    )
    return digest_of(encode(node)), sum(counts)


def differences(before: Documents, after: Documents) -> list[tree.Difference]:
    """Return what differs between two dictionaries, in key order."""
    return [
        tree.Difference(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def edited(documents: Documents, edits: Mapping[bytes, Digest | None]) -> Documents:
    """Return a dictionary with ``edits`` made."""
    both = {**documents, **edits}
    return {key: digest for key, digest in both.items() if digest is not None}


@cache
def keys_by_level() -> dict[int, list[bytes]]:
    """Return keys by their level, 0 to 5; many of the low ones, few of the high."""
    found: dict[int, list[bytes]] = {level: [] for level in range(6)}
    for number in range(20_000):
        key = f"k/{number}".encode()
        found[level_of(key)].append(key)
    found[4] += LEVEL_4
    found[5] += LEVEL_5
    return found


def folder(size: int = FOLDER_SIZE) -> Documents:
    """Return documents that all lie in one folder."""
    return {
        f"services/payments/instances/{number:06d}.json".encode(): value(number)
        for number in range(size)
    }


def value(number: int) -> Digest:
    """Return one of many content digests."""
    return Digest(hashlib.sha256(b"%d" % number).digest())


# --- strategies ------------------------------------------------------------------

_SEGMENTS = ("etc", "services", "a", "b", "payments", "eu-west-1", "config.json", "x.y")

_NESTED = st.lists(st.sampled_from(_SEGMENTS), min_size=1, max_size=5).map("/".join)
_SHORT = st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_.~ /!")
_UNICODE = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=12,
)
_PREFIXES = st.builds(lambda size, end: "p" * size + end, st.integers(1, 40), _SHORT)
_LONG = st.builds(
    lambda fill, number: fill * (1024 - 4) + f"{number:04d}",
    st.sampled_from("xyz"),
    st.integers(0, 40),
)

KEYS: st.SearchStrategy[bytes] = st.one_of(
    _NESTED.map(str.encode),
    _SHORT.map(str.encode),
    _UNICODE.map(str.encode),
    _PREFIXES.map(str.encode),
    _LONG.map(str.encode),
    st.integers(0, 5).flatmap(lambda level: st.sampled_from(keys_by_level()[level])),
)
"""Nested paths, one-byte and 1-KiB keys, any Unicode, keys that are prefixes of
each other, keys that begin many nodes and keys that begin none."""

VALUES: st.SearchStrategy[Digest] = st.integers(0, 3).map(value)

DOCUMENTS: st.SearchStrategy[Documents] = st.dictionaries(KEYS, VALUES, max_size=60)

EDITS: st.SearchStrategy[dict[bytes, Digest | None]] = st.dictionaries(
    KEYS, st.none() | VALUES, max_size=30
)

_TALL = st.sampled_from(
    [key for level in range(1, 6) for key in keys_by_level()[level][:8]]
)
_CLOSE = st.one_of(_TALL, st.integers(0, 60).map(lambda n: f"k/{n}".encode()))

CLOSE_DOCUMENTS: st.SearchStrategy[Documents] = st.dictionaries(
    _CLOSE, VALUES, max_size=60
)
"""Documents of few keys, most of which begin nodes: the trees change shape a lot."""

CLOSE_EDITS: st.SearchStrategy[dict[bytes, Digest | None]] = st.dictionaries(
    _CLOSE, st.none() | VALUES, max_size=30
)
