"""L3: static check of a source: an allow-list of syntax and of names, applied before anything runs.

It is one layer and no security boundary (no allow-list of syntax is), and it bounds neither time nor memory: the gates
that run in a process of their own build on it. What is compiled is the very tree that was checked, its indices guarded.
"""

import ast
import graphlib
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

from qllm_jax.tfcaf.static import igm, rules, syntax
from qllm_jax.tfcaf.static.rules import Scope
from qllm_jax.tfcaf.static.vocabulary import DEFINITIONS, ENTRIES, KINDS, MAX_TASKS, SIGNATURES, Kind, Signature
from qllm_jax.tfcaf.verdict import Location


class Checked(NamedTuple):
    """A source that passed."""

    code: CodeType  # compiled from the tree that was checked, without docstrings, annotations and imports
    entry: str  # one of `ENTRIES`
    signature: Signature
    igm: bool
    tasks: int  # number of the tasks that an `assign` tells apart, 0 for the other signatures
    end: Location  # the last `return` of the entry: the location of mistakes in its outcome


def check(text: str, file: str, kind: Kind = "value") -> Checked:
    """Check and compile a source of a kind, without running it.

    `TfcafError` names a line of `file` that breaks a rule, and a function of another kind.
    """
    tree = syntax.parse(text, file)
    scope = rules.scope_of(tree, file)
    for node in _in_order(tree):
        rules.apply(node, scope)
    _check_top_level(tree, scope)
    gate = _check_igm(tree, scope)
    _check_statements(tree, scope)
    _check_recursion(scope)
    entry, signature = _check_entry(tree, scope, kind)
    tasks = _check_tasks(tree, scope) if signature == "task" else 0
    returns = [node.lineno for node in ast.walk(entry) if isinstance(node, ast.Return)]
    end = Location(file, max(returns, default=entry.lineno))
    syntax.guard_indices(tree)
    return Checked(syntax.compile_tree(tree, file), entry.name, signature, gate, tasks, end)


def _in_order(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all nodes in the order of the text, so that the first mistake is the one reported."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += reversed(list(ast.iter_child_nodes(node)))


def _check_top_level(tree: ast.Module, scope: Scope) -> None:
    """Allow only functions, and constants that cannot change."""
    constants: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if not (isinstance(node, ast.Assign) and isinstance(target, ast.Name)):
            raise rules.error(node, scope, "a statement outside of a function", "move it inside, or leave it out")
        if target.id in constants:
            raise rules.error(node, scope, f"`{target.id}` is defined twice", "keep one")
        if not _is_literal(node.value):
            hint = "constants are numbers, True, False or tuples of these; compute the rest in the function"
            raise rules.error(node, scope, f"`{target.id}` is not a constant", hint)
        constants.add(target.id)


def _check_igm(tree: ast.Module, scope: Scope) -> bool:
    gate = igm.value(tree)
    if gate is None:
        return igm.DEFAULT
    if not (isinstance(gate, ast.Constant) and isinstance(gate.value, bool)):
        raise rules.error(gate, scope, "IGM is neither True nor False", "write IGM = True or IGM = False")
    return gate.value


def _check_tasks(tree: ast.Module, scope: Scope) -> int:
    """Return the constant TASKS of a source."""
    found = igm.value(tree, "TASKS")
    number = found.value if isinstance(found, ast.Constant) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 2 <= number <= MAX_TASKS:
        hint = f"write TASKS = n above the function, with n from 2 to {MAX_TASKS}: assign gives numbers from 0 to n - 1"
        raise rules.error(found or tree, scope, "TASKS, the number of tasks, is missing or out of range", hint)
    return number


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_literal, node.elts))
    return rules.is_number(node)


def _check_statements(tree: ast.Module, scope: Scope) -> None:
    for node in _in_order(tree):
        if isinstance(node, ast.Expr) and not _is_append(node.value):
            hint = "assign it, as in x = x.at[i].set(value), or leave the line out"
            raise rules.error(node, scope, "the result of this line is dropped", hint)


def _is_append(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"


def _check_recursion(scope: Scope) -> None:
    held = {name: set().union(*map(_named, values)) for name, values in scope.mapped.items()}
    calls = held | {name: _named(function) for name, function in scope.functions.items()}
    calls = {name: named & set(calls) for name, named in calls.items()}
    try:
        graphlib.TopologicalSorter(calls).prepare()
    except graphlib.CycleError as error:
        name = next(name for name in error.args[1] if name in scope.functions)
        raise rules.error(scope.functions[name], scope, f"`{name}` calls itself", "use a for loop") from error


def _named(node: ast.AST) -> set[str]:
    """Return the names that a function reads: it calls those that are functions, or hands them to jax.vmap."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _check_entry(tree: ast.Module, scope: Scope, kind: Kind) -> tuple[ast.FunctionDef, Signature]:
    """Return the one function to call, and its signature, which is of `kind`."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    entries = [function for function in functions if function.name in ENTRIES]
    define = DEFINITIONS[kind]
    if not entries:
        found = ", ".join(function.name for function in functions) or "none"
        raise rules.error(functions[0] if functions else tree, scope, f"no function to call (found: {found})", define)
    if len(entries) > 1:
        raise rules.error(entries[1], scope, "two functions to call", f"keep one: {define}")
    entry = entries[0]
    n_arguments = len(entry.args.args)
    signature = SIGNATURES.get((entry.name, n_arguments))
    if signature is None:
        raise rules.error(entry, scope, f"`{entry.name}` takes {n_arguments} arguments", define)
    if KINDS[signature] != kind:
        problem = f"a function of kind {kind} is asked for, and this is one of kind {KINDS[signature]}"
        raise rules.error(entry, scope, problem, f"{define}; or ask for kind={KINDS[signature]}")
    return entry, signature
