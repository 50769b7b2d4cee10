"""Which states, revisions and documents a call is about, as the wire has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from st8.core.documents import content_bytes
from st8.core.errors import InvalidValue
from st8.core.ids import BranchName, Key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from st8.core.documents import Document
    from st8.core.ids import Scope

__all__ = [
    "Filter",
    "Pick",
    "Select",
    "document_list",
    "key_list",
    "scope_fields",
    "sides",
    "time_text",
]


class Pick(NamedTuple):
    """Which state of a branch: a revision, a checkpoint or a time; else the head.

    Attributes:
        revision: A number, or a negative one relative to the head.
        checkpoint: The name of a checkpoint.
        at: RFC 3339 time; ``""`` for none.
        min_revision: The head must be this revision or a later one.
        max_stale: How old what is taken for the head may be; ``""`` for not at all.
    """

    revision: int | None = None
    checkpoint: str | None = None
    at: str = ""
    min_revision: int = 0
    max_stale: str = ""

    @classmethod
    def one_of(
        cls,
        revision: int | None = None,
        checkpoint: str | None = None,
        at: str | datetime | None = None,
    ) -> Pick:
        """Return what is picked.

        Raises:
            InvalidValue: More than one of the three is given.
        """
        given = {"revision": revision, "checkpoint": checkpoint, "at": at}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise InvalidValue(
                names[0], f"can't be combined with {names[1]}; choose one"
            )
        return cls(revision, checkpoint, time_text(at, "at"))

    def fresh(self, min_revision: int, max_stale_s: float) -> Pick:
        """Return the same pick of a head that is as fresh as this."""
        max_stale = f"{max_stale_s:.9f}s" if max_stale_s else ""
        return self._replace(min_revision=min_revision, max_stale=max_stale)

    def fields(self, prefix: str = "") -> dict[str, object]:
        """Return what the wire calls it, without what is not given."""
        named = {
            "revision": self.revision,
            "checkpoint": self.checkpoint,
            "at": self.at,
            "min_revision": self.min_revision,
            "max_stale": self.max_stale,
        }
        return {prefix + name: value for name, value in named.items() if value}


class Select(NamedTuple):
    """One side of a diff: a state, with documents laid over it if need be.

    At most one of ``revision``, ``checkpoint`` and ``at``; the head if none.

    Attributes:
        revision: A number, or a negative one relative to the head.
        checkpoint: The name of a checkpoint.
        at: A time: what was the head then.
        branch: Of this branch instead of the client's.
        documents: Laid over that state, key to content.
        deletes: Taken away from it.
        exact: ``documents`` alone are the state.
    """

    revision: int | None = None
    checkpoint: str | None = None
    at: str | datetime | None = None
    branch: str | None = None
    documents: Mapping[str, str] | None = None
    deletes: Collection[str] = ()
    exact: bool = False

    def fields(self) -> dict[str, object]:
        """Return what the wire calls it."""
        fields = Pick.one_of(self.revision, self.checkpoint, self.at).fields()
        if self.branch is not None:
            fields["branch"] = BranchName(self.branch)
        if self.documents:
            fields["documents"] = document_list(self.documents)
        if self.deletes:
            fields["deletes"] = key_list(self.deletes)
        if self.exact:
            fields["exact"] = True
        return fields


class Filter(NamedTuple):
    """Which revisions of a log are wanted; all if nothing is given.

    Attributes:
        key: Those that touched this document.
        prefix: Those that touched a key under it.
        author: Those by this author.
        since: Those made at this time or later.
        until: Those made before this time.
    """

    key: str = ""
    prefix: str = ""
    author: str = ""
    since: str | datetime | None = None
    until: str | datetime | None = None

    def pairs(self) -> list[tuple[str, object]]:
        """Return them as query parameters."""
        return [
            ("key", self.key),
            ("prefix", self.prefix),
            ("author", self.author),
            ("since", time_text(self.since, "since")),
            ("until", time_text(self.until, "until")),
        ]

    def wants_all(self) -> bool:
        """Return whether nothing is filtered out."""
        return not any(value for _, value in self.pairs())


def scope_fields(scope: Scope) -> dict[str, str]:
    """Return ``scope`` as request bodies have it."""
    return {"namespace": scope.namespace, "branch": scope.branch}


def time_text(moment: str | datetime | None, field: str) -> str:
    """Return a time as RFC 3339; None as ``""``.

    Raises:
        InvalidValue: A ``datetime`` has no time zone, so it names no moment.
    """
    if moment is None or isinstance(moment, str):
        return moment or ""
    offset = moment.utcoffset()
    if offset is None:
        raise InvalidValue(field, "must have a time zone")
    return (moment - offset).replace(tzinfo=None).isoformat() + "Z"


def document_list(
    documents: Mapping[str, str] | Iterable[Document],
) -> list[dict[str, str]]:
    """Return documents as the wire has them; of two with one key the last counts."""
    if isinstance(documents, Mapping):
        pairs = cast("Iterable[tuple[str, str]]", documents.items())
    else:
        pairs = documents
    checked: dict[Key, str] = {}
    for key, content in pairs:
        content_bytes(key, content)
        checked[Key(key)] = content
    return [{"key": key, "content": content} for key, content in checked.items()]


def key_list(keys: Collection[str]) -> list[Key]:
    """Return keys that were checked.

    Raises:
        TypeError: One key is given where several are meant; its characters would
            be taken for keys.
    """
    if isinstance(keys, str):
        raise TypeError(f"expected several keys, got the one text {keys!r}")
    return [Key(key) for key in keys]


def sides(
    documents: Mapping[str, str] | None,
    deletes: Collection[str],
    source: Select | None,
    target: Select | None,
) -> tuple[Select, Select]:
    """Return the two sides of a diff, as its arguments give them.

    Raises:
        InvalidValue: They don't go together.
    """
    earlier = source or Select()
    if not documents and not deletes:
        return earlier, target or Select()
    if target is not None:
        raise InvalidValue("target", "can't be combined with documents or deletes")
    if earlier.documents or earlier.deletes or earlier.exact:
        raise InvalidValue(
            "source", "must be a plain state where documents or deletes are given"
        )
    return earlier, earlier._replace(documents=documents, deletes=deletes)
