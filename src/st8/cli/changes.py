"""Changes, as people see them: patches, a table of sizes, bare names.

A patch is what ``patch -p0`` takes. On a terminal, and only there, what could drive
it is escaped and lines are in colour; the words stay the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from st8.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from st8.core.documents import Change

__all__ = ["Size", "painted", "patch", "size_of", "size_table"]

_BAR_MAX = 40
_KEY_WIDTH_MAX = 60
_COLORS = {"+": "green", "-": "red"}


def patch(changes: Iterable[Change], *, terminal: bool) -> Iterator[str]:
    """Yield the unified diff of each change, with an empty line before it.

    Args:
        changes: With their contents.
        terminal: They are for a terminal, so what could drive it is escaped.
    """
    from st8.core.unified import has_no_lines, unified_diff

    lineless = False
    for change in changes:
        before, after = change.before, change.after
        text = unified_diff(change.key, before, after, headed=lineless)
        lineless = has_no_lines(before, after)
        if terminal:
            text = output.shown_content(text)
        yield "\n" + (painted(text) if output.colored() else text)


def painted(text: str) -> str:
    """Return the diff of one document in colour.

    Everything before the first ``@@`` is its head, so that a line that was removed
    and reads ``-- x`` is not taken for one.
    """
    lines = text.split("\n")
    in_head = True
    for number, line in enumerate(lines):
        in_head = in_head and not line.startswith("@@")
        if in_head:
            style = "bold"
        else:
            style = "cyan" if line.startswith("@@") else _COLORS.get(line[:1], "")
        if line and style:
            lines[number] = output.paint(line, style)
    return "\n".join(lines)


class Size(NamedTuple):
    """How much of a document changed.

    Attributes:
        key: Which document.
        type: What happened to it.
        insertions: Lines that only the later content has.
        deletions: Lines that only the earlier content has.
    """

    key: str
    type: str
    insertions: int
    deletions: int

    def value(self) -> dict[str, Any]:
        """Return what programs get."""
        return self._asdict()


def size_of(change: Change) -> Size:
    """Return how much a change changes."""
    from st8.core.unified import differing_blocks, split_lines

    before, after = split_lines(change.before or ""), split_lines(change.after or "")
    blocks = differing_blocks(before, after)
    return Size(
        change.key,
        change.type,
        sum(block.after_end - block.after_start for block in blocks),
        sum(block.before_end - block.before_start for block in blocks),
    )


def size_table(sizes: Sequence[Size]) -> str:
    """Return a line for each document, and the sum of all, as ``git diff --stat``."""
    keys = [_shortened(output.escaped(size.key)) for size in sizes]
    key_width = max(map(len, keys), default=0)
    most = max((size.insertions + size.deletions for size in sizes), default=0)
    number_width = len(str(most))
    lines = [
        f" {key:<{key_width}} | {size.insertions + size.deletions:>{number_width}} "
        f"{_bar(size, most)}".rstrip()
        for key, size in zip(keys, sizes, strict=True)
    ]
    insertions = sum(size.insertions for size in sizes)
    deletions = sum(size.deletions for size in sizes)
    lines.append(
        f" {len(sizes)} document(s) changed, {insertions} insertion(s)(+), "
        f"{deletions} deletion(s)(-)"
    )
    return "".join(f"{line}\n" for line in lines)


def _shortened(key: str) -> str:
    """Return a key that fits its column; what is cut off is its beginning."""
    if len(key) <= _KEY_WIDTH_MAX:
        return key
    return "..." + key[3 - _KEY_WIDTH_MAX :]


def _bar(size: Size, most: int) -> str:
    """Return pluses and minuses; no bar is longer than ``_BAR_MAX``."""
    plus, minus = size.insertions, size.deletions
    if most > _BAR_MAX:
        # What there is shows, however little beside the longest.
        plus = -(-plus * _BAR_MAX // most)
        minus = min(-(-minus * _BAR_MAX // most), _BAR_MAX - plus) if minus else 0
    marks = (("+" * plus, "green"), ("-" * minus, "red"))
    return "".join(output.paint(mark, style) for mark, style in marks if mark)
