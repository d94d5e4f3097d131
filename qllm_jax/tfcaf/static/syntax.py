"""Syntax of a credit function: the allowed nodes, text to a bare tree, tree to code."""

import ast
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

from qllm_jax.tfcaf.static import text as texts
from qllm_jax.tfcaf.verdict import Location, TfcafError

MAX_DEPTH = 100  # of nested syntax; deeper trees can exhaust the compiler's stack

T = TypeVar("T")

# (module, its name in the file): the same names are provided.
DROPPED_IMPORTS = {("jax.numpy", "jnp"), ("jax", None)}

# The nodes that a source may have; a kind that a later Python adds is refused.
_STATEMENTS = (ast.FunctionDef, ast.Return, ast.Pass, ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.If)
_STATEMENTS += (ast.Break, ast.Continue, ast.Module, ast.arguments, ast.arg)
_EXPRESSIONS = (ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Call)
_EXPRESSIONS += (ast.ListComp, ast.GeneratorExp, ast.comprehension, ast.keyword, ast.expr_context)
_OPERATORS = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.boolop, ast.unaryop, ast.cmpop)
_OPERATORS += (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
_OPERATORS += (ast.BitAnd, ast.BitOr, ast.BitXor)  # no shifts: 1 << 10**9
NODES = _STATEMENTS + _EXPRESSIONS + _OPERATORS

# Refused syntax that models are likely to write -> (its name, what to do instead).
REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.ClassDef: ("a class", "write functions"),
    ast.Lambda: ("a lambda", "write a def"),
    ast.While: ("a while loop", "use a for loop over a range, or array operations"),
    ast.Global: ("a global statement", "pass the value as an argument"),
    ast.Nonlocal: ("a nonlocal statement", "pass the value as an argument"),
    ast.Try: ("a try statement", "choose values with jnp.where"),
    ast.Raise: ("a raise statement", "choose values with jnp.where"),
    ast.Assert: ("an assert statement", "leave it out"),
    ast.With: ("a with statement", "leave it out"),
    ast.JoinedStr: ("an f-string", "leave it out"),
    ast.NamedExpr: ("an assignment inside an expression", "assign on a line of its own"),
    ast.Starred: ("a star argument", "write the arguments out"),
    ast.Dict: ("a dict", "use separate names, or a tuple"),
    ast.Yield: ("a generator function", "return the values"),
    ast.YieldFrom: ("a generator function", "return the values"),
    ast.AsyncFunctionDef: ("an async function", "write a plain def"),
    ast.Match: ("a match statement", "choose values with jnp.where"),
    ast.Delete: ("a del statement", "leave it out"),
}


def parse(text: str, file: str) -> ast.Module:
    """Return the tree of `text` without jax imports, docstrings and annotations, of a depth that recursion can take."""
    texts.verify_size(text, file)
    tree = _guarded(lambda: ast.parse(text.removeprefix("\ufeff")), file)  # editors on Windows write a byte-order mark
    _check_depth(tree, file)
    tree.body = [statement for statement in tree.body if not _is_dropped(statement)]
    for node in list(ast.walk(tree)):
        _strip(node)
    return tree


def guard_indices(tree: ast.Module) -> None:
    """Turn `x[i]` into `__item__(x, written)[i]`, in place; no source can write that name itself.

    `written` says of each part of the index, and of each end of a slice, whether it is a number in the text or begins
    with a minus there: then it is negative on purpose.
    """
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.Subscript):
            arguments = [node.value, ast.Constant(_written(node.slice))]
            call = ast.Call(ast.Name("__item__", ast.Load()), arguments, [])
            node.value = ast.fix_missing_locations(ast.copy_location(call, node.value))


def _written(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Tuple):
        return tuple(_written(part) for part in node.elts)
    if isinstance(node, ast.Slice):
        return _written(node.lower), _written(node.upper)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub))


def compile_tree(tree: ast.Module, file: str) -> CodeType:
    """Compile a tree. `TfcafError` if it is nested too deep."""
    return _guarded(lambda: compile(tree, file, "exec", dont_inherit=True), file)


def _guarded(step: Callable[[], T], file: str) -> T:
    """Return `step()`; errors that text can cause in Python's parser and compiler become `TfcafError`."""
    hint = "write plain, complete Python"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in a candidate's docstring do not concern the user
            return step()
    except SyntaxError as error:
        raise TfcafError("PARSE", Location(file, error.lineno), f"not Python: {error.msg}", hint) from error
    except (RecursionError, MemoryError) as error:  # the parser's own stack
        raise TfcafError("PARSE", Location(file, None), "nested too deep", "split the expression") from error
    except ValueError as error:  # NUL characters, surrogates
        raise TfcafError("PARSE", Location(file, None), f"not Python: {error}", hint) from error


def _check_depth(tree: ast.Module, file: str) -> None:
    nodes: list[tuple[ast.AST, int]] = [(tree, 0)]
    while nodes:  # without recursion, since the depth is in doubt
        node, depth = nodes.pop()
        if depth > MAX_DEPTH:
            location = Location(file, getattr(node, "lineno", None))
            raise TfcafError("PARSE", location, f"nested more than {MAX_DEPTH} deep", "split the expression")
        nodes += [(child, depth + 1) for child in ast.iter_child_nodes(node)]


def _is_dropped(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom) and node.level == 0:  # from jax import numpy as jnp
        names = {(f"{node.module}.{name.name}", name.asname) for name in node.names}
    else:
        names = {(name.name, name.asname) for name in node.names} if isinstance(node, ast.Import) else {("", None)}
    return names <= DROPPED_IMPORTS


def _strip(node: ast.AST) -> None:
    """Drop annotations (Python would evaluate them, and they may name torch) and bare strings, in place."""
    if isinstance(node, ast.arg):
        node.annotation = None
    if isinstance(node, ast.FunctionDef):
        node.returns = None
    for block in ("body", "orelse"):
        statements = getattr(node, block, None)
        if isinstance(statements, list):  # in `a if b else c` and in a lambda these are expressions
            kept = [plain for statement in statements if (plain := _plain(statement)) is not None]
            setattr(node, block, kept or [ast.copy_location(ast.Pass(), statement) for statement in statements[:1]])


def _plain(node: ast.stmt) -> ast.stmt | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return None
    if isinstance(node, ast.AnnAssign):
        return node.value and ast.copy_location(ast.Assign([node.target], node.value), node)
    return node
