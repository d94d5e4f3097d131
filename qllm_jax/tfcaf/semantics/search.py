"""A search for states on which a credit function breaks, where states tried at random would not find them.

What breaks is a division by 0, a root or logarithm of it, an overflow: the guards of a trial. Newton's method drives
the value of each to 0 from several states; the states it ends at are tried like all others, and only what happens
there counts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qllm_jax.tfcaf.semantics.probes import Box, States
from qllm_jax.tfcaf.semantics.trial import Outcome, Trial, singular_values

STARTS = 4  # states that the search for one guard starts from
STEPS = 16
FACTORS = (1.0, 2.0)  # of Newton's step: 2 is right where the value is a square, as under the root of a norm
GRIDS = (2.0**10, 2.0**4)  # ends are rounded to these, too: rounding errors keep equal things apart by 1e-8
MAX_GUARDS = 32
# The process of a candidate runs without XLA's simplifier (see sandbox.py). Without it, XLA:CPU (jaxlib 0.10.2) gives
# programs for some loops with gradients that die now and then of SIGSEGV. A search may simplify: its ends are tried.
_SIMPLIFIED: Any = {"xla_disable_hlo_passes": ""}
TINY = 1e-4  # entries of states that are smaller count as 0


def ends(trial: Trial, states: States, outcome: Outcome) -> States:
    """States (P, ...) in which the guards of `trial` are 0 or near to it. `outcome` is that of `states`."""
    chosen = [k for k, values in enumerate(outcome.singular) if np.isfinite(_nearest(values)).any()][:MAX_GUARDS]
    if not chosen:
        return {name: values[:0] for name, values in states.items()}
    flat = _flatten(trial.boxes, states)
    low, high = (_flatten(trial.boxes, {n: box.usual[i][None] for n, box in trial.boxes.items()})[0] for i in (0, 1))
    starts = [
        (flat[row], place, factor)
        for place, k in enumerate(chosen)
        for row in _spread(_nearest(outcome.singular[k]))
        for factor in FACTORS
    ]
    descend = jax.jit(jax.vmap(lambda x, k, f: _descend(trial, chosen, x, k, f, low, high)))
    columns = [jnp.array(np.array(column)) for column in zip(*starts, strict=True)]
    found = np.asarray(descend.lower(*columns).compile(_SIMPLIFIED)(*columns))
    # Who chooses between 0 and more by `x > 0` means 0, and not 1e-15: the slope at that is inf, and no state has it.
    found = np.where(np.abs(found) < TINY, 0.0, found)
    found = np.concatenate([found, *(np.rint(found * grid) / grid for grid in GRIDS)])
    return _unflatten(trial.boxes, found[np.isfinite(found).all(-1)])


def _nearest(values: np.ndarray) -> np.ndarray:
    """The smallest magnitude that is not 0, (P,) of values (P, ...); inf where there is none."""
    sizes = np.abs(values.reshape(len(values), -1))
    return np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.inf).min(-1, initial=np.inf)


def _spread(sizes: np.ndarray) -> np.ndarray:
    """Places of the smallest sizes, and of some in the middle."""
    order = np.argsort(sizes, kind="stable")[: np.isfinite(sizes).sum()]
    return np.unique(np.concatenate([order[: STARTS // 2], order[len(order) // 2 :][: STARTS // 2]]))


def _flatten(boxes: dict[str, Box], states: States) -> np.ndarray:
    """States (P, D)."""
    return np.concatenate([states[name].reshape(len(states[name]), -1) for name in sorted(boxes)], -1)


def _unflatten(boxes: dict[str, Box], flat: np.ndarray) -> States:
    states, start = {}, 0
    for name in sorted(boxes):
        shape = boxes[name].low.shape
        size = int(np.prod(shape))
        states[name] = boxes[name].fit(flat[:, start : start + size].reshape(-1, *shape))
        start += size
    return states


def _split(boxes: dict[str, Box], x: Float[Array, " entries"]) -> list[jax.Array]:
    parts, start = [], 0
    for name in sorted(boxes):
        size = int(np.prod(boxes[name].low.shape))
        parts.append(x[start : start + size].reshape(boxes[name].low.shape))
        start += size
    return parts


def _descend(
    trial: Trial,
    chosen: list[int],
    start: Float[Array, " entries"],
    which: Int[Array, ""],
    factor: Float[Array, ""],
    low: np.ndarray,
    high: np.ndarray,
) -> Float[Array, " entries"]:
    """Newton's method for the entry nearest to 0 of one guard, inside the box."""

    def size(x: jax.Array) -> jax.Array:
        found = [trial.guards[k] for k in chosen]
        values = singular_values(trial.program, found, _split(trial.boxes, x))
        nearest = [jnp.where(v == 0, jnp.inf, jnp.abs(v)).min(initial=jnp.inf) for v in values]
        return jnp.stack(nearest)[which]

    def step(_: int, x: jax.Array) -> jax.Array:
        value, slope = jax.value_and_grad(size)(x)
        moved = jnp.clip(x - factor * value * slope / (slope @ slope), low, high)
        return jnp.where(jnp.isfinite(moved).all() & (value > 0), moved, x)

    return jax.lax.fori_loop(0, STEPS, step, start)
