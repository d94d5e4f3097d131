"""Independent Q-learning (Tan 1993; Tampuu et al. 2017, arxiv.org/abs/1511.08779): each agent learns from the team's
reward as if it were alone."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import View
from qllm_jax.core.types import Episode, Hp, Params
from qllm_jax.errors import UserError
from qllm_jax.learners import batches, double_q, targets
from qllm_jax.learners.base import Core, Learner, LossAux


def make(core: Core) -> Learner:
    """No options. UserError with a mixer, which would have nothing to do."""
    if core.mixer is not None:
        raise UserError("algo.learner 'iql' mixes nothing: set algo.mixer to {} as algo=matched_iql does")
    init_params = lambda key, choice: {"agent": core.agent.init(key)}
    return double_q.learner(core, init_params, partial(td_loss, core), ("agent",))


def td_loss(
    core: Core, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], LossAux]:
    """Masked mean of the agents' mean squared TD errors over a time-major batch, and metrics."""
    q, target_q = batches.unroll(core, (params["agent"], target_params["agent"]), batch)  # (T+1, B, N, A) each
    over_episodes = jax.vmap(values_and_returns, (1, 1, 1, 1, None), 1)
    value, returns = over_episodes(q, target_q, view, batch, hp)  # (T, B, N) each
    error = value - jax.lax.stop_gradient(returns)
    mean = lambda x: batches.agents_mean(x, batch.mask_t)
    loss = mean(error**2)
    metrics = {"loss": loss, "q": mean(value), "target": mean(returns), "td_abs": mean(jnp.abs(error))}
    return loss, (metrics, None)


def values_and_returns(
    q: jax.Array, target_q: jax.Array, view: View, episode: Episode, hp: Hp
) -> tuple[Float[Array, "time agents"], Float[Array, "time agents"]]:
    """Values of the agents' own actions, and their targets of double Q-learning, one episode.

    Each agent learns from the team's reward, or from its own where the episode has credit.
    """
    taken, best = double_q.taken_and_best(q, view, episode.action_t)
    value = batches.chosen_values(q, taken)[:-1]
    target = batches.chosen_values(target_q, best)  # (T+1, N)
    return value, targets.agent_returns(episode, target, hp, own_reward_t=episode.credit_t)
