"""Makes mutants: copies of a module with one small change that a test has to notice.

Changed are comparisons, ``and`` and ``or``, arithmetic, conditions, numbers, words, what
is returned, and whether a statement is there at all. Left alone is what no test could or
should notice: annotations and what is said to type checkers, decorators, docstrings,
assertions, failpoints (the rigs that arm them look whether they are come to), and text
with a space or with values in it, which is written for people.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import CodeType

__all__ = ["Mutant", "mutants_of"]

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_SKIPPED_FIELDS: Final = ("annotation", "returns", "decorator_list", "ctx")
_SKIPPED_CALLS: Final = ("cast", "TypeVar", "NewType", "assert_never", "failpoint")
_SKIPPED: Final = (ast.Import, ast.ImportFrom, ast.Assert, ast.Global, ast.Nonlocal)
_DROPPED: Final = (ast.AugAssign, ast.Raise, ast.Delete, ast.Break, ast.Continue)


_Function: TypeAlias = "tuple[int, str] | None"


class Mutant(NamedTuple):
    """A change of a module, made only while its code is asked for.

    Attributes:
        file: The module.
        lines: First and last line of the statement, or of the head of a compound one.
        function: The outermost function that is changed, by its first line and name;
            None where the change is made as the module is imported.
        tree: Of the whole module.
        statement: What is changed or left out, or has what is changed.
        owner: What is changed in the tree,
        field: in which of its fields,
        value: to what.
    """

    file: Path
    lines: tuple[int, int]
    function: _Function
    tree: ast.Module
    statement: ast.stmt
    owner: ast.AST
    field: str
    value: object

    def make(self) -> tuple[CodeType, str, str]:
        """Return the code of the changed module, and what was changed to what."""
        old = getattr(self.owner, self.field)
        whole = isinstance(self.value, list) and self.statement in old
        before = ast.unparse(self.statement).splitlines()
        setattr(self.owner, self.field, self.value)
        try:
            after = ["pass"] if whole else ast.unparse(self.statement).splitlines()
            code = compile(ast.fix_missing_locations(self.tree), self.file, "exec")
        finally:
            setattr(self.owner, self.field, old)
        differ = [pair for pair in zip(before, after, strict=False) if len({*pair}) > 1]
        return code, differ[0][0].strip(), differ[0][1].strip()


def mutants_of(file: Path) -> list[Mutant]:
    """Return all mutants of a module, in the order of its lines."""
    tree = ast.parse(file.read_bytes(), file)
    found: list[Mutant] = []
    for place in _places(tree, tree.body[0], None):
        found += [
            Mutant(file, _lines(change.statement), function, tree, *change)
            for function, change in _changes(place)
        ]
    return sorted(found, key=lambda mutant: mutant.lines)


class _Place(NamedTuple):
    """A node and where it is: the statement, the function, and that of its body."""

    node: ast.AST
    statement: ast.stmt
    function: _Function
    inside: _Function


class _Change(NamedTuple):
    """What :class:`Mutant` has of the same names."""

    statement: ast.stmt
    owner: ast.AST
    field: str
    value: object


def _lines(statement: ast.stmt) -> tuple[int, int]:
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    if isinstance(statement, ast.Match):
        last = statement.cases[0].pattern.lineno - 1
    elif isinstance(body := getattr(statement, "body", None), list):
        last = body[0].lineno - 1
    return first, max(first, last)


def _places(
    node: ast.AST, statement: ast.stmt, function: _Function
) -> Iterator[_Place]:
    """Walk over all that may be changed."""
    if _is_skipped(node):
        return
    if isinstance(node, ast.stmt):
        statement = node
    inside = function
    if isinstance(node, ast.FunctionDef) and not function:
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        inside = first, node.name
    yield _Place(node, statement, function, inside)
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED_FIELDS:
            continue
        where = function if field == "args" else inside  # defaults are made outside
        prose = isinstance(node, ast.JoinedStr)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (
                prose and isinstance(child, ast.Constant)
            ):
                yield from _places(child, statement, where)


def _is_skipped(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Call(func=ast.Name(id=name)) if name in _SKIPPED_CALLS:
            return True
        case _:
            return isinstance(node, _SKIPPED)


def _changes(place: _Place) -> Iterator[tuple[_Function, _Change]]:
    """Return what may be changed in a node, each with its function."""
    node = place.node
    for field, value in (*_changed_values(node), *_changed_conditions(node)):
        yield place.function, _Change(place.statement, node, field, value)
    for field in ("body", "orelse", "finalbody"):
        body = getattr(node, field, None)
        if not isinstance(body, list):
            continue
        for index, child in enumerate(body):
            if _is_dropped(child):
                rest = [*body[:index], ast.Pass(), *body[index + 1 :]]
                yield place.inside, _Change(child, node, field, rest)


def _changed_values(node: ast.AST) -> Iterator[tuple[str, object]]:
    match node:
        case ast.Compare(ops=ops):
            for index, each in enumerate(ops):
                contrary = _COMPARISONS[type(each)]()
                yield "ops", [*ops[:index], contrary, *ops[index + 1 :]]
        case ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op):
            yield "op", _OPERATORS[type(op)]()
        case ast.UnaryOp(op=ast.USub()):
            yield "op", ast.UAdd()
        case ast.Return(value=ast.expr() as value):
            if not isinstance(value, ast.Constant):  # it is changed itself
                yield "value", ast.Constant(None)
        case ast.Constant(value=value):
            if (other := _other_value(value)) is not None:
                yield "value", other
        case _:
            pass


def _other_value(value: object) -> object:
    """Return a constant in the place of another; None if it stays."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return None if " " in value else f"{value}x"
    return value + b"x" if isinstance(value, bytes) else None


def _changed_conditions(node: ast.AST) -> Iterator[tuple[str, object]]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        if (negated := _negated(node.test)) is not None:
            yield "test", negated
    elif isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            if (negated := _negated(test)) is not None:
                yield "ifs", [*node.ifs[:index], negated, *node.ifs[index + 1 :]]


def _negated(test: ast.expr) -> ast.expr | None:
    """Return the contrary; None where another change says the same."""
    match test:
        case ast.Constant() | ast.Compare(ops=[ast.Eq() | ast.NotEq()]):
            return None
        case ast.Compare(ops=[ast.Is() | ast.IsNot() | ast.In() | ast.NotIn()]):
            return None
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case _:
            return ast.UnaryOp(ast.Not(), test)


def _is_dropped(statement: ast.AST) -> bool:
    """Whether a statement can be left out; to leave a name unbound is no feat."""
    match statement:
        case ast.Expr():
            return not _is_skipped(statement) and not _is_skipped(statement.value)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return True
        case ast.AnnAssign(target=ast.Attribute() | ast.Subscript(), value=ast.expr()):
            return True
        case _:
            return isinstance(statement, _DROPPED)
