"""Loops and branches for vmapped runs that stop as soon as no run needs them any more.

Under `jax.vmap` a branch whose condition differs between runs becomes "run both sides", and a loop goes on until the
last run is done, computing and discarding the rest. `any_of_batch` reduces a flag over all vmapped axes to one answer
that is not batched, so that a branch on it stays a branch and a loop on it ends once, for all.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int

from qllm_jax.core.types import Episode

Carry = TypeVar("Carry")
X = TypeVar("X")
Y = TypeVar("Y")

SHORTEST = 32  # steps of a prefix: a program of its own for fewer does not pay for its compilation


def vmap(function: Callable[..., Any], in_axes: Sequence[int | None] = (0,)) -> Callable[..., Any]:
    """`jax.vmap` over leading axes, except that an axis of length 1 is removed, and added to the result again.

    XLA:CPU leaves some loops over arrays with a leading axis of 1 unvectorized: battles of 66 units took five times as
    long. Gradient steps go the other way: QMIX's with 25 agents took 15% longer without the axis.
    """

    def call(*args: Any) -> Any:
        mapped = [arg for arg, axis in zip(args, in_axes, strict=True) if axis is not None]
        if jax.tree.leaves(mapped)[0].shape[0] > 1:
            return jax.vmap(function, tuple(in_axes))(*args)
        squeezed = lambda arg, axis: arg if axis is None else jax.tree.map(lambda x: jnp.squeeze(x, 0), arg)
        out = function(*map(squeezed, args, in_axes))
        return jax.tree.map(lambda x: x[None], out)

    return call


@custom_vmap
def any_of_batch(flags: Bool[Array, "..."]) -> Bool[Array, "..."]:
    """Elementwise "or" of `flags` over the axes of all vmaps around the call; `flags` itself without one."""
    return flags


@any_of_batch.def_vmap
def _any_of_batch(axis_size: int, batched: list[bool], flags: Bool[Array, "batch ..."]) -> tuple[jax.Array, bool]:
    del axis_size, batched
    return any_of_batch(jnp.any(flags, 0)), False


def scan_while_any(
    going: Callable[[Carry], Bool[Array, ""]],
    body: Callable[[Carry, X], tuple[Carry, Y]],
    padding: Callable[[Carry], Y],
    init: Carry,
    xs: X,
) -> tuple[Carry, Y]:
    """`lax.scan(body, init, xs)` that stops as soon as `going(carry)` is False in the whole batch.

    Outputs of the steps that are not run are `padding(last carry)`. Not to be differentiated.
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    at = lambda t: jax.tree.map(lambda x: x[t], xs)
    shapes = jax.eval_shape(body, init, at(0))[1]

    def step(state: tuple[Int[Array, ""], Carry, Y]) -> tuple[Int[Array, ""], Carry, Y]:
        t, carry, ys = state
        carry, y = body(carry, at(t))
        return t + 1, carry, jax.tree.map(lambda ys, y: ys.at[t].set(y), ys, y)

    goes_on = lambda state: (state[0] < length) & any_of_batch(going(state[1]))
    empty = jax.tree.map(lambda y: jnp.zeros((length, *y.shape), y.dtype), shapes)
    n_steps, last, ys = jax.lax.while_loop(goes_on, step, (jnp.int32(0), init, empty))
    happened = lambda y: jnp.expand_dims(jnp.arange(length) < n_steps, range(1, y.ndim))
    return last, jax.tree.map(lambda y, pad: jnp.where(happened(y), y, pad[None]), ys, padding(last))


def call_on_prefix(function: Callable[..., Any], *batches: Episode | None) -> Any:
    """`function(*batches)` on the shortest prefix of time-major batches that holds all steps that happened in any run.

    All batches are cut at the same length. `function` must give the same shapes whatever the length, and the same
    values wherever episodes end. It is compiled once for each of `prefix_lengths`.
    """
    masks = [batch.mask_t for batch in batches if batch is not None]
    lengths = prefix_lengths(masks[0].shape[0])
    if len(lengths) == 1:
        return function(*batches)
    happens = lambda t: jnp.any(jnp.stack([jnp.any(mask[t] > 0) for mask in masks]))
    longer = jnp.stack([happens(length) for length in lengths[:-1]])
    cut = lambda batch, length: None if batch is None else prefix(batch, length)
    on_prefix = [lambda *batches, n=n: function(*(cut(batch, n) for batch in batches)) for n in lengths]
    return jax.lax.switch(jnp.sum(any_of_batch(longer)), on_prefix, *batches)


def prefix_lengths(horizon: int) -> tuple[int, ...]:
    """The horizon and its halves down to `SHORTEST`, in ascending order."""
    lengths = (horizon,)
    while lengths[0] >= 2 * SHORTEST:
        lengths = (-(-lengths[0] // 2), *lengths)
    return lengths


def prefix(batch: Episode, length: int) -> Episode:
    """The first `length` steps of a time-major batch, with `length` + 1 slots."""
    slots = jax.tree.map(lambda x: x[: length + 1], batch.env_state)
    return jax.tree.map(lambda x: x[:length], batch._replace(env_state=None))._replace(env_state=slots)
