"""Search for states on which a credit function breaks, where states tried at random would not find them.

A function breaks where the singular value of a guard is 0: at a division by 0, a root or logarithm of it, an overflow.
`ends` drives each value to 0 by Newton's method from several states; the states at which it ends are tried like all
others. `crossings` finds divisors that have both signs: one that is continuous is 0 in between, whether or not a state
in float32 hits it. Adding a small number to a divisor is the usual mistake that this finds: a sum of both signs plus
1e-6 is 0, too.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qllm_jax.tfcaf.jaxprs import Visit, bind, walk
from qllm_jax.tfcaf.semantics import intervals
from qllm_jax.tfcaf.semantics.compiling import SEARCH, run_once
from qllm_jax.tfcaf.semantics.guards import Guard, singular_values
from qllm_jax.tfcaf.semantics.probes import Box, States, are_usual
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial, gradients_finite

STARTS = 4  # states that the search for one guard starts from
STEPS = 16
FACTORS = (1.0, 2.0)  # of Newton's step: 2 is right where the value is a square, as under the root of a norm
GRIDS = (2.0**10, 2.0**4)  # ends are rounded to these, too: rounding errors keep equal things apart by 1e-8
MAX_GUARDS = 32  # those that came nearest to 0 on the states that were tried; a program with more gets a note
NEAR = 0.1  # of the largest value of a guard: one that never came nearer to 0 needs no note
TINY = 1e-4  # entries of states that are smaller count as 0


def ends(trial: Trial, states: States, outcome: Outcome) -> States:
    """Return states (P, ...) in which the guards of `trial` are 0 or near to it. `outcome` is that of `states`."""
    chosen = [k for _, k in _suspects(trial, outcome)][:MAX_GUARDS]
    starts = [
        (row, which, factor)
        for which, k in enumerate(chosen)
        for row in _spread(_nearest(outcome.singular[k]))
        for factor in FACTORS
    ]
    found = newton(trial, states, partial(_sizes, trial, [trial.guards[k] for k in chosen]), starts, steps=STEPS)
    # A choice between 0 and more by `x > 0` means 0, and not 1e-15, where the slope is inf: no state has that.
    found = np.where(np.abs(found) < TINY, 0.0, found)
    return unflatten(trial.boxes, np.concatenate([found, *(np.rint(found * grid) / grid for grid in GRIDS)]))


def notes(trial: Trial, outcome: Outcome) -> list[str]:
    """Return a note if more guards come near to 0 than are searched."""
    left = [near for near, _ in _suspects(trial, outcome)[MAX_GUARDS:] if near < NEAR]
    problem = f"{len(left)} of {len(trial.guards)} divisions, roots and the like were not searched for a 0"
    return [problem] if left else []


def _suspects(trial: Trial, outcome: Outcome) -> list[tuple[float, int]]:
    """Return the guards that may be 0, each with the nearest to 0 that it came, relative to its largest value."""
    reachable = intervals.can_be_singular(trial.program, trial.boxes, trial.guards)
    found = []
    for k, values in enumerate(outcome.singular):
        sizes = _nearest(values)
        if reachable[k] and (sizes := sizes[np.isfinite(sizes)]).size:
            found.append((float(sizes.min() / sizes.max()), k))
    return sorted(found)


def crossings(trial: Trial, states: States, outcome: Outcome) -> Iterator[tuple[Guard, str]]:
    """Yield the divisors that are 0 between two of `states` and whose quotient counts there.

    With each its code: NONFINITE, or NANGRAD if the gradient alone breaks.
    """
    usual = are_usual(trial.boxes, states)
    for k, guard in enumerate(trial.guards):
        divides = guard.name in ("div", "rem", "integer_pow")
        if not divides or guard.traits.jumps or guard.traits.whole:
            continue
        values = outcome.singular[k].reshape(len(usual), -1)  # (P, entries)
        # Gradients need to be finite on usual states alone, so that these come first.
        found = next((pair for rows in (usual, usual | True) if (pair := _signs(values, rows))), None)
        if found is None:
            continue
        entry, low, high = found
        state = _between(trial, states, k, entry, (low, high))
        finite, smooth = _at_zero(trial, guard, entry, state)
        if not finite:
            yield guard, "NONFINITE"
        elif not smooth and are_usual(trial.boxes, state).all():
            yield guard, "NANGRAD"


def _nearest(values: np.ndarray) -> np.ndarray:
    """Return the smallest magnitude that is not 0, (P,) of values (P, ...); inf where there is none."""
    sizes = np.abs(values.reshape(len(values), -1))
    return np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.inf).min(-1, initial=np.inf)


def _spread(sizes: np.ndarray) -> np.ndarray:
    """Return the indices of the smallest sizes, and of some in the middle."""
    order = np.argsort(sizes, kind="stable")[: np.isfinite(sizes).sum()]
    return np.unique(np.concatenate([order[: STARTS // 2], order[len(order) // 2 :][: STARTS // 2]]))


def newton(
    trial: Trial,
    states: States,
    values: Callable[[list[jax.Array]], list[jax.Array]],
    starts: Sequence[tuple[int, int, float]],
    *,
    steps: int,
    enough: float = 0.0,
) -> np.ndarray:
    """Return the rows (P, D) in the usual ranges to which Newton's method leads, if finite.

    A start is the row of a state, the index of one of the `values` of a state, and a factor of each step. A search
    drives its value towards 0, and ends where it is no more than `enough`.
    """
    low, high = (_flatten({n: box.usual[i][None] for n, box in trial.boxes.items()})[0] for i in (0, 1))

    def descend(x: Float[Array, " entries"], which: Int[Array, ""], factor: Float[Array, ""]) -> jax.Array:
        value_of = lambda x: jnp.stack(values(_split(trial.boxes, x)))[which]

        def step(_: int, x: jax.Array) -> jax.Array:
            value, slope = jax.value_and_grad(value_of)(x)
            moved = jnp.clip(x - factor * value * slope / (slope @ slope), low, high)
            return jnp.where(jnp.isfinite(moved).all() & (value > enough), moved, x)

        return jax.lax.fori_loop(0, steps, step, x)

    flat = _flatten(states)
    if not starts:
        return flat[:0]
    rows, which, factors = map(np.array, zip(*starts, strict=True))
    found = run_once(descend, flat[rows], jnp.asarray(which), jnp.asarray(factors), options=SEARCH)
    return found[np.isfinite(found).all(-1)]


def _flatten(states: States) -> np.ndarray:
    """Return states as rows (P, D)."""
    return np.concatenate([states[name].reshape(len(states[name]), -1) for name in sorted(states)], -1)


def unflatten(boxes: dict[str, Box], flat: np.ndarray) -> States:
    """Return rows (P, D) as states in their ranges."""
    return {name: boxes[name].fit(part) for name, part in zip(sorted(boxes), _split(boxes, flat), strict=True)}


def _split(boxes: dict[str, Box], rows: Any) -> list[Any]:
    """Return rows (..., D) as the arrays (..., *shape) that a program takes."""
    parts, start = [], 0
    for name in sorted(boxes):
        low = boxes[name].low
        parts.append(rows[..., start : start + low.size].reshape(*rows.shape[:-1], *low.shape))
        start += low.size
    return parts


def _sizes(trial: Trial, guards: list[Guard], inputs: list[jax.Array]) -> list[jax.Array]:
    """Return for each guard the magnitude of the entry nearest to 0 but not 0."""
    values = singular_values(trial.program, guards, inputs)
    return [jnp.where(v == 0, jnp.inf, jnp.abs(v)).min(initial=jnp.inf) for v in values]


def _signs(values: np.ndarray, rows: np.ndarray) -> tuple[int, int, int] | None:
    """Return an entry of values (P, entries) that has both signs in `rows` (P,), and a row for either sign."""
    picked = np.flatnonzero(rows)
    if not len(picked):
        return None
    among = values[picked]
    both = np.flatnonzero((among.min(0) < 0) & (among.max(0) > 0))
    if not len(both):
        return None
    entry = int(both[0])
    return entry, int(picked[among[:, entry].argmin()]), int(picked[among[:, entry].argmax()])


def _between(trial: Trial, states: States, k: int, entry: int, rows: tuple[int, int]) -> States:
    """Return the state (1, ...) on the line between two states where an entry of guard `k` is nearest to 0."""
    ends = [{name: array[row] for name, array in states.items()} for row in rows]
    for _ in range(4):
        share = np.linspace(0.0, 1.0, 100, dtype=np.float32)
        line = {n: np.stack([(1 - s) * ends[0][n] + s * ends[1][n] for s in share]) for n in states}
        along = trial.run(line).singular[k].reshape(len(share), -1)[:, entry]
        last = int(np.flatnonzero(along <= 0)[-1]) if (along <= 0).any() else 0
        ends = [{n: array[row] for n, array in line.items()} for row in (last, min(last + 1, len(share) - 1))]
    return {name: array[None] for name, array in ends[0].items()}


def _at_zero(trial: Trial, guard: Guard, entry: int, state: States) -> tuple[bool, bool]:
    """Set an entry of a divisor to exactly 0: (True if weights and bias are finite, True if gradients are)."""

    def step(visit: Visit, operands: list) -> Sequence[Any]:
        if visit.position == guard.position:
            divisor = operands[-1]
            zero = jnp.arange(divisor.size).reshape(divisor.shape) == entry
            # Its derivative is kept: what is 0 here still varies with the state.
            operands = [*operands[:-1], divisor - jnp.where(zero, jax.lax.stop_gradient(divisor), 0.0)]
        return bind(visit.equation, operands)

    function: Callable[..., list] = lambda *inputs: walk(trial.program, inputs, step)
    inputs = [jnp.asarray(state[name][0]) for name in sorted(state)]
    (weights, bias), smooth = jax.jit(lambda inputs: gradients_finite(function, inputs))(inputs)
    return bool(jnp.isfinite(weights).all() & jnp.isfinite(bias)), bool(smooth)
