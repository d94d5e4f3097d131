"""The value learner of every "Q-network + mixer + TD loss" method: double Q-learning on a mixed team value."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import rlax
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env, View
from qllm_jax import rewards
from qllm_jax.agents import Agent
from qllm_jax.mixers import Mixer, MixerInputs
from qllm_jax.types import Episode, Hp, Params


class LearnerState(NamedTuple):
    """All that one run learns."""

    params: Params  # {"agent": ..., "mixer": ...}
    target_params: Params
    opt_state: Any
    reward_stats: rewards.RewardStats


class Learner(NamedTuple):
    """`init(key)`, and `update(state, batch, hp, copy_target) -> state, metrics` for one run."""

    init: Callable[[jax.Array], LearnerState]
    update: Callable[..., tuple[LearnerState, dict[str, Array]]]


def make(env: Env, agent: Agent, mixer: Mixer, optimizer: str, standardize: bool) -> Learner:
    """The learner of one algorithm. `optimizer`: a key of OPTIMIZERS; `standardize`: rewards, see rewards.py."""

    def init(key: jax.Array) -> LearnerState:
        key_agent, key_mixer, key_env = jax.random.split(key, 3)
        sample = zero_inputs(env, key_env)
        params = {"agent": agent.init(key_agent), "mixer": mixer.init(key_mixer, sample)}
        # A copy, since donated buffers must not be shared by two arguments.
        target = jax.tree.map(jnp.copy, params)
        return LearnerState(params, target, OPTIMIZERS[optimizer](1.0).init(params), rewards.initial())

    def update(state: LearnerState, batch: Episode, hp: Hp, copy_target: Bool[Array, ""]):
        stats = rewards.update(state.reward_stats, batch.reward_t) if standardize else state.reward_stats
        if standardize:
            batch = batch._replace(reward_t=rewards.standardize(stats, batch.reward_t))
        view = jax.vmap(jax.vmap(env.view))(batch.env_state)  # (T+1, B, ...)
        loss = lambda params: td_loss(env, agent, mixer, params, state.target_params, batch, view, hp)
        grads, metrics = jax.grad(loss, has_aux=True)(state.params)
        # The optimizer is made anew from traced numbers; only its state is carried. The clip has none.
        clipped, _ = optax.clip_by_global_norm(hp.grad_clip).update(grads, optax.EmptyState())
        updates, opt_state = OPTIMIZERS[optimizer](hp.lr).update(clipped, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        tau = jnp.where(copy_target, hp.target_tau, 0.0)
        target = optax.incremental_update(params, state.target_params, tau)
        metrics["grad_norm"] = optax.tree.norm(grads)
        return LearnerState(params, target, opt_state, stats), metrics

    return Learner(init, update)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    # Torch's RMSprop adds eps outside the root; alpha and eps are pymarl's.
    "rmsprop": lambda lr: optax.rmsprop(lr, decay=0.99, eps=1e-5, eps_in_sqrt=False),
}


def zero_inputs(env: Env, key: jax.Array) -> MixerInputs:
    """A sample to shape a mixer's parameters by. The key is consumed."""
    view = env.view(env.reset(key))
    q = jnp.zeros((env.spec.n_agents,))
    return MixerInputs(q, q, q.astype(jnp.int32), view.state, view.fields)


def td_loss(
    env: Env, agent: Agent, mixer: Mixer, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Masked mean of squared TD errors over a time-major batch, and metrics. View leaves are (T+1, B, ...)."""
    networks = (params["agent"], target_params["agent"])
    observe = lambda state: jax.vmap(env.view)(state).obs
    q, target_q = agent.unroll(networks, observe, batch.env_state, batch.action_t)  # (T+1, B, N, A) each

    def episode_values(q, target_q, view, action_t):
        return team_values(mixer, params["mixer"], target_params["mixer"], q, target_q, view, action_t)

    q_tot, target_tot = jax.vmap(episode_values, 1, 1)(q, target_q, view, batch.action_t)  # (T+1, B) each
    returns = jax.vmap(targets, (1, 1, None), 1)(batch, target_tot, hp)  # (T, B)
    error = q_tot[:-1] - jax.lax.stop_gradient(returns)
    mask = batch.mask_t
    mean = lambda x: jnp.sum(mask * x) / jnp.sum(mask)
    loss = mean(error**2)
    return loss, {"loss": loss, "q_tot": mean(q_tot[:-1]), "target": mean(returns), "td_abs": mean(jnp.abs(error))}


def targets(episode: Episode, value: Float[Array, " slots"], hp: Hp) -> Float[Array, " time"]:
    """Peng's Q(lambda) of one episode; `td_lambda` 0 is r + gamma (1 - terminated) V(s'). `value` is over slots."""
    discount_t = hp.gamma * (1.0 - episode.terminated_t) * episode.mask_t
    return jnp.asarray(rlax.lambda_returns(episode.reward_t * episode.mask_t, discount_t, value[1:], hp.td_lambda))


def team_values(
    mixer: Mixer, params: Params, target_params: Params, q: jax.Array, target_q: jax.Array, view: View, action_t: Array
) -> tuple[Float[Array, " slots"], Float[Array, " slots"]]:
    """Q_tot of the taken actions, and the target network's of the online network's best ones (double Q), one episode.

    Both cover all T+1 slots (the last slot's taken action is a dummy that no loss reads), so that a mixer without
    parameters computes the same function of the same states twice and XLA keeps one.
    """
    taken = jnp.concatenate([action_t, jnp.zeros_like(action_t[:1])])  # (T+1, N)
    best = jnp.argmax(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
    online = jax.vmap(mixer_inputs)(q, taken, view)
    target = jax.vmap(mixer_inputs)(target_q, best, view)
    mix = jax.vmap(mixer.apply, (None, 0))
    return mix(params, online), mix(target_params, target)


def mixer_inputs(q: Float[Array, "agents actions"], action: Int[Array, " agents"], view: View) -> MixerInputs:
    """What a mixer sees when the agents take `action`, one sample."""
    one_hot = jax.nn.one_hot(action, q.shape[-1])
    # A product with the one-hot instead of a gather: its gradient is a product too, not a scatter.
    chosen_q = jnp.sum(q * one_hot, -1)
    max_q = jnp.max(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
    return MixerInputs(chosen_q, max_q, action, view.state, view.fields)
