"""Comparisons of a credit function that may hold nowhere or everywhere, and its program as training compiles it.

A softmax over what is left divides by 0 once nothing is left, and random states have something left. So each comparison
of the program is taken to hold nowhere, and then everywhere: where weights or bias are not finite then, a search looks
for a state on which it does. A state that is found is tried like all others; without one there is a note.

The same compiled program has XLA's algebraic simplifier on, as in training: it reorders products, which can overflow in
one order and not in another. All other gates compile without it (see sandbox/process.py).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from qllm_jax.tfcaf.jaxprs import bind, line_of, walk
from qllm_jax.tfcaf.semantics import search
from qllm_jax.tfcaf.semantics.probes import States
from qllm_jax.tfcaf.semantics.trial import Trial

SIMPLIFIED: Any = {"xla_disable_hlo_passes": ""}
ROWS = 6  # states on which a comparison is forced
STARTS, STEPS = 6, 40  # of the search for a state
MARGIN = 1e-4  # how far beyond the end of a comparison the search goes
MOST = 100  # comparisons that are forced

_COMPARISONS = frozenset({"eq", "ge", "gt", "le", "lt", "ne"})


class Forced(NamedTuple):
    """A comparison that breaks the function if it holds nowhere, or everywhere."""

    position: int  # among all operations in order
    line: int | None
    holds: bool  # everywhere, else nowhere


class Found(NamedTuple):
    """Outcome of the program as training compiles it, and the comparisons that can break it."""

    finite: Bool[np.ndarray, " states"]
    dangers: list[Forced]


def run(trial: Trial, states: States, reached: int, file: str) -> Found:
    """Run the program on all states, and on some with each comparison forced. The first `reached` states are play's."""
    compared = _comparisons(trial, file)[:MOST]
    total = len(next(iter(states.values())))
    rows = np.unique(np.linspace(0, max(reached or total, 1) - 1, ROWS).astype(int))
    which = [np.full(total, -1)] + [np.full(len(rows), k) for k in range(len(compared)) for _ in (0, 1)]
    holds = [np.zeros(total, bool)] + [np.full(len(rows), bool(value)) for _ in compared for value in (0, 1)]
    picked = np.concatenate([np.arange(total), *[rows] * (2 * len(compared))])
    inputs = [states[name][picked] for name in sorted(states)]
    finite = _finite(trial, [each.position for each in compared], inputs, np.concatenate(which), np.concatenate(holds))
    forced = np.asarray(finite[total:].reshape(len(compared), 2, len(rows)).all(-1))
    dangers = [
        each._replace(holds=bool(value)) for k, each in enumerate(compared) for value in (0, 1) if not forced[k, value]
    ]
    return Found(finite[:total], dangers)


def ends(trial: Trial, dangers: Sequence[Forced], states: States) -> States:
    """Return states (P, ...) to which a search for such a comparison leads."""
    flat, low, high = search.flat(trial, states)
    starts = np.unique(np.linspace(0, len(flat) - 1, STARTS).astype(int))
    pairs = [(row, k) for k in range(len(dangers)) for row in starts]
    descend = jax.jit(jax.vmap(lambda x, k: _descend(trial, dangers, x, k, low, high)))
    x, k = jnp.asarray(flat[[row for row, _ in pairs]]), jnp.asarray([k for _, k in pairs])
    found = np.asarray(descend.lower(x, k).compile(SIMPLIFIED)(x, k))
    return search.unflatten(trial.boxes, found[np.isfinite(found).all(-1)])


def notes(dangers: Sequence[Forced]) -> list[str]:
    """Return a note for each line with such a comparison."""
    lines = dict.fromkeys((each.line, each.holds) for each in dangers)
    return [
        f"line {line}: if this comparison held {'everywhere' if holds else 'nowhere'}, the function would not be finite"
        for line, holds in lines
    ]


def _comparisons(trial: Trial, file: str) -> list[Forced]:
    """Return the comparisons that depend on the state."""
    found: list[Forced] = []

    def step(position: int, equation: Any, varies: Sequence[bool], outermost: Any) -> list[bool]:
        if equation.primitive.name in _COMPARISONS and any(varies):
            found.append(Forced(position, line_of(outermost, file), False))
        return [any(varies)] * len(equation.outvars)

    walk(trial.program, [True] * len(trial.boxes), step, lambda value: False)
    return found


def _finite(trial: Trial, positions: list[int], inputs: list[np.ndarray], which: Any, holds: Any) -> np.ndarray:
    order = {position: k for k, position in enumerate(positions)}

    def one(inputs: list[jax.Array], which: Int[Array, ""], holds: Bool[Array, ""]) -> jax.Array:
        def step(position: int, equation: Any, operands: list, outermost: Any) -> Any:
            del outermost
            outputs = bind(equation, operands)
            if position not in order:
                return outputs
            return [jnp.where(which == order[position], holds, outputs[0])]

        weights, bias = walk(trial.program, inputs, step)
        scale = jnp.float32(weights.size)  # as training multiplies them, unless it is told otherwise
        return jnp.isfinite(scale * weights).all() & jnp.isfinite(scale * bias)

    program = jax.jit(jax.vmap(one))
    given = (inputs, jnp.asarray(which), jnp.asarray(holds))
    return np.asarray(program.lower(*given).compile(SIMPLIFIED)(*given))


def _descend(
    trial: Trial,
    dangers: Sequence[Forced],
    start: Float[Array, " entries"],
    which: Int[Array, ""],
    low: np.ndarray,
    high: np.ndarray,
) -> Float[Array, " entries"]:
    """Run Newton's method for the entry that keeps a comparison from holding nowhere, or everywhere."""

    def size(x: jax.Array) -> jax.Array:
        return jnp.stack(_margins(trial, dangers, search.split(trial.boxes, x)))[which]

    def step(_: int, x: jax.Array) -> jax.Array:
        value, slope = jax.value_and_grad(size)(x)
        moved = jnp.clip(x - (value + MARGIN) * slope / (slope @ slope), low, high)
        return jnp.where(jnp.isfinite(moved).all() & (value > -MARGIN / 2), moved, x)

    return jax.lax.fori_loop(0, STEPS, step, start)


def _margins(trial: Trial, dangers: Sequence[Forced], inputs: list[jax.Array]) -> list[jax.Array]:
    """Return for each danger a number that is below 0 exactly where its comparison holds nowhere, or everywhere."""
    values: dict[int, tuple[str, jax.Array]] = {}

    def step(position: int, equation: Any, operands: list, outermost: Any) -> Any:
        del outermost
        if equation.primitive.name in _COMPARISONS:
            values[position] = (equation.primitive.name, _difference(*operands))
        return bind(equation, operands)

    walk(trial.program, inputs, step)
    return [_margin(*values[each.position], each.holds) for each in dangers]


def _difference(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.asarray(a).astype(jnp.float32) - jnp.asarray(b).astype(jnp.float32)


def _margin(name: str, difference: jax.Array, holds: bool) -> jax.Array:
    if name in ("eq", "ne"):
        apart = jnp.abs(difference)
        return apart.max() if (name == "eq") == holds else -apart.min()
    signed = difference if name in ("lt", "le") else -difference
    return signed.max() if holds else (-signed).max()
