"""Views of level-based foraging: observations of lbforaging 2.0.0, flat state and fields of QLLM, and a picture.

Axis letters: N agents, F foods, M either of them.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs._lbf.game import ACTION_NAMES, LOAD, Rules, State
from qllm_envs.core import Entries, Key, Scene, Shape, StateBlock, View

BITS = 10  # of a number in a packed slot: sides are at most 1000 and levels 300, see `MAX_SIDE` and `MAX_LEVEL` of lbf


def view(rules: Rules, state: State) -> View:
    """Return the view of a state. The observation of an agent is 3F numbers for foods and 3N for agents.

    Foods stand in raster order; of agents, itself first, then the others by index. Each is a row, a column and a level,
    counted from the corner of the agent's window, which ends at the northern and western border. A food or an agent out
    of sight is left out and the rest moves up; slots left over are (-1, -1, 0).
    """
    fields = _fields(state)
    things = [
        jnp.concatenate([fields[f"{kind}_pos"], fields[f"{kind}_level"][:, None]], -1).reshape(-1)
        for kind in ("agent", "food")
    ]
    n = rules.n_agents
    return View(
        obs=_obs(rules, state).astype(jnp.float32),
        avail=jnp.ones((n, len(ACTION_NAMES)), bool),
        state=jnp.concatenate([*things, fields["last_action"]]),
        fields=fields,
    )


def layout(rules: Rules) -> tuple[StateBlock, ...]:
    """Layout of the flat state, as `view` builds it."""
    return (
        StateBlock((Entries("agent_pos[i]", 2), Entries("agent_level[i]", 1)), "i", rules.n_agents),
        StateBlock((Entries("food_pos[f]", 2), Entries("food_level[f]", 1)), "f", rules.n_foods),
        StateBlock((Entries("last_action", rules.n_agents),)),
    )


def _fields(state: State) -> dict[str, Array]:
    names = ("agent_pos", "agent_level", "food_pos", "food_level", "last_action")
    return {name: getattr(state, name).astype(jnp.float32) for name in names}


def _obs(rules: Rules, state: State) -> Int[Array, "n 3f+3n"]:
    n, reach = rules.n_agents, rules.sight
    corner = jnp.maximum(state.agent_pos - reach, 0)  # (N, 2)

    row, col = _from(corner, state.food_pos)
    far_row, far_col = _from(state.agent_pos, state.food_pos)
    seen = (jnp.abs(far_row) <= reach) & (jnp.abs(far_col) <= reach) & (state.food_level > 0)[None]  # (N, F)
    # Foods are in raster order already, and leaving some out does not change that.
    foods = _in_slots(seen, jnp.cumsum(seen, 1) - 1, row, col, state.food_level)

    row, col = _from(corner, state.agent_pos)
    # As in lbforaging the test is on what is reported: near the northern and western border, where the window is cut,
    # an agent sees other agents as much further on the opposite side.
    seen = (row >= 0) & (row <= 2 * reach) & (col >= 0) & (col <= 2 * reach)  # (N, N)
    itself = jnp.eye(n, dtype=bool)
    agents = _in_slots(seen, jnp.where(itself, 0, jnp.cumsum(seen & ~itself, 1)), row, col, state.agent_level)
    return _unpacked(jnp.concatenate([foods, agents], -1))


def _from(origin: Int[Array, "n 2"], pos: Int[Array, "m 2"]) -> tuple[Int[Array, "n m"], Int[Array, "n m"]]:
    """Rows and columns from each origin to each position."""
    return pos[None, :, 0] - origin[:, None, 0], pos[None, :, 1] - origin[:, None, 1]


def _in_slots(
    seen: Bool[Array, "n m"], slot: Int[Array, "n m"], row: Array, col: Array, level: Int[Array, " m"]
) -> Int[Array, "n m"]:
    """Return slots with the packed numbers of things in sight, thing m in its `slot`, and 0 in the slots left over.

    One integer holds row + 1, column + 1 and level, since moving one number and not three is several times faster on a
    CPU. Slots are filled by comparison: an argsort and a gather are an order of magnitude slower.
    """
    packed = ((row + 1) << 2 * BITS) | ((col + 1) << BITS) | level[None]  # (N, M)
    packed = jnp.where(seen, packed, 0)
    fills = slot[:, None] == jnp.arange(seen.shape[1])[None, :, None]  # (N, slots, M)
    return jnp.where(fills, packed[:, None], 0).sum(-1)


def _unpacked(slots: Int[Array, "n m"]) -> Int[Array, "n 3m"]:
    """Row, column and level of each slot; (-1, -1, 0) of an empty one."""
    m = slots.shape[1]
    shift, offset = jnp.tile(jnp.array([2 * BITS, BITS, 0]), m), jnp.tile(jnp.array([1, 1, 0]), m)
    return ((jnp.repeat(slots, 3, axis=1) >> shift[None]) & (2**BITS - 1)) - offset[None]


def scene(rules: Rules, state: Any) -> Scene:
    """The grid from above, north at the top. Green numbers are levels: of foods, and in the corner of each agent.

    An agent that has just tried to load has an orange ring. Agents that share a cell stand side by side in it.
    """
    shapes = [
        Shape("square", (col + 0.5, row + 0.5), 0.5, "#e3e6ea", "") for row, col in np.ndindex(rules.rows, rules.cols)
    ]
    for pos, level in zip(np.asarray(state.food_pos), np.asarray(state.food_level), strict=True):
        if level > 0:
            shapes.append(Shape("square", _center(rules, pos), 0.36, "tab:green", str(level)))
    agent_pos, last_action, levels = map(np.asarray, (state.agent_pos, state.last_action, state.agent_level))
    for i, pos in enumerate(agent_pos):
        here = (agent_pos == pos).all(1)
        x, y = _center(rules, pos)
        x += 0.44 * (here[:i].sum() / (here.sum() - 1) - 0.5) if here.sum() > 1 else 0.0
        if last_action[i] == LOAD:
            shapes.append(Shape("circle", (x, y), 0.48, "tab:orange", ""))
        shapes.append(Shape("circle", (x, y), 0.37, "tab:blue", str(i), agent=i))
        shapes.append(Shape("square", (x + 0.3, y - 0.3), 0.18, "tab:green", str(levels[i])))
    key = (Key("square", "tab:green", "food, and levels"), Key("circle", "tab:orange", "tries to load"))
    return Scene(tuple(shapes), (-0.2, -0.2, rules.cols + 0.2, rules.rows + 0.2), key=key)


def _center(rules: Rules, pos: np.ndarray) -> tuple[float, float]:
    """Center of a cell in the picture, where y grows to the north."""
    return float(pos[1]) + 0.5, rules.rows - float(pos[0]) - 0.5
