"""Double Q-learning of a mixed team value with Huber's loss: `qllm_jax.learners.value` with one line changed."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from qllm_envs import View
from qllm_jax.core.types import Episode, Hp, Params
from qllm_jax.learners import Core, Learner, base, batches, double_q, targets, value
from qllm_jax.learners.base import LossAux


def make(core: Core, *, delta: float = 1.0) -> Learner:
    """Return the method. TD errors beyond `delta`, in standard deviations of the reward, count linearly."""
    init = partial(value.init_params, core)
    return double_q.learner(core, init, partial(td_loss, core, delta), credit=value.credit(core))


def td_loss(
    core: Core, delta: float, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[jax.Array, LossAux]:
    """Mean loss over the steps that happened, metrics, and the state to blame where that is not finite.

    `batch` has leaves (T, B, ...), `view` (T+1, B, ...).
    """
    mixer = base.require_mixer(core, "huber")
    q, target_q = batches.unroll(core, (params["agent"], target_params["agent"]), batch)  # (T+1, B, N, A) each
    mix = partial(value.team_values, mixer, params["mixer"], target_params["mixer"])  # of one episode
    q_tot, target_tot = jax.vmap(mix, 1, 1)(q, target_q, view, batch.action_t)  # (T+1, B) each
    returns = targets.batch_returns(batch, target_tot, hp)  # (T, B), by TD(lambda)
    error = q_tot[:-1] - jax.lax.stop_gradient(returns)
    mean = lambda x: batches.masked_mean(x, batch.mask_t)
    loss = mean(optax.losses.huber_loss(error, delta=delta))
    metrics = {"loss": loss, "q_tot": mean(q_tot[:-1]), "target": mean(returns), "td_abs": mean(jnp.abs(error))}
    return loss, (metrics, batches.suspect_state(batch, q_tot, target_tot))
