"""Where settings are said: flags, variables and the file; texts with their origin.

Flags follow the rules of Go's ``flag`` package, which the original daemon has:
``-name`` and ``--name`` are the same, a value comes after ``=`` or as the next
argument, even when it begins with a dash, and the last of several wins.

Every source collects what is wrong with it, so that all of it is told at once.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from st8.config.table import MIGRATION, SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import yaml

__all__ = ["Said", "from_file", "from_flags", "from_variables", "nearest"]

_FILE_BYTES_MAX: Final = 1 << 20
_WORDS: Final = ("help", "h", "version")

# What Kubernetes tells every pod of a service that is called st8d, or st8d-…:
# such a variable is nobody's mistake.
_SERVICE: Final = re.compile(
    r"ST8D_(?:.+_)?(?:SERVICE_(?:HOST|PORT(?:_.+)?)"
    r"|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)

_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
_PREFIX: Final = "ST8D_"
_VARIABLES: Final = [setting.variable[len(_PREFIX) :] for setting in SETTINGS]


class Said(NamedTuple):
    """What one source says of one setting.

    Attributes:
        texts: One, or several of a setting that may be repeated.
        source: What kind of source it is.
        place: Where exactly, for people.
    """

    texts: tuple[str, ...]
    source: Literal["flag", "variable", "file", "default"]
    place: str

    def of(self, name: str) -> str:
        """Return what the setting ``name`` is called in the same source."""
        if self.source == "flag":
            return f"--{name}"
        return _BY_NAME[name].variable if self.source == "variable" else name


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that was probably meant."""
    names = list(known)
    plain = name.replace("_", "-") if name.islower() else name
    near = difflib.get_close_matches(plain, names, n=1)
    if near:
        return near[0]
    return next((one for one in names if plain and one.startswith(f"{plain}-")), None)


# --- flags --------------------------------------------------------------------


def from_flags(
    arguments: Sequence[str],
    problems: list[str],
    known: Mapping[str, Setting] = _BY_NAME,
) -> tuple[dict[str, Said], str | None]:
    """Return what the flags say, and ``help`` or ``version`` if they ask for that.

    ``known`` has the settings by the names of their flags.
    """
    found: dict[str, Said] = {}
    asked: str | None = None
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument in {"-", "--"}:
            problems.append(f"st8d takes flags only, and {argument!r} is none")
            continue
        dashes = 2 if argument.startswith("--") else 1
        name, equals, text = argument[dashes:].partition("=")
        if name in _WORDS:
            asked = asked or name
            continue
        setting = known.get(name)
        if setting is None:
            problems.append(_unknown_flag(name, known))
            if not equals and rest and not rest[0].startswith("-"):
                rest.pop(0)  # probably its value
            continue
        if setting.switch:
            text = text if equals else "true"
        elif not equals:
            if not rest:
                problems.append(f"--{name} needs a value")
                continue
            text = rest.pop(0)
        before = found[name].texts if setting.many and name in found else ()
        found[name] = Said((*before, text), "flag", f"--{name}")
    return found, asked


def _unknown_flag(name: str, known: Iterable[str]) -> str:
    near = nearest(name, [*known, *_WORDS])
    hint = f"did you mean --{near}?" if near else "st8d --help lists all"
    return f"there is no flag --{name}; {hint}"


# --- variables ----------------------------------------------------------------


def from_variables(
    variables: Mapping[str, str], problems: list[str]
) -> dict[str, Said]:
    """Return what the environment says; a variable that is empty says nothing."""
    known = {setting.variable: setting for setting in SETTINGS}
    others = {setting.variable for setting in MIGRATION}
    found: dict[str, Said] = {}
    for variable, text in sorted(variables.items()):
        setting = known.get(variable)
        if setting is None:
            if (
                variable.startswith(_PREFIX)
                and variable not in others
                and not _SERVICE.fullmatch(variable)
            ):
                near = nearest(variable[len(_PREFIX) :], _VARIABLES)
                hint = (
                    f"did you mean {_PREFIX}{near}?"
                    if near
                    else "st8d --help lists all"
                )
                problems.append(f"there is no variable {variable}; {hint}")
        elif text:
            texts = tuple(text.split()) if setting.many else (text,)
            found[setting.name] = Said(texts or (text,), "variable", variable)
    return found


# --- the file -----------------------------------------------------------------


def from_file(path: Path, problems: list[str]) -> dict[str, Said]:
    """Return what a file says, every value as the text that stands there."""
    import yaml  # noqa: PLC0415 - where there is no file, nothing reads one

    try:
        root = _root(path)
    except ValueError as error:
        problems.append(f"{path}{error}")
        return {}
    found: dict[str, Said] = {}
    pairs: list[tuple[yaml.Node, yaml.Node]] = [] if root is None else root.value
    for name_node, node in pairs:
        place = f"{path}, line {name_node.start_mark.line + 1}"
        name = str(name_node.value) if isinstance(name_node, yaml.ScalarNode) else "?"
        setting = _BY_NAME.get(name)
        texts: tuple[str, ...] = ()
        if setting is None or not setting.in_file:
            problem = _unknown_setting(name)
        elif name in found:
            problem = f"{name} is there twice"
        else:
            texts, problem = _texts(setting, node)
        if problem:
            problems.append(f"{place}: {problem}")
        else:
            found[name] = Said(texts, "file", place)
    return found


def _root(path: Path) -> yaml.MappingNode | None:
    """Return what a file holds, None if nothing.

    Raises:
        ValueError: It can't be what it should be; what is to follow its name.
    """
    import yaml  # noqa: PLC0415 - see above

    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f": it can't be read: {error.strerror}") from None
    if len(data) > _FILE_BYTES_MAX:
        raise ValueError(f": it has more than {_FILE_BYTES_MAX} bytes")
    try:
        root = yaml.compose(data, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"{line}: {error.problem or 'it is no YAML'}") from None
    except (yaml.YAMLError, RecursionError):
        raise ValueError(": it is no YAML") from None
    if root is None or _is_null(root):
        return None
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(  # noqa: TRY004 - of what somebody wrote, not of an argument
            ": it must hold names with values, such as state-dir: /srv/st8"
        )
    return root


def _unknown_setting(name: str) -> str:
    if name in _BY_NAME:
        return f"{name} can't be said in the file; use the flag or the variable"
    near = nearest(name, [s.name for s in SETTINGS if s.in_file])
    hint = f"did you mean {near}?" if near else "st8d --help lists all"
    return f"there is no setting {name}; {hint}"


def _texts(setting: Setting, node: yaml.Node) -> tuple[tuple[str, ...], str]:
    """Return the texts of a value, and what is wrong with it."""
    import yaml  # noqa: PLC0415 - see above

    nodes: list[yaml.Node] = [node]
    if setting.many and isinstance(node, yaml.SequenceNode):
        nodes = cast("list[yaml.Node]", node.value)
        if not nodes:
            return (), f"{setting.name} is an empty list; leave it out for the default"
    texts: list[str] = []
    for one in nodes:
        if not isinstance(one, yaml.ScalarNode):
            kind = "a text or a list of texts" if setting.many else "one text"
            return (), f"{setting.name} must be {kind}"
        if _is_null(one):
            return (), f"{setting.name} has no value; leave it out for the default"
        texts.append(str(one.value))
    return tuple(texts), ""


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")
