"""Foraging: steps and views made by hand, bad options, and what must hold with any options in any play."""

import functools
from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qllm_envs import check_env, make
from qllm_envs.lbf import State
from qllm_jax import config
from qllm_jax.program import experiment

KEY = jax.random.key(0)
NONE, NORTH, SOUTH, WEST, EAST, LOAD = range(6)


@functools.cache
def foraging(**options):
    """The environment with its step and view compiled once for all tests."""
    env = make("lbf", **options)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), view=jax.jit(env.view))


def place(agents, foods=((6, 6, 2),)):
    """A state from (row, column, level) of agents and foods."""
    agents, foods = np.array(agents, np.int32), np.array(foods, np.int32)
    return State(
        agent_pos=jnp.asarray(agents[:, :2]),
        agent_level=jnp.asarray(agents[:, 2]),
        food_pos=jnp.asarray(foods[:, :2]),
        food_level=jnp.asarray(foods[:, 2]),
        food_spawned=jnp.int32(foods[:, 2].sum()),
        last_action=jnp.full(len(agents), -1, jnp.int32),
        t=jnp.int32(0),
    )


def moved(cells, actions, **options):
    """Cells of the agents after one step on an 8x8 grid with a food at (6, 6)."""
    env = foraging(n_agents=len(cells), n_foods=1, **options)
    step = env.step(KEY, place([(*cell, 1) for cell in cells]), jnp.array(actions))
    assert step.state.last_action.tolist() == list(actions)
    assert step.reward == 0
    return [tuple(cell) for cell in step.state.agent_pos.tolist()]


ALONE = {
    "none": ((3, 3), NONE, (3, 3)),
    "north": ((3, 3), NORTH, (2, 3)),
    "south": ((3, 3), SOUTH, (4, 3)),
    "west": ((3, 3), WEST, (3, 2)),
    "east": ((3, 3), EAST, (3, 4)),
    "load beside nothing": ((3, 3), LOAD, (3, 3)),
    "off the grid in the north": ((0, 3), NORTH, (0, 3)),
    "off the grid in the south": ((7, 3), SOUTH, (7, 3)),
    "off the grid in the west": ((3, 0), WEST, (3, 0)),
    "off the grid in the east": ((3, 7), EAST, (3, 7)),
    "into the food": ((6, 5), EAST, (6, 5)),
    "no action, too high": ((3, 3), 6, (3, 3)),
    "no action, too low": ((3, 3), -1, (3, 3)),
}


@pytest.mark.parametrize(("cell", "action", "then"), ALONE.values(), ids=ALONE.keys())
def test_one_agent_moves(cell, action, then):
    assert moved([cell], [action]) == [then]


TOGETHER = {  # cells, actions, cells after the step, and with fix_overlap where these differ
    "two claim one cell": ([(3, 3), (3, 5)], [EAST, WEST], [(3, 3), (3, 5)], None),
    "one stands": ([(3, 3), (3, 4)], [EAST, NONE], [(3, 3), (3, 4)], None),
    "one cannot move on": ([(3, 6), (3, 7)], [EAST, EAST], [(3, 6), (3, 7)], None),
    "swap": ([(3, 3), (3, 4)], [EAST, WEST], [(3, 4), (3, 3)], None),
    "follow": ([(3, 3), (3, 4)], [EAST, EAST], [(3, 4), (3, 5)], None),
    "ring": (
        [(3, 3), (3, 4), (4, 4), (4, 3)],
        [EAST, SOUTH, WEST, NORTH],
        [(3, 4), (4, 4), (4, 3), (3, 3)],
        None,
    ),
    "follow one that is kept out": (
        [(3, 3), (3, 4), (3, 6)],
        [EAST, EAST, WEST],
        [(3, 4), (3, 4), (3, 6)],
        [(3, 3), (3, 4), (3, 6)],
    ),
    "a queue after one that is kept out": (
        [(3, 1), (3, 2), (3, 3), (3, 5)],
        [EAST, EAST, EAST, WEST],
        [(3, 2), (3, 3), (3, 3), (3, 5)],
        [(3, 1), (3, 2), (3, 3), (3, 5)],
    ),
    "leave a shared cell": ([(3, 3), (3, 3)], [EAST, NONE], [(3, 4), (3, 3)], None),
    "leave a shared cell by one way": ([(3, 3), (3, 3)], [EAST, EAST], [(3, 3), (3, 3)], None),
}


