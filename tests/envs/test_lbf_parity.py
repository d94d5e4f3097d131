"""Foraging against lbforaging 2.0.0: equal steps, observations and states from injected states, equal laws of reset."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lbforaging.foraging.environment import ForagingEnv

from qllm_envs import make
from qllm_envs.lbf import State

HORIZON, LOAD = 50, 5
WAYS = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]])  # (row, column) by action
TASKS = {
    "15x15-4p-3f": {"n_agents": 4, "rows": 15, "cols": 15, "n_foods": 3, "sight": 2},
    "8x8-2p-2f-coop": {"n_agents": 2, "rows": 8, "cols": 8, "n_foods": 2, "sight": 2, "coop": True},
    "10x10-3p-3f": {"n_agents": 3, "rows": 10, "cols": 10, "n_foods": 3, "sight": 2},
}


class Turn(NamedTuple):
    """One step of lbforaging. Of many, leaves gain a leading axis."""

    state: State
    obs: Any
    actions: Any
    reward: Any
    done: Any
    state_tp1: State
    obs_tp1: Any


def other_options(seed):
    """Any options, of a size that keeps agents near to each other."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(6, 11, 2).tolist()
    return {
        "n_agents": int(rng.integers(1, 7)),
        "rows": rows,
        "cols": cols,
        "n_foods": int(rng.integers(1, 5)),
        "sight": int(rng.integers(0, 11)),
        "coop": bool(rng.random() < 0.3),
        "penalty": float(rng.choice([0.0, 0.1])),
        "max_player_level": int(rng.integers(1, 5)),
        "normalize_reward": bool(rng.random() < 0.5),
    }


def peer_of(n_agents, rows, cols, n_foods, sight, coop=False, penalty=0.0, max_player_level=2, normalize_reward=True):
    side = max(rows, cols)
    peer: Any = ForagingEnv(
        players=n_agents,
        min_player_level=1,
        max_player_level=max_player_level,
        min_food_level=1,
        max_food_level=None,
        field_size=(side, side),
        max_num_food=n_foods,
        sight=sight,
        max_episode_steps=HORIZON,
        force_coop=coop,
        normalize_reward=normalize_reward,
        penalty=penalty,
    )
    # Its observation space has the bounds of rows and columns swapped, and refuses observations of a grid that is no
    # square unless it is made for a square that holds the grid.
    peer.field = np.zeros((rows, cols), np.int32)
    return peer


def inject(peer, rng, kind):
    """Puts `peer` into a start of an episode, or `kind` 1: into a crowd, 2: into a crowd at the last food near the end.

    Gives the foods' slots. Agents of a crowd may share a cell.
    """
    peer.reset(seed=int(rng.integers(2**31)))
    slots = slots_of(peer)
    peer.current_step = (0, int(rng.integers(HORIZON)), int(rng.integers(HORIZON - 3, HORIZON)))[kind]
    if kind == 2:
        peer.field[tuple(slots[1:].T)] = 0
    for player in peer.players if kind else ():
        center = slots[0] if kind == 2 else np.array(peer.players[0].position)
        cell = np.clip(center + rng.integers(-1, 2, 2), 0, np.array(peer.field_size) - 1)
        if peer.field[tuple(cell)] == 0:
            player.position = tuple(cell.tolist())
    peer._gen_valid_moves()
    return slots


def slots_of(peer):
    """Cells of the foods in raster order, (-1, -1) for those that lbforaging could not place."""
    cells = np.argwhere(peer.field)
    return np.concatenate([cells, np.full((peer.max_num_food - len(cells), 2), -1)])


def choose(peer, rng):
    """Mostly random; loads beside foods and walks towards the nearest food more often than by chance."""
    actions = rng.integers(0, 6, len(peer.players))
    foods = np.argwhere(peer.field)
    for i, player in enumerate(peer.players):
        way = foods - np.array(player.position)
        way = way[np.abs(way).sum(1).argmin()]
        if rng.random() < 0.5:
            axis = int(rng.integers(2)) if way.all() else int(way[0] == 0)
            actions[i] = LOAD if np.abs(way).sum() == 1 else 1 + 2 * axis + int(way[axis] > 0)
    return actions


def state_of(peer, slots, last_action):
    """Our state of what `peer` is in. A slot at (-1, -1) reads the cell in the far corner, which never has a food."""
    level = peer.field[tuple(slots.T)]
    state: dict[str, Any] = {
        "agent_pos": np.array([player.position for player in peer.players]),
        "agent_level": np.array([player.level for player in peer.players]),
        "food_pos": np.where(level[:, None] > 0, slots, -1),
        "food_level": level,
        "food_spawned": np.array(peer._food_spawned),
        "last_action": last_action,
        "t": np.array(peer.current_step),
    }
    return State(**state)


