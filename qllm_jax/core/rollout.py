"""Whole episodes of one team: one environment, fixed length, a mask instead of auto-reset.

A batch of them stops when its last episode has ended (see lockstep.py): the steps after that are filled in, not
played.
"""

from collections.abc import Callable
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import Env, EnvState, Spec
from qllm_jax.core import lockstep, platforms
from qllm_jax.core.agents import Agent
from qllm_jax.core.types import Episode, Params, Scores

# (noise (N, A) of `gumbel_noise`, outputs of the agent network (N, A), avail (N, A), epsilon) -> actions (N,).
# With epsilon 1 any policy draws uniformly from what is available.
Policy = Callable[[jax.Array, Float[Array, "agents actions"], Bool[Array, "agents actions"], jax.Array], jax.Array]
MOST_COMPARED = 16  # actions: a GPU compares up to so many one after the other


class Carry(NamedTuple):
    """State that crosses the scan over steps."""

    env_state: EnvState
    hidden: Float[Array, "agents hidden"]
    last_action: Int[Array, " agents"]
    alive: Bool[Array, ""]


def gumbel_noise(key: jax.Array, spec: Spec) -> Float[Array, "agents actions"]:
    """The noise of one step, by which `sample_with` draws an action for each agent. The key is consumed."""
    return jax.random.gumbel(key, (spec.n_agents, spec.n_actions))


def epsilon_greedy(
    noise: Float[Array, "agents actions"],
    q: Float[Array, "agents actions"],
    avail: Bool[Array, "agents actions"],
    epsilon: jax.Array,
) -> Int[Array, " agents"]:
    """Draw from (1 - epsilon) greedy + epsilon uniform over the available actions, by `sample_with`.

    One array of noise, drawn before the loop on a GPU, so serves both whether to explore and which action to take.
    """
    greedy = jax.nn.one_hot(argmax(jnp.where(avail, q, -jnp.inf)), q.shape[-1])
    return sample_with(noise, mixed_with_uniform(greedy, avail, epsilon))


def softmax_sampled(
    noise: Float[Array, "agents actions"],
    logits: Float[Array, "agents actions"],
    avail: Bool[Array, "agents actions"],
    epsilon: jax.Array,
) -> Int[Array, " agents"]:
    """Draw from (1 - epsilon) softmax + epsilon uniform over the available actions, as `epsilon_greedy` does."""
    return sample_with(noise, mixed_with_uniform(softmax(logits, avail), avail, epsilon))


def sample_with(noise: Float[Array, "agents actions"], probs: Float[Array, "agents actions"]) -> Int[Array, " agents"]:
    """The actions with the largest log p + Gumbel noise, which are a draw from `probs` (the Gumbel-max trick).

    Where probabilities are not finite, -1 on a CPU and any action on a GPU.
    """
    sample = lambda noise, probs: argmax(noise + jnp.log(probs))
    return platforms.choose(noise, probs, cpu=_sample_if_valid, gpu=sample)


def _sample_if_valid(noise: Float[Array, "agents actions"], probs: Float[Array, "agents actions"]) -> jax.Array:
    pi = distrax.Categorical(probs=probs)
    valid = jnp.all(jnp.isfinite(pi.probs), -1) & jnp.all(pi.probs >= 0, -1)
    return jnp.where(valid, argmax(noise + pi.logits), -1)


def argmax(x: Float[Array, "agents actions"]) -> Int[Array, " agents"]:
    """Index of the first of the largest numbers of each row."""
    return platforms.choose(x, cpu=lambda x: jnp.argmax(x, -1), gpu=_compared)


def _compared(x: Float[Array, "agents actions"]) -> Int[Array, " agents"]:
    # An argmax is a kernel of its own, comparisons join the operations around them.
    if x.shape[-1] > MOST_COMPARED:
        return jnp.argmax(x, -1)
    best, index = x[:, 0], jnp.zeros(x.shape[:1], jnp.int32)
    for action in range(1, x.shape[-1]):
        index = jnp.where(x[:, action] > best, action, index)
        best = jnp.maximum(best, x[:, action])
    return index


