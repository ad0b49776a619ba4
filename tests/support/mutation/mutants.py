"""Mutants of a source: small changes of its syntax tree, each a defect that a test should notice.

Operators are exchanged with their neighbours, numbers changed by one, statements deleted, returned
values replaced by None, orders reversed. Texts, annotations and decorators are left as they are.
"""

import ast
from collections.abc import Iterator
from copy import copy
from typing import NamedTuple

PAIRS = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.LShift, ast.RShift)),
    *((ast.BitAnd, ast.BitOr), (ast.And, ast.Or)),
)
EXCHANGED: dict[type[ast.AST], type[ast.AST]] = {
    **dict.fromkeys((ast.FloorDiv, ast.Mod, ast.Pow), ast.Mult),
    **dict(PAIRS),
    **{other: one for one, other in PAIRS},
}
CALLS = ("min max", "any all", "minimum maximum", "argmin argmax", "nanmin nanmax")
OTHER_CALL = {"reversed": "list"} | {
    name: other for one, two in map(str.split, CALLS) for name, other in ((one, two), (two, one))
}
UNTOUCHED = ("annotation", "returns", "decorator_list", "type_params")  # fields of nodes


class Mutant(NamedTuple):
    """A source with one change. `before` and `after` are its text as `ast.unparse` writes it."""

    line: int  # the first of the changed expression or statement, from 1
    statement: tuple[int, int]  # first and last line of what it belongs to; of a block its head
    at_import: bool  # executed when the module is imported: whoever imports it may notice
    text: str  # of that line, stripped
    before: str
    after: str
    source: str  # of the whole file

    @property
    def change(self) -> str:
        """What was changed, in one line; the same wherever in the file it stands."""
        return f"{self.before} => {self.after}"


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of a source, in the order of its text."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    raw, result = source.encode(), []
    for node, statement, inside in _nodes(ast.parse(source), (0, 0), inside=False):
        for changed in _changes(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            before, after = ast.unparse(node), ast.unparse(changed)
            text = f"({after})" if isinstance(node, ast.expr) else after
            mutated = (raw[:begin] + text.encode() + raw[end:]).decode()
            shown = lines[node.lineno - 1].decode().strip()
            result.append(Mutant(node.lineno, statement, not inside, shown, before, after, mutated))
    return sorted(result, key=lambda one: (one.line, one.change))


def _nodes(
    parent: ast.AST, statement: tuple[int, int], inside: bool
) -> Iterator[tuple[ast.expr | ast.stmt, tuple[int, int], bool]]:
    """Yield expressions and statements, lines of the statement, and whether a function has them."""
    for field, value in ast.iter_fields(parent):
        if field in UNTOUCHED:
            continue
        body = isinstance(parent, ast.FunctionDef | ast.Lambda) and field == "body"
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.JoinedStr) or not isinstance(node, ast.AST) or _typing(node):
                continue
            lines = _head(node) if isinstance(node, ast.stmt) else statement
            if isinstance(node, ast.expr | ast.stmt):
                yield node, lines, inside or body
            yield from _nodes(node, lines, inside or body)


def _head(statement: ast.stmt) -> tuple[int, int]:
    """Return the first and last line of a statement, of a block without what it encloses."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    blocks = [*getattr(statement, "body", []), *getattr(statement, "cases", [])]
    if blocks:
        begin = getattr(blocks[0], "lineno", None) or blocks[0].pattern.lineno
        last = max(first, begin - 1)
    return first, last


def _typing(node: ast.AST) -> bool:
    """Return whether a node is there for type checkers alone."""
    name = getattr(node, "test" if isinstance(node, ast.If) else "value", None)
    return (
        isinstance(node, ast.If | ast.Subscript)
        and isinstance(name, ast.Name)
        and name.id == ("TYPE_CHECKING" if isinstance(node, ast.If) else "Literal")
    )


def _changes(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    yield from _other_operators(node)
    if isinstance(node, ast.Call):
        yield from _other_calls(node)
    match node:
        case ast.Constant(value=bool(value)):
            yield _with(node, value=not value)
        case ast.Constant(value=int(value)):
            yield _with(node, value=value + 1)
        case ast.Constant(value=float(value)):
            yield _with(node, value=2 * value if value else 1.0)
        case ast.IfExp(test=ast.Name() | ast.Call() | ast.Attribute() as test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield _with(node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Continue() | ast.Break():
            yield ast.Pass()


def _other_operators(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=operators):
            for i, operator in enumerate(operators):
                changed = [*operators[:i], EXCHANGED[type(operator)](), *operators[i + 1 :]]
                yield _with(node, ops=changed)
        case ast.BinOp(left=left, op=operator) if type(operator) in EXCHANGED:
            if not _text(left) and not _text(node.right):
                yield _with(node, op=EXCHANGED[type(operator)]())
        case ast.BoolOp(op=operator):
            yield _with(node, op=EXCHANGED[type(operator)]())
        case ast.UnaryOp(operand=operand):
            yield operand


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    match node.func:
        case ast.Name(id="sorted"):
            backwards = ast.Slice(step=ast.UnaryOp(ast.USub(), ast.Constant(1)))
            yield ast.Subscript(node, backwards, ast.Load())
        case ast.Name(id=name) if name in OTHER_CALL:
            yield _with(node, func=_with(node.func, id=OTHER_CALL[name]))
        case ast.Attribute(attr=name) if name in OTHER_CALL:
            yield _with(node, func=_with(node.func, attr=OTHER_CALL[name]))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
