"""The configuration file of ``st8ctl``: its place, its keys, and what is wrong with it.

::

    server:
      url: http://127.0.0.1:8748    # or: local, or: unix:/run/st8/st8d.sock
      token: …                      # or token_file: ~/.config/st8ctl/token
      ca_file: /etc/st8/ca.pem
      cert_file: ~/me.pem
      key_file: ~/me.key
      dir: ~/.st8                   # state of the local mode
      timeout: 30s
    defaults:
      namespace: payments/prod
      branch: main
    current: prod                   # the context that counts if none is named
    contexts:
      prod:
        server: {url: https://st8d.internal:8748, token_file: ~/.st8-prod}
        defaults: {namespace: payments/prod}

What stands at the top is the context ``default``; a named one lies over it. Every
value is taken as the text that stands there, so that a token of digits stays one.
What can't be right is an error that names the file and the line: a setting that is
passed over in silence sends a change to the wrong place.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import yaml

__all__ = [
    "KNOWN",
    "TOP",
    "ConfigFile",
    "context_problem",
    "default_path",
    "load",
    "nearest",
    "parse",
]

_DEPTH_MAX: Final = 32
KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "server": (
        "url",
        "token",
        "token_file",
        "ca_file",
        "cert_file",
        "key_file",
        "dir",
        "timeout",
    ),
    "defaults": ("namespace", "branch"),
}
"""Every setting, by its section."""

TOP: Final = "default"
"""The name of the context that stands at the top of the file."""

_TOP_LEVEL: Final = (*KNOWN, "current", "contexts")
_PATHS: Final = ("token_file", "ca_file", "cert_file", "key_file", "dir")
_OF_THE_SERVER: Final = (
    "server.token",
    "server.token_file",
    "server.ca_file",
    "server.cert_file",
    "server.key_file",
)
"""What is for one daemon, and no business of another."""


class ConfigFile(NamedTuple):
    """What a file holds.

    Attributes:
        path: Where it is.
        current: The context that counts if none is named; ``default`` if it does
            not say.
        contexts: Name of each context to its settings, as ``server.url`` and so on.
            ``default`` is there always.
    """

    path: str
    current: str
    contexts: dict[str, dict[str, str]]

    def settings(self, context: str | None = None) -> dict[str, str]:
        """Return what is set in a context, or else at the top.

        A context that names its daemon gets no token and no certificate from the
        top: they are another daemon's.

        Args:
            context: Its name; the current one if None.

        Raises:
            InvalidInput: There is no context of that name.
        """
        name = context or self.current
        if name not in self.contexts:
            raise InvalidInput(
                f"configuration file {self.path!r} has no context {name!r}; "
                f"{nearest(name, self.contexts)}"
            )
        own = self.contexts[name]
        hidden: set[str] = set()
        if name != TOP and "server.url" in own:
            hidden.update(_OF_THE_SERVER)
        elif "server.token" in own or "server.token_file" in own:
            hidden.update(("server.token", "server.token_file"))
        top = {k: v for k, v in self.contexts[TOP].items() if k not in hidden}
        return top | own

    def origin(self, setting: str, context: str | None = None) -> str:
        """Return where a setting of :meth:`settings` stands, for people."""
        name = context or self.current
        if name != TOP and setting in self.contexts[name]:
            return f"{setting} of context {name!r} in {self.path}"
        return f"{setting} in {self.path}"


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


def load(path: str | None) -> ConfigFile:
    """Return what the file holds.

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
            return ConfigFile(place, TOP, {TOP: {}})
        raise InvalidInput(f"configuration file {place!r} not found") from None
    except OSError as error:
        raise InvalidInput(
            f"can't read configuration file {place!r}: {error.strerror}"
        ) from error
    return parse(place, data)


