"""A credit function on many states at once: weights, bias, finite gradients or not, and the values of its guards."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from qllm_jax.tfcaf.contract import Credit, Fields
from qllm_jax.tfcaf.loading import loader
from qllm_jax.tfcaf.semantics.guards import Guard, guards, singular_values
from qllm_jax.tfcaf.semantics.probes import Box, States

CHUNK = 128  # states of one call; more are tried chunk by chunk, in one compiled program


class Outcome(NamedTuple):
    """Outputs of a credit function on P states."""

    weights: np.ndarray  # (P, N)
    bias: np.ndarray  # (P,)
    smooth: np.ndarray  # (P,) gradients by all inputs are finite
    singular: list[np.ndarray]  # (P, ...) the singular value of each guard

    @property
    def finite(self) -> np.ndarray:
        """True (P,) where all weights and the bias are finite."""
        return np.isfinite(self.weights).all(-1) & np.isfinite(self.bias)


class Trial(NamedTuple):
    """One traced credit function, ready to be tried."""

    program: Any  # weights (N,) and bias () of the arrays of one state, in the order of their sorted names
    guards: list[Guard]
    boxes: dict[str, Box]
    run: Callable[[States], Outcome]


def make(credit: Callable[[Fields], Credit], boxes: dict[str, Box], file: str) -> Trial:
    """Trace `credit`, whose argument is a dict of the arrays that `boxes` names."""
    shapes = {name: jax.ShapeDtypeStruct(box.low.shape, jnp.float32) for name, box in boxes.items()}
    program = loader.trace(credit, shapes)
    found = guards(program, [bool(boxes[name].whole.any()) for name in sorted(shapes)], file)
    compiled = jax.jit(jax.vmap(lambda inputs: _try(program, found, inputs)))
    return Trial(program, found, boxes, lambda states: _in_chunks(compiled, states))


def gradients_finite(function: Callable[..., Any], inputs: list[jax.Array]) -> tuple[Any, jax.Array]:
    """Return the weights and bias that `function(*inputs)` gives, and True () if all their gradients are finite."""
    (weights, bias), back = jax.vjp(function, *inputs)
    # Uneven, so that gradients of weights with a fixed sum do not cancel.
    slopes = back([1.0 + jnp.arange(weights.size, dtype=jnp.float32) / 7.0, jnp.ones_like(bias)])
    return (weights, bias), jnp.stack([jnp.isfinite(slope).all() for slope in slopes]).all()


def _try(program: Any, found: list[Guard], inputs: list[jax.Array]) -> tuple:
    (weights, bias), smooth = gradients_finite(jaxpr_as_fun(program), inputs)
    return weights, bias, smooth, singular_values(program, found, inputs)


def _in_chunks(compiled: Callable[..., Any], states: States) -> Outcome:
    arrays = [states[name] for name in sorted(states)]
    total, parts = len(arrays[0]), []
    for start in range(0, total, CHUNK):
        rows = np.minimum(np.arange(start, start + CHUNK), total - 1)  # the last chunk repeats its last state
        parts.append(jax.tree.map(np.asarray, compiled([array[rows] for array in arrays])))
    whole = jax.tree.map(lambda *chunks: np.concatenate(chunks)[:total], *parts)
    return Outcome(*whole)
