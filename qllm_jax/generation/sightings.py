"""States of many episodes, as many as it takes to have seen what there is to see. R rows, one a state."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import Env
from qllm_envs.core import EnvState

STREAMS, STEPS = 16, 64  # of a round: games side by side, each of which starts anew where it ends
MAX_ROUNDS = 64  # for tasks in which something never happens
TIMES = 4  # how often everything must have been seen, so that no two things are seen in the same rows only
EAGER = 100.0  # over 1, so that a preference decides; and over normal numbers, so that what is not always possible does


class Seen(NamedTuple):
    """The flat state and the named arrays of the same rows, these in the order of the spec."""

    state: np.ndarray  # (R, S)
    fields: dict[str, np.ndarray]  # (R, ...)


class Game(NamedTuple):
    """Between two turns."""

    state: EnvState
    liking: jax.Array  # (A,) how much the team likes each action, in this episode
    over: jax.Array  # whether the next turn is the first of another episode


def look(env: Env) -> Iterator[Seen]:
    """More and more states, twice as many each time: from the first that show everything to the last there are.

    Rounds of random play, and of play in which all agents like the same actions, take turns: uniform play alone shows
    no death that takes a team's joint effort. Everything is each truth value both ways, and each number in its range,
    of those whole numbers that change at all.
    """
    play = jax.jit(jax.vmap(lambda key, eager: _stream(env, key, eager), (0, None)))
    rounds: list[Seen] = []
    while len(rounds) < MAX_ROUNDS:
        for number in range(len(rounds), max(1, 2 * len(rounds))):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), STREAMS)
            rounds.append(_rows(jax.device_get(play(keys, EAGER * (number % 2)))))
        seen = jax.tree.map(lambda *parts: np.concatenate(parts), *rounds)
        if len(rounds) == MAX_ROUNDS or _is_all(env, seen):
            yield Seen(seen.state, {name: seen.fields[name] for name in env.spec.fields})  # jax sorts names


def _stream(env: Env, key: jax.Array, eager: jax.Array) -> tuple[Any, Any]:
    """STEPS states of one episode after the other, none of them behind an end."""

    def turn(game: Game, key: jax.Array) -> tuple[Game, Any]:
        key_reset, key_liking, key_act, key_step = jax.random.split(key, 4)
        state = jax.tree.map(lambda new, old: jnp.where(game.over, new, old), env.reset(key_reset), game.state)
        view = env.view(state)
        # What cannot be done from the start, such as an attack, is worth trying first.
        fresh = jax.random.normal(key_liking, game.liking.shape) + EAGER * ~view.avail.any(0)
        liking = jnp.where(game.over, fresh, game.liking)
        logits = jnp.where(view.avail, eager * liking[None], -jnp.inf)
        step = env.step(key_step, state, jax.random.categorical(key_act, logits).astype(jnp.int32))
        return Game(step.state, liking, step.terminated | step.truncated), (view.state, view.fields)

    nothing = jax.tree.map(jnp.zeros_like, env.reset(key))  # is compiled away
    first = Game(nothing, jnp.zeros(env.spec.n_actions), jnp.bool_(True))
    return jax.lax.scan(turn, first, jax.random.split(key, STEPS))[1]


def _rows(played: tuple[Any, Any]) -> Seen:
    state, fields = jax.tree.map(lambda leaf: np.reshape(leaf, (STREAMS * STEPS, *leaf.shape[2:])), played)
    return Seen(state, fields)


def _is_all(env: Env, seen: Seen) -> bool:
    for name, array in seen.fields.items():
        if array.dtype == bool:
            values = [False, True]
        elif np.issubdtype(array.dtype, np.integer):
            array = array[:, (array != array[:1]).any(0)]
            values = range(int(env.spec.fields[name].low), int(env.spec.fields[name].high) + 1)
        else:
            continue
        if any(((array == value).sum(0) < TIMES).any() for value in values):
            return False
    return True
