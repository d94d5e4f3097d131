"""Rules for each kind of node in the syntax tree of a credit function, for names above all."""

import ast
import difflib
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from qllm_jax.tfcaf.static.syntax import DROPPED_IMPORTS, NODES, REFUSED
from qllm_jax.tfcaf.static.vocabulary import BUILTINS, HARMLESS, HIGHER, INSTEAD, KEYWORDS, METHODS, MODULES, ORDER
from qllm_jax.tfcaf.verdict import Location, TfcafError

MAX_INT = 10**6  # exclusive
MAX_EXPONENT = 8
LIKE = 0.75  # of 1, the likeness from which on another word is suggested
# Names of floats of less than 32 bits, in which positions lose most of their digits. Whole numbers that wrap are found
# by SCALE.
NARROW = re.compile(r"[<>=|]?(b?float(16|8_\w+|[46]_\w+)|half|f2)")


class Scope(NamedTuple):
    """Context of a node that a rule needs."""

    file: str
    parents: dict[ast.AST, ast.AST]
    functions: dict[str, ast.FunctionDef]  # all functions of the file by name, nested ones too
    mapped: dict[str, list[ast.expr]]  # names that hold nothing but `jax.vmap(...)`, with what is assigned to them
    bound: frozenset[str]  # every name that the file binds


def scope_of(tree: ast.Module, file: str) -> Scope:
    """Return the names of a file. `TfcafError` if it defines a function twice."""
    nodes = list(ast.walk(tree))
    functions: dict[str, ast.FunctionDef] = {}
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            if node.name in functions:
                location = Location(file, node.lineno)
                raise TfcafError("STATIC", location, f"`{node.name}` is defined twice", "keep one, or rename one")
            functions[node.name] = node
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
    return Scope(file, parents, functions, _mapped(nodes, arguments), frozenset(stored | arguments | set(functions)))


def _mapped(nodes: list[ast.AST], arguments: set[str]) -> dict[str, list[ast.expr]]:
    """Return the names that are bound by `name = jax.vmap(...)` and in no other way."""
    assigned: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, []).append(node.value)
    names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    is_mapped = lambda value: isinstance(value, ast.Call) and path(value.func) == "jax.vmap"
    return {
        name: values
        for name, values in assigned.items()
        if all(map(is_mapped, values)) and names.count(name) == len(values) and name not in arguments
    }


def apply(node: ast.AST, scope: Scope) -> None:
    """Raise `TfcafError` if `node`, without its children, breaks a rule."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        _refuse_import(node, scope)
    if not isinstance(node, NODES):
        unknown = (f"{type(node).__name__} syntax", "use plain assignments and functions of jnp")
        what, hint = REFUSED.get(type(node), unknown)
        raise error(node, scope, f"{what} is not allowed", hint)
    for _, value in ast.iter_fields(node):  # names, attributes, keywords, strings: wherever a tree holds text
        if isinstance(value, str) and "__" in value:
            hint = "leave this block out" if value == "__name__" else "choose another name"
            raise error(node, scope, f"`{value}` has a double underscore", hint)
    if rule := _RULES.get(type(node)):
        rule(node, scope)


def error(node: ast.AST, scope: Scope, problem: str, hint: str) -> TfcafError:
    """Return a STATIC error at the line of `node`, or of its nearest parent that has one."""
    at: ast.AST | None = node
    while at is not None and not hasattr(at, "lineno"):  # operators and argument lists have no line of their own
        at = scope.parents.get(at)
    return TfcafError("STATIC", Location(scope.file, getattr(at, "lineno", None)), problem, hint)


def path(node: ast.AST) -> str:
    """Return "a.b.c" for a dotted name, "" for any other expression."""
    if isinstance(node, ast.Attribute):
        base = path(node.value)
        return base and f"{base}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _refuse_import(node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
    if isinstance(node, ast.ImportFrom):
        module = node.module
    else:
        foreign = [name.name for name in node.names if (name.name, name.asname) not in DROPPED_IMPORTS]
        module = (foreign or [node.names[0].name])[0]  # inside a function even jax is imported in vain
    hint = INSTEAD.get((module or "").split(".")[0], "leave it out: jnp and jax.nn are provided")
    raise error(node, scope, f"import of {module or 'a relative module'}", hint)


def _check_function(node: ast.FunctionDef, scope: Scope) -> None:
    if node.decorator_list:
        raise error(node.decorator_list[0], scope, f"`{node.name}` has a decorator", "leave it out")
    given = node.args
    if not all(map(is_number, given.defaults)) or any(given.kw_defaults):
        problem = f"`{node.name}` has default arguments that are no numbers"
        raise error(node, scope, problem, "pass every argument")
    if _has_stars(given):
        raise error(node, scope, f"`{node.name}` has star arguments", "name the arguments one by one")
    _check_binding(node, node.name, scope, BUILTINS)


def _has_stars(arguments: ast.arguments) -> bool:
    return bool(arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs)


def is_number(node: ast.expr) -> bool:
    """True for a number that is written out, with or without a minus."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))


