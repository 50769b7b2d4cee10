"""The settings in force as a file that st8d would take, secrets masked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from st8.config.reading import gather
from st8.config.table import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["show"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9./][\w./-]*", re.ASCII)
_WORDS: Final = frozenset(("null", "true", "false", "yes", "no", "on", "off"))


def show(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return a line for each setting, with where it was said.

    What is not set is a comment. A secret is masked, and the mask is refused when it
    is read back, lest it becomes the token.

    Raises:
        UsageError: Something in them can't be right.
        Finished: They ask for help or the version.
    """
    said, values = gather(arguments, environment)
    lines: list[str] = []
    for setting in SETTINGS:
        if not setting.in_file:
            continue
        one = said[setting.name]
        texts = [text for text in one.texts if text]
        comment = f"  # {one.place}"
        idle = (setting.needs and values[setting.needs] is None) or (
            setting.instead and values[setting.instead] is not None
        )
        if not texts or idle:
            lines.append(f"# {setting.name}:{comment}, not set")
        elif len(texts) == 1 and (shown := setting.conceal(texts[0])) != texts[0]:
            lines.append(f"{setting.name}: {_scalar(shown)}{comment}, masked")
        elif len(texts) == 1:
            lines.append(f"{setting.name}: {_scalar(texts[0])}{comment}")
        else:
            lines.append(f"{setting.name}:{comment}")
            lines += [f"  - {_scalar(text)}" for text in texts]
    return "\n".join(lines)


def _scalar(text: str) -> str:
    """Return ``text`` as YAML."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text)
