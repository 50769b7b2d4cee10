"""The records of a backup, and what is said of one that is garbled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from st8.core import backup as form
from st8.core.backup import Counts, Head, NamespacePart
from st8.core.errors import BadBackup
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Digest,
    Key,
    Message,
    Namespace,
    RevisionNumber,
)
from st8.core.redactions import Redaction
from st8.core.revisions import Branch, Checkpoint, Link

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGEST: Final = Digest(bytes(range(32)))
_SHOP: Final = Namespace("shop")
_ONE, _TWO, _SIX = RevisionNumber(1), RevisionNumber(2), RevisionNumber(600)
_BRANCH: Final = Branch(BranchName("b"), _ONE, _TWO, _SIX, _DIGEST)
_CHECKPOINT: Final = Checkpoint(
    CheckpointName("c"),
    _SIX,
    _DIGEST,
    BranchName("b"),
    Message("good"),
    Author("ann"),
    5,
)
_REDACTION: Final = Redaction(
    _DIGEST, _SHOP, Key("k"), Author("ann"), Message("a token"), 6
)
_D: Final = _DIGEST.hex()
_RECORDS: Final = [
    ("head", form.decode_head, Head(7, _DIGEST), f"000000000000000701{_D}"),
    ("head", form.decode_head, Head(8, None), "000000000000000800"),
    (
        "namespace",
        form.decode_namespace,
        NamespacePart(_SHOP, _SIX, Link(_TWO, _DIGEST), _ONE),
        f"0473686f70d80402{_D}01",
    ),
    ("branch", form.decode_branch, (_SHOP, _BRANCH), f"0473686f7001620102d804{_D}"),
    (
        "checkpoint",
        form.decode_checkpoint,
        (_SHOP, _CHECKPOINT),
        f"0473686f700163d804{_D}016204676f6f6403616e6e0000000000000005",
    ),
    (
        "redaction",
        form.decode_redaction,
        _REDACTION,
        f"{_D}0473686f70016b03616e6e07{b'a token'.hex()}0000000000000006",
    ),
    ("end", form.decode_counts, Counts(1, 2, 3, 4, 5, 600), "0102030405d804"),
]
_ENCODE: Final[dict[str, Callable[[Any], bytes]]] = {
    "head": form.encode_head,
    "namespace": form.encode_namespace,
    "branch": lambda found: form.encode_branch(*found),
    "checkpoint": lambda found: form.encode_checkpoint(*found),
    "redaction": form.encode_redaction,
    "end": form.encode_counts,
}


@pytest.mark.parametrize(("what", "decode", "value", "data"), _RECORDS)
def test_records(
    what: str, decode: Callable[[bytes], object], value: object, data: str
) -> None:
    """A record has these bytes, and is read from no others."""
    payload = bytes.fromhex(data)

    assert payload == _ENCODE[what](value)
    assert value == decode(payload)
    for wrong in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(BadBackup, match=f": the record of a {what} is garbled;"):
            decode(wrong)


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (form.decode_namespace, f"0473686f700002{_D}01"),  # nothing was made
        (form.decode_namespace, f"0473686f700203{_D}01"),  # newer than the newest
        (form.decode_namespace, f"0473686f700201{_D}03"),  # begins after the end
        (form.decode_branch, f"0473686f700162010200{_D}"),  # no head
        (form.decode_branch, f"0473686f700162030204{_D}"),  # a base after its time
        (form.decode_branch, f"0473686f700162030402{_D}"),  # a base after its head
        (form.decode_checkpoint, f"0473686f70016300{_D}016200000000000000000005"),
    ],
)
def test_records_that_can_not_be(decode: Callable[[bytes], object], data: str) -> None:
    """What no store can have is refused."""
    with pytest.raises(BadBackup, match="is garbled"):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (form.decode_namespace, f"0473686f700202{_D}02"),
        (form.decode_branch, f"0473686f700162020202{_D}"),
        (form.decode_branch, f"0473686f700162000001{_D}"),
    ],
)
def test_records_that_just_can_be(decode: Callable[[bytes], object], data: str) -> None:
    """Numbers may be equal, and a branch may have no base."""
    assert decode(bytes.fromhex(data))


def test_a_name_that_is_none() -> None:
    """A record with a name that is not allowed is refused with the reason."""
    with pytest.raises(BadBackup, match="the record of a branch: branch"):
        form.decode_branch(bytes.fromhex(f"0473686f70000102d804{_D}"))


def test_a_stream_is_broken_off_as_it_always_was() -> None:
    """Readers of other versions have to understand it."""
    assert b"\0\0\0\x03\x02{}" == form.broken_off({})


def test_a_block_may_be_a_little_larger_than_what_it_holds() -> None:
    """What zstd makes of chance is taken; what claims to be larger is not waited for."""
    most = form.BLOCK_BYTES_MAX + 64 * 1024
    packed = bytes(most - 1)
    blocks = form.Blocks()
    assert [] == blocks.feed(form.MAGIC)
    assert [(form.ZSTD, packed)] == blocks.feed(form.block(form.ZSTD, packed))
    with pytest.raises(BadBackup, match=f"claims a size of {most + 1} bytes"):
        blocks.feed((most + 1).to_bytes(4, "big"))
