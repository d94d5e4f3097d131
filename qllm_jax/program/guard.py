"""The guard of training: an update that is not finite is not made, and its run learns no more.

NaN and infinity go from credit weights to the loss, and from there to the gradient, whose norm is among the metrics.
All that the run has learned stays as it was before the update; other runs are not touched.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_envs import EnvState
from qllm_jax.core.types import Clock
from qllm_jax.learners.base import LearnerState, Update

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


def after_update(fault: Fault, clock: Clock, before: LearnerState, update: Update) -> tuple[Fault, LearnerState]:
    """The fault after an update, and the state to go on from: that before it, from the first fault on."""
    finite = lambda metrics: jnp.all(jnp.isfinite(jnp.stack(metrics)))
    learns = fault.env_steps == NONE
    is_first = learns & ~finite(list(update.metrics.values()))
    found = Fault(
        clock.env_steps,
        ~finite([value for name, value in update.metrics.items() if name.endswith("loss")]),
        jnp.asarray(update.suspect is not None),
        fault.env_state if update.suspect is None else update.suspect,
    )
    choose = lambda condition, yes, no: jax.tree.map(partial(jnp.where, condition), yes, no)
    return choose(is_first, found, fault), choose(learns & ~is_first, update.state, before)
