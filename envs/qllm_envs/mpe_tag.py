"""Predators and prey (Lowe et al. 2017, arxiv.org/abs/1706.02275): `simple_tag_v3` of mpe2 1.1.1.

N slow predators learn to touch one fast prey among obstacles that block the way. The prey is a part of the
environment and plays a policy of `qllm_envs.opponents`. Observations are in mpe2's order: 10 + 2N numbers a predator,
N (10 + 2N) in the flat state.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs import opponents
from qllm_envs._mpe import physics, task, versus
from qllm_envs._mpe.task import SPEED_UNIT, UNIT, Rules
from qllm_envs.core import Entries, Env, Field, Scene, View

NAME, ROLE = "mpe_tag", "prey"
N_OBSTACLES = 2
AGENT_RADIUS, PREY_RADIUS, OBSTACLE_RADIUS = 0.075, 0.05, 0.2
AGENT_ACCELERATION, PREY_ACCELERATION = 3.0, 4.0
AGENT_MAX_SPEED, PREY_MAX_SPEED = 1.0, 1.3
OBSTACLE_START = 0.9  # obstacles stand within this distance of the origin on either axis
CATCH_DISTANCE = AGENT_RADIUS + PREY_RADIUS
CATCH_REWARD = 10.0  # of every predator, for every predator that touches the prey


class State(NamedTuple):
    agent_pos: Float[Array, "n 2"]
    agent_vel: Float[Array, "n 2"]
    prey_pos: Float[Array, " 2"]
    prey_vel: Float[Array, " 2"]
    obstacle_pos: Float[Array, "m 2"]
    t: Int[Array, ""]  # steps taken


def make(
    *,
    n_agents: int = 3,
    horizon: int = 25,
    opponent: str = "trained",
    opponent_action_order: str = "corrected",
    drop_last_reward: bool = False,
) -> Env:
    """Return tag with `n_agents` predators, one prey and two obstacles.

    `opponent` and `opponent_action_order` choose the policy of the prey: see `qllm_envs.opponents.make`.
    `drop_last_reward`: see `qllm_envs._mpe.task.end_step`.
    """
    rules = task.rules(NAME, n_agents, horizon, drop_last_reward)
    return versus.make(TASK, rules, opponents.make(NAME, ROLE, rules.n_agents, opponent, opponent_action_order))


def reset(n_agents: int, key: jax.Array) -> State:
    key_agents, key_prey, key_obstacles = jax.random.split(key, 3)
    return State(
        agent_pos=physics.scattered(key_agents, n_agents, 2),
        agent_vel=jnp.zeros((n_agents, 2)),
        prey_pos=physics.scattered(key_prey, 2),
        prey_vel=jnp.zeros(2),
        obstacle_pos=physics.scattered(key_obstacles, N_OBSTACLES, 2, bound=OBSTACLE_START),
        t=jnp.int32(0),
    )


def move(state: State, actions: Int[Array, " n"], prey_action: Int[Array, ""]) -> State:
    """Return the state after a step of the physics, whoever chose the actions. `t` stays."""
    n = len(actions)
    pos, vel = versus.bodies(state, ROLE)  # (N+1, 2)
    radius = jnp.array([AGENT_RADIUS] * n + [PREY_RADIUS] + [OBSTACLE_RADIUS] * N_OBSTACLES)
    acceleration = jnp.array([[AGENT_ACCELERATION]] * n + [[PREY_ACCELERATION]])
    max_speed = jnp.array([[AGENT_MAX_SPEED]] * n + [[PREY_MAX_SPEED]])
    force = physics.thrust(jnp.append(actions, prey_action), acceleration)
    everything = jnp.concatenate([pos, state.obstacle_pos])  # (N+3, 2): all of it collides
    force += physics.contact_force(pos, everything, radius[: n + 1, None] + radius[None])
    return versus.with_bodies(state, ROLE, *physics.integrate(pos, vel, force, max_speed))


def _reward(state: State) -> Float[Array, ""]:
    return CATCH_REWARD * len(state.agent_pos) * caught(state).sum()


def caught(state: State) -> Bool[Array, " n"]:
    """True for predators that touch the prey."""
    return physics.touching(state.agent_pos, state.prey_pos[None], CATCH_DISTANCE)[:, 0]


def prey_obs(state: State) -> Float[Array, " 8+2n"]:
    """Observation of the prey, in mpe2's order: own velocity and position, obstacles and predators relative to it."""
    own = state.prey_pos[None]
    others = jnp.concatenate([physics.relative(own, state.obstacle_pos), physics.relative(own, state.agent_pos)], -1)[0]
    return jnp.concatenate([state.prey_vel, state.prey_pos, others])


