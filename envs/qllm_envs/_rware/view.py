"""Views of the robotic warehouse: observations of rware 2.0.0, a flat state, its named parts, and a picture.

Axis letters: N agents, K shelves, Q requests, G goals, W cells of the window that an agent sees.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qllm_envs._rware.game import ACTION_NAMES, HEADINGS, NOTHING, WAYS, Rules, State, shelf_in
from qllm_envs.core import Entries, Field, Key, Line, Scene, Shape, StateBlock, View

OF_AGENT, OF_CELL = 8, 7  # numbers of an observation about the agent itself and about each cell of its window
FIRST_HEADING = 1 << 1  # of the bits of a cell: an agent, four headings, a shelf, a request
PLAIN, STORAGE, GOAL = "#f1f3f5", "#dfe3e8", "#6c757d"  # colors of cells
SHELF, REQUESTED, EMPTY_HANDED, LOADED = "#b9a4d6", "tab:green", "tab:blue", "tab:orange"
KEY = (
    Key("square", SHELF, "shelf"),
    Key("square", REQUESTED, "requested"),
    Key("square", GOAL, "goal"),
    Key("circle", LOADED, "carries a shelf"),
)


def obs_dim(rules: Rules) -> int:
    """Number of entries of an observation: 71 for a sensor range of 1."""
    return OF_AGENT + OF_CELL * (2 * rules.sensor_range + 1) ** 2


def state_dim(rules: Rules) -> int:
    """Number of entries of the flat state."""
    return (9 + (rules.reward_type == "two_stage")) * rules.n_agents + 2 * rules.requests


def view(rules: Rules, state: State) -> View:
    """Return the view of a state. Observations are those of rware with flattened observations and no messages."""
    fields = _fields(rules, state)
    n, load = rules.n_agents, fields["agent_load"]
    asked = (state.request[None] == load[:, None]).any(1)
    columns = [fields["agent_pos"], jax.nn.one_hot(state.heading, len(HEADINGS))]
    columns += [(load != NOTHING)[:, None], asked[:, None]]
    if "agent_delivered" in fields:
        columns.append(fields["agent_delivered"][:, None])
    asked_pos = _pos(rules, _shelf_cell(rules, state, state.request))
    return View(
        obs=_obs(rules, state),
        avail=jnp.ones((n, len(ACTION_NAMES)), bool),
        state=jnp.concatenate(
            [jnp.concatenate(columns, -1).reshape(-1), asked_pos.reshape(-1), fields["last_action"]], dtype=jnp.float32
        ),
        fields=fields,
    )


def layout(rules: Rules) -> tuple[StateBlock, ...]:
    """Layout of the flat state, as `view` builds it."""
    agent = [
        Entries("agent_pos[i]", 2),
        Entries("[agent_heading[i] == h for h in range(4)]", 4),
        Entries("agent_load[i] >= 0", 1),
        Entries("(request == agent_load[i]).any()", 1),
    ]
    if rules.reward_type == "two_stage":
        agent.append(Entries("agent_delivered[i]", 1))
    return (
        StateBlock(tuple(agent), "i", rules.n_agents),
        StateBlock((Entries("shelf_pos[request[q]]", 2),), "q", rules.requests),
        StateBlock((Entries("last_action", rules.n_agents),)),
    )


def _fields(rules: Rules, state: State) -> dict[str, Array]:
    fields = {
        "agent_pos": _pos(rules, state.agent_cell),
        "agent_heading": state.heading,
        "agent_load": state.load,
        "shelf_pos": _pos(rules, _shelf_cells(rules, state)),
        "request": state.request,
        "goal_pos": jnp.asarray(rules.floor.pos(rules.floor.goals)),
        "storage_pos": jnp.asarray(rules.floor.pos(rules.floor.storage)),
        "last_action": state.last_action,
    }
    return fields | ({"agent_delivered": state.delivered} if rules.reward_type == "two_stage" else {})


def _shelf_cell(rules: Rules, state: State, shelves: Int[Array, " m"]) -> Int[Array, " m"]:
    """The cell of each of `shelves`, which is that of its carrier if it is carried."""
    cell_if = lambda held, cells: jnp.where(held[None] == shelves[:, None], cells[None], 0).sum(1)
    stands = cell_if(state.stored.astype(jnp.int32), jnp.array(rules.floor.storage, jnp.int32))
    return stands + cell_if(state.load, state.agent_cell)


def _shelf_cells(rules: Rules, state: State) -> Int[Array, " k"]:
    """The cells of all shelves, written shelf by shelf: to compare each shelf with each cell is K x K."""
    k, nothing = rules.floor.n_shelves, jnp.zeros((rules.floor.n_shelves,), jnp.int32)
    at = lambda held: jnp.where(held == NOTHING, k, held.astype(jnp.int32))  # k is dropped
    stands = nothing.at[at(state.stored)].set(jnp.array(rules.floor.storage, jnp.int32), mode="drop")
    return stands.at[at(state.load)].set(state.agent_cell, mode="drop")


def _pos(rules: Rules, cells: Array) -> Float[Array, "m 2"]:
    """(x, y) of cells."""
    cells = cells.astype(jnp.int32)
    return jnp.stack([cells % rules.floor.width, cells // rules.floor.width], -1).astype(jnp.float32)


def described(rules: Rules) -> dict[str, Field]:
    """Return `Spec.fields`."""
    n, k, q, floor = rules.n_agents, rules.floor.n_shelves, rules.requests, rules.floor
    goals = len(floor.goals)
    side = max(floor.width, floor.height) - 1.0
    agent_pos = (
        f"cell (x, y) of each agent, row i for agent i; x is the column, from 0 at the left to {floor.width - 1}, y "
        f"the row, from 0 at the top to {floor.height - 1}; no two agents share a cell"
    )
    heading = (
        "direction in which each agent faces: 0 up (towards smaller y), 1 down (towards larger y), 2 left (towards "
        "smaller x), 3 right (towards larger x)"
    )
    load = "index of the shelf that each agent carries, -1 if it carries none; no two agents carry the same"
    shelf_pos = (
        "cell (x, y) of each shelf, row k for shelf k; a shelf that is carried is in the cell of its carrier; at the "
        "start shelf k stands in storage cell k"
    )
    request = (
        "indices of the shelves that are requested, no two alike, in no particular order; an index of shelf_pos; as "
        "soon as one is delivered another shelf takes its entry"
    )
    storage = "cells (x, y) in which a shelf may be put down, fixed; in all other cells it can only be carried"
    last_action = "number of the action that each agent sent in the step before; -1 at the start"
    fields = {
        "agent_pos": Field((n, 2), agent_pos, "cell", 0.0, side),
        "agent_heading": Field((n,), heading, "number of a direction", 0.0, len(HEADINGS) - 1.0),
        "agent_load": Field((n,), load, "index of a shelf", float(NOTHING), k - 1.0),
        "shelf_pos": Field((k, 2), shelf_pos, "cell", 0.0, side),
        "request": Field((q,), request, "index of a shelf", 0.0, k - 1.0),
        "goal_pos": Field((goals, 2), "cell (x, y) of each goal, fixed", "cell", 0.0, side),
        "storage_pos": Field((k, 2), storage, "cell", 0.0, side),
        "last_action": Field((n,), last_action, "number of an action", -1.0, len(ACTION_NAMES) - 1.0),
    }
    if rules.reward_type == "two_stage":
        delivered = "True for an agent that has delivered a shelf and has put none down since"
        fields["agent_delivered"] = Field((n,), delivered, "True or False", 0.0, 1.0)
    return fields


def _obs(rules: Rules, state: State) -> Float[Array, "n obs"]:
    """Observe position, load, heading and highway, then the cells of the window row by row.

    For each cell: an agent is there, its heading (up if there is none), a shelf is there, that shelf is requested.
    Zeros and ones are packed into an integer for each cell, as moving one number is faster than moving seven. Barriers
    keep XLA from computing a cell again for each of its numbers, which it does where a rollout writes them.
    """
    n, floor, reach = rules.n_agents, rules.floor, rules.sensor_range
    x, y = state.agent_cell % floor.width, state.agent_cell // floor.width
    faces = FIRST_HEADING << state.heading  # (N,)
    on_highway = jnp.asarray(floor.index_of_storage)[state.agent_cell] < 0
    own = (state.load != NOTHING) | faces | (on_highway << 5)

    dy, dx = (side.reshape(-1) - reach for side in np.indices((2 * reach + 1,) * 2))
    far_x, far_y = x[:, None] + dx[None], y[:, None] + dy[None]  # (N, W)
    inside = (far_x >= 0) & (far_y >= 0) & (far_x < floor.width) & (far_y < floor.height)
    once = jax.lax.optimization_barrier
    cell = once(jnp.where(inside, far_y * floor.width + far_x, -1))
    here = cell[..., None] == state.agent_cell[None, None]  # (N, W, N)
    agent = jnp.where(here, (1 | faces)[None, None], 0).sum(-1)
    carried = jnp.where(here, state.load[None, None], NOTHING).max(-1)
    shelf = once(jnp.maximum(once(shelf_in(rules, state.stored, cell)), carried))
    asked = (shelf[..., None] == state.request[None, None]).any(-1)
    window = jnp.where(agent > 0, agent, FIRST_HEADING) | ((shelf != NOTHING) << 5) | (asked << 6)
    own, window = once((own, window))
    pos = jnp.stack([x, y], -1)
    bits = lambda packed, count: (packed[..., None] >> jnp.arange(count).reshape((1,) * packed.ndim + (-1,))) & 1
    return jnp.concatenate([pos, bits(own, 6), bits(window, OF_CELL).reshape(n, -1)], -1).astype(jnp.float32)


def scene(rules: Rules, state: Any) -> Scene:
    """The floor from above: storage cells darker, goals dark gray, shelves violet, requested ones green.

    Agents are circles with a line to where they face, blue with empty hands and orange with a shelf; the square around
    an agent is the shelf that it carries.
    """
    floor = rules.floor
    color = dict.fromkeys(floor.storage, STORAGE) | dict.fromkeys(floor.goals, GOAL)
    shapes = [Shape("square", _center(rules, c), 0.49, color.get(c, PLAIN), "") for c in range(floor.n_cells)]
    asked, load = set(np.asarray(state.request).tolist()), np.asarray(state.load)
    cells = _shelf_cells(rules, state)
    for k, cell in enumerate(np.asarray(cells).tolist()):
        shapes.append(Shape("square", _center(rules, cell), 0.42, REQUESTED if k in asked else SHELF, ""))
    lines = []
    for i, (cell, heading) in enumerate(zip(np.asarray(state.agent_cell), np.asarray(state.heading), strict=True)):
        x, y = _center(rules, int(cell))
        shapes.append(Shape("circle", (x, y), 0.3, LOADED if load[i] != NOTHING else EMPTY_HANDED, str(i), agent=i))
        way = 0.48 * WAYS[heading]
        lines.append(Line((x + 0.6 * way[0], y - 0.6 * way[1]), (x + way[0], y - way[1]), "black"))
    return Scene(tuple(shapes), (-0.2, -0.2, floor.width + 0.2, floor.height + 0.2), tuple(lines), key=KEY)


def _center(rules: Rules, cell: int) -> tuple[float, float]:
    """Center of a cell in the picture, where y grows upwards."""
    return cell % rules.floor.width + 0.5, rules.floor.height - cell // rules.floor.width - 0.5
