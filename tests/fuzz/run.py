"""Fuzzes the targets with atheris, each in a process of its own; as ``script/fuzz``.

It prints for each target how many inputs were tried and what broke it, as the line of
hex that is to be added to its corpus. The seed decides what chance adds to what is
found; how much is tried is a matter of time.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.fuzz.corpus import corpus_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_RUNS: Final = re.compile(rb"Done (\d+) runs|#(\d+)\s", re.ASCII)
_INPUT_BYTES_MAX: Final = 4096
_ONE_INPUT_S: Final = 10


def fuzz(target: str, *, seconds: int, seed: int) -> tuple[int, bytes | None]:
    """Fuzz one target; return how many inputs were tried, and what broke it."""
    with tempfile.TemporaryDirectory(prefix="st8-fuzz-") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(corpus_of(target)):
            (corpus / str(number)).write_bytes(data)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.run", "--only", target),
                *(f"-max_total_time={seconds}", f"-seed={seed}"),
                *(f"-max_len={_INPUT_BYTES_MAX}", f"-timeout={_ONE_INPUT_S}"),
                *(f"-artifact_prefix={folder}/", str(corpus)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        tried = [int(a or b) for a, b in _RUNS.findall(done.stdout)]
        broke = [path for path in Path(folder).iterdir() if path.is_file()]
        if done.returncode and not broke:
            raise RuntimeError(done.stdout.decode(errors="replace"))
        if broke:
            sys.stdout.write(done.stdout.decode(errors="replace")[-3000:])
        return max(tried, default=0), broke[0].read_bytes() if broke else None


def _fuzz_here(target: str, arguments: list[str]) -> None:
    """Fuzz in this process, which ends with it."""
    atheris: Any = importlib.import_module("atheris")  # has no types

    with atheris.instrument_imports(include=["st8"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup(["fuzz", *arguments], TARGETS[target])
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return 1 if anything was broken, 2 without atheris."""
    parser = argparse.ArgumentParser(prog="script/fuzz", description="Fuzz parsers.")
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--target", action="append", help="only this; all by default")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31) + 1)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    told, others = parser.parse_known_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        _print(
            f"there is no wheel of atheris for Python {version} on {sys.platform}; it "
            "needs Linux on x86_64 and Python 3.11 to 3.14 (make test tries some "
            "hundreds of inputs without it)"
        )
        return 2
    if told.only is not None:
        _fuzz_here(told.only, others)
    from tests.fuzz.targets import TARGETS

    if others or set(told.target or ()) - set(TARGETS):
        parser.error(f"targets are {', '.join(TARGETS)}")
    _print(f"seed {told.seed}")
    broken = 0
    for target in told.target or TARGETS:
        tried, broke = fuzz(target, seconds=told.seconds, seed=told.seed)
        result = "nothing broke it" if broke is None else f"BROKEN by {broke.hex()}"
        _print(f"{target}: {tried:,} inputs, {result}")
        broken += broke is not None
    _print(f"{broken} targets broken" if broken else "nothing broken")
    return 1 if broken else 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
