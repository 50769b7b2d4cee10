"""What the fuzzers begin with: some bytes for each target, a line of hex each.

A line may end in ``# why``. What has ever broken a target is added, and stays.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["corpus_of", "mutations"]

_FOLDER: Final = Path(__file__).parent / "corpus"
_ODD: Final = (b"\x00", b"\xff", b"\x80", b"%", b'"', b"\n", b"\xe2\x80\xa8", b"9" * 20)


def corpus_of(target: str) -> list[bytes]:
    """Return what a target begins with."""
    lines = (_FOLDER / f"{target}.txt").read_text(encoding="ascii").splitlines()
    return [bytes.fromhex(line.partition("#")[0]) for line in lines]


def mutations(corpus: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` changed forms of what is in ``corpus``; the same for a seed."""
    chance = Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 4)):
            _change(data, corpus, chance)
        yield bytes(data)


def _change(data: bytearray, corpus: Sequence[bytes], chance: Random) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.randint(1, 8))
    match chance.randrange(5):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = chance.choice(_ODD)
        case 3:
            data[at:at] = data[at:end] * chance.randint(1, 4)
        case _:
            other = chance.choice(corpus)
            data[at:] = other[chance.randint(0, len(other)) :]
