"""Rules of the robotic warehouse (Papoudakis et al. 2021, arxiv.org/abs/2006.07869), as in rware 2.0.0.

Axis letters: N agents, K shelves and as many storage cells, Q requests, G goals. A shelf is in a storage cell or on an
agent, so that a state is a number for each storage cell and not one for each cell of the floor.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._rware.floor import Floor
from qllm_envs._rware.moves import resolve
from qllm_envs._rware.ties import Table
from qllm_envs.core import Step

ACTION_NAMES = ("noop", "forward", "left", "right", "toggle_load")
NOOP, FORWARD, LEFT, RIGHT, TOGGLE = range(5)
HEADINGS = ("up", "down", "left", "right")
WAYS = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]])  # (x, y) by heading; y grows downwards
TURNED_LEFT, TURNED_RIGHT = (2, 3, 1, 0), (3, 2, 0, 1)  # headings after a turn
REWARD_TYPES = ("individual", "global", "two_stage")
NOTHING = -1  # in place of a shelf


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    floor: Floor
    tables: tuple[Table, ...]  # for ties of queues, see `ties`
    requests: int
    sensor_range: int
    reward_type: str
    max_inactivity: int | None
    horizon: int


class State(NamedTuple):
    """Cells are numbers, see `floor`. Shelf k is the one that starts in storage cell k."""

    agent_cell: Int[Array, " n"]
    heading: Int[Array, " n"]  # an index of HEADINGS
    load: Int[Array, " n"]  # the shelf that each agent carries, or NOTHING
    stored: Int[Array, " k"]  # the shelf in each storage cell, or NOTHING; int16, as most of a stored state is this
    delivered: Bool[Array, " n"]  # has delivered since it last put a shelf down; True only if reward_type is two_stage
    request: Int[Array, " q"]  # requested shelves, no two alike
    last_action: Int[Array, " n"]  # as sent; -1 before the first step
    idle: Int[Array, ""]  # steps since a delivery
    t: Int[Array, ""]  # steps taken


def reset(rules: Rules, key: jax.Array) -> State:
    """Return the start of an episode: shelves in storage, agents anywhere in cells of their own, empty-handed."""
    n, floor = rules.n_agents, rules.floor
    key_cells, key_headings, key_requests = jax.random.split(key, 3)
    return State(
        agent_cell=_distinct(key_cells, n, floor.n_cells),
        heading=jax.random.randint(key_headings, (n,), 0, len(HEADINGS)),
        load=jnp.full((n,), NOTHING, jnp.int32),
        stored=jnp.arange(floor.n_shelves, dtype=jnp.int16),
        delivered=jnp.zeros((n,), bool),
        request=_distinct(key_requests, rules.requests, floor.n_shelves),
        last_action=jnp.full((n,), -1, jnp.int32),
        idle=jnp.int32(0),
        t=jnp.int32(0),
    )


# Called outside of jit, a loop over a function of its own is compiled anew each time; this keeps what was compiled.
@partial(jax.jit, static_argnums=(1, 2))
def _distinct(key: jax.Array, count: int, below: int) -> Int[Array, " count"]:
    """Draw `count` numbers from 0 to `below` - 1, no two alike and each set in each order equally likely."""
    nth = jax.random.randint(key, (count,), 0, below - jnp.arange(count))

    def draw(i: Int[Array, ""], drawn: Int[Array, " count"]) -> Int[Array, " count"]:
        return drawn.at[i].set(_nth_free(nth[i], drawn))

    return jax.lax.fori_loop(0, count, draw, jnp.full((count,), below, jnp.int32))


def _nth_free(nth: Int[Array, ""], taken: Int[Array, " m"]) -> Int[Array, ""]:
    """Return the nth, from 0, of the numbers from 0 on that are not in `taken`."""
    rank = (taken[:, None] > taken[None]).sum(1)
    return nth + (taken - rank <= nth).sum()


def step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    """Move, turn and load, then deliver. A number that is no action does nothing."""
    nth = jax.random.randint(key, (len(rules.floor.goals),), 0, rules.floor.n_shelves - rules.requests)
    state_tp1, rewards = advance(rules, state, actions, nth)
    idle = jnp.bool_(False) if rules.max_inactivity is None else state_tp1.idle >= rules.max_inactivity
    return Step(state_tp1, rewards.sum(), idle, state_tp1.t >= rules.horizon)


def advance(
    rules: Rules, state: State, actions: Int[Array, " n"], nth: Int[Array, " g"]
) -> tuple[State, Float[Array, " n"]]:
    """Return the next state and a reward for each agent. All that chance decides is given.

    `nth` is the new request in place of one that is delivered at each goal: an index of the shelves not requested.
    """
    cell_tp1 = jnp.where(_moves(rules, state, actions), _target(rules, state), state.agent_cell)
    load, stored, puts_down = _toggle(rules, state, actions)
    paid_before = puts_down & state.delivered
    request, delivers = _deliver(rules, cell_tp1, load, state.request, nth)
    turned = jnp.where(actions == LEFT, jnp.array(TURNED_LEFT)[state.heading], state.heading)
    two_stage = rules.reward_type == "two_stage"
    state_tp1 = State(
        agent_cell=cell_tp1,
        heading=jnp.where(actions == RIGHT, jnp.array(TURNED_RIGHT)[state.heading], turned),
        load=load,
        stored=stored,
        delivered=(state.delivered & ~puts_down) | (delivers.any(0) if two_stage else False),
        request=request,
        last_action=actions.astype(jnp.int32),
        idle=jnp.where(delivers.any(), 0, state.idle + 1),
        t=state.t + 1,
    )
    return state_tp1, _rewards(rules, delivers, paid_before)


def _target(rules: Rules, state: State) -> Int[Array, " n"]:
    """The cell in front of each agent; its own at the border."""
    width, height = rules.floor.width, rules.floor.height
    way = jnp.asarray(WAYS, jnp.int32)[state.heading]
    x = jnp.clip(state.agent_cell % width + way[:, 0], 0, width - 1)
    y = jnp.clip(state.agent_cell // width + way[:, 1], 0, height - 1)
    return y * width + x


def _moves(rules: Rules, state: State, actions: Int[Array, " n"]) -> Bool[Array, " n"]:
    """Return the agents that go one cell forward."""
    target = jnp.where(actions == FORWARD, _target(rules, state), state.agent_cell)
    # A loaded agent never enters a cell with a shelf, but for a shelf that another agent is about to carry away.
    blocked = (state.load != NOTHING) & (shelf_in(rules, state.stored, target) != NOTHING)
    return resolve(state.agent_cell, jnp.where(blocked, state.agent_cell, target), rules.tables)


def shelf_in(rules: Rules, stored: Int[Array, " k"], cell: Int[Array, "*m"]) -> Int[Array, "*m"]:
    """Return the shelf that stands in each cell and is not carried, or NOTHING. -1 is no cell."""
    index = jnp.asarray(rules.floor.index_of_storage)[cell]  # -1 is the last cell, and is told apart below
    found = stored.astype(jnp.int32)[jnp.maximum(index, 0)]
    return jnp.where((index >= 0) & (cell >= 0), found, NOTHING)


def _toggle(
    rules: Rules, state: State, actions: Int[Array, " n"]
) -> tuple[Int[Array, " n"], Int[Array, " k"], Bool[Array, " n"]]:
    """Take or put down shelves; return loads, storage, and who puts a shelf down."""
    cell, load = state.agent_cell, state.load
    index = jnp.asarray(rules.floor.index_of_storage)[cell]
    toggles = (actions == TOGGLE) & (index >= 0)
    here = shelf_in(rules, state.stored, cell)
    # Where an agent puts a shelf down there is none: it could not have carried its own there.
    load_tp1 = jnp.where(toggles, jnp.where(load == NOTHING, here, NOTHING), load)
    at = jnp.where(toggles, index, rules.floor.n_shelves)
    stored = state.stored.at[at].set(load.astype(jnp.int16), mode="drop", unique_indices=False)
    return load_tp1, stored, toggles & (load != NOTHING)


def _deliver(
    rules: Rules, cell: Int[Array, " n"], load: Int[Array, " n"], request: Int[Array, " q"], nth: Int[Array, " g"]
) -> tuple[Int[Array, " q"], Bool[Array, "g n"]]:
    """Replace each requested shelf that is carried on a goal, goal by goal; return who delivers at which."""
    delivers = []
    for g, goal in enumerate(rules.floor.goals):
        here = (cell == goal) & (load != NOTHING)  # (N,) at most one
        asked = request == jnp.where(here, load, NOTHING).max()  # (Q,) at most one
        request = jnp.where(asked, _nth_free(nth[g], request), request)
        delivers.append(here & asked.any())
    return request, jnp.stack(delivers)


def _rewards(rules: Rules, delivers: Bool[Array, "g n"], paid_before: Bool[Array, " n"]) -> Float[Array, " n"]:
    """Reward of each agent. `paid_before`: it puts down a shelf and has delivered since it did so last."""
    if rules.reward_type == "global":
        return jnp.full(paid_before.shape, delivers.sum(), jnp.float32)
    if rules.reward_type == "two_stage":
        return 0.5 * (delivers.sum(0) + paid_before)
    return delivers.sum(0).astype(jnp.float32)


def notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    """Return states of good play, as `Env.notable`."""
    start, n, floor = reset(rules, key), rules.n_agents, rules.floor
    goals = floor.pos(floor.goals)
    # Agents stand as near to the goals as they can, and not on them; where no other cell is left, on them.
    away = np.abs(floor.pos(range(floor.n_cells))[:, None] - goals[None]).sum(-1).min(1)
    near = jnp.array(np.argsort(np.where(away == 0, np.inf, away), kind="stable")[:n], jnp.int32)
    queued = start._replace(agent_cell=near, last_action=jnp.full((n,), FORWARD, jnp.int32))
    others = jax.vmap(_nth_free, (0, None))(jnp.arange(floor.n_shelves - rules.requests), start.request)
    lifted = queued._replace(last_action=jnp.full((n,), TOGGLE, jnp.int32))
    return {
        "in which requested shelves are carried by agents beside the goals": _carrying(queued, start.request[:n]),
        "in which one agent beside the goals carries a requested shelf": _carrying(queued, start.request[:1]),
        "in which agents beside the goals carry shelves that nobody asks for": _carrying(queued, others[:n]),
        "in which all agents are beside the goals with empty hands": lifted,
    }


def _carrying(state: State, shelves: Int[Array, " m"]) -> State:
    """Give the first agents one of `shelves` each."""
    n = len(state.load)
    taken = (state.stored[:, None] == shelves[None]).any(1)
    load = jnp.full((n,), NOTHING, jnp.int32).at[: len(shelves)].set(shelves)
    return state._replace(load=load, stored=jnp.where(taken, NOTHING, state.stored).astype(jnp.int16))