@pytest.mark.parametrize(("cells", "actions", "then", "fixed"), TOGETHER.values(), ids=TOGETHER.keys())
def test_agents_get_the_cells_that_nobody_else_claims(cells, actions, then, fixed):
    assert moved(cells, actions) == then
    if len(set(cells)) == len(cells):
        assert moved(cells, actions, fix_overlap=True) == (fixed or then)


# Agents, actions, reward and levels of foods after the step. Foods: level 2 at (2, 2), level 3 at (5, 5).
LOADS = {
    "alone, strong enough": ([(2, 1, 2), (0, 0, 1), (7, 7, 1)], [LOAD, NONE, NONE], 2 / 5, [0, 3]),
    "alone, too weak": ([(2, 1, 1), (0, 0, 1), (7, 7, 1)], [LOAD, NONE, NONE], 0, [2, 3]),
    "two of three load": ([(5, 4, 2), (4, 5, 1), (6, 5, 2)], [LOAD, LOAD, NONE], 3 / 5, [2, 0]),
    "three load": ([(5, 4, 2), (4, 5, 1), (6, 5, 2)], [LOAD, LOAD, LOAD], 3 / 5, [2, 0]),
    "one is not beside": ([(5, 4, 2), (4, 4, 1), (6, 6, 2)], [LOAD, LOAD, LOAD], 0, [2, 3]),
    "one comes in the same step": ([(5, 4, 2), (3, 5, 1), (0, 0, 1)], [LOAD, SOUTH, NONE], 0, [2, 3]),
    "two foods": ([(2, 3, 2), (4, 5, 2), (6, 5, 1)], [LOAD, LOAD, LOAD], 1, [0, 0]),
    "from a shared cell": ([(2, 3, 1), (2, 3, 1), (0, 0, 1)], [LOAD, LOAD, NONE], 2 / 5, [0, 3]),
    "one food, one in vain": ([(2, 3, 2), (4, 5, 1), (6, 5, 1)], [LOAD, LOAD, LOAD], 2 / 5, [0, 3]),
}


@pytest.mark.parametrize(("agents", "actions", "reward", "levels"), LOADS.values(), ids=LOADS.keys())
def test_a_food_is_eaten_if_the_levels_of_its_loaders_reach_its_own(agents, actions, reward, levels):
    step = foraging(n_agents=3).step(KEY, place(agents, [(2, 2, 2), (5, 5, 3)]), jnp.array(actions))
    assert step.reward == np.float32(reward)
    assert step.state.food_level.tolist() == levels
    cells = [[2, 2], [5, 5]]
    assert step.state.food_pos.tolist() == [
        cell if level else [-1, -1] for cell, level in zip(cells, levels, strict=True)
    ]
    assert step.terminated == (sum(levels) == 0)


def test_a_penalty_is_paid_by_each_loader_of_a_food_that_stays():
    agents, foods = [(2, 3, 2), (4, 5, 1), (6, 5, 1)], [(2, 2, 2), (5, 5, 3)]
    env, load = foraging(n_agents=3, penalty=0.1), jnp.array([LOAD, LOAD, LOAD])
    np.testing.assert_allclose(env.step(KEY, place(agents, foods), load).reward, 2 / 5 - 0.2, rtol=1e-6)
    assert env.step(KEY, place([(0, 0, 1), (1, 1, 1), (7, 7, 1)], foods), load).reward == 0


def test_a_reward_that_is_not_normalized_is_the_level_times_the_levels_of_the_loaders():
    agents, foods = [(2, 3, 2), (2, 1, 1), (6, 5, 1)], [(2, 2, 2), (5, 5, 3)]
    step = foraging(n_agents=3, normalize_reward=False).step(KEY, place(agents, foods), jnp.array([LOAD, LOAD, NONE]))
    assert step.reward == 6


