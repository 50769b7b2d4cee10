"""A copy of documents in a file: what was good last, for a start without a daemon.

The file is two lines of JSON: a head that says what it is of, with the SHA-256 of the
second line, and the documents. It is replaced whole, so that there is always one. A
file that is damaged, or of something else, is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.core.ids import Scope

__all__ = ["Copy", "read_copy", "write_copy"]

_FORMAT: Final = "st8-live-1"


class Copy(NamedTuple):
    """The documents of one revision.

    Attributes:
        revision: Up to which revision it is the state.
        documents: Key to content. Never changed.
        base: The newest revision that is known to have made it what it is.
        digest: Digest of that revision; ``""`` if it is not known.
    """

    revision: int
    documents: Mapping[str, str]
    base: int
    digest: str


def write_copy(path: str, scope: Scope, prefix: str, copy: Copy) -> None:
    """Replace the file at ``path``; it is on disk, or as it was, on return.

    Raises:
        OSError: It can't be written.
    """
    body = json.dumps(dict(copy.documents), ensure_ascii=False).encode()
    head = {
        "format": _FORMAT,
        "namespace": scope.namespace,
        "branch": scope.branch,
        "prefix": prefix,
        "revision": copy.revision,
        "base": copy.base,
        "digest": copy.digest,
    }
    head["sha256"] = _checksum(head, body)
    target = Path(path).absolute()
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    new = Path(name)  # nobody else can read it
    try:
        with os.fdopen(number, "wb") as file:
            file.write(json.dumps(head).encode() + b"\n" + body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def read_copy(path: str, scope: Scope, prefix: str) -> Copy | None:
    """Return what the file at ``path`` holds of ``scope`` and ``prefix``.

    None if there is no such file, it is of something else, or it is not whole.
    """
    try:
        first, _, rest = Path(path).read_bytes().partition(b"\n")
        head: object = json.loads(first)
        body = rest.removesuffix(b"\n")
        if not isinstance(head, dict):
            return None
        fields = cast("dict[str, object]", head)
        if fields.pop("sha256", None) != _checksum(fields, body):
            return None
        documents: object = json.loads(body)
    except (OSError, ValueError, RecursionError):
        return None
    about = {
        "format": _FORMAT,
        "namespace": scope.namespace,
        "branch": scope.branch,
        "prefix": prefix,
    }
    if not fields.items() >= about.items() or not isinstance(documents, dict):
        return None
    revision, base, digest = (fields.get(n) for n in ("revision", "base", "digest"))
    if not (type(revision) is int and type(base) is int and isinstance(digest, str)):
        return None
    return Copy(revision, cast("dict[str, str]", documents), base, digest)


def _checksum(head: Mapping[str, object], body: bytes) -> str:
    """Return the digest of all of the file but itself."""
    data = json.dumps(head, sort_keys=True).encode() + b"\n" + body
    return hashlib.sha256(data).hexdigest()
