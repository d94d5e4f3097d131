"""Likeness of two credit functions: their syntax trees up to names, and their outputs on probe states.

Sources must be verified: they are parsed and run in this process.
"""

import ast
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qllm_jax.tfcaf import from_source
from qllm_jax.tfcaf.loading.signatures import STATE
from qllm_jax.tfcaf.semantics import probes
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.task import Task
from qllm_jax.tfcaf.static import igm

Outputs = Float[np.ndarray, "states outputs"]  # weights of all agents, then the bias


class _Scope(NamedTuple):
    """Names that a function or the file binds, and those that have been met, in order."""

    bound: set[str]
    met: dict[str, str]


def canonical(source: str) -> str:
    """Return the syntax tree as text, without names of its own, docstrings, annotations, imports and the IGM gate.

    Two sources with one text compute the same. Imports can go as modules have fixed names, the gate as a function that
    passes with it on has no negative weight to clamp.
    """
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.keywords]
    if not all(isinstance(call.func, ast.Attribute) for call in calls):  # all but jnp.sum(x, axis=0) and the like
        return ast.dump(tree)  # names of arguments matter where a function of the file is called with keywords
    gate = igm.value(tree)
    tree.body = [
        node for node in tree.body if not isinstance(node, ast.Import) and getattr(node, "value", 0) is not gate
    ]
    return ast.dump(_Renamer().visit(tree))


class _Renamer(ast.NodeTransformer):
    """Numbers the names of each scope in the order in which they are met."""

    def __init__(self) -> None:
        self.scopes: list[_Scope] = []

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._in_scope(node, [])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns = self._renamed(node.name), None
        return self._in_scope(node, [arg.arg for arg in node.args.args])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else self.generic_visit(ast.Assign([node.target], node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._renamed(node.arg))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._renamed(node.id), node.ctx)

    def _in_scope(self, node: ast.Module | ast.FunctionDef, arguments: list[str]) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        self.scopes.append(_Scope({*arguments, *_bound(node)}, {}))
        visited = self.generic_visit(node)
        self.scopes.pop()
        return visited

    def _renamed(self, name: str) -> str:
        for depth, scope in reversed(list(enumerate(self.scopes))):
            if name in scope.bound:
                return scope.met.setdefault(name, f"{depth}.{len(scope.met)}")
        return name


def _bound(scope: ast.AST) -> set[str]:
    """Names that a scope binds itself, without those of functions within it."""
    names = set()
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        names |= _bound(node)
    return names


def outputs(source: str, task: Task) -> Outputs:
    """Return weights and bias on the probe states of a task that lie in the usual range of its fields."""
    found = from_source(source, "function", task.spec)
    credit = lambda arrays: found.credit(arrays, arrays.get(STATE, jnp.zeros(0)))
    weights, bias = jax.jit(jax.vmap(credit))(_states(task, found.signature == "paper"))
    return np.concatenate([weights, np.asarray(bias)[:, None]], -1)


def difference(ours: Outputs, theirs: Outputs) -> float:
    """Return the largest difference of a weight or a bias, in units of the second's largest weight in that state.

    The unit is at least the median of that over states, as weights may vanish in a state. It is not the largest of all
    states: weights that grow with distances are so large in the corners that nothing in play would count.
    """
    largest = np.max(np.abs(theirs[:, :-1]), axis=-1)
    unit = np.maximum(largest, max(float(np.median(largest)), np.finfo(np.float32).tiny))
    return float(np.max(np.max(np.abs(ours - theirs), axis=-1) / unit))


def _states(task: Task, is_flat: bool) -> States:
    boxes = task.boxes(is_flat)
    states, _ = task.probe_states(boxes, is_flat)
    usual = probes.are_usual(boxes, states)
    return {name: values[usual] for name, values in states.items()}
