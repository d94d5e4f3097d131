"""Rules of level-based foraging (Papoudakis et al. 2021, arxiv.org/abs/2006.07869), as in lbforaging 2.0.0.

Axis letters: N agents, F foods. A position is (row, column), row 0 is the northern border of the grid. Outside of the
reset all is done by comparing agents and foods, and nothing by looking into a grid: a step costs the same on any grid.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs.core import Step

ACTION_NAMES = ("none", "north", "south", "west", "east", "load")
NORTH, SOUTH, WEST, EAST, LOAD = range(1, 6)
LEVELS_OF_FOOD = 3  # a food's level is at most the sum of this many lowest levels of agents
REACH = 2  # steps from a food within which there is no other, so that an agent is never beside two


class Rules(NamedTuple):
    """The options of `make`, checked. All static."""

    n_agents: int
    rows: int
    cols: int
    n_foods: int
    sight: int
    coop: bool
    penalty: float
    max_player_level: int
    horizon: int
    fix_overlap: bool
    normalize_reward: bool


class State(NamedTuple):
    """Foods keep their index, in raster order at the reset; an eaten one is at (-1, -1), level 0."""

    agent_pos: Int[Array, "n 2"]
    agent_level: Int[Array, " n"]
    food_pos: Int[Array, "f 2"]
    food_level: Int[Array, " f"]
    food_spawned: Int[Array, ""]  # sum of the levels of all foods at the reset
    last_action: Int[Array, " n"]  # as sent, valid or not; -1 before the first step
    t: Int[Array, ""]  # steps taken


def reset(rules: Rules, key: jax.Array) -> State:
    """Return the start of an episode: agents on cells of their own, foods off the border, off agents and apart.

    Foods are more than `REACH` steps apart. Each thing takes a cell drawn uniformly from those still legal, which is
    the law of drawing again until a cell is legal. A food that finds no legal cell is left out, as if eaten.
    """
    n, f = rules.n_agents, rules.n_foods
    key_agents, key_levels, key_foods, key_food_levels = jax.random.split(key, 4)
    agent_pos, free = _place(key_agents, jnp.ones((rules.rows, rules.cols), bool), n, 0)
    inner = jnp.zeros_like(free).at[1:-1, 1:-1].set(True)
    food_pos, _ = _place(key_foods, free & inner, f, REACH)
    food_cell = jnp.sort(food_pos[:, 0] * rules.cols + food_pos[:, 1])  # (F,) in raster order; last, what is out
    is_in = food_cell < rules.rows * rules.cols
    agent_level = jax.random.randint(key_levels, (n,), 1, rules.max_player_level + 1)
    most = jnp.sort(agent_level)[:LEVELS_OF_FOOD].sum()
    food_level = jax.random.randint(key_food_levels, (f,), most if rules.coop else 1, most + 1)
    food_level = jnp.where(is_in, food_level, 0)
    return State(
        agent_pos=agent_pos,
        agent_level=agent_level,
        food_pos=jnp.where(is_in[:, None], jnp.stack([food_cell // rules.cols, food_cell % rules.cols], -1), -1),
        food_level=food_level,
        food_spawned=food_level.sum(),
        last_action=jnp.full((n,), -1, jnp.int32),
        t=jnp.int32(0),
    )


def notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    """Return states of good play, as `Env.notable`."""
    start, n = reset(rules, key), rules.n_agents
    none = start._replace(food_pos=jnp.full_like(start.food_pos, -1), food_level=jnp.zeros_like(start.food_level))
    kept = jnp.arange(rules.n_foods) == jnp.argmax(start.food_level)  # a food that has found a cell
    one = start._replace(
        food_pos=jnp.where(kept[:, None], start.food_pos, -1), food_level=jnp.where(kept, start.food_level, 0)
    )
    sides = jnp.array([[-1, 0], [1, 0], [0, -1], [0, 1]])[jnp.arange(n) % 4]
    beside = one._replace(agent_pos=start.food_pos[jnp.argmax(kept)][None] + sides)
    all_did = lambda action: jnp.full((n,), action, jnp.int32)
    border = jnp.stack([jnp.zeros(n, jnp.int32), jnp.arange(n) % rules.cols], -1)
    return {
        "in which every food is eaten": none._replace(last_action=all_did(LOAD)),
        "in which one food is left and every agent stands beside it": beside._replace(last_action=all_did(LOAD)),
        "in which one food is left": one._replace(last_action=all_did(NORTH)),
        "in which all agents stand at a border": start._replace(agent_pos=border, last_action=all_did(WEST)),
    }


# Called outside of jit, a scan over a function of its own is compiled anew each time; this keeps what was compiled.
@partial(jax.jit, static_argnums=(2, 3))
def _place(
    key: jax.Array, free: Bool[Array, "rows cols"], count: int, reach: int
) -> tuple[Int[Array, "count 2"], Bool[Array, "rows cols"]]:
    """Draw `count` cells one after the other, each uniform among the free ones; return them and the cells still free.

    A cell that is taken, and all within `reach` steps of it, are no longer free. The cell is (rows, cols) if none is.
    """
    row, col = jnp.arange(free.shape[0]), jnp.arange(free.shape[1])

    def take(free: Bool[Array, "rows cols"], key: jax.Array) -> tuple[Bool[Array, "rows cols"], Int[Array, " 2"]]:
        in_row = free.sum(1)
        nth = jax.random.randint(key, (), 0, jnp.maximum(in_row.sum(), 1))
        # First the row, then the cell in it: sums that run over rows and columns are faster than one over all cells.
        r = (jnp.cumsum(in_row) <= nth).sum()
        nth_in_row = nth - jnp.where(row < r, in_row, 0).sum()
        c = (jnp.cumsum((free & (row == r)[:, None]).any(0)) <= nth_in_row).sum()
        near = jnp.abs(row - r)[:, None] + jnp.abs(col - c)[None] <= reach
        return free & ~near, jnp.stack([r, c])

    free, cells = jax.lax.scan(take, free, jax.random.split(key, count))
    return cells, free


def step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " n"]) -> Step:
    """Move agents, then load foods. An impossible action, or a number that is no action, does nothing."""
    del key  # nothing is random after the reset
    apart = steps_apart(state.agent_pos, state.food_pos)  # (N, F)
    # An eaten food is at (-1, -1), two steps from the nearest cell, so nobody is beside it. Nobody is beside two foods.
    loads = (actions == LOAD)[:, None] & (apart == 1)  # (N, F)
    lifted = jnp.where(loads, state.agent_level[:, None], 0).sum(0)  # (F,)
    eaten = lifted >= state.food_level  # True of foods eaten before
    t_tp1 = state.t + 1
    food_level = jnp.where(eaten, 0, state.food_level)
    state_tp1 = State(
        agent_pos=_move(rules, state, actions),
        agent_level=state.agent_level,
        food_pos=jnp.where(eaten[:, None], -1, state.food_pos),
        food_level=food_level,
        food_spawned=state.food_spawned,
        last_action=actions.astype(jnp.int32),
        t=t_tp1,
    )
    reward = _team_reward(rules, state, loads, lifted, eaten)
    return Step(state_tp1, reward, ~(food_level > 0).any(), t_tp1 >= rules.horizon)


def _team_reward(
    rules: Rules, state: State, loads: Bool[Array, "n f"], lifted: Int[Array, " f"], eaten: Bool[Array, " f"]
) -> Float[Array, ""]:
    # lbforaging pays a loader its level * food_level / (lifted * food_spawned); in the sum over loaders levels cancel.
    if rules.normalize_reward:
        gained = jnp.where(eaten, state.food_level, 0).sum() / state.food_spawned
    else:
        gained = jnp.where(eaten, lifted * state.food_level, 0).sum().astype(jnp.float32)
    return gained - rules.penalty * (loads & ~eaten[None]).sum()


def _move(rules: Rules, state: State, actions: Int[Array, " n"]) -> Int[Array, "n 2"]:
    """Cells (N, 2) after the moves. Each agent claims a cell, its own if it stays, and gets it if nobody else does."""
    south = (actions == SOUTH).astype(jnp.int32) - (actions == NORTH).astype(jnp.int32)
    east = (actions == EAST).astype(jnp.int32) - (actions == WEST).astype(jnp.int32)
    target = state.agent_pos + jnp.stack([south, east], -1)
    inside = (target >= 0).all(-1) & (target[:, 0] < rules.rows) & (target[:, 1] < rules.cols)
    possible = inside & ~(steps_apart(target, state.food_pos) == 0).any(1)
    claim = jnp.where(possible[:, None], target, state.agent_pos)
    alone = (steps_apart(claim, claim) == 0).sum(1) == 1
    if rules.fix_overlap:
        alone = _without_followers(alone, steps_apart(claim, state.agent_pos) == 0)
    return jnp.where(alone[:, None], claim, state.agent_pos)


def _without_followers(gets: Bool[Array, " n"], wants: Bool[Array, "n n"]) -> Bool[Array, " n"]:
    """Return `gets` without agents that claim the cell of one that stays, and without those queued after them.

    `wants[i, j]`: i claims the cell on which j stands. Swaps and rings of agents still move.
    """
    n = gets.shape[0]
    follows = wants & ~jnp.eye(n, dtype=bool)

    def settle(_: Array, gets: Bool[Array, " n"]) -> Bool[Array, " n"]:
        return gets & ~(follows & ~gets[None]).any(1)

    return jax.lax.fori_loop(0, n - 1, settle, gets)  # the last of a queue of n hears of its head after n - 1 rounds


def steps_apart(a: Int[Array, "n 2"], b: Int[Array, "m 2"]) -> Int[Array, "n m"]:
    """Number of moves from each of `a` to each of `b` on an empty grid."""
    return jnp.abs(a[:, None, 0] - b[None, :, 0]) + jnp.abs(a[:, None, 1] - b[None, :, 1])
