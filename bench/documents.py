"""Documents to measure with: made up, but of the shape that configuration has.

Keys are paths with at most 100 entries to a folder, which is what git's trees like
best; contents are some 150 bytes of YAML.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from st8.core.documents import Document
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["content", "document", "documents", "key"]


def key(number: int) -> str:
    """Return the key of document ``number``; less than a million are distinct."""
    team, rest = divmod(number, 10_000)
    service, name = divmod(rest, 100)
    return f"teams/{team:02d}/service-{service:02d}/config-{name:02d}.yaml"


def content(number: int, version: int = 0) -> str:
    """Return a content of document ``number``; no two arguments give the same."""
    digest = hashlib.sha256(f"{number}/{version}".encode()).hexdigest()
    return (
        f"service: service-{number}\n"
        f"replicas: {2 + number % 7}\n"
        f"image: registry.example.com/team/app:1.{version}\n"
        f"revision: {digest[:24]}\n"
        "resources:\n"
        f"  cpu: {100 + number % 900}m\n"
        "  memory: 512Mi\n"
        "logLevel: info\n"
    )


def document(number: int, version: int = 0) -> Document:
    """Return document ``number``."""
    return Document(Key(key(number)), content(number, version))


def documents(size: int) -> Iterator[tuple[str, str]]:
    """Yield the keys and contents of the first ``size`` documents."""
    for number in range(size):
        yield key(number), content(number)
