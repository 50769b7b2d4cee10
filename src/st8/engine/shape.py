"""Whether a node is the one that the state tree of its documents has.

A digest says that a node's bytes are those that were written. Whether they were the
right ones is said by the two rules of ``docs/format.md``, "Where a node ends", and by
what stands above a node: its level, its first key, the number of documents below it,
and the key that it must not reach. What stands above is the node's *place*; a node
that is shared by many states is looked at once for each place that it has.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from st8.core.limits import NODE_ENTRIES
from st8.core.node import level_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.ids import Digest
    from st8.core.node import Node

__all__ = ["ROOT", "Place", "places_below", "problem"]


class Place(NamedTuple):
    """What the nodes above say of a node.

    Attributes:
        level: Its level; -1 for a root, of which nobody says anything.
        key: Its first key.
        documents: The number of documents below it.
        end: What all its keys are less than; None for no such key.
        first: It is the first node of its level, and so may begin anywhere.
    """

    level: int
    key: bytes
    documents: int
    end: bytes | None
    first: bool


ROOT = Place(-1, b"", 0, None, first=True)


def problem(node: Node, place: Place) -> str | None:
    """Return what is wrong with a node in its place; None if nothing is."""
    return next(_problems(node, place), None)


def _problems(node: Node, place: Place) -> Iterator[str]:
    keys, level = node.keys, node.level
    if not 0 < len(keys) <= NODE_ENTRIES.maximum:
        yield f"has {len(keys)} entries"
        return
    if place.level < 0:
        if level and len(keys) == 1:
            yield "is a root above a single node"
    elif (level, keys[0], node.count) != (place.level, place.key, place.documents):
        yield "is not what stands above it: level, first key or count differ"
    if any(a >= b for a, b in pairwise(keys)):
        yield "has keys that do not ascend"
    if place.end is not None and keys[-1] >= place.end:
        yield "has keys that belong to the node behind it"
    begins = place.first or level_of(keys[0]) > level
    if not begins or any(level_of(key) > level for key in keys[1:]):
        yield "begins or ends at a key where no node does"
    try:
        b"\n".join(keys).decode()
    except UnicodeDecodeError:
        yield "has a key that is not UTF-8"


def places_below(node: Node, place: Place) -> Iterator[tuple[Digest, Place]]:
    """Yield the children of a node above the leaves, each with its place."""
    keys, counts = node.keys, node.counts or ()
    ends = [*keys[1:], place.end]
    level = node.level - 1
    first = place.first
    for child, key, count, end in zip(node.children(), keys, counts, ends, strict=True):
        yield child, Place(level, key, count, end, first)
        first = False
