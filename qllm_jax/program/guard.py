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
from qllm_jax.core.types import Clock, Episode, Hp
from qllm_jax.learners.base import SUSPECT, is_finite

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


def after_update(
    fault: Fault, clock: Clock, episodes: tuple[Episode, Episode | None], metrics: dict[str, Array]
) -> tuple[Fault, dict[str, Array]]:
    """Return the fault after an update, and the metrics to log.

    `episodes` are the time-major batch and the newest episodes from which the update learned.
    """
    logged = {name: value for name, value in metrics.items() if name != SUSPECT}
    is_first = ~is_finite(metrics) & (fault.env_steps == NONE)
    found = Fault(
        clock.env_steps,
        ~jnp.all(jnp.stack([jnp.isfinite(value) for name, value in logged.items() if name.endswith("loss")])),
        jnp.asarray(SUSPECT in metrics),
        state_at(episodes, metrics[SUSPECT]) if SUSPECT in metrics else fault.env_state,
    )
    return jax.tree.map(lambda new, old: jnp.where(is_first, new, old), found, fault), logged


def state_at(episodes: tuple[Episode, Episode | None], index: Int[Array, ""]) -> EnvState:
    """State of the environment at an index of `batches.suspect` in a batch; -1 - index: in the newest episodes."""
    batch, recent = episodes
    take = lambda episode, i: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[i], episode.env_state)
    if recent is None:
        return take(batch, index)
    of_batch, of_recent = take(batch, jnp.maximum(index, 0)), take(recent, jnp.maximum(-1 - index, 0))
    return jax.tree.map(lambda x, y: jnp.where(index < 0, y, x), of_batch, of_recent)
