"""Adversary: numbers made by hand, the end of an episode, bad options, what must hold in any state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qllm_envs import check_env, make, mpe_adversary
from qllm_envs.mpe_adversary import State

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
NONE, LEFT, RIGHT, DOWN, UP = range(5)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@functools.cache
def deception(n_agents, opponent="still", **options):
    """The environment with its functions compiled once for all tests."""
    env = make("mpe_adversary", n_agents=n_agents, opponent=opponent, **options)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), view=jax.jit(env.view))


@functools.cache
def player(n_agents, opponent, **options):
    """(state, actions (T, N)) -> steps and views, time first."""
    env = make("mpe_adversary", n_agents=n_agents, opponent=opponent, **options)

    def turn(state, actions):
        step = env.step(jax.random.fold_in(KEY, state.t), state, actions)
        return step.state, (step, env.view(step.state))

    return jax.jit(lambda state, actions: jax.lax.scan(turn, state, actions)[1])


def place(agent_pos, adversary_pos, landmark_pos, goal=0):
    agents, adversary, landmarks = (jnp.array(pos, jnp.float32) for pos in (agent_pos, adversary_pos, landmark_pos))
    return State(agents, jnp.zeros_like(agents), adversary, jnp.zeros(2), landmarks, jnp.int32(goal), jnp.int32(0))


@pytest.mark.parametrize("opponent", ["trained", "heuristic", "random", "still"])
def test_it_keeps_the_contract_against_any_opponent(opponent):
    check_env(make("mpe_adversary", opponent=opponent))


def test_it_keeps_the_contract_with_the_papers_options():
    check_env(make("mpe_adversary", opponent_action_order="paper", drop_last_reward=True))


@pytest.mark.parametrize(("goal", "reward"), [(0, 2 * (5 - 1)), (1, 2 * (3 - 2))])
def test_each_agent_is_paid_how_much_nearer_to_the_goal_the_team_is(goal, reward):
    # Only the nearest agent counts, here agent 0 and then 1. The first step changes no position.
    state = place([[1, 0], [3, 3]], [3, 4], [[0, 0], [3, 1]], goal)
    close(deception(2).step(KEY, state, jnp.zeros(2, jnp.int32)).reward, reward)


def test_good_agents_see_the_goal_and_the_adversary_does_not():
    state = place([[0, 0], [1, 2]], [3, 4], [[5, 6], [7, 8]], goal=1)
    first = [7, 8, 5, 6, 7, 8, 3, 4, 1, 2]
    second = [6, 6, 4, 4, 6, 6, 2, 2, -1, -2]
    close(deception(2).view(state).obs, [first, second])
    its = mpe_adversary.adversary_obs(state)
    close(its, [2, 2, 4, 4, -3, -4, -2, -2])
    np.testing.assert_array_equal(its, mpe_adversary.adversary_obs(state._replace(goal=jnp.int32(0))))


def test_the_fields_hold_what_the_flat_state_holds_and_no_velocity():
    state = place([[0, 0], [1, 2]], [3, 4], [[5, 6], [7, 8]], goal=1)
    fast = state._replace(agent_vel=jnp.ones((2, 2)), adversary_vel=jnp.ones(2))
    view = deception(2).view(state)
    assert set(view.fields) == {"agent_pos", "adversary_pos", "goal_pos", "landmark_pos"}
    close(view.fields["goal_pos"], [7, 8])
    jax.tree.map(np.testing.assert_array_equal, view, deception(2).view(fast))


def test_bodies_pass_through_each_other():
    state = place([[0, 0], [0, 0]], [0, 0], [[0, 0], [0, 0]])
    after = mpe_adversary.move(state, jnp.array([LEFT, UP]), jnp.int32(RIGHT))
    close(after.agent_vel, [[-0.5, 0], [0, 0.5]])
    close(after.adversary_vel, [0.5, 0])


def test_things_start_where_mpe2_starts_them_and_any_landmark_is_the_goal():
    states = jax.vmap(deception(3).reset)(jax.random.split(KEY, 2000))
    for pos in (states.agent_pos, states.adversary_pos, states.landmark_pos):
        assert 0.99 < jnp.abs(pos).max() <= 1.0
        assert jnp.abs(pos.mean(0)).max() < 0.06
    share = np.bincount(states.goal) / 2000
    np.testing.assert_allclose(share, [1 / 3] * 3, atol=0.04)


@pytest.mark.parametrize("horizon", [1, 25])
def test_the_last_of_horizon_steps_is_truncated(horizon):
    steps, _ = player(2, "still", horizon=horizon)(deception(2).reset(KEY), jnp.ones((horizon, 2), jnp.int32))
    assert steps.truncated.tolist() == [False] * (horizon - 1) + [True]
    assert not steps.terminated.any()


def test_drop_last_reward_pays_24_of_25_steps_and_stays_where_it_was():
    start, actions = deception(2).reset(KEY), jnp.ones((25, 2), jnp.int32)
    full, _ = player(2, "trained")(start, actions)
    dropped, views = player(2, "trained", drop_last_reward=True)(start, actions)
    assert int((full.reward != 0).sum()) == 25
    np.testing.assert_array_equal(dropped.reward, np.append(full.reward[:24], 0))
    np.testing.assert_array_equal(views.obs[24], views.obs[23])
    np.testing.assert_array_equal(dropped.state.adversary_vel[24], dropped.state.adversary_vel[23])


@pytest.mark.parametrize(("n_agents", "obs_dim", "state_dim"), [(1, 6, 6), (2, 10, 20), (4, 18, 72)])
def test_sizes_are_those_that_the_papers_parameter_counts_give(n_agents, obs_dim, state_dim):
    spec = deception(n_agents).spec
    assert (spec.obs_dim, spec.state_dim, spec.n_actions, spec.horizon) == (obs_dim, state_dim, 5, 25)
    assert spec.task == f"mpe_adversary_n{n_agents}"


@st.composite
def plays(draw):
    """Positions on a grid with step 0.1, and any actions."""
    n = draw(st.integers(1, 4))
    grid = lambda *shape: draw(hnp.arrays(np.int32, shape, elements=st.integers(-10, 10))) / 10
    state = place(grid(n, 2), grid(2), grid(n, 2), draw(st.integers(0, n - 1)))
    opponent = draw(st.sampled_from(["heuristic", "random"] + ["trained"] * (n == 2)))
    return n, opponent, state, draw(hnp.arrays(np.int32, (25, n), elements=st.integers(0, 4)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_play_is_finite_within_its_bounds_and_seen_as_it_is(play):
    n, opponent, start, actions = play
    steps, views = player(n, opponent)(start, jnp.asarray(actions))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((steps, views)))
    goal = np.asarray(start.landmark_pos[start.goal])
    agents, adversary = np.asarray(steps.state.agent_pos), np.asarray(steps.state.adversary_pos)
    distance = np.linalg.norm(agents - goal, axis=-1)
    close(steps.reward, n * (np.linalg.norm(adversary - goal, axis=-1) - distance.min(1)))
    for name, field in deception(n).spec.fields.items():
        assert (field.low <= views.fields[name]).all()
        assert (views.fields[name] <= field.high).all()
    np.testing.assert_array_equal(views.state, views.obs.reshape(25, -1))
    seen = np.asarray(views.obs).reshape(25, n, 1 + 2 * n, 2) + agents[:, :, None]
    fixed = np.concatenate([goal[None], start.landmark_pos])
    for i in range(n):
        others = np.concatenate([adversary[:, None], np.delete(agents, i, axis=1)], axis=1)
        close(seen[:, i], np.concatenate([np.broadcast_to(fixed, (25, *fixed.shape)), others], axis=1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": "two"}, "mpe_adversary: n_agents must be an integer of at least 1, got 'two'"),
        ({"horizon": 0}, "mpe_adversary: horizon must be an integer of at least 1, got 0"),
        ({"drop_last_reward": None}, "mpe_adversary: drop_last_reward must be True or False, got None"),
        ({"opponent": "paper"}, "mpe_adversary: opponent 'paper' does not exist: choose from heuristic, random, still"),
        (
            {"opponent": "still", "opponent_action_order": "paper"},
            "mpe_adversary: opponent_action_order 'paper' needs opponent 'trained', got 'still'",
        ),
        (
            {"n_agents": 3},
            "mpe_adversary: opponent 'trained' was trained for n_agents=2, not 3: choose opponent from heuristic",
        ),
    ],
)
def test_a_bad_value_is_named(options, sentence):
    with pytest.raises(ValueError, match=r"^mpe_adversary: ") as caught:
        make("mpe_adversary", **options)
    assert str(caught.value).startswith(sentence)


def test_the_scene_shows_the_adversary_in_red_and_the_goal_in_green():
    scene = deception(2).scene(place([[0, 0], [-7, 2]], [4, 4], [[1, 1], [2, 2]], goal=1))
    agents = [shape for shape in scene.shapes if shape.agent is not None]
    assert [(shape.agent, shape.label, shape.center) for shape in agents] == [(0, "0", (0, 0)), (1, "1", (-7, 2))]
    others = [(shape.color, shape.center) for shape in scene.shapes if shape.agent is None]
    assert others == [("tab:red", (4, 4)), ("gray", (1, 1)), ("tab:green", (2, 2))]
    x0, y0, x1, y1 = scene.bounds
    for shape in scene.shapes:
        (x, y), r = shape.center, shape.radius
        assert x0 <= x - r <= x + r <= x1
        assert y0 <= y - r <= y + r <= y1
