"""Objects that come from outside: believed nothing, and written in small batches.

Each is found by the digest that its own bytes have. Before a revision is let in, its
tree is gone through: what its parent's tree shares was gone through before, and what
came a moment ago is remembered, so most of it is decided without reading anything back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from st8.core import node
from st8.core.errors import BadBackup, Corrupt, InvalidInput
from st8.core.ids import Digest, Key, digest_of
from st8.core.limits import CONTENT_BYTES
from st8.core.node import EMPTY, EMPTY_ROOT, Node
from st8.core.parts import CONTENT, Shape, check_node, new_parts
from st8.engine.cache import ByteCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from st8.core.ports import Store

__all__ = ["Intake"]

_CACHE_BYTES: Final = 16 * 1024 * 1024
_NODE_OVERHEAD_BYTES: Final = 400
_KNOWN: Final = 65_536
"""Nodes, and contents, of which it is remembered that they are there and right."""
_READ_AT_ONCE: Final = 256
_READ_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
_TAG_BYTE: Final = b"\xff"


class Intake:
    """Takes objects in; one thread.

    Whatever it finds in the store it gives back to be written too: the commit then
    stamps it with the epoch, so that no collection which is under way takes it.

    Attributes:
        redacted: Contents that were redacted; they are not missed, and not taken.
        pending: Objects to be written, by digest.
        pending_bytes: How large they are.
    """

    def __init__(self, store: Store, full: Callable[[], None]) -> None:
        """Begin.

        Args:
            store: Where objects are that were written.
            full: Called when more has come; may write what is pending.
        """
        self._store = store
        self._full = full
        self._nodes: ByteCache[Digest, Node] = ByteCache(_CACHE_BYTES)
        self._known_nodes: OrderedDict[Digest, Shape] = OrderedDict()
        self._known_contents: OrderedDict[Digest, Shape] = OrderedDict()
        self.redacted: set[Digest] = set()
        self.pending: dict[Digest, bytes] = {}
        self.pending_bytes = 0

    def add(self, data: bytes) -> None:
        """Take an object.

        Raises:
            BadBackup: It is neither a content nor a node.
        """
        digest = digest_of(data)
        if digest in self.redacted:
            return
        self._write(digest, data)
        if data[:1] == _TAG_BYTE:
            found = self._read_node(digest, data)
            if all(self.known(child) is not None for child in found.children()):
                # As if its tree began here: it is compared with its children.
                self._go_through(EMPTY_ROOT, digest)
        else:
            _check_content(digest, data)
            self._remember(self._known_contents, digest, CONTENT)
        self._full()

    def check_tree(self, before: Digest, after: Digest) -> None:
        """Return if a tree is there and right; ``before`` is one that is.

        Raises:
            BadBackup: Something of it is missing or wrong.
        """
        self._go_through(before, after)
        root = self.node(after)
        if root.level and len(root.keys) == 1:
            raise BadBackup(f"object {after.hex()} is not the root of a tree")

    # --- where a tree is read from ---------------------------------------------

    def known(self, digest: Digest) -> Shape | None:
        """Return the shape of an object that is there with all below it, if known."""
        known = self._known_nodes.get(digest) or self._known_contents.get(digest)
        return CONTENT if known is None and digest in self.redacted else known

    def node(self, digest: Digest) -> Node:
        """Return a node.

        Raises:
            BadBackup: It is missing or wrong.
        """
        return self.nodes([digest])[0]

    def nodes(self, digests: Sequence[Digest]) -> list[Node]:
        """Return nodes in the order of ``digests``; see :meth:`node`."""
        found = {digest: self._cached(digest) for digest in digests}
        missing = [digest for digest, one in found.items() if one is None]
        if missing:
            for digest, data in self._read(missing).items():
                found[digest] = self._read_node(digest, data)
        return [one for digest in digests if (one := found[digest]) is not None]

    def _cached(self, digest: Digest) -> Node | None:
        return EMPTY if digest == EMPTY_ROOT else self._nodes.get(digest)

    # --- checking ----------------------------------------------------------------

    def _go_through(self, before: Digest, after: Digest) -> None:
        contents: list[Digest] = []
        try:
            for digest, found in new_parts(self, before, after, self.known):
                if found is None:
                    contents.append(digest)
                    continue
                self._check_contents(contents)
                contents = []
                shape = self._shape(found)
                if shape is not None:
                    self._remember(self._known_nodes, digest, shape)
        except Corrupt as error:
            raise BadBackup(error.detail) from None

    def _shape(self, found: Node) -> Shape | None:
        """Return the shape of a node that was gone through, if its end is known."""
        last: bytes | None = found.keys[-1]
        if found.level:
            below = self.known(found.digest_at(len(found.keys) - 1))
            last = None if below is None else below.last
        if last is None:
            return None
        return Shape(found.level, found.count, found.keys[0], last)

    def _check_contents(self, digests: Sequence[Digest]) -> None:
        for start in range(0, len(digests), _READ_AT_ONCE):
            wanted = digests[start : start + _READ_AT_ONCE]
            while wanted:
                for digest, data in self._read(wanted, _READ_BYTES_AT_ONCE).items():
                    _check_content(digest, data)
                    self._remember(self._known_contents, digest, CONTENT)
                wanted = [d for d in wanted if self.known(d) is None]

    def _read_node(self, digest: Digest, data: bytes) -> Node:
        """Return a node as it stands in its bytes, which are as they should be."""
        try:
            found = node.decode(data)
            check_node(found)
            for key in found.keys if not found.level else ():
                Key(key.decode())
        except (Corrupt, InvalidInput) as error:
            raise BadBackup(f"object {digest.hex()}: {error.detail}") from None
        except UnicodeDecodeError:
            raise BadBackup(f"a key in object {digest.hex()} is not UTF-8") from None
        self._nodes.put(digest, found, len(data) * 2 + _NODE_OVERHEAD_BYTES)
        return found

    def _remember(
        self, known: OrderedDict[Digest, Shape], digest: Digest, shape: Shape
    ) -> None:
        known[digest] = shape
        if len(known) > _KNOWN:
            known.popitem(last=False)

    # --- reading and writing -------------------------------------------------------

    def _read(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """Return objects, from what is pending or else from the store.

        With ``size_max`` some may be left out, but never all.

        Raises:
            BadBackup: One is missing.
        """
        found = {d: self.pending[d] for d in digests if d in self.pending}
        wanted = [digest for digest in digests if digest not in found]
        stored = self._store.objects(wanted, size_max)
        for digest in wanted:
            data = stored.get(digest)
            if data is None:
                if size_max is not None and (found or stored):
                    continue  # left out, or missing: it will be asked for alone
                raise BadBackup(f"object {digest.hex()}, which it needs, is missing")
            if digest_of(data) != digest:
                raise Corrupt(
                    f"object {digest.hex()} in the store does not match its digest",
                    object=digest.hex(),
                )
            self._write(digest, data)
            found[digest] = data
        self._full()
        return found

    def _write(self, digest: Digest, data: bytes) -> None:
        if digest not in self.pending:
            self.pending[digest] = data
            self.pending_bytes += len(data)

    def written(self) -> None:
        """Forget what was pending: it is in the store."""
        self.pending = {}
        self.pending_bytes = 0


def _check_content(digest: Digest, data: bytes) -> None:
    """Return if these can be the bytes of a document.

    Raises:
        BadBackup: They can't.
    """
    if len(data) > CONTENT_BYTES.maximum:
        raise BadBackup(
            f"object {digest.hex()} has {len(data)} bytes, where {CONTENT_BYTES.name} "
            f"is {CONTENT_BYTES.maximum}"
        )
    try:
        data.decode()
    except UnicodeDecodeError:
        raise BadBackup(
            f"object {digest.hex()} is neither a node nor a text in UTF-8"
        ) from None
