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
    """An episode that is played, and how much its team likes each action."""

    state: EnvState
    liking: jax.Array  # (A,)


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

    def start(key: jax.Array) -> Game:
        key_reset, key_liking = jax.random.split(key)
        state = env.reset(key_reset)
        # What cannot be done from the start, such as an attack, is worth trying first.
        rare = ~env.view(state).avail.any(0)
        return Game(state, eager * (jax.random.normal(key_liking, rare.shape) + EAGER * rare))

    def turn(game: Game, key: jax.Array) -> tuple[Game, Any]:
        key_act, key_step, key_start = jax.random.split(key, 3)
        view = env.view(game.state)
        actions = jax.random.categorical(key_act, jnp.where(view.avail, game.liking[None], -jnp.inf)).astype(jnp.int32)
        step = env.step(key_step, game.state, actions)
        over = step.terminated | step.truncated
        goes_on = Game(step.state, game.liking)
        game = jax.tree.map(lambda new, old: jnp.where(over, new, old), start(key_start), goes_on)
        return game, (view.state, view.fields)

    key_start, key_turns = jax.random.split(key)
    return jax.lax.scan(turn, start(key_start), jax.random.split(key_turns, STEPS))[1]


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
