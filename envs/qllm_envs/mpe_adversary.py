"""Physical deception (Lowe et al. 2017, arxiv.org/abs/1706.02275): `simple_adversary_v3` of mpe2 1.1.1.

N good agents know which of N landmarks is the goal and learn to be near it while they keep an adversary away, which
sees everything but which landmark it is. The adversary is a part of the environment and plays a policy of
`qllm_envs.opponents`. Observations are in mpe2's order: 2 + 4N numbers a good agent, N (2 + 4N) in the flat state. They
hold no velocities and no positions but relative ones, so that networks have the paper's sizes.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qllm_envs import _mpe, opponents, options
from qllm_envs.core import Env, Field, Scene, Shape, Spec, Step, View

NAME = "mpe_adversary"
AGENT_RADIUS, LANDMARK_RADIUS = 0.15, 0.08  # drawn only: nothing touches anything here
ACCELERATION = 5.0


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    horizon: int
    drop_last_reward: bool


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
    """Deception with `n_agents` good agents, as many landmarks and one adversary.

    `opponent` and `opponent_action_order` choose what the adversary does: `qllm_envs.opponents.make` says how.
    `drop_last_reward`: see `_mpe.end_step`.
    """
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
        drop_last_reward=options.flag(NAME, "drop_last_reward", drop_last_reward),
    )
    adversary = opponents.make(NAME, "adversary", rules.n_agents, opponent, opponent_action_order)
    return Env(
        spec=_spec(rules),
        reset=partial(reset, rules.n_agents),
        step=partial(_step, rules, adversary),
        view=view,
        scene=_scene,
    )


def reset(n_agents: int, key: jax.Array) -> State:
    key_agents, key_adversary, key_landmarks, key_goal = jax.random.split(key, 4)
    start = _mpe.START
    return State(
        agent_pos=jax.random.uniform(key_agents, (n_agents, 2), minval=-start, maxval=start),
        agent_vel=jnp.zeros((n_agents, 2)),
        adversary_pos=jax.random.uniform(key_adversary, (2,), minval=-start, maxval=start),
        adversary_vel=jnp.zeros(2),
        landmark_pos=jax.random.uniform(key_landmarks, (n_agents, 2), minval=-start, maxval=start),
        goal=jax.random.randint(key_goal, (), 0, n_agents),
        t=jnp.int32(0),
    )


def _step(rules: Rules, adversary: opponents.Policy, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    moved = move(state, actions, adversary(key, adversary_obs(state)))
    agents, adversary_distance = distances(moved)
    reward = rules.n_agents * (adversary_distance - agents.min())
    return _mpe.end_step(state, moved, reward, rules.horizon, rules.drop_last_reward)


def move(state: State, actions: Int[Array, " n"], adversary_action: Int[Array, ""]) -> State:
    """A step of the physics, whoever chose the actions. Time is not counted here."""
    n = len(actions)
    pos = jnp.concatenate([state.agent_pos, state.adversary_pos[None]])  # (N+1, 2), the adversary last
    vel = jnp.concatenate([state.agent_vel, state.adversary_vel[None]])
    pos, vel = _mpe.integrate(pos, vel, _mpe.thrust(jnp.append(actions, adversary_action), ACCELERATION))
    return state._replace(agent_pos=pos[:n], agent_vel=vel[:n], adversary_pos=pos[n], adversary_vel=vel[n])


def distances(state: State) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """From each good agent, and from the adversary, to the goal."""
    everyone = jnp.concatenate([state.agent_pos, state.adversary_pos[None]])
    to_goal = jnp.sqrt(_mpe.square_distance(everyone, state.landmark_pos[state.goal][None])[:, 0])
    return to_goal[:-1], to_goal[-1]


def adversary_obs(state: State) -> Float[Array, " 4n"]:
    """What the adversary sees, in mpe2's order: landmarks and good agents relative to it."""
    own = state.adversary_pos[None]
    return jnp.concatenate([_mpe.relative(own, state.landmark_pos), _mpe.relative(own, state.agent_pos)], -1)[0]


