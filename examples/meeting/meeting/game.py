"""Meeting: agents in a corridor walk to one cell, and the episode ends once all of them stand on it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from qllm_envs import Entries, Env, Field, Scene, Shape, Spec, StateBlock, Step, View, options

NAME = "meeting"
MOVES = (-1, 0, 1)  # of the actions left, stay, right
# What language models are told of the game; sizes, fields and the reward are added from the spec.
TEXT = """
Meeting: agents stand in a corridor of cells and walk to one cell, the target, on which all of them are to stand at
once. Then the episode ends. Several agents can stand on one cell. An agent sees its own cell and the way to the
target, and nothing of the others.

Actions. At each step each agent goes one cell to the left or to the right, or stays; it cannot leave the corridor.

Reward. All agents share one reward at each step.
"""


class Rules(NamedTuple):
    """The options of `make`, checked."""

    n_agents: int
    cells: int
    horizon: int


class State(NamedTuple):
    """Positions, and how far the episode is."""

    position: Int[Array, " agents"]  # cells, counted from the left
    target: Int[Array, ""]
    t: Int[Array, ""]  # steps taken


def make(*, n_agents: int = 2, cells: int = 7, horizon: int = 12) -> Env:
    """Return the game for `n_agents` in a corridor of `cells`."""
    rules = Rules(
        n_agents=options.integer(NAME, "n_agents", n_agents, low=1),
        cells=options.integer(NAME, "cells", cells, low=2),
        horizon=options.integer(NAME, "horizon", horizon, low=1),
    )
    return Env(
        spec=_spec(rules),
        reset=partial(_reset, rules),
        step=partial(_step, rules),
        view=partial(_view, rules),
        scene=partial(_scene, rules),
    )


def _reset(rules: Rules, key: jax.Array) -> State:
    key_position, key_target = jax.random.split(key)
    position = jax.random.randint(key_position, (rules.n_agents,), 0, rules.cells)
    return State(position, jax.random.randint(key_target, (), 0, rules.cells), jnp.int32(0))


def _step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " agents"]) -> Step:
    del key  # nothing is drawn in a step
    position = jnp.clip(state.position + jnp.asarray(MOVES)[actions], 0, rules.cells - 1)
    there, t_tp1 = position == state.target, state.t + 1
    reward = there.mean() + 10.0 * there.all()
    return Step(State(position, state.target, t_tp1), reward, there.all(), t_tp1 >= rules.horizon)


def _view(rules: Rules, state: State) -> View:
    scale = rules.cells - 1.0
    position, target = state.position / scale, state.target / scale
    obs = jnp.stack([position, target - position], -1)  # (N, 2)
    cells = state.position[:, None] + jnp.asarray(MOVES)[None]  # (N, A) where each action leads
    avail = (cells >= 0) & (cells < rules.cells)
    fields = {"agent_pos": state.position, "target_pos": state.target}
    flat = jnp.append(state.position, state.target).astype(jnp.float32)
    return View(obs, avail, flat, fields)


def _scene(rules: Rules, state: State) -> Scene:
    target = Shape("square", (float(state.target), 0.0), 0.45, "#f2c14e", "target")
    heights = np.linspace(-0.3, 0.3, rules.n_agents) if rules.n_agents > 1 else [0.0]
    agents = [
        Shape("circle", (float(x), float(y)), 0.12, "#2f6690", str(i), agent=i)
        for i, (x, y) in enumerate(zip(np.asarray(state.position), heights, strict=True))
    ]
    return Scene((target, *agents), (-1.0, -1.0, float(rules.cells), 1.0))


def _spec(rules: Rules) -> Spec:
    n, last = rules.n_agents, float(rules.cells - 1)
    return Spec(
        name=NAME,
        n_agents=n,
        n_actions=3,
        obs_dim=2,
        state_dim=n + 1,
        horizon=rules.horizon,
        fields={
            "agent_pos": Field((n,), "the cell of each agent, entry i for agent i", "cells from the left", 0.0, last),
            "target_pos": Field((), "the cell on which to meet, fixed in an episode", "cells from the left", 0.0, last),
        },
        action_names=("left", "stay", "right"),
        reward="At each step the share of the agents on the target, and 10 more in the step in which all stand on it.",
        source="examples/meeting",
        task=f"{NAME}_n{n}_{rules.cells}cells",
        ends_early=True,
        state_layout=(
            StateBlock((Entries("agent_pos[i]", 1),), letter="i", repeats=n),
            StateBlock((Entries("target_pos", 1),)),
        ),
        text=TEXT,
    )
