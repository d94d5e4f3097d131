"""Double Q-learning on a mixed team value: VDN, QMIX, Qatten, QPLEX and QLLM differ in the mixer alone."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from qllm_envs import View
from qllm_jax.learners import base
from qllm_jax.learners.base import Core, Learner, LearnerState
from qllm_jax.mixers import Mixer, slopes
from qllm_jax.types import Episode, Hp, Params


def make(core: Core) -> Learner:
    """No options. UserError without a mixer."""
    mixer = base.the_mixer(core, "value")

    def init(key: jax.Array) -> LearnerState:
        key_agent, key_mixer, key_env = jax.random.split(key, 3)
        sample = base.zero_inputs(core.env, key_env)
        params = {"agent": core.agent.init(key_agent), "mixer": mixer.init(key_mixer, sample)}
        return base.initial(params, base.OPTIMIZERS[core.optimizer](1.0).init(params))

    def update(state: LearnerState, batch: Episode, recent: None, hp: Hp, copy_target: Bool[Array, ""]):
        del recent
        stats, batch = base.standardized(core, state.reward_stats, batch)
        view = base.views(core.env, batch)
        loss = lambda params: td_loss(core, params, state.target_params, batch, view, hp)
        grads, metrics = jax.grad(loss, has_aux=True)(state.params)
        params, opt_state = base.gradient_step(core, hp.lr, hp.grad_clip, state.params, state.opt_state, grads)
        target = base.follow(params, state.target_params, hp, copy_target)
        return LearnerState(params, target, opt_state, stats), metrics | {"grad_norm": optax.tree.norm(grads)}

    return Learner(init, update, credit=partial(credit_weights, core))


def td_loss(
    core: Core, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Masked mean of squared TD errors over a time-major batch, and metrics. View leaves are (T+1, B, ...)."""
    mixer = base.the_mixer(core, "value")
    networks = (params["agent"], target_params["agent"])
    observe = lambda state: jax.vmap(core.env.view)(state).obs
    q, target_q = core.agent.unroll(networks, observe, batch.env_state, batch.action_t)  # (T+1, B, N, A) each

    def episode_values(q, target_q, view, action_t):
        return team_values(mixer, params["mixer"], target_params["mixer"], q, target_q, view, action_t)

    q_tot, target_tot = jax.vmap(episode_values, 1, 1)(q, target_q, view, batch.action_t)  # (T+1, B) each
    returns = jax.vmap(base.targets, (1, 1, None), 1)(batch, target_tot, hp)  # (T, B)
    error = q_tot[:-1] - jax.lax.stop_gradient(returns)
    mean = lambda x: base.masked_mean(x, batch.mask_t)
    loss = mean(error**2)
    return loss, {"loss": loss, "q_tot": mean(q_tot[:-1]), "target": mean(returns), "td_abs": mean(jnp.abs(error))}


def team_values(
    mixer: Mixer, params: Params, target_params: Params, q: jax.Array, target_q: jax.Array, view: View, action_t: Array
) -> tuple[Float[Array, " slots"], Float[Array, " slots"]]:
    """Q_tot of the taken actions, and the target network's of the online network's best ones (double Q), one episode.

    Both cover all T+1 slots (the last slot's taken action is a dummy that no loss reads), so that a mixer without
    parameters computes the same function of the same states twice and XLA keeps one.
    """
    taken = jnp.concatenate([action_t, jnp.zeros_like(action_t[:1])])  # (T+1, N)
    best = jnp.argmax(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
    online = jax.vmap(base.mixer_inputs)(q, taken, view)
    target = jax.vmap(base.mixer_inputs)(target_q, best, view)
    mix = jax.vmap(mixer.apply, (None, 0))
    return mix(params, online), mix(target_params, target)


def credit_weights(core: Core, params: Params, episode: Episode) -> Float[Array, "slots agents"]:
    """dQ_tot/dq_i of the chosen actions in every slot; in the last one, where none was taken, of the greedy ones."""
    mixer = base.the_mixer(core, "value")
    observe = lambda state: core.env.view(state).obs
    (q,) = core.agent.unroll((params["agent"],), observe, episode.env_state, episode.action_t)  # (T+1, N, A)
    view = jax.vmap(core.env.view)(episode.env_state)
    greedy = jnp.argmax(jnp.where(view.avail[-1], q[-1], -jnp.inf), -1)
    action = jnp.concatenate([episode.action_t, greedy[None]])  # (T+1, N)
    inputs = jax.vmap(base.mixer_inputs)(q, action, view)
    return jax.vmap(lambda inputs: slopes(mixer, params["mixer"], inputs))(inputs)