def test_the_last_food_in_the_last_step_ends_the_episode_both_ways():
    env, state = foraging(n_agents=1, n_foods=1), place([(6, 5, 2)])
    early, late = (env.step(KEY, state._replace(t=jnp.int32(t)), jnp.array([LOAD])) for t in (48, 49))
    assert (bool(early.terminated), bool(early.truncated)) == (True, False)
    assert (bool(late.terminated), bool(late.truncated), float(late.reward)) == (True, True, 1.0)
    idle = env.step(KEY, state._replace(t=jnp.int32(49)), jnp.array([NONE]))
    assert (bool(idle.terminated), bool(idle.truncated)) == (False, True)


SEEN = place([(0, 1, 1), (4, 4, 2), (4, 3, 3)], [(2, 3, 5), (5, 4, 6)])


def test_an_observation_is_counted_from_the_window_and_leaves_no_gaps():
    view = foraging(n_agents=3, sight=2).view(SEEN)
    assert view.obs.tolist() == [
        # The window of agent 0 is rows 0 to 2 and columns 0 to 3, and yet it sees agents up to (4, 4).
        [2, 3, 5, -1, -1, 0, 0, 1, 1, 4, 4, 2, 4, 3, 3],
        [0, 1, 5, 3, 2, 6, 2, 2, 2, 2, 1, 3, -1, -1, 0],
        [0, 2, 5, 3, 3, 6, 2, 2, 3, 2, 3, 2, -1, -1, 0],
    ]
    assert view.state.tolist() == [0, 1, 1, 4, 4, 2, 4, 3, 3, 2, 3, 5, 5, 4, 6, -1, -1, -1]
    assert view.avail.all()
    for name in view.fields:
        np.testing.assert_array_equal(view.fields[name], getattr(SEEN, name))


def test_sight_none_sees_all_from_the_corner_of_the_grid_and_sight_0_the_own_cell():
    foods = [2, 3, 5, 5, 4, 6]
    assert foraging(n_agents=3).view(SEEN).obs.tolist() == [
        [*foods, 0, 1, 1, 4, 4, 2, 4, 3, 3],
        [*foods, 4, 4, 2, 0, 1, 1, 4, 3, 3],
        [*foods, 4, 3, 3, 0, 1, 1, 4, 4, 2],
    ]
    nothing = [-1, -1, 0]
    blind = foraging(n_agents=3, sight=0).view(SEEN).obs
    assert blind.tolist() == [[*nothing * 2, 0, 0, level, *nothing * 2] for level in (1, 2, 3)]


def test_the_largest_numbers_are_seen_exactly():
    env = make("lbf", n_agents=2, rows=1000, cols=1000, n_foods=1, max_player_level=100)
    view = env.view(place([(999, 999, 100), (0, 999, 100)], [(998, 998, 200)]))
    assert view.obs[0].tolist() == [998, 998, 200, 999, 999, 100, 0, 999, 100]


@pytest.mark.parametrize(
    ("name", "n_agents", "obs_dim", "state_dim"),
    [("15x15_4p_3f", 4, 21, 25), ("8x8_2p_2f_coop", 2, 12, 14), ("10x10_3p_3f", 3, 18, 21)],
)
def test_configured_tasks_have_the_sizes_of_the_paper(name, n_agents, obs_dim, state_dim):
    settings = config.load([f"env=lbf_{name}"])
    spec = experiment.make_env(settings.env, settings.n_agents).spec
    assert spec.task == f"lbf_{name}"
    assert (spec.n_agents, spec.n_actions, spec.horizon) == (n_agents, 6, 50)
    assert (spec.obs_dim, spec.state_dim) == (obs_dim, state_dim)


def test_coop_gives_each_food_the_sum_of_the_three_lowest_levels():
    env = make("lbf", n_agents=4, rows=9, cols=9, n_foods=3, coop=True, max_player_level=5)
    start = jax.jit(jax.vmap(env.reset))(jax.random.split(KEY, 64))
    lowest = np.sort(start.agent_level, axis=1)[:, :3].sum(1)
    np.testing.assert_array_equal(start.food_level, np.repeat(lowest[:, None], 3, 1))
    np.testing.assert_array_equal(start.food_spawned, 3 * lowest)


