"""Physical deception (Lowe et al. 2017, arxiv.org/abs/1706.02275): `simple_adversary_v3` of mpe2 1.1.1.

N good agents know which of N landmarks is the goal and learn to be near it while they keep an adversary away, which
sees everything but which landmark it is. The adversary is a part of the environment and plays a policy of
`qllm_envs.opponents`. Observations are in mpe2's order: 2 + 4N numbers a good agent, N (2 + 4N) in the flat state. They
hold no velocities and no positions but relative ones, so that networks have the paper's sizes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs import opponents
from qllm_envs._mpe import physics, task, versus
from qllm_envs._mpe.task import UNIT, Rules
from qllm_envs.core import Entries, Env, Field, Scene, View

NAME, ROLE = "mpe_adversary", "adversary"
AGENT_RADIUS, LANDMARK_RADIUS = 0.15, 0.08  # drawn only: nothing touches anything here
ACCELERATION = 5.0


class State(NamedTuple):
    agent_pos: Float[Array, "n 2"]
    agent_vel: Float[Array, "n 2"]
    adversary_pos: Float[Array, " 2"]
    adversary_vel: Float[Array, " 2"]
    landmark_pos: Float[Array, "n 2"]
    goal: Int[Array, ""]  # index of a landmark
    t: Int[Array, ""]  # steps taken


def make(
    *,
    n_agents: int = 2,
    horizon: int = 25,
    opponent: str = "trained",
    opponent_action_order: str = "corrected",
    drop_last_reward: bool = False,
) -> Env:
    """Return deception with `n_agents` good agents, as many landmarks and one adversary.

    `opponent` and `opponent_action_order` choose the policy of the adversary: see `qllm_envs.opponents.make`.
    `drop_last_reward`: see `qllm_envs._mpe.task.end_step`.
    """
    rules = task.rules(NAME, n_agents, horizon, drop_last_reward)
    return versus.make(TASK, rules, opponents.make(NAME, ROLE, rules.n_agents, opponent, opponent_action_order))


def reset(n_agents: int, key: jax.Array) -> State:
    key_agents, key_adversary, key_landmarks, key_goal = jax.random.split(key, 4)
    return State(
        agent_pos=physics.scattered(key_agents, n_agents, 2),
        agent_vel=jnp.zeros((n_agents, 2)),
        adversary_pos=physics.scattered(key_adversary, 2),
        adversary_vel=jnp.zeros(2),
        landmark_pos=physics.scattered(key_landmarks, n_agents, 2),
        goal=jax.random.randint(key_goal, (), 0, n_agents),
        t=jnp.int32(0),
    )


def move(state: State, actions: Int[Array, " n"], adversary_action: Int[Array, ""]) -> State:
    """Return the state after a step of the physics, whoever chose the actions. `t` stays."""
    pos, vel = versus.bodies(state, ROLE)  # (N+1, 2)
    force = physics.thrust(jnp.append(actions, adversary_action), ACCELERATION)
    return versus.with_bodies(state, ROLE, *physics.integrate(pos, vel, force))


def _reward(state: State) -> Float[Array, ""]:
    agents, adversary = distances(state)
    return len(agents) * (adversary - agents.min())


def distances(state: State) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Distances to the goal, of each good agent and of the adversary."""
    everyone = jnp.concatenate([state.agent_pos, state.adversary_pos[None]])
    to_goal = jnp.sqrt(physics.square_distance(everyone, state.landmark_pos[state.goal][None])[:, 0])
    return to_goal[:-1], to_goal[-1]


def adversary_obs(state: State) -> Float[Array, " 4n"]:
    """Observation of the adversary, in mpe2's order: landmarks and good agents relative to it."""
    own = state.adversary_pos[None]
    return jnp.concatenate([physics.relative(own, state.landmark_pos), physics.relative(own, state.agent_pos)], -1)[0]