def parse(place: str, data: bytes) -> ConfigFile:
    """Return what ``data`` holds, the bytes of the file at ``place``.

    Raises:
        InvalidInput: Something in it can't be right.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(place, yaml.parse(data, loader))
        root = yaml.compose(data, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _wrong(place, mark, error.problem or "is no YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise _wrong(place, None, "is no YAML") from None
    current = TOP
    contexts: dict[str, dict[str, str]] = {TOP: {}}
    if root is None or _is_null(root):
        return ConfigFile(place, current, contexts)
    mark = root.start_mark
    for name, node in _pairs(place, root, "the file", _TOP_LEVEL):
        if name == "current":
            current, mark = _text(place, node, name) or TOP, node.start_mark
        elif name == "contexts":
            contexts.update(_contexts(place, node))
        else:
            contexts[TOP].update(_section(place, name, node))
    _check(place, root.start_mark, contexts[TOP])
    if current not in contexts:
        raise _wrong(
            place,
            mark,
            f"no context {current!r} is there; {nearest(current, contexts)}",
        )
    return ConfigFile(place, current, contexts)


def _check_depth(place: str, events: Iterable[yaml.Event]) -> None:
    """Refuse what is nested too deep: the composer in C would crash on it."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_MAX:
            mark = cast("yaml.Mark", event.start_mark)
            raise _wrong(place, mark, f"is nested deeper than {_DEPTH_MAX}")


def context_problem(name: str) -> str:
    """Return what is wrong with the name of a context that is not the top's; or ``""``."""
    if name == TOP:
        return f"context {name!r} is what stands at the top of the file; choose another"
    if not name or name != name.strip() or not name.isprintable():
        return f"context {name!r} is no name; choose another without white space"
    return ""


def nearest(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence about an unknown name: which was meant."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _contexts(place: str, node: yaml.Node) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and settings of each context."""
    if _is_null(node):
        return
    for name, body in _pairs(place, node, "contexts", None):
        problem = context_problem(name)
        if problem:
            raise _wrong(place, body.start_mark, problem)
        settings: dict[str, str] = {}
        if not _is_null(body):
            for section, inner in _pairs(place, body, f"context {name!r}", KNOWN):
                settings.update(_section(place, section, inner))
        _check(place, body.start_mark, settings)
        yield name, settings


def _section(place: str, section: str, node: yaml.Node) -> Iterator[tuple[str, str]]:
    """Yield name and value of each setting of a section."""
    if _is_null(node):
        return
    for name, value in _pairs(place, node, section, KNOWN[section]):
        text = _text(place, value, f"{section}.{name}")
        if text is not None:
            yield f"{section}.{name}", _expanded(name, text)


def _expanded(name: str, text: str) -> str:
    """Return a value with ``~`` resolved where it is a path."""
    return os.path.expanduser(text) if name in _PATHS else text


def _text(place: str, node: yaml.Node, what: str) -> str | None:
    """Return a value as it stands there; None where it is null."""
    import yaml

    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(place, node.start_mark, f"{what} must be a text")
    return None if _is_null(node) else str(node.value)


def _check(place: str, mark: yaml.Mark, settings: dict[str, str]) -> None:
    """Refuse settings that contradict each other."""
    if "server.token" in settings and "server.token_file" in settings:
        raise _wrong(
            place,
            mark,
            "server.token and server.token_file can't be used together; remove one",
        )


def _pairs(
    place: str, node: yaml.Node, what: str, known: Collection[str] | None
) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the keys and values of a mapping; any key where ``known`` is None."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _wrong(place, node.start_mark, f"{what} must hold names with values")
    seen: set[str] = set()
    pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
    for key_node, value in pairs:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        if known is not None and key not in known:
            raise _wrong(
                place,
                key_node.start_mark,
                f"{what} has no setting {key!r}; {_likely(key, known)}",
            )
        if key in seen:
            raise _wrong(place, key_node.start_mark, f"{key!r} is there twice")
        seen.add(key)
        yield key, value


def _likely(key: str, known: Collection[str]) -> str:
    """Return what was meant by a setting that is not known."""
    # A setting under the wrong section is the likeliest mistake of all.
    homes = [section for section, names in KNOWN.items() if key in names]
    return f"it belongs under {homes[0]!r}" if homes else nearest(key, known)


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _wrong(place: str, mark: yaml.Mark | None, problem: str) -> InvalidInput:
    line = f", line {mark.line + 1}" if mark is not None else ""
    return InvalidInput(f"configuration file {place!r}{line}: {problem}")