def most_apart(cells, taken=()):
    """Most of `cells` that can be 3 steps apart, by trying all."""
    legal = [cell for cell in cells if all(abs(cell[0] - r) + abs(cell[1] - c) >= 3 for r, c in taken)]
    return max((1 + most_apart(legal[i + 1 :], (*taken, cell)) for i, cell in enumerate(legal)), default=0)


@pytest.mark.parametrize(("rows", "cols"), [(3, 4), (3, 9), (4, 4), (5, 5), (5, 8), (6, 6), (7, 6)])
def test_as_many_foods_are_accepted_as_there_is_room_for(rows, cols):
    most = most_apart(list(product(range(rows - 2), range(cols - 2))))
    make("lbf", n_agents=1, rows=rows, cols=cols, n_foods=most)
    with pytest.raises(ValueError, match=f"^lbf: n_foods must be at most {most} on a grid of {rows}x{cols}, "):
        make("lbf", n_agents=1, rows=rows, cols=cols, n_foods=most + 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "n_agents must be an integer of at least 1, got 0"),
        ({"rows": 2}, "rows must be an integer of at least 3, got 2"),
        ({"cols": 1001}, "cols must be an integer of at most 1000, got 1001"),
        ({"cols": "8"}, "cols must be an integer of at least 3, got '8'"),
        ({"n_foods": 0}, "n_foods must be an integer of at least 1, got 0"),
        ({"n_foods": 2.0}, "n_foods must be an integer of at least 1, got 2.0"),
        ({"sight": -1}, "sight must be an integer of at least 0, got -1"),
        ({"coop": 1}, "coop must be True or False, got 1"),
        ({"penalty": -0.1}, "penalty must be a number from 0 to 1000, got -0.1"),
        ({"penalty": float("nan")}, "penalty must be a number from 0 to 1000, got nan"),
        ({"max_player_level": 0}, "max_player_level must be an integer of at least 1, got 0"),
        ({"max_player_level": 101}, "max_player_level must be an integer of at most 100, got 101"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"normalize_reward": None}, "normalize_reward must be True or False, got None"),
        ({"fix_overlap": "yes"}, "fix_overlap must be True or False, got 'yes'"),
        (
            {"n_agents": 9, "rows": 5, "cols": 5, "n_foods": 1},
            "n_agents must be at most 8 on a grid of 5x5, so that there is always a cell left for a food, got 9",
        ),
        (
            {"n_foods": 50},
            "n_foods must be at most 8 on a grid of 8x8, where foods are 3 steps apart and not at the border, got 50",
        ),
    ],
)
def test_a_bad_value_is_named(options, sentence):
    with pytest.raises(ValueError, match=f"^lbf: {sentence}$"):
        make("lbf", **options)


