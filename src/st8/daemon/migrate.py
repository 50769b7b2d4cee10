"""``st8d migrate``: a whole store moved to another place."""

from __future__ import annotations

from contextlib import closing

from st8.config import UsageError
from st8.core.errors import InvalidValue
from st8.engine.transfer import Place, transfer
from st8.progress import ProgressLine
from st8.store.open import open_store, place_of

__all__ = ["migrate"]


def migrate(source_url: str, target_url: str) -> str:
    """Move the store at one URL to the other one; return a sentence that says so.

    The source stays as it is. Whatever is raised, it may be begun again.

    Raises:
        UsageError: A URL can't be right, or both name the same store.
        St8Error: It could not be done; says why. See :func:`transfer`.
    """
    source_place = _place("--from", source_url)
    target_place = _place("--to", target_url)
    if source_place == target_place:
        raise UsageError(f"--from and --to are the same store, {source_place}")
    line = ProgressLine()

    def tell(doing: str, revisions: int, total: int, objects: int) -> None:
        line.show(f"{doing} revisions {revisions:,} of {total:,}, {objects:,} objects")

    with (
        closing(open_store(source_url, make=False)) as source,
        closing(open_store(target_url)) as target,
    ):
        try:
            done = transfer(
                Place(source, source_place), Place(target, target_place), tell
            )
        finally:
            line.clear()
    return (
        f"moved {done.namespaces:,} namespace(s), {done.revisions:,} revision(s) and "
        f"{done.objects:,} object(s), {done.size:,} bytes, from {source_place} to "
        f"{target_place}; every digest was compared"
    )


def _place(flag: str, url: str) -> str:
    try:
        return place_of(url)
    except InvalidValue as error:
        problem = error.detail.removeprefix("store: ")
        raise UsageError(f"{flag}: {problem}") from None
