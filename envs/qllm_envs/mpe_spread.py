"""Cooperative navigation (Lowe et al. 2017, arxiv.org/abs/1706.02275): `simple_spread_v3` of mpe2 1.1.1.

N agents have to cover N landmarks without touching each other. All see all; nobody is told who goes where.
Observations are in mpe2's order, with the block of silent communication channels that is always 0, so that networks
have the paper's sizes: 6N numbers an agent, 6N^2 in the flat state.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qllm_envs import options
from qllm_envs._mpe import physics, task
from qllm_envs._mpe.task import SPEED_UNIT, UNIT, Rules
from qllm_envs.core import Entries, Env, Field, Scene, Step, View

NAME = "mpe_spread"
AGENT_RADIUS = 0.15
LANDMARK_RADIUS = 0.05  # drawn only: a landmark touches nothing
ACCELERATION = 5.0
MAX_OWN_SPEED = 2.0  # on an axis: where friction takes what the thrust gives


class State(NamedTuple):
    agent_pos: Float[Array, "n 2"]
    agent_vel: Float[Array, "n 2"]
    landmark_pos: Float[Array, "n 2"]
    t: Int[Array, ""]  # steps taken


def make(*, n_agents: int = 3, horizon: int = 25, local_ratio: float = 0.5, drop_last_reward: bool = False) -> Env:
    """Return spread with as many landmarks as agents.

    `local_ratio`, 0 to 1, is the weight of an agent's own contacts; the shared coverage has the rest.
    `drop_last_reward`: see `qllm_envs._mpe.task.end_step`.
    """
    rules = task.rules(NAME, n_agents, horizon, drop_last_reward)
    ratio = options.number(NAME, "local_ratio", local_ratio, low=0, high=1)
    sentence, fields = _reward_sentence(rules, ratio), _fields(rules)
    return Env(
        spec=task.spec(NAME, rules, _obs_entries(rules.n_agents), fields, sentence, "simple_spread_v3"),
        reset=partial(_reset, rules.n_agents),
        step=partial(_step, rules, ratio),
        view=_view,
        scene=_scene,
        notable=partial(_notable, rules),
    )


def _notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    start = _reset(rules.n_agents, key)
    goal, n = start.landmark_pos, rules.n_agents
    travel = physics.unpushed_reach(ACCELERATION, rules.horizon) - physics.START
    toward = start.agent_pos / jnp.sqrt((start.agent_pos**2).sum(-1, keepdims=True))
    at = lambda pos: start._replace(agent_pos=pos)
    return {
        "in which every landmark is covered and nobody moves": at(goal),
        "in which every landmark is covered, by agents that move on": at(goal[::-1])._replace(
            agent_vel=start.agent_pos
        ),
        "in which every landmark is nearly covered": at(goal + 0.02 * start.agent_pos),
        "in which every landmark is within a step or two": at(goal + 0.15 * toward),
        "in which all landmarks but one are covered": at(goal.at[-1].set(start.agent_pos[-1])),
        "in which one landmark is covered": at(start.agent_pos.at[0].set(goal[0])),
        "in which two agents are on one landmark, and one is open": at(goal.at[-1].set(goal[0] + 0.02)),
        "in which all agents touch each other on a landmark": at(physics.ring(goal[0], n, 0.5 * AGENT_RADIUS)),
        "in which all agents have gone as far as they get": at(start.agent_pos + travel),
    }


def _reset(n_agents: int, key: jax.Array) -> State:
    key_agents, key_landmarks = jax.random.split(key)
    return State(
        agent_pos=physics.scattered(key_agents, n_agents, 2),
        agent_vel=jnp.zeros((n_agents, 2)),
        landmark_pos=physics.scattered(key_landmarks, n_agents, 2),
        t=jnp.int32(0),
    )


def _step(rules: Rules, local_ratio: float, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    del key  # nothing is random after the reset
    force = physics.thrust(actions, ACCELERATION)
    force += physics.contact_force(state.agent_pos, state.agent_pos, 2 * AGENT_RADIUS)
    pos, vel = physics.integrate(state.agent_pos, state.agent_vel, force)
    reward = _team_reward(pos, state.landmark_pos, local_ratio)
    return task.end_step(rules, state, state._replace(agent_pos=pos, agent_vel=vel), reward)


def _team_reward(
    agent_pos: Float[Array, "n 2"], landmark_pos: Float[Array, "n 2"], local_ratio: float
) -> Float[Array, ""]:
    n = agent_pos.shape[0]
    # The root is taken of the N minima and not of the N^2 distances.
    nearest = jnp.sqrt(physics.square_distance(landmark_pos, agent_pos).min(1))  # (N,) of each landmark
    contacts = physics.touching(agent_pos, agent_pos, 2 * AGENT_RADIUS).sum() - n  # an agent touches itself
    # Every agent is paid the shared part, so the sum over agents counts it n times.
    return -n * (1 - local_ratio) * nearest.sum() - local_ratio * contacts


def _view(state: State) -> View:
    pos = state.agent_pos
    n = pos.shape[0]
    silence = jnp.zeros((n, 2 * (n - 1)))
    obs = jnp.concatenate(
        [state.agent_vel, pos, physics.relative(pos, state.landmark_pos), physics.relative_others(pos), silence], -1
    )  # (N, 6N)
    fields = {"agent_pos": pos, "agent_vel": state.agent_vel, "landmark_pos": state.landmark_pos}
    return task.seen(obs, fields)


def _obs_entries(n: int) -> tuple[Entries, ...]:
    """Layout of the observation of agent i, as `_view` builds it."""
    return (
        Entries("agent_vel[i]", 2),
        Entries("agent_pos[i]", 2),
        task.relative("landmark_pos", n, "l"),
        task.relative_others(n),
        Entries("0", 2 * (n - 1)),
    )


def _reward_sentence(rules: Rules, local_ratio: float) -> str:
    last = task.dropped(rules)
    return (
        f"The sum over all {rules.n_agents} agents of {1 - local_ratio:g} times the coverage, which is minus the "
        f"sum over landmarks of the distance from the landmark to the agent nearest to it, plus {local_ratio:g} "
        f"times minus the number of other agents whose center is nearer than {2 * AGENT_RADIUS:g}{last}."
    )


def _fields(rules: Rules) -> dict[str, Field]:
    n, own_reach = rules.n_agents, physics.unpushed_reach(ACCELERATION, rules.horizon)
    far, fast = physics.pushed(n - 1, 2 * AGENT_RADIUS)
    reach, speed = np.ceil(10 * (own_reach + far)) / 10, np.ceil(10 * (MAX_OWN_SPEED + fast)) / 10
    agent_pos = (
        f"center (x, y) of each agent, row i for agent i; each is a disc of radius {AGENT_RADIUS}, starts in the "
        "square from -1 to 1 and is held by no wall; x grows to the right, y upwards; "
        f"by its own thrust it stays within {own_reach:.1f} of the origin on either axis, "
        "a push by others can add to that"
    )
    agent_vel = (
        "velocity (vx, vy) of each agent, row i for agent i; 0 at the start; a step moves the agent by "
        f"{physics.DT} times its velocity; own thrust alone gives at most {MAX_OWN_SPEED:g} on either axis, "
        "a push by others can exceed it"
    )
    landmark_pos = (
        "center (x, y) of each landmark, row l for landmark l; fixed in an episode, drawn anew for each; "
        "no landmark belongs to any agent and landmarks do not block the way"
    )
    return {
        "agent_pos": Field((n, 2), agent_pos, UNIT, -reach, reach),
        "agent_vel": Field((n, 2), agent_vel, SPEED_UNIT, -speed, speed),
        "landmark_pos": Field((n, 2), landmark_pos, UNIT, -1.0, 1.0),
    }


def _scene(state: Any) -> Scene:
    # Landmarks come last, so that one that is covered still shows.
    landmarks = task.discs(state.landmark_pos, LANDMARK_RADIUS, "gray")
    return task.scene(task.agent_discs(state.agent_pos, AGENT_RADIUS) + landmarks, landmark="gray")