def view(state: State) -> View:
    pos = state.agent_pos
    n = len(pos)
    goal_pos = state.landmark_pos[state.goal]
    things = jnp.concatenate([goal_pos[None], state.landmark_pos, state.adversary_pos[None]])
    obs = jnp.concatenate([_mpe.relative(pos, things), _mpe.relative_others(pos)], -1)  # (N, 2+4N)
    # Velocities are no fields: the flat state has none, and both are to tell a mixer the same.
    fields = {
        "agent_pos": pos,
        "adversary_pos": state.adversary_pos,
        "goal_pos": goal_pos,
        "landmark_pos": state.landmark_pos,
    }
    return View(obs, jnp.ones((n, len(_mpe.ACTION_NAMES)), bool), obs.reshape(-1), fields)


def _spec(rules: Rules) -> Spec:
    n = rules.n_agents
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=len(_mpe.ACTION_NAMES),
        obs_dim=2 + 4 * n,
        state_dim=n * (2 + 4 * n),
        horizon=rules.horizon,
        fields=_fields(rules),
        action_names=_mpe.ACTION_NAMES,
        reward=_reward_sentence(rules),
        source="Lowe et al. 2017 (arxiv.org/abs/1706.02275), simple_adversary_v3 of mpe2 1.1.1",
        task=f"{NAME}_n{n}",
    )


def _reward_sentence(rules: Rules) -> str:
    last = _mpe.dropped(rules.horizon, rules.drop_last_reward)
    return (
        f"The sum over all {rules.n_agents} agents of the distance from the adversary to the goal minus the distance "
        f"from the goal to the agent nearest to it, which is the same for every agent{last}."
    )


def _fields(rules: Rules) -> dict[str, Field]:
    n, unit = rules.n_agents, "half the side of the starting square"
    reach = _mpe.reach(ACCELERATION, rules.horizon)
    start = "starts in the square from -1 to 1, is held by no wall and blocks nobody; x grows to the right, y upwards"
    agent_pos = f"center (x, y) of each agent, row i for agent i; each {start}"
    adversary_pos = (
        f"center (x, y) of the adversary, which no agent controls and which does not know the goal; it {start}"
    )
    goal_pos = "center (x, y) of the landmark that is the goal; a row of landmark_pos, drawn anew for each episode"
    landmark_pos = "center (x, y) of each landmark, row l for landmark l; fixed in an episode, drawn anew for each"
    return {
        "agent_pos": Field((n, 2), agent_pos, unit, -reach, reach),
        "adversary_pos": Field((2,), adversary_pos, unit, -reach, reach),
        "goal_pos": Field((2,), goal_pos, unit, -_mpe.START, _mpe.START),
        "landmark_pos": Field((n, 2), landmark_pos, unit, -_mpe.START, _mpe.START),
    }


def _scene(state: Any) -> Scene:
    agent_pos, landmark_pos = np.asarray(state.agent_pos).tolist(), np.asarray(state.landmark_pos).tolist()
    x, y = np.asarray(state.adversary_pos).tolist()
    shapes = [Shape("circle", (x, y), AGENT_RADIUS, "tab:blue", str(i), agent=i) for i, (x, y) in enumerate(agent_pos)]
    shapes.append(Shape("circle", (x, y), AGENT_RADIUS, "tab:red", "adversary"))
    # Landmarks come last, so that one that somebody stands on still shows.
    colors = ["tab:green" if i == int(state.goal) else "gray" for i in range(len(landmark_pos))]
    shapes += [
        Shape("circle", (x, y), LANDMARK_RADIUS, color, "") for (x, y), color in zip(landmark_pos, colors, strict=True)
    ]
    half = max(1.2, *(abs(c) + 1.2 * shape.radius for shape in shapes for c in shape.center))
    return Scene(tuple(shapes), (-half, -half, half, half))
