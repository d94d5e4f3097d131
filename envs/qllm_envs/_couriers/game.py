"""Rules of couriers.

Axis letters: N agents, P parcels, H hazards. A position is (row, column), row 0 is the northern border of the grid.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_envs.core import Step

ACTION_NAMES = ("stay", "north", "south", "west", "east")
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
NONE = -1  # in `State.carrying`
WAITS, CARRIED, DELIVERED = range(3)  # in `State.parcel_state`


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    rows: int
    cols: int
    n_parcels: int
    n_hazards: int
    crash_cost: float
    crash_ends: bool
    horizon: int


class State(NamedTuple):
    """Agents are in cells of their own, and never in the cell of a hazard."""

    agent_pos: Int[Array, "n 2"]
    carrying: Int[Array, " n"]  # number of a parcel, or NONE
    crashed: Bool[Array, " n"]  # in the step before
    parcel_pos: Int[Array, "p 2"]  # moves with its carrier; once delivered, its destination
    parcel_state: Int[Array, " p"]
    destination: Int[Array, "p 2"]
    hazard_pos: Int[Array, "h 2"]
    t: Int[Array, ""]  # steps taken


def hazard_cells(rows: int, cols: int) -> list[tuple[int, int]]:
    """Cells that can hold a hazard: off the border, and no two of them adjacent, not even by a corner.

    So no hazards can wall off a cell: the eight cells around each of them are free.
    """
    return [(row, col) for row in range(1, rows - 1, 2) for col in range(1, cols - 1, 2)]


def reset(rules: Rules, key: jax.Array) -> State:
    """Return the start of an episode: everything in a cell of its own, all such arrangements equally likely."""
    key_hazards, key_things = jax.random.split(key)
    n, p = rules.n_agents, rules.n_parcels
    cells = jnp.array(hazard_cells(rules.rows, rules.cols), jnp.int32).reshape(-1, 2)
    hazard_pos = cells[_drawn(key_hazards, jnp.ones(len(cells), bool), rules.n_hazards)]
    free = jnp.ones((rules.rows, rules.cols), bool).at[hazard_pos[:, 0], hazard_pos[:, 1]].set(False)
    cell = _drawn(key_things, free.reshape(-1), n + 2 * p)
    agent_pos, parcel_pos, destination = jnp.split(jnp.stack([cell // rules.cols, cell % rules.cols], -1), (n, n + p))
    return State(
        agent_pos=agent_pos,
        carrying=jnp.full((n,), NONE, jnp.int32),
        crashed=jnp.zeros((n,), bool),
        parcel_pos=parcel_pos,
        parcel_state=jnp.full((p,), WAITS, jnp.int32),
        destination=destination,
        hazard_pos=hazard_pos,
        t=jnp.int32(0),
    )


def _drawn(key: jax.Array, free: Bool[Array, " cells"], count: int) -> Int[Array, " count"]:
    """Draw `count` different free cells in random order. The key is consumed."""
    score = jnp.where(free, jax.random.uniform(key, free.shape), -1.0)
    return jax.lax.top_k(score, count)[1].astype(jnp.int32)


def step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    """Move agents, then let them pick up and deliver. A number that is no action is to stay."""
    del key  # nothing is random after the reset
    agent_pos, crashed = move(rules, state, actions)
    here = (agent_pos[:, None] == state.parcel_pos[None]).all(-1)  # (N, P)
    empty = (state.carrying == NONE)[:, None]
    picks = empty & here & (state.parcel_state == WAITS)[None]
    holds = picks | (state.carrying[:, None] == jnp.arange(rules.n_parcels)[None])
    arrives = holds & (agent_pos[:, None] == state.destination[None]).all(-1)
    held, delivered = (holds & ~arrives), arrives.any(0)
    parcel_state = jnp.where(delivered, DELIVERED, jnp.where(held.any(0), CARRIED, state.parcel_state))
    carrier_pos = (holds[:, :, None] * agent_pos[:, None]).sum(0)  # (P, 2)
    after = state._replace(
        agent_pos=agent_pos,
        carrying=jnp.where(held.any(1), jnp.argmax(held, 1), NONE).astype(jnp.int32),
        crashed=crashed,
        parcel_pos=jnp.where(holds.any(0)[:, None], carrier_pos, state.parcel_pos),
        parcel_state=parcel_state.astype(jnp.int32),
        t=state.t + 1,
    )
    reward = delivered.sum() / rules.n_parcels - rules.crash_cost * crashed.sum()
    terminated = won(after) | (rules.crash_ends & crashed.any())
    return Step(after, reward.astype(jnp.float32), terminated, after.t >= rules.horizon)


def move(rules: Rules, state: State, actions: Int[Array, " n"]) -> tuple[Int[Array, "n 2"], Bool[Array, " n"]]:
    """Return the positions after the agents' moves, and who crashed.

    Crashed are: an agent that heads for a hazard; agents that would be in one cell, one that stayed there included;
    agents that would swap cells. All of them stay where they were, so others may run into them, and crash too.
    """
    chosen = jax.nn.one_hot(actions, len(MOVES), dtype=jnp.int32) @ jnp.array(MOVES)  # (N, 2)
    wanted = jnp.clip(state.agent_pos + chosen, 0, jnp.array([[rules.rows - 1, rules.cols - 1]]))
    other = ~jnp.eye(rules.n_agents, dtype=bool)
    same = lambda a, b: (a[:, None] == b[None]).all(-1) & other
    into_hazard = (wanted[:, None] == state.hazard_pos[None]).all(-1).any(-1)

    def send_back(target: Int[Array, "n 2"], crashed: Bool[Array, " n"]) -> tuple[Array, Array]:
        enters = same(target, state.agent_pos)
        meets = (same(target, target) | (enters & enters.T)).any(1) | crashed
        return jnp.where(meets[:, None], state.agent_pos, target), meets

    target, crashed = send_back(wanted, into_hazard)
    # Each round sends back one agent more at least, or none.
    return jax.lax.fori_loop(1, rules.n_agents, lambda _, now: send_back(*now), (target, crashed))


def won(state: State) -> Bool[Array, ""]:
    """True if every parcel is delivered."""
    return (state.parcel_state == DELIVERED).all()


def crashed(state: State) -> Bool[Array, ""]:
    """True if an agent crashed in the step before."""
    return state.crashed.any()


def notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    """Return states of good play and of failures, as `Env.notable`."""
    start, n, p = reset(rules, key), rules.n_agents, rules.n_parcels
    loaded = jnp.arange(p) < n  # the first parcels are carried by the agents of the same numbers
    carried = start._replace(
        carrying=jnp.where(jnp.arange(n) < p, jnp.arange(n), NONE).astype(jnp.int32),
        parcel_state=jnp.where(loaded, CARRIED, WAITS).astype(jnp.int32),
        parcel_pos=start.parcel_pos.at[: min(n, p)].set(start.agent_pos[: min(n, p)]),
    )
    done = start._replace(parcel_pos=start.destination, parcel_state=jnp.full((p,), DELIVERED, jnp.int32))
    last = done._replace(
        parcel_pos=done.parcel_pos.at[0].set(start.parcel_pos[0]), parcel_state=done.parcel_state.at[0].set(WAITS)
    )
    return {
        "in which every parcel is delivered": done,
        "in which one parcel is left": last,
        "in which all agents carry parcels": carried,
        "in which all agents crashed": start._replace(crashed=jnp.ones((n,), bool)),
    }
