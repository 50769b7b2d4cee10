"""Unified diffs of contents: what ``diff`` shows and ``patch`` takes.

Lines end at LF and nowhere else; a CR, a form feed or U+2028 is part of its line.
A last line without LF is marked as such, so the diff of any two contents says all
there is to say: applied to the one it gives the other, byte for byte.

How lines are matched: equal beginnings and ends are cut off; lines that only one
side has are set aside, as they can match nothing; what remains goes through Myers'
greedy algorithm, which finds the smallest diff in time that grows with its square.
So where there is much, it is first cut at lines that both sides have exactly once
(patience diff), and Myers goes in stretches: one ends after a bounded number of
edits, and the next begins at the furthest point reached. A diff of up to
``_STRETCH_MAX`` lines in all is minimal; any takes time in proportion to its size.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Block", "differing_blocks", "has_no_lines", "split_lines", "unified_diff"]

_STEPS_MAX = 4_000_000
"""Inner steps that one diff may take: a second or two of pure Python."""

_STRETCH_MIN = 32
_STRETCH_MAX = 1_500
"""Edits after which a stretch ends; the square of it is held in memory."""

_NOWHERE = -(1 << 60)
"""The x of a diagonal that no path has reached."""

_NO_NEWLINE = "\\ No newline at end of file\n"
_ABSENT = "/dev/null"
_EMPTY_BLOB = "e69de29"
_NO_BLOB = "0000000"


class Block(NamedTuple):
    """A run of lines that differs, as half-open ranges counted from 0.

    Attributes:
        before_start: First line of it on the earlier side.
        before_end: The line after its last one there.
        after_start: First line of it on the later side.
        after_end: The line after its last one there.
    """

    before_start: int
    before_end: int
    after_start: int
    after_end: int


def unified_diff(
    key: str,
    before: str | None,
    after: str | None,
    *,
    context: int = 3,
    headed: bool = False,
) -> str:
    r"""Return the unified diff of a document's two contents.

    ``None`` stands for a document that is not there and is named ``/dev/null``.
    Equal contents give ``""``. An empty document that is made or deleted has no
    lines to show (:func:`has_no_lines`); it is written as git writes it, which
    ``patch`` understands.

    Args:
        key: The document's key, for the two header lines.
        before: Its earlier content.
        after: Its later content.
        context: Equal lines shown around each change.
        headed: Begin with git's header. A diff that follows one without lines
            must, or ``patch`` takes the two for one.
    """
    if before == after:
        return ""
    name = _header_name(key)
    git_name = _quoted(key) if name.endswith("\t") else name
    head = f"diff --git {git_name} {git_name}\n"
    if before is None:
        head += "new file mode 100644\n"
    elif after is None:
        head += "deleted file mode 100644\n"
    if has_no_lines(before, after):
        ids = (_NO_BLOB, _EMPTY_BLOB) if before is None else (_EMPTY_BLOB, _NO_BLOB)
        return f"{head}index {'..'.join(ids)}\n"
    source = _ABSENT if before is None else name
    target = _ABSENT if after is None else name
    hunks = _hunks(split_lines(before or ""), split_lines(after or ""), context)
    names = f"--- {source}\n+++ {target}\n"
    return (head if headed else "") + names + "".join(hunks)


def has_no_lines(before: str | None, after: str | None) -> bool:
    """Return whether the diff of two different contents has no lines to show."""
    return not before and not after


def split_lines(text: str) -> list[str]:
    r"""Return the lines of ``text``, each with its ``\n``; the last may lack it."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    if last:
        lines.append(last)
    return lines


def differing_blocks(before: Sequence[str], after: Sequence[str]) -> list[Block]:
    """Return the runs of lines that differ, in order, with equal lines between.

    Replacing ``before[before_start:before_end]`` by ``after[after_start:after_end]``
    in every block turns the one sequence into the other. A block that could stand
    higher or lower stands as low as possible.
    """
    head = 0
    shortest = min(len(before), len(after))
    while head < shortest and before[head] == after[head]:
        head += 1
    tail = 0
    shortest -= head
    while tail < shortest and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    before_end, after_end = len(before) - tail, len(after) - tail

    blocks: list[Block] = []
    x, y = head, head
    pairs = _matching(before, after, head, before_end, after_end)
    for i, j in [*pairs, (before_end, after_end)]:
        if x < i or y < j:
            blocks.append(Block(x, i, y, j))
        x, y = i + 1, j + 1
    return _lowered(blocks, before, after)