def record(options, n_episodes, seed):
    """All turns of many episodes of lbforaging; a third begins at a reset, the rest in the thick of it."""
    rng, turns, peer = np.random.default_rng(seed), [], peer_of(**options)
    for episode in range(n_episodes):
        slots = inject(peer, rng, kind=episode % 3)
        state, obs = state_of(peer, slots, np.full(peer.n_agents, -1)), np.stack(peer._make_gym_obs())
        done = False
        while not done:
            actions = choose(peer, rng)
            seen, rewards, done, _, _ = peer.step(actions)
            state_tp1, obs_tp1 = state_of(peer, slots, actions), np.stack(seen)
            turns.append(Turn(state, obs, actions, np.array(sum(rewards)), np.array(done), state_tp1, obs_tp1))
            state, obs = state_tp1, obs_tp1
    return jax.tree.map(lambda *leaves: np.stack(leaves), *turns)


def flat_state(state):
    """The state vector of QLLM's release, written from its description."""
    rows = []
    for pos, level, food, food_level, last in zip(*state[:4], state.last_action, strict=True):
        agents = [number for (row, col), own in zip(pos, level, strict=True) for number in (row, col, own)]
        foods = [number for (row, col), own in zip(food, food_level, strict=True) for number in (row, col, own)]
        rows.append([*agents, *foods, *last])
    return np.array(rows)


def assert_equal_to_peer(options, turns):
    env = make("lbf", horizon=HORIZON, **options)

    def turn(state, actions):
        step = env.step(jax.random.key(0), state, actions)
        return step, env.view(state), env.view(step.state)

    states, actions = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.int32), (turns.state, turns.actions))
    step, view, view_tp1 = jax.jit(jax.vmap(turn))(states, actions)
    for name in State._fields:
        np.testing.assert_array_equal(getattr(step.state, name), getattr(turns.state_tp1, name), name)
    np.testing.assert_allclose(step.reward, turns.reward, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(step.terminated, ~turns.state_tp1.food_level.any(1))
    np.testing.assert_array_equal(step.truncated, turns.state_tp1.t >= HORIZON)
    np.testing.assert_array_equal(step.terminated | step.truncated, turns.done)
    np.testing.assert_array_equal(view.obs, turns.obs)
    np.testing.assert_array_equal(view_tp1.obs, turns.obs_tp1)
    np.testing.assert_array_equal(view.state, flat_state(turns.state))
    np.testing.assert_array_equal(view_tp1.state, flat_state(turns.state_tp1))


def meet(a, b):
    """(turns, M, K): which of `a` (turns, M, 2) are in a cell of `b` (turns, K, 2)."""
    return (a[:, :, None] == b[:, None]).all(-1)


def walks_of(options, turns):
    """Events that are easy to get wrong about moves, as arrays that are True in turns that show them."""
    pos, pos_tp1, actions, sight = turns.state.agent_pos, turns.state_tp1.agent_pos, turns.actions, options["sight"]
    walks = (actions != 0) & (actions != LOAD)
    target = np.where(walks[..., None], pos + WAYS[actions], -9 - np.arange(len(pos[0]))[:, None])
    moved = (pos_tp1 != pos).any(-1)
    others = ~np.eye(options["n_agents"], dtype=bool)
    together, heads = meet(pos, pos) & others, meet(target, pos)
    enters = meet(pos_tp1, pos) & others & moved[:, :, None]
    reported = pos[:, None] - np.maximum(pos - sight, 0)[:, :, None]
    far = np.abs(pos[:, None] - pos[:, :, None]).max(-1) > sight
    return {
        "walks off the grid": walks & ((target < 0) | (target >= [options["rows"], options["cols"]])).any(-1),
        "walks into a food": meet(target, turns.state.food_pos),
        "heads for one that stands": heads & ~walks[:, None] & ~moved[:, :, None],
        "two head for one cell": meet(target, target) & others & ~moved[:, :, None],
        "swap": enters & enters.swapaxes(1, 2),
        "follow": enters & moved[:, None] & ~enters.swapaxes(1, 2),
        "come to share a cell": meet(pos_tp1, pos_tp1) & others & ~together,
        "leave a shared cell": together & moved[:, :, None],
        "see further near the border": far & others & ((reported >= 0) & (reported <= 2 * sight)).all(-1),
    }


def loads_of(turns):
    """Events like those of `walks_of`, about loads and the end."""
    pos, food, level, left = (
        turns.state.agent_pos,
        turns.state.food_pos,
        turns.state.food_level,
        turns.state_tp1.food_level,
    )
    beside = np.abs(pos[:, :, None] - food[:, None]).sum(-1) == 1
    loads = beside & (turns.actions == LOAD)[..., None] & (level > 0)[:, None]
    eaten = (level > 0) & (left == 0)
    pairs = meet(pos, pos) & np.triu(np.ones((pos.shape[1],) * 2, bool), 1)
    at_limit = turns.state_tp1.t == HORIZON
    return {
        "load together": (loads.sum(1) > 1) & eaten,
        "load in vain": loads & ~eaten[:, None],
        "load from a shared cell": pairs[..., None] & loads[:, :, None] & loads[:, None],
        "eat two foods": eaten.sum(1) > 1,
        "eat the last food in the last step": eaten.any(1) & ~left.any(1) & at_limit,
        "run out of time": left.any(1) & at_limit,
    }


@pytest.mark.parametrize("task", TASKS)
def test_every_step_of_200_episodes_equals_lbforaging(task):
    turns = record(TASKS[task], n_episodes=200, seed=0)
    assert_equal_to_peer(TASKS[task], turns)
    shown = walks_of(TASKS[task], turns) | loads_of(turns)
    # Two agents come to share a cell only if a third is in the way of one; and both are needed for each food.
    impossible = {"come to share a cell", "eat two foods"} if TASKS[task]["n_agents"] == 2 else set()
    assert {event for event, where in shown.items() if not where.any()} == impossible


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(i, marks=pytest.mark.thorough) for i in range(6, 20))])
def test_every_step_with_other_options_equals_lbforaging(seed):
    options = other_options(seed)
    assert_equal_to_peer(options, record(options, n_episodes=20, seed=seed))


