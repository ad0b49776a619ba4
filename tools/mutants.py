"""Mutants of source code: small changes of its syntax tree that a test should notice.

    python -m tools.mutate benchmark/compare --seed 7 --count 40

tests them. A mutant has a similar operator or function, a different number, a negated condition, no
statement, None as the returned value, or a reversed order. Texts, annotations and decorators are
never changed.
"""

import ast
from collections.abc import Iterator
from copy import copy
from typing import NamedTuple

OPPOSITES = (
    *("Lt LtE", "Gt GtE", "Eq NotEq", "Is IsNot", "In NotIn", "Add Sub", "Mult Div"),
    *("LShift RShift", "BitAnd BitOr", "And Or"),
    *("min max", "any all", "minimum maximum", "argmin argmax", "nanmin nanmax"),
)
# Names of operators' nodes and of functions -> their replacements.
EXCHANGES = {
    **dict.fromkeys(("FloorDiv", "Mod", "Pow"), "Mult"),
    "reversed": "list",
    **dict(map(str.split, OPPOSITES)),
    **dict(pair.split()[::-1] for pair in OPPOSITES),
}
SKIPPED_FIELDS = ("annotation", "returns", "decorator_list", "type_params")  # of nodes


class Mutant(NamedTuple):
    """Source code with one change."""

    line: int  # first line of the changed expression or statement, from 1
    statement: tuple[int, int]  # first and last line of the statement, or of a block's head
    at_import: bool  # executed at import, so that tests of every importing module may notice it
    text: str  # the line, stripped
    before: str  # the expression or statement, from `ast.unparse`
    after: str  # what replaces it
    source: str  # the whole mutated file

    @property
    def change(self) -> str:
        """Description of the change, without its line number."""
        return f"{self.before} => {self.after}"


def mutants_of(source: str) -> list[Mutant]:
    """Return all mutants of a file's source code, by line."""
    lines = source.encode().splitlines(keepends=True)
    line_starts = [0]
    for line in lines:
        line_starts.append(line_starts[-1] + len(line))
    source_bytes, mutants = source.encode(), []
    for node, statement, in_function in _nodes(ast.parse(source), (0, 0), in_function=False):
        for changed_node in _changed_nodes(node):
            start = line_starts[node.lineno - 1] + node.col_offset
            end = line_starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            before, after = ast.unparse(node), ast.unparse(changed_node)
            text = f"({after})" if isinstance(node, ast.expr) else after
            mutated = (source_bytes[:start] + text.encode() + source_bytes[end:]).decode()
            line_text = lines[node.lineno - 1].decode().strip()
            mutants.append(
                Mutant(node.lineno, statement, not in_function, line_text, before, after, mutated)
            )
    return sorted(mutants, key=lambda mutant: (mutant.line, mutant.change))


def _nodes(
    parent: ast.AST, statement: tuple[int, int], in_function: bool
) -> Iterator[tuple[ast.expr | ast.stmt, tuple[int, int], bool]]:
    """Yield expressions and statements, each statement's lines, and whether in a function."""
    for field, value in ast.iter_fields(parent):
        if field in SKIPPED_FIELDS:
            continue
        is_body = isinstance(parent, ast.FunctionDef | ast.Lambda) and field == "body"
        for node in value if isinstance(value, list) else [value]:
            if (
                isinstance(node, ast.JoinedStr)
                or not isinstance(node, ast.AST)
                or _is_typing_only(node)
            ):
                continue
            lines = _head(node) if isinstance(node, ast.stmt) else statement
            if isinstance(node, ast.expr | ast.stmt):
                yield node, lines, in_function or is_body
            yield from _nodes(node, lines, in_function or is_body)


def _head(statement: ast.stmt) -> tuple[int, int]:
    """Return the first and last line of a statement; for a block, without its body."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    blocks = [*getattr(statement, "body", []), *getattr(statement, "cases", [])]
    if blocks:
        block_start = getattr(blocks[0], "lineno", None) or blocks[0].pattern.lineno
        last = max(first, block_start - 1)
    return first, last


def _is_typing_only(node: ast.AST) -> bool:
    """Return whether only type checkers use a node."""
    name = getattr(node, "test" if isinstance(node, ast.If) else "value", None)
    return (
        isinstance(node, ast.If | ast.Subscript)
        and isinstance(name, ast.Name)
        and name.id == ("TYPE_CHECKING" if isinstance(node, ast.If) else "Literal")
    )


def _changed_nodes(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:  # noqa: PLR0912 - one for each kind
    match node:
        case ast.Compare(ops=operators):
            for i, operator in enumerate(operators):
                yield _replace_fields(
                    node, ops=[*operators[:i], _exchange(operator), *operators[i + 1 :]]
                )
        case ast.BinOp(left=left, op=operator) if type(operator).__name__ in EXCHANGES:
            if not _is_text(left) and not _is_text(node.right):
                yield _replace_fields(node, op=_exchange(operator))
        case ast.BoolOp(op=operator):
            yield _replace_fields(node, op=_exchange(operator))
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Call(func=ast.Name(id="sorted")):
            backwards = ast.Slice(step=ast.UnaryOp(ast.USub(), ast.Constant(1)))
            yield ast.Subscript(node, backwards, ast.Load())
        case ast.Call(func=ast.Name(id=name) as function) if name in EXCHANGES:
            yield _replace_fields(node, func=_replace_fields(function, id=EXCHANGES[name]))
        case ast.Call(func=ast.Attribute(attr=name) as function) if name in EXCHANGES:
            yield _replace_fields(node, func=_replace_fields(function, attr=EXCHANGES[name]))
        case ast.Constant(value=bool(value)):
            yield _replace_fields(node, value=not value)
        case ast.Constant(value=int(value)):
            yield _replace_fields(node, value=value + 1)
        case ast.Constant(value=float(value)):
            yield _replace_fields(node, value=2 * value if value else 1.0)
        case ast.IfExp(test=ast.Name() | ast.Call() | ast.Attribute() as test):
            yield _replace_fields(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield _replace_fields(node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Continue() | ast.Break():
            yield ast.Pass()


def _exchange(operator: ast.AST) -> ast.AST:
    exchanged_operator: ast.AST = getattr(ast, EXCHANGES[type(operator).__name__])()
    return exchanged_operator


def _replace_fields(node: ast.AST, **fields: object) -> ast.AST:
    changed_node = copy(node)
    for name, value in fields.items():
        setattr(changed_node, name, value)
    return changed_node


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
