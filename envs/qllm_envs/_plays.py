"""Episodes with random available actions, by which the contract of an environment is checked."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from qllm_envs.core import Env, EnvState, Step, View


class Turn(NamedTuple):
    """The first state of an episode with its view, and a step from it with the view after."""

    state: EnvState
    view: View
    step: Step
    view_tp1: View


class Play(NamedTuple):
    """An episode with random available actions: T steps, T+1 views."""

    view: View
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array


def random_actions(key: jax.Array, view: View) -> jax.Array:
    """Uniform available actions (N,). The key is consumed."""
    return jax.random.categorical(key, jnp.where(view.avail, 0.0, -jnp.inf)).astype(jnp.int32)  # (N,)


def turn_of(env: Env, key_reset: jax.Array, key: jax.Array) -> Turn:
    """Play the first step of an episode. Both keys are consumed."""
    state = env.reset(key_reset)
    key_act, key_step = jax.random.split(key)
    view = env.view(state)
    step = env.step(key_step, state, random_actions(key_act, view))
    return Turn(state, view, step, env.view(step.state))


def play(env: Env, keys: jax.Array) -> tuple[Turn, Play]:
    """Play an episode; also return its first turn."""

    def turn(state: EnvState, key: jax.Array) -> tuple[EnvState, tuple[EnvState, View, Step]]:
        key_act, key_step = jax.random.split(key)
        view = env.view(state)
        step = env.step(key_step, state, random_actions(key_act, view))
        return step.state, (state, view, step)

    final, (states, views, steps) = jax.lax.scan(turn, env.reset(keys[0]), keys[1:])
    views = jax.tree.map(lambda seen, last: jnp.concatenate([seen, last[None]]), views, env.view(final))
    at = lambda tree, t: jax.tree.map(lambda leaf: leaf[t], tree)
    first = Turn(at(states, 0), at(views, 0), at(steps, 0), at(views, 1))
    return first, Play(views, steps.reward, steps.terminated, steps.truncated)