def view(state: State) -> View:
    pos = state.agent_pos
    goal_pos = state.landmark_pos[state.goal]
    things = jnp.concatenate([goal_pos[None], state.landmark_pos, state.adversary_pos[None]])
    obs = jnp.concatenate([physics.relative(pos, things), physics.relative_others(pos)], -1)  # (N, 2+4N)
    # Velocities are no fields: the flat state has none, and both hold the same facts.
    fields = {
        "agent_pos": pos,
        "adversary_pos": state.adversary_pos,
        "goal_pos": goal_pos,
        "landmark_pos": state.landmark_pos,
    }
    return task.seen(obs, fields)


def _notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    start = reset(rules.n_agents, key)
    goal = start.landmark_pos[start.goal]
    on_goal = jnp.broadcast_to(goal, start.agent_pos.shape)
    return {
        "in which every agent is at the goal": start._replace(agent_pos=on_goal),
        "in which every agent and the adversary are at the goal": start._replace(agent_pos=on_goal, adversary_pos=goal),
        "in which every landmark is covered": start._replace(agent_pos=start.landmark_pos),
        "in which one agent is at the goal": start._replace(agent_pos=start.agent_pos.at[0].set(goal)),
        "in which the adversary is at the goal": start._replace(adversary_pos=goal),
    }


def _obs_entries(n: int) -> tuple[Entries, ...]:
    """Layout of the observation of agent i, as `view` builds it."""
    return (
        Entries("goal_pos - agent_pos[i]", 2),
        task.relative("landmark_pos", n, "l"),
        Entries("adversary_pos - agent_pos[i]", 2),
        task.relative_others(n),
    )


def _reward_sentence(rules: Rules) -> str:
    last = task.dropped(rules)
    return (
        f"The sum over all {rules.n_agents} agents of the distance from the adversary to the goal minus the distance "
        f"from the goal to the agent nearest to it, which is the same for every agent{last}."
    )


def _fields(rules: Rules) -> dict[str, Field]:
    n = rules.n_agents
    reach = physics.reach(ACCELERATION, rules.horizon)
    start = "starts in the square from -1 to 1, is held by no wall and blocks nobody; x grows to the right, y upwards"
    agent_pos = f"center (x, y) of each agent, row i for agent i; each {start}"
    adversary_pos = (
        f"center (x, y) of the adversary, which no agent controls and which does not know the goal; it {start}"
    )
    goal_pos = "center (x, y) of the landmark that is the goal; a row of landmark_pos, drawn anew for each episode"
    landmark_pos = "center (x, y) of each landmark, row l for landmark l; fixed in an episode, drawn anew for each"
    return {
        "agent_pos": Field((n, 2), agent_pos, UNIT, -reach, reach),
        "adversary_pos": Field((2,), adversary_pos, UNIT, -reach, reach),
        "goal_pos": Field((2,), goal_pos, UNIT, -physics.START, physics.START),
        "landmark_pos": Field((n, 2), landmark_pos, UNIT, -physics.START, physics.START),
    }


def _scene(state: Any) -> Scene:
    shapes = task.agent_discs(state.agent_pos, AGENT_RADIUS)
    shapes += task.discs(state.adversary_pos, AGENT_RADIUS, "tab:red", "adversary")
    # Landmarks come last, so that one that somebody stands on still shows.
    for i, pos in enumerate(state.landmark_pos):
        shapes += task.discs(pos, LANDMARK_RADIUS, "tab:green" if i == int(state.goal) else "gray")
    return task.scene(shapes, target_landmark="tab:green", other_landmark="gray", adversary="tab:red")


TASK = versus.Task(
    name=NAME,
    scenario="simple_adversary_v3",
    reset=reset,
    move=move,
    opponent_obs=adversary_obs,
    reward=_reward,
    view=view,
    scene=_scene,
    obs_entries=_obs_entries,
    fields=_fields,
    reward_sentence=_reward_sentence,
    notable=_notable,
)