def layouts_of_peer(options, n_resets):
    """Starts of episodes. Agents have no cell before each, as in a fresh object: a reset sees those of the last one."""
    starts, n_agents, peer = [], options["n_agents"], peer_of(**options)
    peer._make_gym_obs = peer._gen_valid_moves = peer._get_info = lambda: None  # not looked at, and most of the time
    for seed in range(n_resets):
        for player in peer.players:
            player.position = None
        peer.reset(seed=seed)
        starts.append(state_of(peer, slots_of(peer), np.full(n_agents, -1)))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *starts)


def statistics_of(start):
    """Statistics that the law of a reset determines, each as integers."""
    foods, agents = start.food_pos, start.agent_pos
    is_in = start.food_level > 0
    both = np.triu(is_in[:, :, None] & is_in[:, None], 1)
    cell = lambda pos: pos[..., 0] * 100 + pos[..., 1]
    apart = lambda a, b: np.abs(a[:, :, None] - b[:, None]).sum(-1)
    return {
        "levels of agents": start.agent_level.sum(1) * 10 + start.agent_level[:, 0],
        "levels of foods": start.food_level[is_in],
        "sum of the levels of foods": start.food_spawned,
        "number of foods": is_in.sum(1),
        "cells of each agent": cell(agents) + 10**4 * np.arange(agents.shape[1]),
        "cells of foods": cell(foods)[is_in],
        "steps between foods": apart(foods, foods)[both],
        "steps from agents to foods": apart(agents, foods)[np.broadcast_to(is_in[:, None], apart(agents, foods).shape)],
    }


def excess(ours, theirs):
    """Chi-square of two samples over equal laws, in standard deviations above what sampling gives."""
    values, index = np.unique(np.concatenate([ours.ravel(), theirs.ravel()]), return_inverse=True)
    a, b = (np.bincount(part, minlength=len(values)) for part in np.split(index.ravel(), [ours.size]))
    chi2 = ((a * np.sqrt(b.sum() / a.sum()) - b * np.sqrt(a.sum() / b.sum())) ** 2 / (a + b)).sum()
    freedom = max(len(values) - 1, 1)
    return (chi2 - freedom) / np.sqrt(2 * freedom)


CROWDED = {"n_agents": 5, "rows": 6, "cols": 7, "n_foods": 4, "sight": 2}


@pytest.mark.parametrize("task", [*TASKS, pytest.param("crowded", marks=pytest.mark.thorough)])
def test_resets_follow_the_law_of_lbforaging(task):
    options = TASKS.get(task, CROWDED)
    reset = jax.jit(jax.vmap(make("lbf", **options).reset))
    ours = jax.device_get(reset(jax.random.split(jax.random.key(0), 4000)))
    theirs = layouts_of_peer(options, n_resets=2000)
    counted, wanted = statistics_of(ours), statistics_of(theirs)
    found = {name: round(float(excess(counted[name], wanted[name])), 1) for name in wanted}
    assert max(found.values()) < 4, found
    # Only on the crowded grid does a food find no cell.
    assert ((ours.food_level == 0).any(), (theirs.food_level == 0).any()) == (task == "crowded",) * 2
    assert counted["steps between foods"].min() == 3
    raster = np.where(ours.food_level > 0, ours.food_pos[..., 0] * 100 + ours.food_pos[..., 1], 10**4)
    assert (np.diff(raster) >= 0).all()
