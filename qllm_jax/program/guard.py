"""The guard of training: an update that is not finite is not made, and its run learns no more.

Metrics of an update are finite only if all that it is made of is: NaN and infinity go from credit weights to the loss,
and from there to the gradient. What a run has learned before stays as it was; other runs are not touched.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_envs import EnvState
from qllm_jax.core.types import Clock, Episode
from qllm_jax.learners import LearnerState
from qllm_jax.learners.base import SUSPECT

NONE = -1  # env steps of a run without a fault


class Fault(NamedTuple):
    """The first update of a run that was not finite. Leaves gain a leading axis R under vmap."""

    env_steps: Int[Array, ""]  # of the run at that update, NONE: all were finite
    of_loss: Bool[Array, ""]  # the loss was not finite; False: only its gradient
    located: Bool[Array, ""]  # `env_state` is known; False: the method has no mixer
    env_state: EnvState  # the state in which the team value was not finite, or largest


def none(env_state: EnvState) -> Fault:
    """No fault. `env_state` (arrays or ShapeDtypeStructs) gives shapes alone."""
    no = jnp.zeros((), bool)
    return Fault(jnp.full((), NONE, jnp.int32), no, no, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), env_state))


def guarded(
    fault: Fault,
    clock: Clock,
    episodes: tuple[Episode, Episode | None],
    states: tuple[LearnerState, LearnerState],
    metrics: dict[str, Array],
) -> tuple[Fault, LearnerState, dict[str, Array]]:
    """Return the fault after an update, the state that the run goes on with, and the metrics to log.

    `episodes` are the time-major batch and the newest episodes from which the update learned, `states` the learner's
    before and after it.
    """
    logged = {name: value for name, value in metrics.items() if name != SUSPECT}
    finite = {name: jnp.isfinite(value) for name, value in logged.items()}
    all_finite = jnp.all(jnp.stack(list(finite.values())))
    is_first = ~all_finite & (fault.env_steps == NONE)
    found = Fault(
        clock.env_steps,
        ~finite["loss"],
        jnp.asarray(SUSPECT in metrics),
        state_at(episodes, metrics[SUSPECT]) if SUSPECT in metrics else fault.env_state,
    )
    fault = jax.tree.map(lambda new, old: jnp.where(is_first, new, old), found, fault)
    goes_on = fault.env_steps == NONE
    before, after = states
    state = jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), after, before)
    return fault, state, logged


def state_at(episodes: tuple[Episode, Episode | None], index: Int[Array, ""]) -> EnvState:
    """State of the environment at an index in the slots of a batch, and after those of the newest episodes."""
    batch, recent = episodes
    slots = lambda episode: episode.mask_t.shape[1] * (episode.mask_t.shape[0] + 1)
    take = lambda episode, i: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[i], episode.env_state)
    if recent is None:
        return take(batch, index)
    n = slots(batch)
    of_batch, of_recent = take(batch, jnp.minimum(index, n - 1)), take(recent, jnp.maximum(index - n, 0))
    return jax.tree.map(lambda x, y: jnp.where(index < n, x, y), of_batch, of_recent)
