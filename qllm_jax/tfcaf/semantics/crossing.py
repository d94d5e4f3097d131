"""Divisors that have both signs: one that is continuous is 0 in between, whether float32 hits it or not.

Adding a small number to a divisor is the usual mistake that this finds: a sum of both signs plus 1e-6 is 0, too.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax.tfcaf.semantics.probes import States, are_usual
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial, gradients_finite
from qllm_jax.tfcaf.semantics.walk import Guard, bind, walk


class Crossing(NamedTuple):
    """A divisor that is 0 between two states, and used there."""

    guard: Guard
    code: str  # what breaks: NONFINITE, or the gradient alone: NANGRAD


def crossings(trial: Trial, states: States, outcome: Outcome) -> Iterator[Crossing]:
    """Divisors that are 0 between two of `states` and whose quotient counts there."""
    usual = are_usual(trial.boxes, states)
    for k, guard in enumerate(trial.guards):
        divides = guard.name in ("div", "rem", "integer_pow")
        if not divides or guard.kind.jumps or guard.kind.whole:
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
            yield Crossing(guard, "NONFINITE")
        elif not smooth and are_usual(trial.boxes, state).all():
            yield Crossing(guard, "NANGRAD")


def _signs(values: np.ndarray, rows: np.ndarray) -> tuple[int, int, int] | None:
    """An entry of values (P, entries) that has both signs in `rows` (P,), and a row for either sign."""
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
    """A state (1, ...) where an entry of guard `k` is as near to 0 as float32 comes on the way between two states."""
    ends = [{name: array[row] for name, array in states.items()} for row in rows]
    for _ in range(4):
        share = np.linspace(0.0, 1.0, 100, dtype=np.float32)
        line = {n: np.stack([(1 - s) * ends[0][n] + s * ends[1][n] for s in share]) for n in states}
        along = trial.run(line).singular[k].reshape(len(share), -1)[:, entry]
        last = int(np.flatnonzero(along <= 0)[-1]) if (along <= 0).any() else 0
        ends = [{n: array[row] for n, array in line.items()} for row in (last, min(last + 1, len(share) - 1))]
    return {name: array[None] for name, array in ends[0].items()}


def _at_zero(trial: Trial, guard: Guard, entry: int, state: States) -> tuple[bool, bool]:
    """Whether weights and bias, and whether gradients are finite if that entry of the divisor is exactly 0."""

    def step(place: int, equation: Any, operands: list, outermost: Any) -> Any:
        del outermost
        if place == guard.place:
            divisor = operands[-1]
            zero = jnp.arange(divisor.size).reshape(divisor.shape) == entry
            # Its derivative is kept: what is 0 here still varies with the state.
            operands = [*operands[:-1], divisor - jnp.where(zero, jax.lax.stop_gradient(divisor), 0.0)]
        return bind(equation, operands)

    function: Callable[..., list] = lambda *inputs: walk(trial.program, inputs, step, lambda value: value)
    inputs = [jnp.asarray(state[name][0]) for name in sorted(state)]
    (weights, bias), smooth = jax.jit(lambda inputs: gradients_finite(function, inputs))(inputs)
    return bool(jnp.isfinite(weights).all() & jnp.isfinite(bias)), bool(smooth)
