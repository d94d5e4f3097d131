"""The guard of training: a step along a gradient that is not finite is not made, and its run learns no more.

NaN and infinity go from credit weights to the loss, and from there to the gradient, whose norm decides in
`optimization.gradient_step`. Parameters and moments stay as they were, targets approach them; other runs are not
touched.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_envs import EnvState
from qllm_jax.core.types import Clock, Hp
from qllm_jax.learners.base import Update, is_finite

NONE = -1  # env steps of a run without a fault


class Fault(NamedTuple):
    """The first update of a run that was not finite. Leaves gain a leading axis R under vmap."""

    env_steps: Int[Array, ""]  # of the run at that update, NONE: all were finite
    of_loss: Bool[Array, ""]  # a loss was not finite; False: only its gradient
    located: Bool[Array, ""]  # `env_state` is known; False: the method has no mixer
    env_state: EnvState  # the state in which the team value was not finite, or largest


def none(env_state: EnvState) -> Fault:
    """No fault. `env_state` (arrays or ShapeDtypeStructs) gives shapes alone."""
    no = jnp.zeros((), bool)
    return Fault(jnp.full((), NONE, jnp.int32), no, no, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), env_state))


def frozen(fault: Fault, hp: Hp) -> Hp:
    """Numbers of a run; after a fault without a clip, so that `optimization.gradient_step` makes no step."""
    return hp._replace(grad_clip=jnp.where(fault.env_steps == NONE, hp.grad_clip, jnp.nan))


def after_update(fault: Fault, clock: Clock, update: Update) -> Fault:
    """The fault after an update."""
    is_first = ~is_finite(update.metrics) & (fault.env_steps == NONE)
    losses = [value for name, value in update.metrics.items() if name.endswith("loss")]
    found = Fault(
        clock.env_steps,
        ~jnp.all(jnp.isfinite(jnp.stack(losses))),
        jnp.asarray(update.suspect is not None),
        fault.env_state if update.suspect is None else update.suspect,
    )
    return jax.tree.map(lambda new, old: jnp.where(is_first, new, old), found, fault)
