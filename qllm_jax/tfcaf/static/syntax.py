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
_FROM_JAX = {("jax.lax", "lax"), ("jax.nn", "nn"), ("jax.vmap", "vmap")}
DROPPED_IMPORTS = {("jax.numpy", "jnp"), ("jax", None), ("jax.numpy", None), ("jax.nn", None)} | _FROM_JAX
TYPING = frozenset({"__future__", "collections.abc", "jaxtyping", "typing"})  # for annotations, which are dropped

# The nodes that a source may have; a kind that a later Python adds is refused.
_STATEMENTS = (ast.FunctionDef, ast.Return, ast.Pass, ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.If)
_STATEMENTS += (ast.Break, ast.Continue, ast.Module, ast.arguments, ast.arg)
_EXPRESSIONS = (ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Call)
_EXPRESSIONS += (ast.ListComp, ast.GeneratorExp, ast.comprehension, ast.keyword, ast.expr_context)
_OPERATORS = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.boolop, ast.unaryop, ast.cmpop)
_OPERATORS += (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
_OPERATORS += (ast.BitAnd, ast.BitOr, ast.BitXor)  # no shifts: 1 << 10**9
NODES = (*_STATEMENTS, *_EXPRESSIONS, *_OPERATORS, ast.Lambda)

# What an annotation may be made of: names of types. Anything else could do something where Python runs it.
_TYPES = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Constant, ast.BinOp, ast.BitOr)
_TYPES += (ast.expr_context,)

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
    texts.verify(text, file)
    text = text.removeprefix(texts.BYTE_ORDER_MARK)  # editors on Windows write one
    tree = _guarded(lambda: ast.parse(text), file)
    _check_depth(tree, file)
    lines = text.split("\n")
    for node in list(ast.walk(tree)):
        _check_letters(node, lines, file)
        _check_annotation(node, file)
    short = {name for node in tree.body if isinstance(node, ast.ImportFrom) for _, name in _imported(node) & _FROM_JAX}
    short -= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    short -= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in list(ast.walk(tree)):
        _strip(node)
    return ast.fix_missing_locations(_OneName(short).visit(tree))


class _OneName(ast.NodeTransformer):
    """Write `jnp` for `jax.numpy`, and `jax.lax` for `lax` where that is imported: one name for one thing."""

    def __init__(self, short: set[str | None]):
        self._short = short

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr == "numpy" and isinstance(node.value, ast.Name) and node.value.id == "jax":
            return ast.copy_location(ast.Name("jnp", node.ctx), node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._short and isinstance(node.ctx, ast.Load):
            jax = ast.copy_location(ast.Name("jax", node.ctx), node)
            return ast.copy_location(ast.Attribute(jax, node.id, node.ctx), node)
        return node


def _check_letters(node: ast.AST, lines: list[str], file: str) -> None:
    """Refuse names that are not what they look like.

    Letters of other scripts look like plain ones, and Python takes a full-width letter for a plain one.
    """
    if not isinstance(node, (ast.Name, ast.arg, ast.Attribute, ast.keyword, ast.FunctionDef)):
        return
    named = {ast.Name: "id", ast.Attribute: "attr", ast.FunctionDef: "name"}.get(type(node), "arg")
    name = getattr(node, named)
    if name is None:  # `**` in a call
        return
    line, hint = lines[node.lineno - 1], "write names in plain letters"
    if not name.isascii():
        problem = f"`{name}` has a letter other than a to z, which may look like one of these"
        raise TfcafError("STATIC", Location(file, node.lineno), problem, hint)
    start = node.col_offset
    if isinstance(node, ast.Attribute):
        line, start = lines[(node.end_lineno or node.lineno) - 1], max((node.end_col_offset or 0) - len(name), 0)
    written = line.encode()[start:]
    if name.encode() not in (written if isinstance(node, ast.FunctionDef) else written[: len(name)]):
        problem = f"`{name}` is written in other letters that Python takes for these"
        raise TfcafError("STATIC", Location(file, node.lineno), problem, hint)


def _check_annotation(node: ast.AST, file: str) -> None:
    """Refuse annotations that could do something where Python runs them: here they are dropped."""
    if isinstance(node, ast.AnnAssign) and node.value is None:
        hint = "give it a value, or leave the line out"
        raise TfcafError("STATIC", Location(file, node.lineno), "a name is declared without a value", hint)
    for each in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if isinstance(each, ast.expr) and not all(isinstance(part, _TYPES) for part in ast.walk(each)):
            hint = "write the name of a type, or leave the annotation out"
            raise TfcafError("STATIC", Location(file, each.lineno), "an annotation is more than a type", hint)


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
    if not isinstance(node, (ast.Import, ast.ImportFrom)):
        return False
    types = all(name.asname is None for name in node.names) and _module(node) in TYPING
    return types or _imported(node) <= DROPPED_IMPORTS


def _imported(node: ast.Import | ast.ImportFrom) -> set[tuple[str, str | None]]:
    """Return what an import binds: (dotted name, its name in the file); of `from jax import lax` that is `lax`."""
    if isinstance(node, ast.Import):
        return {(name.name, name.asname) for name in node.names}
    if node.level:
        return {("", None)}
    return {(f"{node.module}.{name.name}", name.asname or name.name) for name in node.names}


def _module(node: ast.Import | ast.ImportFrom) -> str:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "") if node.level == 0 else ""
    return node.names[0].name if len(node.names) == 1 else ""


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
    if _is_dropped(node):
        return None
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return None
    if isinstance(node, ast.AnnAssign):
        return node.value and ast.copy_location(ast.Assign([node.target], node.value), node)
    return node
