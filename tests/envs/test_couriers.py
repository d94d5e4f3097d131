"""Couriers: moves and crashes by hand, what is kept in random play, the best return by search, views and options."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import Env, Step, check_env, make
from qllm_envs._couriers.game import CARRIED, DELIVERED, NONE, WAITS, State, hazard_cells

KEY = jax.random.key(0)
STAY, NORTH, SOUTH, WEST, EAST = range(5)


def place(agents, parcels=((4, 4),), destinations=((4, 3),), hazards=((3, 3),), carrying=None) -> State:
    n, cells = len(agents), lambda x: jnp.array(x, jnp.int32).reshape(-1, 2)
    carrying = jnp.array(carrying or [NONE] * n)
    status = jnp.isin(jnp.arange(len(parcels)), carrying).astype(jnp.int32)
    fixed = cells(destinations), cells(hazards), jnp.int32(0)
    return State(cells(agents), carrying, jnp.zeros(n, bool), cells(parcels), status, *fixed)


def play(state: State, *joint: list[int], **options) -> Step:
    """The last step of some joint actions on a grid of 5 x 5."""
    sizes = {"n_parcels": len(state.parcel_state), "n_hazards": len(state.hazard_pos)}
    env = make("couriers", n_agents=len(state.carrying), rows=5, cols=5, **sizes, **options)
    *before, last = joint
    for actions in before:
        state = env.step(KEY, state, jnp.array(actions)).state
    return env.step(KEY, state, jnp.array(last))


def won(state: State) -> bool:
    env = make("couriers")
    assert env.won is not None
    return bool(env.won(state))


def test_a_parcel_is_picked_up_carried_and_delivered_by_walking():
    start = place([(0, 0), (4, 0)], parcels=[(0, 1), (4, 4)], destinations=[(1, 2), (0, 4)])
    picked = play(start, [EAST, STAY])
    assert picked.state.carrying.tolist() == [0, NONE]
    assert picked.state.parcel_state.tolist() == [CARRIED, WAITS]
    carried = play(start, [EAST, STAY], [SOUTH, STAY])
    assert carried.state.parcel_pos.tolist() == [[1, 1], [4, 4]]
    assert [float(step.reward) for step in (picked, carried)] == [0, 0]
    delivered = play(start, [EAST, STAY], [SOUTH, STAY], [EAST, STAY])
    assert float(delivered.reward) == 0.5
    assert delivered.state.carrying.tolist() == [NONE, NONE]
    assert delivered.state.parcel_state.tolist() == [DELIVERED, WAITS]
    assert delivered.state.parcel_pos.tolist() == [[1, 2], [4, 4]]
    assert not delivered.terminated


def test_the_last_delivery_ends_and_wins_the_episode_and_a_full_hand_takes_nothing():
    start = place([(0, 0)], parcels=[(0, 0), (0, 1)], destinations=[(0, 2), (0, 4)], carrying=[0])
    past = play(start, [EAST])
    assert past.state.carrying.tolist() == [0]
    assert past.state.parcel_state.tolist() == [CARRIED, WAITS]
    done = play(start, [EAST], [EAST], [WEST], [EAST], [EAST], [EAST])
    assert done.terminated
    assert won(done.state)
    assert float(done.reward) == 0.5


@pytest.mark.parametrize(
    ("agents", "actions", "crashed", "after"),
    [
        ([(2, 3), (0, 0)], [SOUTH, STAY], [1, 0], [(2, 3), (0, 0)]),  # into the hazard at (3, 3)
        ([(0, 0), (0, 1)], [EAST, STAY], [1, 1], [(0, 0), (0, 1)]),  # into an agent that stays
        ([(0, 0), (0, 2)], [EAST, WEST], [1, 1], [(0, 0), (0, 2)]),  # into one cell
        ([(0, 0), (0, 1)], [EAST, WEST], [1, 1], [(0, 0), (0, 1)]),  # a swap
        ([(0, 0), (0, 1)], [EAST, EAST], [0, 0], [(0, 1), (0, 2)]),  # one follows the other
        ([(0, 0), (0, 1)], [NORTH, NORTH], [0, 0], [(0, 0), (0, 1)]),  # the border
        ([(0, 1), (0, 0)], [NORTH, EAST], [1, 1], [(0, 1), (0, 0)]),  # into one that the border keeps
        ([(0, 0), (1, 0), (1, 1), (0, 1)], [SOUTH, EAST, NORTH, WEST], [0] * 4, [(1, 0), (1, 1), (0, 1), (0, 0)]),
        ([(0, 0), (0, 1), (0, 2), (0, 4)], [EAST, EAST, EAST, WEST], [1] * 4, [(0, 0), (0, 1), (0, 2), (0, 4)]),
        ([(2, 3), (1, 3), (0, 3), (0, 2)], [SOUTH, SOUTH, SOUTH, EAST], [1] * 4, [(2, 3), (1, 3), (0, 3), (0, 2)]),
    ],
)
def test_crashes_by_hand(agents: list, actions: list[int], crashed: list[int], after: list):
    step = play(place(agents), actions)
    assert step.state.crashed.tolist() == [bool(one) for one in crashed]
    assert step.state.agent_pos.tolist() == [list(pos) for pos in after]
    assert float(step.reward) == -0.25 * sum(crashed)
    assert bool(step.terminated) == any(crashed)


def test_a_crash_can_go_on_and_costs_as_set():
    step = play(place([(0, 0), (0, 1)]), [EAST, STAY], crash_ends=False, crash_cost=2.0)
    assert float(step.reward) == -4
    assert not step.terminated
    assert not won(step.state)
    env = make("couriers")
    assert env.crashed is not None
    before = place([(0, 0), (0, 1)])
    assert [bool(env.crashed(state)) for state in (before, step.state)] == [False, True]


def test_random_play_keeps_agents_apart_and_counts_every_delivery_once():
    env = make("couriers", n_agents=4, rows=5, cols=6, n_parcels=3, n_hazards=2, crash_ends=False, crash_cost=0.0)

    def turn(state: State, key: jax.Array):
        step = env.step(key, state, jax.random.randint(key, (4,), 0, 5))
        return step.state, (step.state, step.reward)

    def episode(key: jax.Array):
        start = env.reset(key)
        return start, jax.lax.scan(turn, start, jax.random.split(jax.random.fold_in(key, 1), 40))[1]

    starts, (states, rewards) = jax.device_get(jax.jit(jax.vmap(episode))(jax.random.split(KEY, 200)))
    cell = lambda pos: pos[..., 0] * 6 + pos[..., 1]
    things = [cell(x) for x in (starts.agent_pos, starts.parcel_pos, starts.destination, starts.hazard_pos)]
    assert all(len(set(row)) == 12 for row in np.concatenate(things, -1).tolist())
    assert set(map(tuple, starts.hazard_pos.reshape(-1, 2).tolist())) <= set(hazard_cells(5, 6))
    for agents, hazards in zip(cell(states.agent_pos), cell(states.hazard_pos), strict=True):
        assert all(len(set(row)) == 4 for row in agents.tolist())
        assert not np.isin(agents, hazards).any()
    np.testing.assert_allclose(rewards.sum(1), (states.parcel_state[:, -1] == DELIVERED).mean(-1), atol=1e-6)
    carried = (states.carrying[..., None] == np.arange(3)).sum(-2)
    np.testing.assert_array_equal(carried, states.parcel_state == CARRIED)
    assert ((states.parcel_state[:, 1:] - states.parcel_state[:, :-1]) >= 0).all()
    assert rewards.sum() > 10


def test_the_limit_cuts_an_episode_in_its_last_step():
    env = make("couriers", n_agents=1, rows=5, cols=5, n_parcels=1, n_hazards=1, horizon=2)
    step = jax.jit(jax.vmap(lambda t: env.step(KEY, place([(0, 0)])._replace(t=t), jnp.array([STAY]))))(jnp.arange(2))
    assert step.truncated.tolist() == [False, True]
    assert not step.terminated.any()


def test_a_start_is_equally_likely_anywhere():
    env = make("couriers", n_agents=2, rows=4, cols=5, n_parcels=1, n_hazards=1)
    starts = jax.device_get(jax.jit(jax.vmap(env.reset))(jax.random.split(KEY, 6000)))
    cell = lambda pos: pos[..., 0] * 5 + pos[..., 1]
    hazard = cell(starts.hazard_pos[:, 0])
    assert sorted(set(hazard)) == [r * 5 + c for r, c in hazard_cells(4, 5)] == [6, 8]
    assert abs((hazard == 6).mean() - 0.5) < 0.035
    for pos in (*starts.agent_pos.swapaxes(0, 1), starts.parcel_pos[:, 0], starts.destination[:, 0]):
        for of in (6, 8):  # five standard deviations of a share of 1 / 19 in 3000 draws
            share = np.bincount(cell(pos)[hazard == of], minlength=20) / (hazard == of).sum()
            np.testing.assert_allclose(np.delete(share, of), 1 / 19, atol=0.022)


def fewest_steps(env: Env, start: State) -> int:
    """Steps of the fastest win without a crash, by breadth-first search over states."""
    joint = jnp.array(list(itertools.product(range(5), repeat=env.spec.n_agents)))
    expand = jax.jit(jax.vmap(lambda state: jax.vmap(env.step, (None, None, 0))(KEY, state, joint)))
    name = lambda state: tuple(np.concatenate([np.ravel(state.agent_pos), state.carrying, state.parcel_state]).tolist())
    seen, frontier = {name(start)}, [jax.device_get(start)]
    for steps in range(1, env.spec.horizon + 1):
        size = -len(frontier) % 64  # padded, so that few shapes are compiled
        stacked = jax.tree.map(lambda *x: np.stack(x), *frontier, *[frontier[0]] * size)
        step = jax.device_get(expand(stacked))
        fine = ~step.state.crashed.any(-1)
        if (fine & (step.state.parcel_state == DELIVERED).all(-1)).any():
            return steps
        after = (jax.tree.map(lambda x: x[i, j], step.state) for i, j in np.argwhere(fine))  # noqa: B023
        frontier = [state for state in after if not (name(state) in seen or seen.add(name(state)))]
    raise AssertionError("no way to win")


def test_by_search_every_start_of_a_small_game_can_be_won_so_that_the_best_return_is_1():
    env = make("couriers", n_agents=2, rows=3, cols=3, n_parcels=1, n_hazards=1, horizon=12)
    for seed in range(4):
        start = env.reset(jax.random.key(seed))
        way = jnp.abs(start.agent_pos - start.parcel_pos).sum(-1).min() + jnp.abs(
            start.parcel_pos - start.destination
        ).sum(-1)
        assert int(way[0]) <= fewest_steps(env, start) <= 12


@pytest.mark.slow
def test_by_search_starts_of_the_default_game_can_be_won_in_less_than_half_of_its_horizon():
    env = make("couriers")
    found = [fewest_steps(env, env.reset(jax.random.key(seed))) for seed in range(4)]
    assert 0 < min(found) <= max(found) < env.spec.horizon / 2


def test_an_agent_sees_ways_and_its_own_load_alone():
    state = place([(0, 0), (2, 4)], parcels=[(2, 4)], carrying=[NONE, 0])
    view = make("couriers", rows=5, cols=5, n_parcels=1, n_hazards=1).view(state)
    assert (view.obs[0] * 4).tolist() == [0, 0, 0, 2, 4, 0, 0, 4, 3, 3, 3, 2, 4]
    assert (view.obs[1] * 4).tolist() == [2, 4, 4, 0, 0, 0, 0, 2, -1, 1, -1, -2, -4]
    assert view.fields["carrying"].tolist() == [NONE, 0]


def test_other_agents_are_seen_the_next_by_number_first():
    view = jax.jit(make("couriers", n_agents=3, rows=5, cols=5, n_parcels=1, n_hazards=1).view)
    ways = view(place([(0, 0), (0, 1), (0, 2)])).obs[:, -4:]
    assert (ways * 4).tolist() == [[0, 1, 0, 2], [0, 1, 0, -1], [0, -2, 0, -1]]


def test_notable_states_are_what_they_say():
    env = make("couriers")
    assert env.notable is not None
    assert env.won is not None
    assert env.crashed is not None
    found = jax.jit(env.notable)(KEY)
    assert [p for p, state in found.items() if env.won(state)] == ["in which every parcel is delivered"]
    assert [p for p, state in found.items() if env.crashed(state)] == ["in which all agents crashed"]
    assert found["in which one parcel is left"].parcel_state.tolist() == [WAITS, DELIVERED]
    carried = found["in which all agents carry parcels"]
    assert carried.carrying.tolist() == [0, 1]
    assert carried.parcel_state.tolist() == [CARRIED, CARRIED]
    assert carried.parcel_pos.tolist() == carried.agent_pos.tolist()


def test_the_scene_has_north_at_the_top_and_marks_who_crashed():
    env = make("couriers", n_agents=2, rows=5, cols=5, n_parcels=1, n_hazards=1)
    state = place([(0, 0), (4, 1)], carrying=[0, NONE], parcels=[(0, 0)])._replace(crashed=jnp.array([False, True]))
    shapes = env.scene(state).shapes
    assert {shape.agent: shape.center for shape in shapes if shape.agent is not None} == {0: (0.5, 4.5), 1: (1.5, 0.5)}
    assert [shape.center for shape in shapes if shape.color == "tab:red"] == [(1.5, 0.5)]
    assert [shape.center for shape in shapes if shape.color == "dimgray"] == [(3.5, 1.5)]
    assert [shape.label for shape in shapes if shape.color == "tab:green"] == ["0"]
    (parcel,) = (shape for shape in shapes if shape.color == "tab:orange")
    assert parcel.center != (0.5, 4.5)  # beside its carrier's number


def test_bad_options_are_one_sentence():
    for options, sentence in (
        ({"rows": 1}, "couriers: rows must be an integer of at least 2, got 1"),
        ({"cols": 101}, "couriers: cols must be an integer of at most 100, got 101"),
        ({"n_hazards": 5}, "n_hazards must be at most 4 on a grid of 6x6, which are off the border and not adjacent"),
        ({"rows": 3, "cols": 3, "n_hazards": 1, "n_agents": 5}, "5 agents, 2 parcels and as many destinations need 9"),
        ({"crash_cost": -1}, "crash_cost must be a number from 0 to 1000, got -1"),
        ({"crash_ends": 1}, "crash_ends must be True or False, got 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make("couriers", **options)


@pytest.mark.thorough
def test_the_smallest_game_keeps_the_contract():
    check_env(make("couriers", n_agents=1, n_hazards=0, n_parcels=1, rows=2, cols=2))
