"""Changes, as people see them."""

from __future__ import annotations

from st8.cli.changes import patch, size_of, size_table
from st8.core.documents import Change
from st8.core.ids import Key


def update(key: str, before: str, after: str) -> Change:
    """Return a change of a document's content."""
    return Change(Key(key), "update", before, after)


def test_size_counts_lines() -> None:
    """Lines that only one side has are counted, one without a line end too."""
    assert ("k", "update", 2, 1) == size_of(update("k", "a\nb\nc\n", "a\nx\ny\nc\n"))
    assert ("k", "create", 2, 0) == size_of(Change(Key("k"), "create", None, "a\nb"))
    assert ("k", "delete", 0, 0) == size_of(Change(Key("k"), "delete", "", None))
    assert ("k", "update", 1, 1) == size_of(update("k", "a", "a\n"))


def test_table_is_scaled() -> None:
    """No bar is longer than forty; what there is shows, however little."""
    many, few = "\n".join(map(str, range(1_000))), "x\n"
    table = size_table(
        [
            size_of(Change(Key("k" * 70), "create", None, many)),
            size_of(update("few", "", few)),
            size_of(update("both", many, f"{few}{few}")),
        ]
    )

    assert (
        f" ...{'k' * 57} | 1000 {'+' * 40}\n"
        f" few{' ' * 57} |    1 +\n"
        f" both{' ' * 56} | 1002 +{'-' * 39}\n"
        " 3 document(s) changed, 1003 insertion(s)(+), 1000 deletion(s)(-)\n"
    ) == table


def test_patch_escapes_for_a_terminal_only() -> None:
    """Contents are escaped where a terminal reads them, and nowhere else."""
    change = update("k", "\x1b[31m\n", "a\tb\r\n")

    assert "-\\x1b[31m\n+a\tb\\r\n" in "".join(patch([change], terminal=True))
    assert "-\x1b[31m\n+a\tb\r\n" in "".join(patch([change], terminal=False))
