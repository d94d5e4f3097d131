"""Quantities of a time-major batch of episodes: views, outputs of networks, means, inputs of mixers."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import Env, EnvState, View
from qllm_jax.core.types import Episode, Params
from qllm_jax.learners.base import Core
from qllm_jax.mixers import MixerInputs


def views(env: Env, batch: Episode) -> View:
    """Views of all slots of a time-major batch, leaves (T+1, B, ...)."""
    return jax.vmap(jax.vmap(env.view))(batch.env_state)


def unroll(core: Core, networks: tuple[Params, ...], batch: Episode) -> tuple[Float[Array, "slots B N A"], ...]:
    """Outputs of agent networks over all slots of a time-major batch, observed once for all of them."""
    return core.agent.unroll(networks, jax.vmap(partial(observe, core.env)), batch.env_state, batch.action_t)


def unroll_hidden(
    core: Core, networks: tuple[Params, ...], batch: Episode
) -> tuple[tuple[Float[Array, "slots B N H"], Float[Array, "slots B N A"]], ...]:
    """`unroll` that gives the hidden states beside the outputs."""
    return core.agent.unroll_hidden(networks, jax.vmap(partial(observe, core.env)), batch.env_state, batch.action_t)


def unroll_episode(core: Core, params: Params, episode: Episode) -> Float[Array, "slots N A"]:
    """Outputs of one agent network over all slots of one episode."""
    return core.agent.unroll((params,), partial(observe, core.env), episode.env_state, episode.action_t)[0]


def observe(env: Env, state: EnvState) -> Float[Array, "agents obs"]:
    """Observations of all agents in one state."""
    return env.view(state).obs


def masked_mean(x: Float[Array, "time batch"], mask: Float[Array, "time batch"]) -> Float[Array, ""]:
    """Mean over the steps that happened; 0 where none did."""
    return jnp.sum(mask * x) / jnp.maximum(jnp.sum(mask), 1.0)


def agents_mean(x: Float[Array, "time batch agents"], mask: Float[Array, "time batch"]) -> Float[Array, ""]:
    """Mean over agents and the steps that happened; 0 where none did."""
    return masked_mean(jnp.mean(x, -1), mask)


def chosen_values(q: Float[Array, "*lead actions"], action: Int[Array, "*lead"]) -> Float[Array, "*lead"]:
    """Values of the actions `action`."""
    # A product with the one-hot instead of a gather: its gradient is a product too, not a scatter.
    return jnp.sum(q * jax.nn.one_hot(action, q.shape[-1]), -1)


def suspect_state(batch: Episode, *values: Float[Array, "slots batch"]) -> EnvState:
    """The first state of a time-major batch in which team values are not finite; if all are, of the largest."""
    size = jnp.asarray(sum(jnp.abs(jax.lax.stop_gradient(value)) for value in values))
    slot, episode = jnp.unravel_index(jnp.argmax(jnp.where(jnp.isfinite(size), size, jnp.inf)), size.shape)
    return jax.tree.map(lambda x: x[slot, episode], batch.env_state)


def mixer_inputs(
    q: Float[Array, "*lead agents actions"], action: Int[Array, "*lead agents"], view: View
) -> MixerInputs:
    """Inputs of the mixer when the agents take `action`, for one sample or, with leading axes, for many."""
    max_q = jnp.max(jnp.where(view.avail, jax.lax.stop_gradient(q), -jnp.inf), -1)
    return MixerInputs(chosen_values(q, action), max_q, action, view.state, view.fields)
