"""``st8d verify``: a store that nobody has, read to the end."""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

from st8.core.errors import St8Error
from st8.core.findings import (
    Finding,
    Progress,
    Verified,
    as_fields,
    finding_text,
    progress_text,
    summary_text,
)
from st8.engine.verify import verify
from st8.progress import ProgressLine
from st8.store.open import open_store, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.config import Verification
    from st8.core.findings import Event

__all__ = ["verify_store"]

_DAMAGED = 1
_NOT_VERIFIED = 2


def verify_store(wanted: Verification) -> int:
    """Verify a store and print what is found; return the exit code.

    0: no damage. 1: damage was found. 2: it could not be verified; standard error
    says why.
    """
    line = ProgressLine()
    damaged = False
    if sys.stdout is None:
        sys.stderr.write("st8d: there is no standard output to write findings to\n")
        return _NOT_VERIFIED
    try:
        for event in _events(wanted):
            if isinstance(event, Progress):
                if line.is_due():
                    line.show(progress_text(event))
                continue
            line.clear()
            damaged = damaged or isinstance(event, Finding)
            sys.stdout.write(_text(event, as_json=wanted.json))
            sys.stdout.flush()
    except St8Error as error:
        line.clear()
        sys.stderr.write(f"st8d: {error.detail}\n")
        return _NOT_VERIFIED
    except BrokenPipeError:
        # Whoever read has gone, and what is left is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOT_VERIFIED
    except OSError as error:
        line.clear()
        sys.stderr.write(f"st8d: can't write the output: {error.strerror or error}\n")
        return _NOT_VERIFIED
    except Exception:  # noqa: BLE001 - else it would end with 1, as if there were damage
        line.clear()
        traceback.print_exc()
        return _NOT_VERIFIED
    finally:
        line.clear()
    return _DAMAGED if damaged else 0


def _events(wanted: Verification) -> Iterator[Event]:
    """Yield what a verification says.

    Raises:
        St8Error: The store can't be verified.
    """
    place = place_of(wanted.store_url)
    with closing(open_store(wanted.store_url, read_only=True)) as store:
        last: Event | None = None
        for event in verify(
            store,
            place,
            full=wanted.full,
            heads=wanted.heads,
            expected=wanted.expected,
        ):
            if isinstance(event, Verified):
                last = event
            else:
                yield event
        store.ping()  # nobody has begun to write meanwhile
        if last is not None:
            yield last


def _text(event: Event, *, as_json: bool) -> str:
    """Return the line of an event."""
    if as_json:
        return json.dumps(as_fields(event), ensure_ascii=False) + "\n"
    if isinstance(event, Finding):
        return finding_text(event) + "\n"
    return summary_text(event) + "\n" if isinstance(event, Verified) else ""
