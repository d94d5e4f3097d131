"""Play the policies of a run in games of the host, which cannot be traced: the football engine.

An episode depends on its number, the seed and the policy alone, and not on how many games are played at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import Spec, football_engine, registry
from qllm_jax.core import rollout
from qllm_jax.core.types import Params, Scores
from qllm_jax.errors import UserError
from qllm_jax.program.experiment import Experiment

PORT = "football_lite"  # the environment whose runs the engine plays
LARGEST_SEED = 2**31 - 1  # of the engine
Act = Callable[..., tuple[jax.Array, jax.Array]]  # (hidden, obs, last, when) of `decisions` -> hidden, actions


class Games(Protocol):
    """Games that are stepped together, each on its lane."""

    n_games: int

    def reset(self, seeds: dict[int, int]) -> dict[int, Any]: ...

    def step(self, actions: dict[int, Sequence[int]]) -> dict[int, football_engine.Outcome]: ...


def open_games(spec: Spec, n_games: int) -> football_engine.Games:
    """Games of the engine for the task of a run. UserError for another task, or if the engine is not installed."""
    if spec.made_by != PORT:
        raise UserError(f"env={football_engine.NAME} plays runs of {PORT}, and this is a run of {spec.made_by}")
    scenario = (registry.defaults(PORT) | dict(spec.options))["scenario"]
    try:
        games = football_engine.Games(scenario, n_games, limit=spec.horizon)
    except ValueError as error:
        raise UserError(str(error)) from error
    sizes = (games.n_agents, football_engine.OBS_DIM, football_engine.N_ACTIONS)
    if sizes != (spec.n_agents, spec.obs_dim, spec.n_actions):
        games.close()
        raise UserError(
            f"{scenario} of the engine has {sizes[0]} agents, {sizes[1]} numbers of an observation and {sizes[2]} "
            f"actions, and the run was trained with {spec.n_agents}, {spec.obs_dim} and {spec.n_actions}"
        )
    return games


def play(exp: Experiment, params: Params, keys: jax.Array, games: Games, episodes: int, epsilon: float) -> Scores:
    """Scores (R, episodes) of policies `params` (R, ...), with one key for each."""
    decide = jax.jit(partial(decisions, exp))
    scores = []
    for i in range(len(keys)):
        own = jax.tree.map(lambda x: x[i], params)["agent"]  # noqa: B023
        act = partial(decide, own, keys[i], jnp.asarray(epsilon))
        hidden = exp.agent.initial_hidden(games.n_games)
        scores.append(play_one(exp.env.spec, act, hidden, games, seeds_of(keys[i], episodes)))
    return jax.tree.map(lambda *rows: np.stack(rows), *scores)


def decisions(
    exp: Experiment,
    params: Params,
    key: jax.Array,
    epsilon: jax.Array,
    hidden: jax.Array,
    obs: jax.Array,
    last: jax.Array,
    when: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Hidden states (E, N, H) and actions (E, N) of E games, from `when` (E, 2): number of the episode, and step."""

    def one(hidden: jax.Array, obs: jax.Array, last: jax.Array, when: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = jnp.where(when[1] == 0, exp.agent.initial_hidden(), hidden)
        hidden, q = exp.agent.step(params, hidden, obs, jnp.where(when[1] == 0, -1, last))
        noise = rollout.gumbel_noise(jax.random.fold_in(jax.random.fold_in(key, when[0]), when[1]), exp.env.spec)
        return hidden, exp.learner.act_in_evaluation(noise, q, jnp.ones(q.shape, bool), epsilon)

    return jax.vmap(one)(hidden, obs, last, when)


def play_one(spec: Spec, act: Act, hidden: jax.Array, games: Games, seeds: Sequence[int]) -> Scores:
    """Scores (episodes,) of one policy: a lane whose episode has ended takes the next."""
    returns, won = np.zeros(len(seeds), np.float32), np.zeros(len(seeds), bool)
    waiting = list(enumerate(seeds))[::-1]
    playing: dict[int, int] = {}  # lane: episode
    E, N = games.n_games, spec.n_agents
    obs, when = np.zeros((E, N, spec.obs_dim), np.float32), np.zeros((E, 2), np.int32)
    last = np.full((E, N), -1, np.int32)
    while True:
        starting = {lane: waiting.pop() for lane in range(E) if lane not in playing and waiting}
        for lane, first in games.reset({lane: seed for lane, (_, seed) in starting.items()}).items():
            playing[lane], obs[lane], when[lane] = starting[lane][0], first, (starting[lane][0], 0)
        if not playing:
            return Scores(returns, won)
        hidden, actions = act(hidden, obs, last, when)
        last = np.asarray(actions)
        for lane, out in games.step({lane: last[lane].tolist() for lane in playing}).items():
            returns[playing[lane]] += out.reward
            obs[lane], when[lane, 1] = out.obs, when[lane, 1] + 1
            if out.end:
                won[playing.pop(lane)] = out.won


def seeds_of(key: jax.Array, episodes: int) -> list[int]:
    """The engine's seed of each episode, half of them odd: the engine handles the right team first in those."""
    return np.asarray(jax.random.randint(key, (episodes,), 0, LARGEST_SEED)).tolist()