def _matching(
    before: Sequence[str],
    after: Sequence[str],
    start: int,
    before_end: int,
    after_end: int,
) -> list[tuple[int, int]]:
    """Return pairs of equal lines, both rising, between ``start`` and the ends."""
    common = set(before[start:before_end]) & set(after[start:after_end])
    if not common:
        return []
    xs = [i for i in range(start, before_end) if before[i] in common]
    ys = [j for j in range(start, after_end) if after[j] in common]
    ids = {line: n for n, line in enumerate(common)}
    a = [ids[before[i]] for i in xs]
    b = [ids[after[j]] for j in ys]
    size = len(a) + len(b)
    edits_max = max(_STRETCH_MIN, min(_STRETCH_MAX, _STEPS_MAX // size))

    cuts = _anchors(a, b) if size > _STRETCH_MAX else []
    pairs: list[tuple[int, int]] = []
    x = y = 0
    for cut in [*cuts, (len(a), len(b))]:
        while x < cut[0] and y < cut[1]:
            x, y, found = _stretch(a, b, (x, y), cut, edits_max)
            pairs.extend((xs[i], ys[j]) for i, j in found)
        x, y = cut
    return pairs


def _anchors(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    """Return where to cut: rising pairs of equal lines that each side has once.

    It is the longest such run of pairs (patience sorting); of neighbours only the
    first, as the rest follow from it.
    """
    in_a, in_b = Counter(a), Counter(b)
    once = {line: j for j, line in enumerate(b) if in_a[line] == in_b[line] == 1}
    ends: list[int] = []  # ends[n]: smallest y that ends a run of n + 1 pairs
    last: list[int] = []  # last[n]: the x of that pair
    previous: dict[int, int] = {}  # x of a pair -> x of the one before it
    for x, line in enumerate(a):
        y = once.get(line)
        if y is None:
            continue
        n = bisect_left(ends, y)
        ends[n : n + 1] = [y]
        last[n : n + 1] = [x]
        previous[x] = last[n - 1] if n else -1
    pairs: list[tuple[int, int]] = []
    x = last[-1] if last else -1
    while x >= 0:
        pairs.append((x, once[a[x]]))
        x = previous[x]
    pairs.reverse()
    return [
        (x, y)
        for n, (x, y) in enumerate(pairs)
        if not n or pairs[n - 1] != (x - 1, y - 1)
    ]


def _stretch(
    a: list[int],
    b: list[int],
    start: tuple[int, int],
    end: tuple[int, int],
    edits_max: int,
) -> tuple[int, int, list[tuple[int, int]]]:
    """Match ``a`` with ``b`` from ``start`` towards ``end``, within ``edits_max``.

    Returns:
        Where it got to, and the pairs that it matched on the way. At least one
        of the two has moved.
    """
    x0, y0 = start
    n, m = end[0] - x0, end[1] - y0
    edits_max = min(edits_max, n + m)
    middle = edits_max + 1
    # furthest[middle + k]: the largest x reached on diagonal k = x - y.
    furthest = [_NOWHERE] * (2 * middle + 1)
    trace: list[list[int]] = []
    for edits in range(edits_max + 1):
        # What this round reads: the diagonals -edits - 1 to edits + 1.
        trace.append(furthest[middle - edits - 1 : middle + edits + 2])
        for k in range(-edits, edits + 1, 2):
            at = middle + k
            x = 0 if not edits else _step(furthest[at - 1], furthest[at + 1], k, n, m)
            y = x - k
            if x >= 0:
                while x < n and y < m and a[x0 + x] == b[y0 + y]:
                    x += 1
                    y += 1
                if x == n and y == m:
                    return *end, _walk_back(trace, (x, y), start, (n, m))
            furthest[at] = x
    x, k = max(
        ((furthest[middle + k], k) for k in range(-edits_max, edits_max + 1, 2)),
        key=lambda point: 2 * point[0] - point[1],
    )
    return x0 + x, y0 + x - k, _walk_back(trace, (x, x - k), start, (n, m))


def _step(right_from: int, down_from: int, k: int, n: int, m: int) -> int:
    """Return the largest x on diagonal ``k`` that one edit leads to.

    An edit goes right from diagonal ``k - 1`` or down from ``k + 1``; neither may
    leave the rectangle of ``n`` by ``m``.
    """
    x = _NOWHERE
    if 0 <= right_from < n:
        x = right_from + 1
    if down_from > x and down_from - k <= m:
        x = down_from
    return x


def _walk_back(
    trace: list[list[int]],
    point: tuple[int, int],
    start: tuple[int, int],
    size: tuple[int, int],
) -> list[tuple[int, int]]:
    """Return the pairs on the way to ``point``, by undoing each edit."""
    x, y = point
    x0, y0 = start
    pairs: list[tuple[int, int]] = []
    for edits in range(len(trace) - 1, 0, -1):
        k = x - y
        at = k + edits + 1
        right_from, down_from = trace[edits][at - 1], trace[edits][at + 1]
        came_to = _step(right_from, down_from, k, *size)
        while x > came_to:
            x -= 1
            y -= 1
            pairs.append((x0 + x, y0 + y))
        if came_to == down_from and down_from > right_from:
            y -= 1
        else:
            x -= 1
    while x > 0:
        x -= 1
        y -= 1
        pairs.append((x0 + x, y0 + y))
    pairs.reverse()
    return pairs


def _lowered(
    blocks: list[Block], before: Sequence[str], after: Sequence[str]
) -> list[Block]:
    """Return ``blocks`` with pure insertions and deletions as low as possible.

    A block that reaches the next one becomes one with it.
    """
    lowered: list[Block] = []
    for block in reversed(blocks):
        x, x_end, y, y_end = block
        stop = lowered[-1].before_start if lowered else len(before)
        if x == x_end:
            while x_end < stop and after[y] == after[y_end]:
                x, x_end, y, y_end = x + 1, x_end + 1, y + 1, y_end + 1
        elif y == y_end:
            while x_end < stop and before[x] == before[x_end]:
                x, x_end, y, y_end = x + 1, x_end + 1, y + 1, y_end + 1
        if lowered and x_end == lowered[-1].before_start:
            following = lowered.pop()
            x_end, y_end = following.before_end, following.after_end
        lowered.append(Block(x, x_end, y, y_end))
    lowered.reverse()
    return lowered


def _hunks(before: list[str], after: list[str], context: int) -> Iterator[str]:
    """Yield the hunks, each as one text that begins with its ``@@`` line."""
    group: list[Block] = []
    for block in differing_blocks(before, after):
        if group and block.before_start - group[-1].before_end > 2 * context:
            yield _hunk(group, before, after, context)
            group = []
        group.append(block)
    if group:
        yield _hunk(group, before, after, context)


def _hunk(group: list[Block], before: list[str], after: list[str], context: int) -> str:
    """Return one hunk over ``group``, with the equal lines around and between."""
    lead = min(context, group[0].before_start)
    rest = min(context, len(before) - group[-1].before_end)
    x = group[0].before_start - lead
    old = _range(x, group[-1].before_end + rest)
    new = _range(group[0].after_start - lead, group[-1].after_end + rest)
    parts = [f"@@ -{old} +{new} @@\n"]
    for block in group:
        parts += _marked(" ", before[x : block.before_start])
        parts += _marked("-", before[block.before_start : block.before_end])
        parts += _marked("+", after[block.after_start : block.after_end])
        x = block.before_end
    parts += _marked(" ", before[x : x + rest])
    return "".join(parts)


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    """Yield ``lines`` with ``mark`` in front, and the marker of a missing LF."""
    for line in lines:
        yield mark + line
        if not line.endswith("\n"):
            yield "\n" + _NO_NEWLINE


def _range(start: int, end: int) -> str:
    """Return a range of lines as a hunk header has it."""
    if end - start == 1:
        return str(start + 1)
    return f"{start if start == end else start + 1},{end - start}"


def _header_name(key: str) -> str:
    r"""Return ``key`` as a header line has it.

    A name with blanks in it is followed by a tab, so that ``patch`` finds its end;
    one that begins or ends with a blank, or has a quotation mark or a backslash,
    is quoted as git quotes it.
    """
    if '"' in key or "\\" in key or key != key.strip():
        return _quoted(key)
    return key + "\t" if any(map(str.isspace, key)) else key


def _quoted(key: str) -> str:
    """Return ``key`` in quotation marks."""
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
