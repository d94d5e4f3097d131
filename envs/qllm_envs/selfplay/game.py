"""The two tasks as games of two sides, for training and measuring: side 0 is the team, side 1 its opponent.

Written for one game; callers add axes with `jax.vmap`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import mpe_adversary, mpe_tag
from qllm_envs._mpe import physics
from qllm_envs.opponents import scripts
from qllm_envs.opponents.frame import Layout, layout
from qllm_envs.opponents.scripts import TeamPolicy

TEAM, OPPONENT = 0, 1
# Costs of the prey besides being caught, in catches. Leaving the arena costs more than in mpe2, where it pays off
# against strong predators. A predator at the point of touching is a part of a catch, and 1/e of that at `NEAR` from it.
OUTSIDE, NEAR_MISS, NEAR = 1.5, 0.3, 0.1

Rewards = tuple[Float[Array, ""], Float[Array, ""]]  # of one player of the team, and of the opponent


class Game(NamedTuple):
    """A task for a number of agents, as a game of two sides."""

    n_agents: int
    layouts: tuple[Layout, Layout]  # of the observation of a player of each side
    scripts: tuple[dict[str, TeamPolicy], dict[str, TeamPolicy]]  # of each side, by name
    reset: Callable[[jax.Array], Any]  # the key is consumed
    observe: Callable[[Any], tuple[Float[Array, "n obs"], Float[Array, "1 obs"]]]  # a row for each player of a side
    move: Callable[[Any, Int[Array, " n"], Int[Array, " 1"]], Any]
    reward: Callable[[Any], Rewards]  # mpe2's, for the state that was reached
    lesson: Callable[[Any], Rewards]  # the rewards that the sides learn from
    measure: Callable[[Any], Float[Array, ""]]  # a number of the state that was reached, for the tables


def make(role: str, n_agents: int) -> Game:
    """Return the game of the prey or of the adversary against `n_agents`."""
    return {"prey": tag, "adversary": adversary}[role](n_agents)


def tag(n_agents: int) -> Game:
    """Return the game of the prey. It measures max(|x|, |y|) of the prey."""
    return Game(
        n_agents=n_agents,
        layouts=(layout("predator", n_agents), layout("prey", n_agents)),
        scripts=sides("prey"),
        reset=partial(mpe_tag.reset, n_agents),
        observe=lambda state: (mpe_tag.view(state).obs, mpe_tag.prey_obs(state)[None]),
        move=lambda state, actions, prey_action: mpe_tag.move(state, actions, prey_action[0]),
        reward=tag_rewards,
        lesson=tag_lesson,
        measure=lambda state: jnp.abs(state.prey_pos).max(),
    )


def adversary(n_agents: int) -> Game:
    """Return the game of the adversary. It measures the distance from the adversary to the goal."""
    return Game(
        n_agents=n_agents,
        layouts=(layout("good agent", n_agents), layout("adversary", n_agents)),
        scripts=sides("adversary"),
        reset=partial(mpe_adversary.reset, n_agents),
        observe=lambda state: (mpe_adversary.view(state).obs, mpe_adversary.adversary_obs(state)[None]),
        move=lambda state, actions, adversary_action: mpe_adversary.move(state, actions, adversary_action[0]),
        reward=adversary_rewards,
        lesson=adversary_rewards,
        measure=lambda state: mpe_adversary.distances(state)[1],
    )


def sides(role: str) -> tuple[dict[str, TeamPolicy], dict[str, TeamPolicy]]:
    return scripts.TEAMS[role], {name: scripts.team(policy) for name, policy in scripts.OPPONENTS[role].items()}


def tag_rewards(state: mpe_tag.State) -> Rewards:
    """Rewards of mpe2: a predator gets every catch of the team; the prey pays for it and for leaving the arena."""
    caught = mpe_tag.CATCH_REWARD * mpe_tag.caught(state).sum()
    return caught, -caught - outside(state)


def outside(state: mpe_tag.State) -> Float[Array, ""]:
    """Cost of leaving the arena: `bound` in `agent_reward` of mpe2's simple_tag, summed over both axes."""
    x = jnp.abs(state.prey_pos)
    return jnp.where(x < 1, 10 * jax.nn.relu(x - scripts.ARENA), jnp.minimum(jnp.exp(2 * x - 2), 10.0)).sum()


def tag_lesson(state: mpe_tag.State) -> Rewards:
    """Return `tag_rewards` in catches, with a cost of near misses, since catches are too rare to learn from alone."""
    caught = mpe_tag.caught(state).sum().astype(jnp.float32)
    gap = jnp.sqrt(physics.square_distance(state.agent_pos, state.prey_pos[None])) - mpe_tag.CATCH_DISTANCE
    near = NEAR_MISS * jnp.exp(-jax.nn.relu(gap) / NEAR).sum()
    return caught, -caught - near - OUTSIDE / mpe_tag.CATCH_REWARD * outside(state)


def adversary_rewards(state: mpe_adversary.State) -> Rewards:
    agents, its = mpe_adversary.distances(state)
    return its - agents.min(), -its
