"""Copies of one program that run in step: nothing is done that none of them needs.

Under `jax.vmap` a branch whose condition differs between copies runs both of its sides, and a loop goes on for copies
that are done. A question to all copies at once (`in_any`) has one answer, which is not batched: branches stay branches.
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

SHORTEST = 32  # steps: a program of its own for fewer does not pay for its compilation


def vmap(function: Callable[..., Any], in_axes: Sequence[int | None] = (0,)) -> Callable[..., Any]:
    """`jax.vmap` over leading axes, in which a lone copy is called without one.

    XLA:CPU leaves some loops over arrays with a leading axis of 1 unvectorized: battles of 66 units took five times as
    long. Gradient steps go the other way: QMIX's with 25 agents took 15% longer without the axis.
    """

    def call(*args: Any) -> Any:
        mapped = [arg for arg, axis in zip(args, in_axes, strict=True) if axis is not None]
        if jax.tree.leaves(mapped)[0].shape[0] > 1:
            return jax.vmap(function, tuple(in_axes))(*args)
        alone = lambda arg, axis: arg if axis is None else jax.tree.map(lambda x: jnp.squeeze(x, 0), arg)
        out = function(*map(alone, args, in_axes))
        return jax.tree.map(lambda x: x[None], out)

    return call


@custom_vmap
def in_any(flags: Bool[Array, "..."]) -> Bool[Array, "..."]:
    """Where a flag is set in any copy. Copies are the axes of all vmaps around; without one, `flags` itself."""
    return flags


@in_any.def_vmap
def _in_any(axis_size: int, batched: list[bool], flags: Bool[Array, "copies ..."]) -> tuple[jax.Array, bool]:
    del axis_size, batched
    return in_any(jnp.any(flags, 0)), False


def scan_while_any(
    going: Callable[[Carry], Bool[Array, ""]],
    body: Callable[[Carry, X], tuple[Carry, Y]],
    standing: Callable[[Carry], Y],
    first: Carry,
    xs: X,
) -> tuple[Carry, Y]:
    """`lax.scan(body, first, xs)` that stops where no copy is `going(carry)` any more.

    What the steps that are left out put out is `standing` of the last carry. Not to be differentiated.
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    at = lambda t: jax.tree.map(lambda x: x[t], xs)
    shapes = jax.eval_shape(body, first, at(0))[1]

    def step(state: tuple[Int[Array, ""], Carry, Y]) -> tuple[Int[Array, ""], Carry, Y]:
        t, carry, ys = state
        carry, y = body(carry, at(t))
        return t + 1, carry, jax.tree.map(lambda ys, y: ys.at[t].set(y), ys, y)

    goes_on = lambda state: (state[0] < length) & in_any(going(state[1]))
    empty = jax.tree.map(lambda y: jnp.zeros((length, *y.shape), y.dtype), shapes)
    n_steps, last, ys = jax.lax.while_loop(goes_on, step, (jnp.int32(0), first, empty))
    happened = lambda y: jnp.expand_dims(jnp.arange(length) < n_steps, range(1, y.ndim))
    return last, jax.tree.map(lambda y, idle: jnp.where(happened(y), y, idle[None]), ys, standing(last))


def of_beginning(function: Callable[[Episode], Any], batch: Episode) -> Any:
    """`function(batch)`, from as few steps of a time-major batch as hold all that happened, in all copies.

    `function` must give the same shapes whatever the length, and the same values wherever episodes end. It is compiled
    once for each of `lengths`.
    """
    choices = lengths(batch.mask_t.shape[0])
    if len(choices) == 1:
        return function(batch)
    longer = jnp.stack([jnp.any(batch.mask_t[length] > 0) for length in choices[:-1]])
    of_length = [lambda batch, length=length: function(beginning(batch, length)) for length in choices]
    return jax.lax.switch(jnp.sum(in_any(longer)), of_length, batch)


def lengths(horizon: int) -> tuple[int, ...]:
    """The horizon and its halves down to `SHORTEST`, in ascending order."""
    found = (horizon,)
    while found[0] >= 2 * SHORTEST:
        found = (-(-found[0] // 2), *found)
    return found


def beginning(batch: Episode, length: int) -> Episode:
    """The first `length` steps of a time-major batch, with the slot behind them."""
    slots = jax.tree.map(lambda x: x[: length + 1], batch.env_state)
    return jax.tree.map(lambda x: x[:length], batch._replace(env_state=None))._replace(env_state=slots)
