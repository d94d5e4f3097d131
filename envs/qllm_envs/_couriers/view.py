"""Views of couriers: observations, flat state, fields, and a picture.

Axis letters: N agents, P parcels, H hazards.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qllm_envs._couriers.game import ACTION_NAMES, DELIVERED, NONE, WAITS, Rules, State
from qllm_envs.core import Entries, Field, Key, Scene, Shape, StateBlock, View

GROUND, HAZARD, DESTINATION, PARCEL, CRASH = "#e3e6ea", "dimgray", "tab:green", "tab:orange", "tab:red"


def side(rules: Rules) -> int:
    """Largest distance of two cells along a row or a column, by which positions are divided."""
    return max(rules.rows, rules.cols) - 1


def obs_dim(rules: Rules) -> int:
    """Numbers of an observation: see `view`."""
    return 2 + 7 * rules.n_parcels + 2 * rules.n_hazards + 2 * (rules.n_agents - 1)


def view(rules: Rules, state: State) -> View:
    """Return the view of a state.

    An agent sees its own cell and load; of each parcel the way to it, and whether it waits or is delivered; the ways to
    all destinations, hazards and other agents, the next by number first. Ways are rows and columns over `side`. It does
    not see what the others carry, and so not where they are heading.
    """
    n, scale = rules.n_agents, side(rules)
    way = lambda to: ((to[None] - state.agent_pos[:, None]) / scale).reshape(n, -1)  # (N, 2 to)
    load = jax.nn.one_hot(state.carrying, rules.n_parcels)  # (N, P), zeros for none
    status = jnp.stack([state.parcel_state == WAITS, state.parcel_state == DELIVERED], -1).astype(jnp.float32)  # (P, 2)
    next_ones = (jnp.arange(n)[:, None] + jnp.arange(1, n)[None]) % n  # (N, N - 1)
    others = (state.agent_pos[next_ones] - state.agent_pos[:, None]) / scale
    seen = [state.agent_pos / scale, load, way(state.parcel_pos), jnp.tile(status.reshape(1, -1), (n, 1))]
    seen += [way(state.destination), way(state.hazard_pos), others.reshape(n, -1)]
    agents = jnp.concatenate([state.agent_pos / scale, load, state.crashed[:, None]], -1)
    parcels = jnp.concatenate([state.parcel_pos / scale, status, state.destination / scale], -1)
    flat = jnp.concatenate([agents.reshape(-1), parcels.reshape(-1), (state.hazard_pos / scale).reshape(-1)])
    avail = jnp.ones((n, len(ACTION_NAMES)), bool)
    return View(jnp.concatenate(seen, -1), avail, flat, fields(state))


def fields(state: State) -> dict[str, Array]:
    """The state as named arrays: all of it but the time."""
    return {name: array for name, array in state._asdict().items() if name != "t"}


def layout(rules: Rules) -> tuple[StateBlock, ...]:
    """Layout of the flat state, as `view` builds it."""
    scale, p = side(rules), rules.n_parcels
    place = lambda name: Entries(f"{name} / {scale}", 2)
    agent = (place("agent_pos[i]"), Entries(f"[carrying[i] == p for p in range({p})]", p), Entries("crashed[i]", 1))
    status = Entries(f"[parcel_state[p] == k for k in ({WAITS}, {DELIVERED})]", 2)
    return (
        StateBlock(agent, "i", rules.n_agents),
        StateBlock((place("parcel_pos[p]"), status, place("destination[p]")), "p", p),
        *([StateBlock((place("hazard_pos[h]"),), "h", rules.n_hazards)] if rules.n_hazards else []),
    )


def described(rules: Rules) -> dict[str, Field]:
    """Description of the fields, in the order of `State`."""
    n, p, h, last = rules.n_agents, rules.n_parcels, rules.n_hazards, float(side(rules))
    cell = (
        f"(row, column); rows run from 0 in the north to {rules.rows - 1}, columns from 0 in the west to "
        f"{rules.cols - 1}"
    )
    agent_pos = f"cell of each agent, row i for agent i, {cell}; no two agents share a cell"
    carrying = "number of the parcel that each agent carries, entry i for agent i; -1 for none, as at the start"
    crashed = "1 for agents that crashed in the step before, 0 for all others and at the start"
    parcel_pos = (
        "cell of each parcel, row p for parcel p: where it waits, from the start on; its carrier's cell while it is "
        "carried; its destination once it is delivered"
    )
    status = f"of each parcel: {WAITS} it waits, as at the start, 1 it is carried, {DELIVERED} it is delivered"
    return {
        "agent_pos": Field((n, 2), agent_pos, "cell", 0.0, last),
        "carrying": Field((n,), carrying, "number of a parcel", float(NONE), p - 1.0),
        "crashed": Field((n,), crashed, "0 or 1", 0.0, 1.0),
        "parcel_pos": Field((p, 2), parcel_pos, "cell", 0.0, last),
        "parcel_state": Field((p,), status, "number of a status", 0.0, float(DELIVERED)),
        "destination": Field(
            (p, 2), "cell to which each parcel has to be brought, fixed in an episode", "cell", 0.0, last
        ),
        "hazard_pos": Field((h, 2), "cell of each hazard, fixed in an episode, off the border", "cell", 0.0, last),
    }


def scene(rules: Rules, state: Any) -> Scene:
    """The grid from above, north at the top. Parcels have the numbers of their destinations."""
    at: Any = jax.tree.map(np.asarray, state)
    center = lambda pos: (float(pos[1]) + 0.5, rules.rows - float(pos[0]) - 0.5)
    shapes = [Shape("square", center(cell), 0.48, GROUND, "") for cell in np.ndindex(rules.rows, rules.cols)]
    shapes += [Shape("square", center(pos), 0.48, HAZARD, "") for pos in at.hazard_pos]
    shapes += [Shape("square", center(pos), 0.42, DESTINATION, str(p)) for p, pos in enumerate(at.destination)]
    for i, pos in enumerate(at.agent_pos):
        if at.crashed[i]:
            shapes.append(Shape("circle", center(pos), 0.46, CRASH, ""))
        shapes.append(Shape("circle", center(pos), 0.34, "tab:blue", str(i), agent=i))
    carried = np.isin(np.arange(rules.n_parcels), at.carrying)
    for p, (x, y) in enumerate(map(center, at.parcel_pos)):
        offset = 0.28 if carried[p] else 0.0  # beside its carrier's number
        radius = 0.16 if carried[p] or at.parcel_state[p] == DELIVERED else 0.26
        shapes.append(Shape("square", (x + offset, y + offset), radius, PARCEL, str(p)))
    meanings = (("square", PARCEL, "parcel"), ("square", DESTINATION, "its destination"), ("square", HAZARD, "hazard"))
    key = tuple(Key(*meaning) for meaning in (*meanings, ("circle", CRASH, "crashed")))
    return Scene(tuple(shapes), (-0.2, -0.2, rules.cols + 0.2, rules.rows + 0.2), key=key)