def _check_lambda(node: ast.Lambda, scope: Scope) -> None:
    if not _is_taken(node, scope):
        what, hint = REFUSED[ast.Lambda]
        raise error(node, scope, f"{what} is not allowed", hint)
    if node.args.defaults or _has_stars(node.args):
        raise error(node, scope, "a lambda has default or star arguments", "write a def")


def _is_taken(node: ast.AST, scope: Scope) -> bool:
    """True for the argument of a function that takes functions, such as jax.vmap."""
    call = scope.parents[node]
    positions = HIGHER.get(path(call.func), ()) if isinstance(call, ast.Call) else ()
    return isinstance(call, ast.Call) and any(call.args[i : i + 1] == [node] for i in positions)


def _check_argument(node: ast.arg, scope: Scope) -> None:
    _check_binding(node, node.arg, scope, [*BUILTINS, *scope.functions])


def _check_binding(node: ast.AST, name: str, scope: Scope, taken: Collection[str]) -> None:
    # With this, calling a builtin or a function of the file is what it reads as.
    if name in MODULES or name in taken:
        raise error(node, scope, f"`{name}` is given a new meaning", "choose another name")


def _check_name(node: ast.Name, scope: Scope) -> None:
    parent = scope.parents[node]
    if isinstance(node.ctx, ast.Store):
        _check_binding(node, node.id, scope, [*BUILTINS, *scope.functions])
    elif node.id in MODULES:
        if not isinstance(parent, ast.Attribute):
            raise error(node, scope, f"`{node.id}` is used as a value", "call a function of it")
    elif node.id in scope.functions:
        # A function that is passed around could call itself in ways that the text does not show.
        if not (isinstance(parent, ast.Call) and parent.func is node) and not _is_taken(node, scope):
            raise error(node, scope, f"the function `{node.id}` is used as a value", "call it, or map it by jax.vmap")
    elif node.id not in BUILTINS and node.id not in scope.bound:
        raise error(
            node,
            scope,
            f"`{node.id}` is not available",
            _hint(node.id, scope.bound, f"there are jnp, jax.nn, {', '.join(BUILTINS)} and what the file defines"),
        )


def _check_attribute(node: ast.Attribute, scope: Scope) -> None:
    if not isinstance(node.ctx, ast.Load):
        raise error(node, scope, f"attribute `{node.attr}` is assigned", "assign to a name of your own")
    if path(node):
        apply(node.value, scope)  # of np.ones it is np that is wrong
    module = path(node.value)
    words = MODULES.get(module, METHODS)
    if node.attr not in words:
        named = f"{module}.{node.attr}" if module in MODULES else f".{node.attr}"
        hint = _hint(node.attr, words, "use functions of jnp and jax.nn on arrays")
        raise error(node, scope, f"`{named}` is not available", hint)
    if path(node) in MODULES and not isinstance(scope.parents[node], ast.Attribute):
        raise error(node, scope, f"`{path(node)}` is used as a value", "call a function of it")


