"""Double Q-learning on a mixed team value: VDN, QMIX, Qatten, QPLEX and QLLM differ in the mixer alone."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs import View
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, double_q, targets
from qllm_jax.learners.base import Core, CreditWeights, Learner, LossAux
from qllm_jax.mixers import Mixer, MixerInputs, slopes


def make(core: Core) -> Learner:
    """No options. UserError without a mixer."""
    base.require_mixer(core, "value")
    return double_q.learner(core, partial(init_params, core), partial(td_loss, core), credit=credit(core))


def init_params(core: Core, key: jax.Array, choice: Choice) -> Params:
    """Parameters of the agent and the mixer. The key is consumed."""
    mixer = base.require_mixer(core, "value")
    key_agent, key_mixer, key_env = jax.random.split(key, 3)
    mixer_params = base.init_mixer(core, mixer, key_mixer, key_env, choice)
    return {"agent": core.agent.init(key_agent), "mixer": mixer_params}


def td_loss(
    core: Core, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], LossAux]:
    """Masked mean of squared TD errors over a time-major batch, and metrics. View leaves are (T+1, B, ...)."""
    q, target_q = batches.unroll(core, (params["agent"], target_params["agent"]), batch)
    return td_loss_of_values(core, (params, target_params), (q, target_q), batch, view, hp)


def td_loss_of_values(
    core: Core,
    params: tuple[Params, Params],
    values: tuple[Float[Array, "slots B agents actions"], Float[Array, "slots B agents actions"]],
    batch: Episode,
    view: View,
    hp: Hp,
) -> tuple[Float[Array, ""], LossAux]:
    """`td_loss` of the agents' values. Parameters and values are those of the online and of the target network."""
    mixer = base.require_mixer(core, "value")

    def episode_values(q, target_q, view, action_t):
        return team_values(mixer, params[0]["mixer"], params[1]["mixer"], q, target_q, view, action_t)

    q_tot, target_tot = jax.vmap(episode_values, 1, 1)(*values, view, batch.action_t)  # (T+1, B) each
    returns = targets.batch_returns(batch, target_tot, hp)  # (T, B)
    error = q_tot[:-1] - jax.lax.stop_gradient(returns)
    mean = lambda x: batches.masked_mean(x, batch.mask_t)
    loss = mean(error**2)
    metrics = {"loss": loss, "q_tot": mean(q_tot[:-1]), "target": mean(returns), "td_abs": mean(jnp.abs(error))}
    return loss, (metrics, batches.suspect_state(batch, q_tot, target_tot))


def team_values(
    mixer: Mixer, params: Params, target_params: Params, q: jax.Array, target_q: jax.Array, view: View, action_t: Array
) -> tuple[Float[Array, " slots"], Float[Array, " slots"]]:
    """Q_tot of the taken actions, and the target network's of the online network's best ones (double Q), one episode.

    Both cover all T+1 slots, so that a mixer without parameters computes the same function of the same states twice
    and XLA keeps one.
    """
    taken, best = double_q.taken_and_best(q, view, action_t)
    mix = jax.vmap(mixer.apply, (None, 0))
    online, target = batches.mixer_inputs(q, taken, view), batches.mixer_inputs(target_q, best, view)
    return mix(params, online), mix(target_params, target)


def credit(core: Core) -> CreditWeights:
    """dQ_tot/dq_i of the chosen actions. UserError without a mixer."""
    mixer = base.require_mixer(core, "value")
    return CreditWeights(partial(credit_inputs, core), lambda params, inputs: slopes(mixer, params["mixer"], inputs))


def credit_inputs(core: Core, params: Params, episode: Episode) -> MixerInputs:
    """Inputs of the mixer at the actions taken in every slot; in the last one, where none was taken, at greedy ones."""
    q = batches.unroll_episode(core, params["agent"], episode)  # (T+1, N, A)
    view = jax.vmap(core.env.view)(episode.env_state)
    greedy = jnp.argmax(jnp.where(view.avail[-1], q[-1], -jnp.inf), -1)
    action = jnp.concatenate([episode.action_t, greedy[None]])  # (T+1, N)
    return batches.mixer_inputs(q, action, view)
