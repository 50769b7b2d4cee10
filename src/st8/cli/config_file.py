"""The configuration file of ``st8ctl``: its place, its keys, and what is wrong with it.

::

    server:
      url: http://127.0.0.1:8748    # or: local
      token: …
      ca_file: /etc/st8/ca.pem
      dir: ~/.st8                   # state of the local mode
      timeout: 30s
    defaults:
      namespace: payments/prod
      branch: main

Every value is taken as the text that stands there, so that a token of digits stays
one. What can't be right is an error that names the file and the line: a setting that
is passed over in silence sends a change to the wrong place.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, cast

from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import yaml

__all__ = ["KNOWN", "default_path", "load"]

KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "server": ("url", "token", "ca_file", "dir", "timeout"),
    "defaults": ("namespace", "branch"),
}


def default_path() -> str:
    """Return where the file is looked for, by the custom of the platform."""
    if sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Application Support")
    elif sys.platform == "win32":
        base = os.environ.get("APPDATA") or os.path.expanduser("~/AppData/Roaming")
    else:
        base = os.environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore it then
            base = os.path.expanduser("~/.config")
    return os.path.join(base, "st8ctl", "config.yaml")


def load(path: str | None) -> tuple[str, dict[str, str]]:
    """Return the path of the file and its settings, as ``server.url`` and so on.

    Args:
        path: The file that ``--config`` names, which must exist; None for the
            default one, which need not.

    Raises:
        InvalidInput: The file can't be read, or something in it can't be right.
    """
    place = default_path() if path is None else os.path.expanduser(path)
    try:
        with open(place, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if path is None:
            return place, {}
        raise InvalidInput(f"configuration file {place!r} not found") from None
    except OSError as error:
        raise InvalidInput(
            f"can't read configuration file {place!r}: {error.strerror}"
        ) from error
    return place, _settings(place, data)


def _settings(place: str, data: bytes) -> dict[str, str]:
    import yaml

    try:
        root = yaml.compose(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _wrong(place, mark, error.problem or "is no YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise _wrong(place, None, "is no YAML") from None
    if root is None or _is_null(root):
        return {}
    settings: dict[str, str] = {}
    for section, name, value in _entries(place, root):
        if isinstance(value, yaml.ScalarNode):
            if not _is_null(value):
                settings[f"{section}.{name}"] = value.value
        else:
            raise _wrong(place, value.start_mark, f"{section}.{name} must be a text")
    for setting in ("server.dir", "server.ca_file"):
        if setting in settings:
            settings[setting] = os.path.expanduser(settings[setting])
    return settings


def _entries(place: str, root: yaml.Node) -> Iterator[tuple[str, str, yaml.Node]]:
    """Yield section, name and value of every setting; each is known, and given once."""
    for section, node in _pairs(place, root, "the file", KNOWN):
        if not _is_null(node):
            for name, value in _pairs(place, node, section, KNOWN[section]):
                yield section, name, value


def _pairs(
    place: str, node: yaml.Node, what: str, known: Collection[str]
) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the keys and values of a mapping."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _wrong(place, node.start_mark, f"{what} must hold names with values")
    seen: set[str] = set()
    pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    for key_node, value in pairs:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        if key not in known:
            raise _wrong(
                place,
                key_node.start_mark,
                f"{what} has no setting {key!r}; {_nearest(key, known)}",
            )
        if key in seen:
            raise _wrong(place, key_node.start_mark, f"{key!r} is there twice")
        seen.add(key)
        yield key, value


def _nearest(key: str, known: Collection[str]) -> str:
    import difflib

    # A setting under the wrong section is the likeliest mistake of all.
    homes = [section for section, names in KNOWN.items() if key in names]
    if homes:
        return f"it belongs under {homes[0]!r}"
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _wrong(place: str, mark: yaml.Mark | None, problem: str) -> InvalidInput:
    line = f", line {mark.line + 1}" if mark is not None else ""
    return InvalidInput(f"configuration file {place!r}{line}: {problem}")