@st.composite
def any_options(draw):
    rows, cols = (draw(st.integers(3, 9)) for _ in range(2))
    inner = (rows - 2) * (cols - 2)
    if inner == 1:
        cols, inner = 4, 2
    return {
        "n_agents": draw(st.integers(1, min(6, inner - 1))),
        "rows": rows,
        "cols": cols,
        "n_foods": draw(st.integers(1, 1 + inner // 7)),  # fewer than there may be, and often crowded
        "sight": draw(st.none() | st.integers(0, 10)),
        "coop": draw(st.booleans()),
        "penalty": draw(st.sampled_from([0.0, 0.5])),
        "max_player_level": draw(st.integers(1, 4)),
        "normalize_reward": draw(st.booleans()),
        "fix_overlap": draw(st.booleans()),
        "horizon": 20,
    }


def play(env, key):
    """200 random steps, also after the end; states have one row more than steps. Half of all actions are loads."""
    key_reset, key_actions, key_loads = jax.random.split(key, 3)
    shape = (200, env.spec.n_agents)
    loads = jax.random.bernoulli(key_loads, 0.5, shape)
    actions = jnp.where(loads, LOAD, jax.random.randint(key_actions, shape, 0, 6))

    def turn(state, actions):
        step = env.step(key, state, actions)
        return step.state, (step, env.view(step.state))

    start = env.reset(key_reset)
    _, (steps, views) = jax.lax.scan(turn, start, actions)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, steps.state), steps, views


@pytest.mark.thorough
@settings(max_examples=10, deadline=None, derandomize=True)
@given(any_options())
def test_any_options_give_an_environment_in_which_foods_are_eaten_once(options):
    env = make("lbf", **options)
    states, steps, views = jax.device_get(jax.jit(jax.vmap(functools.partial(play, env)))(jax.random.split(KEY, 32)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((steps, views)))
    for name, field in env.spec.fields.items():
        assert ((views.fields[name] >= field.low) & (views.fields[name] <= field.high)).all(), name
    agents, foods, level = states.agent_pos, states.food_pos, states.food_level  # (32, 201, ...)
    assert ((agents >= 0) & (agents < [options["rows"], options["cols"]])).all()
    left = level[:, 1:] > 0
    np.testing.assert_array_equal(level[:, 1:], np.where(left, level[:, :-1], 0))
    assert (level[:, 0].sum(1) == states.food_spawned[:, 0]).all()
    assert (states.food_spawned[:, 0] > 0).all()
    assert not (agents[:, :, :, None] == foods[:, :, None]).all(-1).any(), "an agent stands in a food"
    for f, g in combinations(range(options["n_foods"]), 2):
        both = (level[:, 0, f] > 0) & (level[:, 0, g] > 0)
        assert (np.abs(foods[:, 0, f] - foods[:, 0, g]).sum(-1)[both] >= 3).all()
    first = 1 if not options["fix_overlap"] else 201
    for i, j in combinations(range(options["n_agents"]), 2):
        assert not (agents[:, :first, i] == agents[:, :first, j]).all(-1).any(), "two agents share a cell"
    np.testing.assert_array_equal(steps.terminated, ~left.any(-1))
    np.testing.assert_array_equal(steps.truncated, np.broadcast_to(np.arange(1, 201) >= 20, (32, 200)))
    if options["normalize_reward"] and not options["penalty"]:
        eaten = 1 - level[:, -1].sum(1) / level[:, 0].sum(1)
        np.testing.assert_allclose(steps.reward.sum(1), eaten, atol=1e-5)


@pytest.mark.thorough
def test_a_crowded_grid_with_all_options_changed_keeps_the_contract():
    options = {"sight": 1, "coop": True, "penalty": 0.1, "normalize_reward": False, "fix_overlap": True, "horizon": 9}
    check_env(make("lbf", n_agents=5, rows=5, cols=6, n_foods=3, max_player_level=3, **options))


def test_the_scene_shows_levels_loads_and_agents_that_share_a_cell():
    env = make("lbf", n_agents=3, rows=5, cols=6, n_foods=1)
    state = place([(0, 0, 1), (0, 0, 2), (4, 5, 3)], [(2, 2, 4)])
    scene = env.scene(state._replace(last_action=jnp.array([NONE, NONE, LOAD])))
    agents = [shape for shape in scene.shapes if shape.agent is not None]
    assert [(shape.agent, shape.label) for shape in agents] == [(0, "0"), (1, "1"), (2, "2")]
    assert agents[0].center[0] < 0.5 < agents[1].center[0]  # side by side in the cell at the top left
    assert agents[2].center == (5.5, 0.5)  # bottom right
    assert [shape.label for shape in scene.shapes if shape.color == "tab:green"] == ["4", "1", "2", "3"]
    assert [shape.center for shape in scene.shapes if shape.color == "tab:orange"] == [(5.5, 0.5)]
    assert len(scene.shapes) == 30 + 1 + 3 * 2 + 1
    x0, y0, x1, y1 = scene.bounds
    for shape in scene.shapes:
        (x, y), r = shape.center, shape.radius
        assert x0 <= x - r <= x + r <= x1
        assert y0 <= y - r <= y + r <= y1
    eaten = env.scene(state._replace(food_level=jnp.array([0])))
    assert len(eaten.shapes) == 30 + 3 * 2
