"""Short ways to back up, take a backup apart, and restore it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from st8.core.backup import PLAIN, Blocks, Records, Summary
from st8.core.ids import Namespace
from st8.engine import pages
from st8.engine.backup import Base, stream_of
from st8.engine.frames import unpacked
from st8.engine.unfinished import MARKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from st8.core.ports import Store
    from st8.engine.engine import Engine

Record = tuple[int, bytes]


def reader(data: bytes, size: int = 65_536) -> Callable[[], bytes]:
    """Return what reads ``data`` piece by piece."""
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    return lambda: next(pieces, b"")


def backup(
    engine: Engine, namespace: str | None = None, base: bytes | None = None
) -> bytes:
    """Return a whole backup, of all or of a namespace, on top of another or alone."""
    name = None if namespace is None else Namespace(namespace)
    stream = engine.backup(name, None if base is None else base_of(base))
    return b"".join(stream)


def base_of(data: bytes) -> Base:
    """Return a backup as the base of another one."""
    summary = Summary()
    summary.feed(data)
    newest = {part.name: part.newest for part in summary.namespaces}
    return Base(summary.finish(), newest)


def records_of(data: bytes) -> list[Record]:
    """Return the records of a backup: kind and payload."""
    blocks, records = Blocks(), Records()
    return [
        record
        for packing, packed in blocks.feed(data)
        for record in records.feed(unpacked(packing, packed), plain=packing == PLAIN)
    ]


def written(records: Iterable[Record]) -> bytes:
    """Return a backup of these records, with the digest that it must have."""
    return b"".join(stream_of(records))


def leftovers(store: Store, namespaces: Iterable[str]) -> list[str]:
    """Return what there is of namespaces that should not be there at all."""
    found = [str(info.name) for info in pages.namespaces(store)]
    for name in map(Namespace, namespaces):
        found += [f"{name}: {number}" for number in pages.numbers(store, name)]
        found += [f"{name}: {one.name}" for one in pages.branches(store, name)]
        found += [f"{name}: {one.name}" for one in pages.checkpoints(store, name)]
    marks = pages.checkpoints(store, MARKS)
    return found + [f"mark: {cast('str', one.name)}" for one in marks]
