"""Weighted QMIX (Rashid et al. 2020, arxiv.org/abs/2006.10800): a monotonic mixer learns the targets of a network that
is under no constraint, and errors below a target count in full, others less."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qllm_envs import View
from qllm_jax.core import options
from qllm_jax.core.networks import Mlp
from qllm_jax.core.types import Choice, Episode, Hp, Params
from qllm_jax.learners import base, batches, double_q, targets, value
from qllm_jax.learners.base import Core, Learner, LossAux
from qllm_jax.mixers import Mixer, MixerInputs

PART = "learner 'wqmix'"
TARGET_NETWORKS = ("central_agent", "central")


class CentralNetwork(nn.Module):
    """Q^(s, u) = f([q_1, ..., q_N, s]) + V(s), any function of the central agents' values of their actions."""

    hidden_dim: int

    @nn.compact
    def __call__(self, inputs: MixerInputs) -> jax.Array:
        joint = jnp.concatenate([inputs.chosen_q, inputs.state])
        advantage = Mlp((self.hidden_dim,) * 3, 1, name="joint")(joint)
        return (advantage + Mlp((self.hidden_dim,), 1, name="value")(inputs.state)).squeeze(-1)


class Method(NamedTuple):
    """The parts and the checked options of the method. All static."""

    core: Core
    central: Mixer  # under no constraint, so none of those that `algo.mixer` can name
    weighting: str
    alpha: float


class Values(NamedTuple):
    """Values, targets and weights of one episode. Leaves (T,)."""

    q_tot: Float[Array, " time"]  # of the mixer
    q_hat: Float[Array, " time"]  # of the central network
    returns: Float[Array, " time"]  # the target of both
    weight: Float[Array, " time"]  # of the mixer's error


def make(core: Core, *, weighting: str = "ow", alpha: float = 0.1, central_dim: int = 256) -> Learner:
    """`weighting` is "ow" (optimistic) or "cw" (centrally weighted), `alpha` the smaller weight, from 0 to 1.

    The central networks are as the original's, `central_dim` wide. UserError without a mixer, and for other values.
    """
    base.require_mixer(core, "wqmix")
    network = CentralNetwork(options.integer(PART, "central_dim", central_dim))
    method = Method(
        core,
        Mixer(init=network.init, apply=network.apply),  # pyright: ignore[reportArgumentType]
        options.choice(PART, "weighting", weighting, ("cw", "ow")),
        options.number(PART, "alpha", alpha, low=0, high=1),
    )
    credit = value.credit(core)
    return double_q.learner(core, partial(init_params, method), partial(td_loss, method), TARGET_NETWORKS, credit)


def init_params(method: Method, key: jax.Array, choice: Choice) -> Params:
    """Parameters of the agent, the mixer, and the central networks. The key is consumed."""
    core = method.core
    key_value, key_agent, key_central, key_env = jax.random.split(key, 4)
    central = method.central.init(key_central, base.zero_inputs(core.env, key_env))
    params = value.init_params(core, key_value, choice)
    return {**params, "central_agent": core.agent.init(key_agent), "central": central}


def td_loss(
    method: Method, params: Params, target_params: Params, batch: Episode, view: View, hp: Hp
) -> tuple[Float[Array, ""], LossAux]:
    """The mixer's weighted and the central network's plain masked mean of squared errors, one target for both."""
    networks = (params["agent"], params["central_agent"], target_params["central_agent"])
    q, central_q, target_q = batches.unroll(method.core, networks, batch)  # (T+1, B, N, A) each
    of_episode = partial(episode_values, method, params, target_params)
    got = jax.vmap(of_episode, (1, 1, 1, 1, 1, None), 1)(q, central_q, target_q, view, batch, hp)  # (T, B) each
    mean = lambda x: batches.masked_mean(x, batch.mask_t)
    error, central_error = got.q_tot - got.returns, got.q_hat - got.returns
    mixed, central = mean(got.weight * error**2), mean(central_error**2)
    metrics = {"loss": mixed + central, "central_loss": central, "weight": mean(got.weight), "q_tot": mean(got.q_tot)}
    metrics |= {"target": mean(got.returns), "td_abs": mean(jnp.abs(error))}
    return mixed + central, (metrics, batches.suspect_state(batch, got.q_tot, got.q_hat))


def episode_values(
    method: Method, params: Params, target_params: Params, q: jax.Array, central_q: jax.Array, target_q: jax.Array,
    view: View, episode: Episode, hp: Hp,
) -> Values:  # fmt: skip
    """Values of the taken actions and their target: the target central network's value of the online agents' best."""
    taken, best = double_q.taken_and_best(q, view, episode.action_t)
    mix = jax.vmap(base.require_mixer(method.core, "wqmix").apply, (None, 0))
    centrally = jax.vmap(method.central.apply, (None, 0))
    q_tot = mix(params["mixer"], batches.mixer_inputs(q, taken, view))[:-1]
    q_hat = centrally(params["central"], batches.mixer_inputs(central_q, taken, view))[:-1]
    target = centrally(target_params["central"], batches.mixer_inputs(target_q, best, view))  # (T+1,)
    returns = jax.lax.stop_gradient(targets.lambda_returns(episode, target, hp))
    greedy = jnp.all(taken == best, -1)[:-1]
    full = counts_in_full(method.weighting, q_tot, returns, greedy, target[:-1])
    return Values(q_tot, q_hat, returns, jnp.where(full, 1.0, method.alpha))


def counts_in_full(
    weighting: str,
    q_tot: Float[Array, " time"],
    returns: Float[Array, " time"],
    greedy: Bool[Array, " time"],
    greedy_value: Float[Array, " time"],
) -> Bool[Array, " time"]:
    """True where an error has weight 1. `greedy`: all agents took their best action; `greedy_value`: its value."""
    if weighting == "ow":
        return q_tot < returns  # underestimated
    return greedy | (returns > greedy_value)  # the best joint action, or perhaps a better one
