"""``st8ctl get``: one document as it is, or the keys of a state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import key_of
from st8.cli.options import only_one, pick_options

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]


@command("get")
@click.argument("key", metavar="[KEY]", required=False)
@pick_options
def get(
    flags: Flags, key: str | None, revision: int | None, checkpoint: str | None
) -> None:
    """Write the document KEY exactly as it was applied, or list all keys.

    Nothing is added to a document, not even a newline. The state is the current
    one, unless an earlier one is picked.
    """
    only_one(revision=revision, checkpoint=checkpoint)
    with flags.connect() as client:
        if key is not None:
            content = client.get(key_of(key), revision=revision, checkpoint=checkpoint)
            output.write_bytes(content.encode())
            return
        pages = client.key_pages(revision=revision, checkpoint=checkpoint)
        for number, page in enumerate(pages):
            head = "" if number else f"revision: {page.revision}\n"
            keys = "".join(f"{output.escaped(key)}\n" for key, _ in page.items)
            output.write(head + keys)


COMMAND = get
