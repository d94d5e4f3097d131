"""Steps of random play, on which reward credit is tried: two states, the actions between them, and the reward.

Random play seldom earns anything where rewards are rare, so it also goes on from the states that good play reaches.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from qllm_envs.core import Env, EnvState, View
from qllm_jax.tfcaf.loading.signatures import REWARD, step_inputs
from qllm_jax.tfcaf.semantics.compiling import run_once
from qllm_jax.tfcaf.semantics.probes import States

EPISODES, LONGEST = 24, 100  # from the start, and the steps of them that are played
CONTINUATIONS, SHORT = 512, 8  # of each state that good play reaches, and their steps
KEPT, PAID, UNPAID = 48, 48, 24  # steps of episodes; steps that pay the team, of both; others of continuations
PAYS, GOES_ON = "of a step that pays the team", "of a step of good play"


class Steps(NamedTuple):
    """Steps as arrays by name, see `signatures`; leaves (P, ...)."""

    seen: States  # of episodes
    notable: States  # that pay, and those that good play reaches
    phrases: tuple[str, ...]  # of `notable`, each follows "on a state"


def of_play(env: Env) -> Steps:
    """Return steps of random play."""
    episodes = _played(env, _starts, EPISODES, min(env.spec.horizon, LONGEST))
    more = _played(env, _notable, CONTINUATIONS, SHORT) if env.notable else jax.tree.map(lambda x: x[:0], episodes)
    joined = {name: np.concatenate([values, more[name]]) for name, values in episodes.items()}
    paid, unpaid = _rows(joined[REWARD] != 0, PAID), _rows(more[REWARD] == 0, UNPAID)
    notable = {name: np.concatenate([values[paid], more[name][unpaid]]) for name, values in joined.items()}
    seen = _rows(np.ones(len(episodes[REWARD]), bool), KEPT)
    phrases = (PAYS,) * len(paid) + (GOES_ON,) * len(unpaid)
    return Steps({name: values[seen] for name, values in episodes.items()}, notable, phrases)


def _starts(env: Env, key: jax.Array) -> EnvState:
    """First states (1, ...)."""
    return jax.tree.map(lambda x: x[None], env.reset(key))


def _notable(env: Env, key: jax.Array) -> EnvState:
    """States (M, ...) that good play reaches."""
    found = list(env.notable(key).values()) if env.notable else []
    return jax.tree.map(lambda *states: jnp.stack(states), *found)


def random_step(
    env: Env, carry: tuple[EnvState, Bool[jax.Array, ""]], key: jax.Array
) -> tuple[tuple[EnvState, Bool[jax.Array, ""]], View, jax.Array, jax.Array]:
    """Play a step of random available actions from (state, True if the episode goes on); the key is consumed.

    Return the pair after the step, the view before it, the actions and the reward. After the end the state stays.
    """
    state, alive = carry
    key_act, key_env = jax.random.split(key)
    view = env.view(state)
    action = jax.random.categorical(key_act, jnp.where(view.avail, 0.0, -jnp.inf))
    out = env.step(key_env, state, action)
    after = jax.tree.map(lambda new, old: jnp.where(alive, new, old), out.state, state)
    return (after, alive & ~(out.terminated | out.truncated)), view, action, out.reward


def _walk(env: Env, length: int, state: EnvState, key: jax.Array) -> tuple[States, Bool[jax.Array, " steps"]]:
    """Random play from a state: the arrays of each step, and True where it happened."""

    def step(carry: tuple, key: jax.Array) -> tuple:
        after, view, action, reward = random_step(env, carry, key)
        inputs = step_inputs(view.fields, action, reward, env.view(after[0]).fields)
        return after, (inputs, carry[1])

    return jax.lax.scan(step, (state, jnp.bool_(True)), jax.random.split(key, length))[1]


def _played(env: Env, starts: Callable[[Env, jax.Array], EnvState], n_keys: int, length: int) -> States:
    """Return all steps that happened of random play from the states that `starts` gives, one key each."""

    def from_key(key: jax.Array) -> tuple:
        key_start, key_walk = jax.random.split(key)
        states = starts(env, key_start)
        walks = jax.random.split(key_walk, len(jax.tree.leaves(states)[0]))
        return jax.vmap(lambda state, key: _walk(env, length, state, key))(states, walks)

    keys = jax.random.split(jax.random.key(0), n_keys)
    inputs, alive = run_once(from_key, keys)
    return {name: values[alive].astype(np.float32) for name, values in inputs.items()}


def _rows(wanted: np.ndarray, most: int) -> np.ndarray:
    """Return the indices of at most `most` rows of those that are wanted, evenly spread."""
    rows = np.flatnonzero(wanted)
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))] if len(rows) else rows