def _check_call(node: ast.Call, scope: Scope) -> None:
    func = node.func
    # A name that nothing binds is left to the rule of names, which says more.
    by_name = isinstance(func, ast.Name) and (
        func.id in scope.functions or func.id in scope.mapped or func.id not in scope.bound
    )
    by_map = isinstance(func, ast.Call) and path(func.func) == "jax.vmap"
    if not (by_name or by_map or isinstance(func, ast.Attribute)):
        raise error(node, scope, "something other than a named function is called", "call functions by their own name")
    for i in HIGHER.get(path(func), ()):
        if i >= len(node.args):
            hint = f"pass the function without a keyword; the order is {ORDER[path(func)]}"
            raise error(node, scope, f"`{path(func)}` has no function in place {i + 1}", hint)
        given = node.args[i]
        nested = isinstance(given, ast.Call) and path(given.func) == "jax.vmap"
        held = isinstance(given, ast.Name) and (given.id in scope.functions or given.id in scope.mapped)
        if not (held or nested or isinstance(given, ast.Lambda)):
            hint = "pass a function of this file by its name, or a lambda"
            raise error(node, scope, f"`{path(func)}` gets something other than a function", hint)
    if isinstance(func, ast.Attribute) and func.attr == "size":
        raise error(node, scope, "`.size` is called", "use .shape[...]")
    if path(func) == "jnp.where" and len(node.args) + len(node.keywords) == 1:
        raise error(node, scope, "`jnp.where` with one argument", INSTEAD["nonzero"])
    if path(func) in ("jnp.take", "jnp.take_along_axis") and len(node.args) > 3:
        raise error(node, scope, f"`{path(func)}` with more than three arguments", INSTEAD["mode"])


def _check_keyword(node: ast.keyword, scope: Scope) -> None:
    call = scope.parents[node]
    if node.arg is None:
        raise error(node, scope, "`**` in a call", "write the arguments out")
    own = isinstance(call, ast.Call) and path(call.func) in scope.functions
    if not own and node.arg not in KEYWORDS:
        hint = "leave it out" if node.arg in HARMLESS else _hint(node.arg, KEYWORDS, "write this call in another way")
        raise error(node, scope, f"keyword `{node.arg}` is not available", hint)


def _check_subscript(node: ast.Subscript, scope: Scope) -> None:
    if not isinstance(node.ctx, ast.Load):
        hint = "arrays never change: use x = x.at[...].set(value), or jnp.stack on a list"
        raise error(node, scope, "an assignment in place", hint)


def _check_constant(node: ast.Constant, scope: Scope) -> None:
    if isinstance(node.value, str) and not _may_be_string(node, scope):
        hint = 'strings are for state["..."] and as arguments of jnp functions; infinity is jnp.inf'
        raise error(node, scope, "a string in this place", hint)
    if isinstance(node.value, str) and _is_argument(node, scope) and NARROW.fullmatch(node.value):
        raise error(node, scope, f"the dtype {node.value!r}", "compute in float32")
    if isinstance(node.value, (bytes, complex)):
        raise error(node, scope, f"a {type(node.value).__name__} value", "use real numbers")
    if isinstance(node.value, int) and node.value >= MAX_INT:
        raise error(node, scope, f"an integer of {MAX_INT} or more", "write a float, as in 1e6")


def _may_be_string(node: ast.Constant, scope: Scope) -> bool:
    parent = scope.parents[node]
    return parent.slice is node if isinstance(parent, ast.Subscript) else _is_argument(node, scope)


def _is_argument(node: ast.Constant, scope: Scope) -> bool:
    """True for an argument of a function of jnp or jax, or of `astype`."""
    parent = scope.parents[node]
    call = scope.parents[parent] if isinstance(parent, ast.keyword) else parent
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return False
    return path(call.func.value) in MODULES or call.func.attr == "astype"


def _check_operation(node: ast.BinOp | ast.AugAssign, scope: Scope) -> None:
    if not isinstance(node.op, ast.Pow):
        return
    right = node.right if isinstance(node, ast.BinOp) else node.value
    exponent = right.operand if isinstance(right, ast.UnaryOp) else right
    value = exponent.value if isinstance(exponent, ast.Constant) else None
    # Powers of Python integers can fill the memory while the function is being traced.
    if not isinstance(value, (int, float)) or abs(value) > MAX_EXPONENT:
        problem = f"`**` with something other than a number up to {MAX_EXPONENT}"
        raise error(node, scope, problem, "use jnp.power(x, y), and multiply Python integers in a loop")


def _hint(word: str, words: Collection[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=LIKE)
    return INSTEAD.get(word) or (f"did you mean `{close[0]}`?" if close else otherwise)


_RULES: dict[type[ast.AST], Callable[[Any, Scope], None]] = {
    ast.FunctionDef: _check_function,
    ast.Lambda: _check_lambda,
    ast.arg: _check_argument,
    ast.Name: _check_name,
    ast.Attribute: _check_attribute,
    ast.Call: _check_call,
    ast.keyword: _check_keyword,
    ast.Subscript: _check_subscript,
    ast.Constant: _check_constant,
    ast.BinOp: _check_operation,
    ast.AugAssign: _check_operation,
}
