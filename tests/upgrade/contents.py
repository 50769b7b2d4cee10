"""All that a store holds, as plain values that can be kept and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.core.ids import digest_of
from st8.core.revisions import decode
from st8.engine import pages
from st8.engine.objects import Objects
from st8.engine.state import State

if TYPE_CHECKING:
    from st8.core.ids import Namespace
    from st8.core.ports import Store
    from st8.core.revisions import Branch, Checkpoint

__all__ = ["contents_of"]


def contents_of(store: Store) -> dict[str, object]:
    """Return namespaces, with branches, checkpoints and revisions, and answers.

    Of each revision its digest, and those of all of its documents.
    """
    return {
        "namespaces": {
            name: {"last_revision": last, **_namespace(store, name)}
            for name, last in pages.namespaces(store)
        },
        "answers": [
            [*at, answer.request.hex(), *answer[1:]]
            for at, answer in pages.answers(store)
        ],
    }


def _namespace(store: Store, name: Namespace) -> dict[str, object]:
    objects = Objects(store, cache_bytes=1 << 20)
    revisions: dict[str, object] = {}
    for number in pages.numbers(store, name):
        revision = decode(store.revisions(name, [number])[number])
        state = State(objects, revision, revision.root)
        revisions[str(number)] = {
            "digest": revision.digest.hex(),
            "documents": {
                key: digest_of(content).hex() for key, content in state.items()
            },
        }
    return {
        "branches": [_plain(branch) for branch in pages.branches(store, name)],
        "checkpoints": [_plain(point) for point in pages.checkpoints(store, name)],
        "revisions": revisions,
    }


def _plain(row: Branch | Checkpoint) -> list[object]:
    return [value.hex() if isinstance(value, bytes) else value for value in row]
