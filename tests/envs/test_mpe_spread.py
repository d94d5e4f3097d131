"""Spread: numbers made by hand, the end of an episode, bad options, and what must hold in any state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qllm_envs import _mpe, make
from qllm_envs.mpe_spread import State

KEY = jax.random.key(0)
NONE, LEFT, RIGHT, DOWN, UP = range(5)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@functools.cache
def spread(n_agents, **options):
    """The environment with its step and view compiled once for all tests."""
    env = make("mpe_spread", n_agents=n_agents, **options)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), view=jax.jit(env.view))


@functools.cache
def player(n_agents, **options):
    """(state, actions (T, N)) -> steps and views, time first."""
    env = make("mpe_spread", n_agents=n_agents, **options)

    def turn(state, actions):
        step = env.step(KEY, state, actions)
        return step.state, (step, env.view(step.state))

    return jax.jit(lambda state, actions: jax.lax.scan(turn, state, actions)[1])


def place(agent_pos, landmark_pos):
    agents, landmarks = jnp.array(agent_pos, jnp.float32), jnp.array(landmark_pos, jnp.float32)
    return State(agents, jnp.zeros_like(agents), landmarks, jnp.int32(0))


def test_one_agent_sees_6_numbers_and_pays_half_its_distance():
    env, state = spread(1), place([[0, 0]], [[3, 4]])
    np.testing.assert_array_equal(env.view(state).obs, [[0, 0, 0, 0, 3, 4]])
    close(env.step(KEY, state, jnp.array([NONE])).reward, -2.5)


def test_a_touching_pair_on_its_landmarks_costs_1_in_total():
    state = place([[0, 0], [0.2, 0]], [[0, 0], [0.2, 0]])
    # Positions move by the old velocity, so the first step changes none.
    close(spread(2).step(KEY, state, jnp.array([NONE, NONE])).reward, -1.0)


@pytest.mark.parametrize(("local_ratio", "reward"), [(0.0, -10.0), (0.25, -8.0), (1.0, -2.0)])
def test_local_ratio_is_the_weight_of_the_contacts(local_ratio, reward):
    # Coverage -5 is paid to both agents, and each has one contact.
    state = place([[0, 0], [0, 0.1]], [[0, 0], [5, 0.1]])
    close(spread(2, local_ratio=local_ratio).step(KEY, state, jnp.array([NONE, NONE])).reward, reward)


@pytest.mark.parametrize(
    ("action", "way"), [(NONE, (0, 0)), (LEFT, (-1, 0)), (RIGHT, (1, 0)), (DOWN, (0, -1)), (UP, (0, 1))]
)
def test_an_action_gives_half_a_unit_of_speed_and_moves_a_step_later(action, way):
    env, actions = spread(1), jnp.array([action])
    first = env.step(KEY, place([[0, 0]], [[1, 1]]), actions).state
    second = env.step(KEY, first, actions).state
    close(first.agent_pos, [[0, 0]])
    close(first.agent_vel, 0.5 * np.array([way]))
    close(second.agent_pos, 0.05 * np.array([way]))
    close(second.agent_vel, 0.875 * np.array([way]))


@pytest.mark.parametrize("horizon", [1, 25])
def test_the_last_of_horizon_steps_is_truncated_and_rewarded(horizon):
    state = spread(3).reset(KEY)
    steps, _ = player(3, horizon=horizon)(state, jnp.ones((horizon, 3), jnp.int32))
    assert steps.truncated.tolist() == [False] * (horizon - 1) + [True]
    assert not steps.terminated.any()
    assert (steps.reward < 0).all()


def test_drop_last_reward_pays_24_of_25_steps_and_stays_where_it_was():
    start, actions = spread(3).reset(KEY), jnp.ones((25, 3), jnp.int32)
    full, _ = player(3, horizon=25)(start, actions)
    dropped, views = player(3, drop_last_reward=True)(start, actions)
    assert int((dropped.reward != 0).sum()) == 24
    np.testing.assert_array_equal(dropped.reward[:24], full.reward[:24])
    np.testing.assert_array_equal(dropped.truncated, full.truncated)
    np.testing.assert_array_equal(views.obs[24], views.obs[23])
    np.testing.assert_array_equal(dropped.state.agent_vel[24], dropped.state.agent_vel[23])
    assert dropped.state.t.tolist() == list(range(1, 26))


def test_agents_in_one_place_give_finite_forces_and_gradients():
    pos = jnp.zeros((3, 2))
    assert not _mpe.contact_force(pos, pos, 0.3).any()
    assert jnp.isfinite(jax.jit(jax.jacobian(lambda pos: _mpe.contact_force(pos, pos, 0.3)))(pos)).all()


@pytest.mark.parametrize(
    ("n_agents", "obs_dim", "state_dim"), [(1, 6, 6), (6, 36, 216), (15, 90, 1350), (25, 150, 3750)]
)
def test_sizes_are_those_of_the_paper(n_agents, obs_dim, state_dim):
    spec = make("mpe_spread", n_agents=n_agents).spec
    assert (spec.obs_dim, spec.state_dim, spec.n_actions, spec.horizon) == (obs_dim, state_dim, 5, 25)


@st.composite
def plays(draw):
    """Positions on a grid with step 0.1, so that agents in one place and contacts are common, and any actions."""
    n = draw(st.integers(1, 8))
    grid = st.integers(-10, 10)
    agent_pos, landmark_pos = (draw(hnp.arrays(np.int32, (n, 2), elements=grid)) / 10 for _ in range(2))
    return n, place(agent_pos, landmark_pos), draw(hnp.arrays(np.int32, (25, n), elements=st.integers(0, 4)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_play_is_finite_never_rewarded_above_0_and_seen_as_it_is(play):
    n, start, actions = play
    steps, views = player(n)(start, jnp.asarray(actions))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((steps, views)))
    assert (steps.reward <= 0).all()
    pos, landmarks = np.asarray(steps.state.agent_pos), np.asarray(steps.state.landmark_pos)
    np.testing.assert_array_equal(landmarks, np.broadcast_to(start.landmark_pos, landmarks.shape))
    np.testing.assert_array_equal(views.state, views.obs.reshape(25, -1))
    np.testing.assert_array_equal(views.obs[..., :2], views.fields["agent_vel"])
    np.testing.assert_array_equal(views.obs[..., 2:4], views.fields["agent_pos"])
    seen = np.asarray(views.obs[..., 4 : 2 + 4 * n]).reshape(25, n, 2 * n - 1, 2) + pos[:, :, None]
    for i in range(n):
        close(seen[:, i], np.concatenate([landmarks, np.delete(pos, i, axis=1)], axis=1))
    assert not views.obs[..., 2 + 4 * n :].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "mpe_spread: n_agents must be an integer of at least 1, got 0"),
        ({"n_agents": "six"}, "mpe_spread: n_agents must be an integer of at least 1, got 'six'"),
        ({"n_agents": True}, "mpe_spread: n_agents must be an integer of at least 1, got True"),
        ({"n_agents": 3.0}, "mpe_spread: n_agents must be an integer of at least 1, got 3.0"),
        ({"horizon": -1}, "mpe_spread: horizon must be an integer of at least 1, got -1"),
        ({"horizon": None}, "mpe_spread: horizon must be an integer of at least 1, got None"),
        ({"local_ratio": 1.5}, "mpe_spread: local_ratio must be a number from 0 to 1, got 1.5"),
        ({"local_ratio": float("nan")}, "mpe_spread: local_ratio must be a number from 0 to 1, got nan"),
        ({"local_ratio": "half"}, "mpe_spread: local_ratio must be a number from 0 to 1, got 'half'"),
        ({"drop_last_reward": "yes"}, "mpe_spread: drop_last_reward must be True or False, got 'yes'"),
    ],
)
def test_a_bad_value_is_named(options, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        make("mpe_spread", **options)


def test_the_scene_shows_every_agent_by_number_inside_the_bounds():
    scene = make("mpe_spread", n_agents=2).scene(place([[0, 0], [-7, 2]], [[1, 1], [0, 0]]))
    agents = [shape for shape in scene.shapes if shape.agent is not None]
    assert [(shape.agent, shape.label, shape.center) for shape in agents] == [(0, "0", (0, 0)), (1, "1", (-7, 2))]
    assert len(scene.shapes) == 4
    x0, y0, x1, y1 = scene.bounds
    for shape in scene.shapes:
        (x, y), r = shape.center, shape.radius
        assert x0 <= x - r <= x + r <= x1
        assert y0 <= y - r <= y + r <= y1