def view(state: State) -> View:
    pos, vel = state.agent_pos, state.agent_vel
    n = len(pos)
    prey = [physics.relative(pos, state.prey_pos[None]), jnp.broadcast_to(state.prey_vel[None], (n, 2))]
    obs = jnp.concatenate(
        [vel, pos, physics.relative(pos, state.obstacle_pos), physics.relative_others(pos), *prey], -1
    )  # (N, 10+2N)
    fields = {name: getattr(state, name) for name in State._fields if name != "t"}
    return task.seen(obs, fields)


def _notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    start, n = reset(rules.n_agents, key), rules.n_agents
    prey, wall = start.prey_pos, start.obstacle_pos[0]
    beside = wall + jnp.array([OBSTACLE_RADIUS + PREY_RADIUS, 0.0])
    travel = physics.DT * AGENT_MAX_SPEED * rules.horizon
    at = lambda pos, prey=prey: start._replace(agent_pos=pos, prey_pos=prey)
    touching = physics.ring(prey, n, 0.8 * CATCH_DISTANCE)
    around = jnp.array([0.8 * CATCH_DISTANCE, 0.0])
    return {
        "in which every agent touches the prey": at(touching),
        "in which all agents but one touch the prey": at(touching.at[-1].set(start.agent_pos[-1])),
        "in which one agent touches the prey": at(start.agent_pos.at[0].set(touching[0])),
        "in which the prey is held against an obstacle": at(
            physics.ring(beside + around, n, 0.5 * AGENT_RADIUS), beside
        ),
        "in which all agents stand where the prey is": at(jnp.broadcast_to(prey, (n, 2))),
        "in which all agents have gone as far as they get": at(start.agent_pos + travel),
    }


def _obs_entries(n: int) -> tuple[Entries, ...]:
    """Layout of the observation of agent i, as `view` builds it."""
    return (
        Entries("agent_vel[i]", 2),
        Entries("agent_pos[i]", 2),
        task.relative("obstacle_pos", N_OBSTACLES, "m"),
        task.relative_others(n),
        Entries("prey_pos - agent_pos[i]", 2),
        Entries("prey_vel", 2),
    )


def _reward_sentence(rules: Rules) -> str:
    n, last = rules.n_agents, task.dropped(rules)
    return (
        f"The sum over all {n} agents of {CATCH_REWARD:g} times the number of agents that touch the prey (centers "
        f"nearer than {CATCH_DISTANCE:g}): {CATCH_REWARD * n:g} for each agent that touches it{last}."
    )


def _fields(rules: Rules) -> dict[str, Field]:
    n = rules.n_agents
    start = "starts in the square from -1 to 1 and is held by no wall; x grows to the right, y upwards"
    step = f"0 at the start; a step moves by {physics.DT} times the velocity; the speed is at most"
    reach = physics.reach(AGENT_ACCELERATION, rules.horizon, AGENT_MAX_SPEED)
    prey_reach = physics.reach(PREY_ACCELERATION, rules.horizon, PREY_MAX_SPEED)
    agent_pos = f"center (x, y) of each agent, row i for agent i; each is a disc of radius {AGENT_RADIUS}, {start}"
    agent_vel = f"velocity (vx, vy) of each agent, row i for agent i; {step} {AGENT_MAX_SPEED}"
    prey_pos = f"center (x, y) of the prey, a disc of radius {PREY_RADIUS} that no agent controls; it {start}"
    prey_vel = f"velocity (vx, vy) of the prey; {step} {PREY_MAX_SPEED}"
    obstacle_pos = (
        f"center (x, y) of each obstacle, row m for obstacle m; each is a disc of radius {OBSTACLE_RADIUS} that blocks "
        "the way of agents and prey; fixed in an episode, drawn anew for each"
    )
    return {
        "agent_pos": Field((n, 2), agent_pos, UNIT, -reach, reach),
        "agent_vel": Field((n, 2), agent_vel, SPEED_UNIT, -AGENT_MAX_SPEED, AGENT_MAX_SPEED),
        "prey_pos": Field((2,), prey_pos, UNIT, -prey_reach, prey_reach),
        "prey_vel": Field((2,), prey_vel, SPEED_UNIT, -PREY_MAX_SPEED, PREY_MAX_SPEED),
        "obstacle_pos": Field((N_OBSTACLES, 2), obstacle_pos, UNIT, -OBSTACLE_START, OBSTACLE_START),
    }


def _scene(state: Any) -> Scene:
    obstacles = task.discs(state.obstacle_pos, OBSTACLE_RADIUS, "gray")
    agents = task.agent_discs(state.agent_pos, AGENT_RADIUS)
    prey = task.discs(state.prey_pos, PREY_RADIUS, "tab:red", "prey")
    return task.scene([*obstacles, *agents, *prey], prey="tab:red", obstacle="gray")


TASK = versus.Task(
    name=NAME,
    scenario="simple_tag_v3",
    reset=reset,
    move=move,
    opponent_obs=prey_obs,
    reward=_reward,
    view=view,
    scene=_scene,
    obs_entries=_obs_entries,
    fields=_fields,
    reward_sentence=_reward_sentence,
    notable=_notable,
)
