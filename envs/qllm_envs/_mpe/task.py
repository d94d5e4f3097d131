"""Common part of the tasks of the particle world, besides its physics: options, end of an episode, spec and picture."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qllm_envs import options
from qllm_envs._mpe import physics
from qllm_envs.core import Entries, Field, Key, Scene, Shape, Spec, StateBlock, Step, View

UNIT = "half the side of the starting square"
SPEED_UNIT = f"{UNIT}, per second (a step is {physics.DT} s)"


class Rules(NamedTuple):
    """Options that every task has, checked. All are static."""

    n_agents: int
    horizon: int
    drop_last_reward: bool


def rules(env: str, n_agents: Any, horizon: Any, drop_last_reward: Any) -> Rules:
    """Return checked options of a task's `make`. ValueError for a value that is not allowed."""
    return Rules(
        n_agents=options.integer(env, "n_agents", n_agents, low=1),
        horizon=options.integer(env, "horizon", horizon, low=1),
        drop_last_reward=options.flag(env, "drop_last_reward", drop_last_reward),
    )


def end_step(rules: Rules, state: Any, moved: Any, reward: Float[Array, ""]) -> Step:
    """Return the step from `state` to `moved`, NamedTuples of one type whose field `t` this function advances.

    `drop_last_reward` gives the returns of the paper's runs. PettingZoo answers the last step with empty dicts, and
    epymarl (src/envs/pz_wrapper.py, `PettingZooWrapper.step`) fills in a reward of 0 and the observation before the
    step: with a horizon of 25, 24 rewards count, and the last transition leads from a state to itself.
    """
    t_tp1 = state.t + 1
    truncated = t_tp1 >= rules.horizon
    if rules.drop_last_reward:
        reward = jnp.where(truncated, 0.0, reward)
        # Arrays that `moved` shares with `state`, such as landmarks, need no choice.
        hold = lambda old, new: new if new is old else jnp.where(truncated, old, new)
        moved = jax.tree.map(hold, state, moved)
    return Step(moved._replace(t=t_tp1), reward, jnp.bool_(False), truncated)


def dropped(rules: Rules) -> str:
    """End of a sentence about the reward, for `drop_last_reward`."""
    return f", and 0 at step {rules.horizon}" if rules.drop_last_reward else ""


def seen(obs: Float[Array, "n obs"], fields: dict[str, Array]) -> View:
    """Return the view: all actions are available, and the flat state is the observations of all agents in order."""
    return View(obs, jnp.ones((len(obs), len(physics.ACTION_NAMES)), bool), obs.reshape(-1), fields)


def relative(name: str, count: int, letter: str) -> Entries:
    """Entries that `physics.relative` gives agent i of `count` positions, the rows of a field."""
    return Entries(f"[{name}[{letter}] - agent_pos[i] for {letter} in range({count})]", 2 * count)


def relative_others(n_agents: int) -> Entries:
    """Entries that `physics.relative_others` gives agent i."""
    return Entries(f"[agent_pos[j] - agent_pos[i] for j in range({n_agents}) if j != i]", 2 * (n_agents - 1))


def spec(
    name: str, rules: Rules, obs: Iterable[Entries], fields: Mapping[str, Field], reward: str, scenario: str
) -> Spec:
    """Return the spec of task `name`, which is `scenario` of mpe2. `obs` lays out the observation of agent i."""
    block = StateBlock(tuple(part for part in obs if part.size), "i", rules.n_agents)
    return Spec(
        name=name,
        n_agents=rules.n_agents,
        n_actions=len(physics.ACTION_NAMES),
        obs_dim=block.width,
        state_dim=rules.n_agents * block.width,
        horizon=rules.horizon,
        fields=fields,
        action_names=physics.ACTION_NAMES,
        reward=reward,
        source=f"Lowe et al. 2017 (arxiv.org/abs/1706.02275), {scenario} of mpe2 1.1.1",
        task=f"{name}_n{rules.n_agents}",
        state_layout=(block,),
    )


def agent_discs(pos: Any, radius: float) -> list[Shape]:
    """Shapes of the team: blue, numbered."""
    return [Shape("circle", center, radius, "tab:blue", str(i), agent=i) for i, center in enumerate(_centers(pos))]


def discs(pos: Any, radius: float, color: str, label: str = "") -> list[Shape]:
    """Shapes that are no agents, at one position (2,) or at M positions (M, 2)."""
    return [Shape("circle", center, radius, color, label) for center in _centers(pos)]


def scene(shapes: Iterable[Shape], **key: str) -> Scene:
    """Return the picture that holds all `shapes` and the starting square. `key`: what discs are, and their color."""
    shapes = tuple(shapes)
    half = max(1.2, *(abs(c) + 1.2 * shape.radius for shape in shapes for c in shape.center))
    named = tuple(Key("circle", color, text.replace("_", " ")) for text, color in key.items())
    return Scene(shapes, (-half, -half, half, half), key=named)


def _centers(pos: Any) -> list[tuple[float, float]]:
    return [(x, y) for x, y in np.asarray(pos).reshape(-1, 2).tolist()]
