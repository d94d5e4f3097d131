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

from qllm_envs import _mpe, options
from qllm_envs.core import Env, Field, Scene, Shape, Spec, Step, View

NAME = "mpe_spread"
AGENT_RADIUS = 0.15
LANDMARK_RADIUS = 0.05  # drawn only: a landmark touches nothing
ACCELERATION = 5.0


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    horizon: int
    local_ratio: float
    drop_last_reward: bool


class State(NamedTuple):
    agent_pos: Float[Array, "n 2"]
    agent_vel: Float[Array, "n 2"]
    landmark_pos: Float[Array, "n 2"]
    t: Int[Array, ""]  # steps taken


def make(*, n_agents: int = 3, horizon: int = 25, local_ratio: float = 0.5, drop_last_reward: bool = False) -> Env:
    """Spread with as many landmarks as agents.

    `local_ratio`, 0 to 1, is the weight of an agent's own contacts; the shared coverage has the rest.
    `drop_last_reward` gives the returns of the paper's runs. PettingZoo answers the last step with empty dicts, and
    epymarl (src/envs/pz_wrapper.py, `PettingZooWrapper.step`) fills in a reward of 0 and the observation before the
    step: 24 of 25 rewards count, and the last transition leads from a state to itself.
    """
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
        local_ratio=options.number(NAME, "local_ratio", local_ratio, low=0, high=1),
        drop_last_reward=options.flag(NAME, "drop_last_reward", drop_last_reward),
    )
    return Env(
        spec=_spec(rules), reset=partial(_reset, rules.n_agents), step=partial(_step, rules), view=_view, scene=_scene
    )


def _reset(n_agents: int, key: jax.Array) -> State:
    key_agents, key_landmarks = jax.random.split(key)
    return State(
        agent_pos=jax.random.uniform(key_agents, (n_agents, 2), minval=-1.0, maxval=1.0),
        agent_vel=jnp.zeros((n_agents, 2)),
        landmark_pos=jax.random.uniform(key_landmarks, (n_agents, 2), minval=-1.0, maxval=1.0),
        t=jnp.int32(0),
    )


def _step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    del key  # nothing is random after the reset
    force = _mpe.thrust(actions, ACCELERATION)
    force += _mpe.contact_force(state.agent_pos, state.agent_pos, 2 * AGENT_RADIUS)
    pos, vel = _mpe.integrate(state.agent_pos, state.agent_vel, force)
    reward = _team_reward(pos, state.landmark_pos, rules.local_ratio)
    t_tp1 = state.t + 1
    truncated = t_tp1 >= rules.horizon
    if rules.drop_last_reward:
        reward = jnp.where(truncated, 0.0, reward)
        pos = jnp.where(truncated, state.agent_pos, pos)
        vel = jnp.where(truncated, state.agent_vel, vel)
    return Step(State(pos, vel, state.landmark_pos, t_tp1), reward, jnp.bool_(False), truncated)


def _team_reward(
    agent_pos: Float[Array, "n 2"], landmark_pos: Float[Array, "n 2"], local_ratio: float
) -> Float[Array, ""]:
    n = agent_pos.shape[0]
    # The root is taken of the N minima and not of the N^2 distances.
    nearest = jnp.sqrt(_mpe.square_distance(landmark_pos, agent_pos).min(1))  # (N,) of each landmark
    contacts = _mpe.touching(agent_pos, agent_pos, 2 * AGENT_RADIUS).sum() - n  # an agent touches itself
    # Every agent is paid the shared part, so the sum over agents counts it n times.
    return -n * (1 - local_ratio) * nearest.sum() - local_ratio * contacts


def _view(state: State) -> View:
    pos = state.agent_pos
    n = pos.shape[0]
    silence = jnp.zeros((n, 2 * (n - 1)))
    obs = jnp.concatenate(
        [state.agent_vel, pos, _mpe.relative(pos, state.landmark_pos), _mpe.relative_others(pos), silence], -1
    )  # (N, 6N)
    fields = {"agent_pos": pos, "agent_vel": state.agent_vel, "landmark_pos": state.landmark_pos}
    return View(obs, jnp.ones((n, len(_mpe.ACTION_NAMES)), bool), obs.reshape(-1), fields)


def _spec(rules: Rules) -> Spec:
    n = rules.n_agents
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=len(_mpe.ACTION_NAMES),
        obs_dim=6 * n,
        state_dim=6 * n * n,
        horizon=rules.horizon,
        fields=_fields(rules),
        action_names=_mpe.ACTION_NAMES,
        reward=_reward_sentence(rules),
        source="Lowe et al. 2017 (arxiv.org/abs/1706.02275), simple_spread_v3 of mpe2 1.1.1",
        task=f"{NAME}_n{n}",
    )


def _reward_sentence(rules: Rules) -> str:
    last = f", and 0 at step {rules.horizon}" if rules.drop_last_reward else ""
    return (
        f"The sum over all {rules.n_agents} agents of {1 - rules.local_ratio:g} times the coverage, which is minus the "
        f"sum over landmarks of the distance from the landmark to the agent nearest to it, plus {rules.local_ratio:g} "
        f"times minus the number of other agents whose center is nearer than {2 * AGENT_RADIUS:g}{last}."
    )


def _fields(rules: Rules) -> dict[str, Field]:
    n, unit = rules.n_agents, "half the side of the starting square"
    # Own thrust alone: v goes to 2 (0.25 of it is lost a step, 0.5 gained) and x moves by 0.1 v a step.
    reach = 1 + _mpe.DT * 2 * (rules.horizon - 4 * (1 - 0.75**rules.horizon))
    agent_pos = (
        f"center (x, y) of each agent, row i for agent i; each is a disc of radius {AGENT_RADIUS}, starts in the "
        "square from -1 to 1 and is held by no wall; x grows to the right, y upwards; "
        f"by its own thrust it stays within {reach:.1f} of the origin on either axis, a push by others can add to that"
    )
    agent_vel = (
        "velocity (vx, vy) of each agent, row i for agent i; 0 at the start; a step moves the agent by "
        f"{_mpe.DT} times its velocity; own thrust alone gives at most 2 on either axis, a push by others can exceed it"
    )
    landmark_pos = (
        "center (x, y) of each landmark, row l for landmark l; fixed in an episode, drawn anew for each; "
        "no landmark belongs to any agent and landmarks do not block the way"
    )
    return {
        "agent_pos": Field((n, 2), agent_pos, unit, -np.inf, np.inf),
        "agent_vel": Field((n, 2), agent_vel, f"{unit}, per second (a step is {_mpe.DT} s)", -np.inf, np.inf),
        "landmark_pos": Field((n, 2), landmark_pos, unit, -1.0, 1.0),
    }


def _scene(state: Any) -> Scene:
    agent_pos, landmark_pos = np.asarray(state.agent_pos), np.asarray(state.landmark_pos)
    agents = tuple(
        Shape("circle", (float(x), float(y)), AGENT_RADIUS, "tab:blue", str(i), agent=i)
        for i, (x, y) in enumerate(agent_pos)
    )
    # Landmarks come last, so that one that is covered still shows.
    landmarks = tuple(Shape("circle", (float(x), float(y)), LANDMARK_RADIUS, "gray", "") for x, y in landmark_pos)
    half = max(1.2, float(np.abs(agent_pos).max()) + 1.2 * AGENT_RADIUS)
    return Scene(agents + landmarks, (-half, -half, half, half))