def softmax(
    logits: Float[Array, "agents actions"], avail: Bool[Array, "agents actions"]
) -> Float[Array, "agents actions"]:
    """Probabilities, 0 for what is not available."""
    return jax.nn.softmax(jnp.where(avail, logits, -jnp.inf), -1)


def mixed_with_uniform(
    probs: Float[Array, "agents actions"], avail: Bool[Array, "agents actions"], epsilon: jax.Array
) -> Float[Array, "agents actions"]:
    """(1 - epsilon) probs + epsilon times uniform over the available actions."""
    uniform = avail / jnp.sum(avail, -1, keepdims=True)
    return (1.0 - epsilon) * probs + epsilon * uniform


def rollout(
    env: Env,
    agent: Agent,
    act: Policy,
    params: Params,
    key: jax.Array,
    epsilon: jax.Array,
    time_limit_is_terminal: bool,
) -> Episode:
    """Play one episode with the network `params`. The key is consumed.

    `time_limit_is_terminal`: reaching the horizon counts as a true terminal, as in all environments of the paper, whose
    runners never report the limit apart, so that no value is bootstrapped there.
    """
    key_reset, key_steps = jax.random.split(key)
    first = Carry(
        env_state=env.reset(key_reset),
        hidden=agent.initial_hidden(),
        last_action=jnp.full((env.spec.n_agents,), -1, jnp.int32),
        alive=jnp.array(True),
    )

    def step(carry: Carry, key_t: jax.Array) -> tuple[Carry, Episode]:
        key_env, key_act = jax.random.split(key_t)
        view = env.view(carry.env_state)
        hidden, q = agent.step(params, carry.hidden, view.obs, carry.last_action)
        action = act(gumbel_noise(key_act, env.spec), q, view.avail, epsilon)
        if env.spec.ends_early:
            # Steps after the end are as in `padding`, however long other episodes keep the loop going.
            action = jnp.where(carry.alive, action, carry.last_action)
        out = env.step(key_env, carry.env_state, action)
        terminated = carry.alive & (out.terminated | (out.truncated & time_limit_is_terminal))
        seen = Episode(
            env_state=carry.env_state,
            action_t=action,
            reward_t=jnp.where(carry.alive, out.reward, 0.0),
            terminated_t=terminated,
            mask_t=carry.alive.astype(jnp.float32),
        )
        alive = carry.alive & ~(out.terminated | out.truncated)
        # The state no longer changes after the end, so that an environment is never stepped beyond it.
        env_state = jax.tree.map(lambda new, old: jnp.where(carry.alive, new, old), out.state, carry.env_state)
        return Carry(env_state, hidden, action, alive), seen

    def padding(carry: Carry) -> Episode:
        return Episode(carry.env_state, carry.last_action, jnp.zeros(()), jnp.array(False), jnp.zeros(()))

    keys = jax.random.split(key_steps, env.spec.horizon)
    if env.spec.ends_early:
        last, episode = lockstep.scan_while_any(lambda carry: carry.alive, step, padding, first, keys)
    else:
        last, episode = jax.lax.scan(step, first, keys)
    slots = jax.tree.map(lambda xs, x: jnp.concatenate([xs, x[None]]), episode.env_state, last.env_state)
    return episode._replace(env_state=slots)


def score(env: Env, episode: Episode) -> Scores:
    """Return of one episode, if it was won, and if there was a crash in it."""
    last = jax.tree.map(lambda x: x[-1], episode.env_state)  # the state in which the episode ended
    return Scores(
        returns=episode_return(episode),
        won=env.won(last) if env.won else None,
        crashed=jnp.any(jax.vmap(env.crashed)(episode.env_state)) if env.crashed else None,
    )


def episode_return(episode: Episode) -> Float[Array, ""]:
    """Undiscounted team return of one episode."""
    return jnp.sum(episode.reward_t)
