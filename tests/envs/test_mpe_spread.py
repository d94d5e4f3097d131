"""Spread: numbers made by hand, and what must hold in any state. What all tasks keep is in test_mpe_tasks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import (
    DOWN,
    KEY,
    LEFT,
    NONE,
    RIGHT,
    UP,
    any_actions,
    assert_shown,
    assert_sound,
    close,
    compiled,
    grid,
    player,
)

from qllm_envs import make
from qllm_envs._mpe import physics
from qllm_envs.mpe_spread import State

spread = partial(compiled, "mpe_spread")


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


def test_agents_in_one_place_give_finite_forces_and_gradients():
    pos = jnp.zeros((3, 2))
    assert not physics.contact_force(pos, pos, 0.3).any()
    assert jnp.isfinite(jax.jit(jax.jacobian(lambda pos: physics.contact_force(pos, pos, 0.3)))(pos)).all()


@st.composite
def plays(draw):
    n = draw(st.integers(1, 8))
    return n, place(grid(draw, 10, n, 2), grid(draw, 10, n, 2)), any_actions(draw, n)


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_play_is_finite_never_rewarded_above_0_and_seen_as_it_is(play):
    n, start, actions = play
    steps, views = player("mpe_spread", n)(start, jnp.asarray(actions))
    # The declared reach assumes that at most 4 others push an agent at once; here all can start in one place.
    assert_sound(spread(n), steps, views, in_reach=n <= 5)
    assert (steps.reward <= 0).all()
    pos, landmarks = np.asarray(steps.state.agent_pos), np.asarray(steps.state.landmark_pos)
    np.testing.assert_array_equal(landmarks, np.broadcast_to(start.landmark_pos, landmarks.shape))
    np.testing.assert_array_equal(views.obs[..., :2], views.fields["agent_vel"])
    np.testing.assert_array_equal(views.obs[..., 2:4], views.fields["agent_pos"])
    seen = np.asarray(views.obs[..., 4 : 2 + 4 * n]).reshape(25, n, 2 * n - 1, 2) + pos[:, :, None]
    for i in range(n):
        close(seen[:, i], np.concatenate([landmarks, np.delete(pos, i, axis=1)], axis=1))
    assert not views.obs[..., 2 + 4 * n :].any()


def test_the_scene_shows_every_agent_by_number_inside_the_bounds():
    scene = make("mpe_spread", n_agents=2).scene(place([[0, 0], [-7, 2]], [[1, 1], [0, 0]]))
    assert_shown(scene, (0, 0), (-7, 2))
    assert len(scene.shapes) == 4


@pytest.mark.parametrize("ratio", [1.5, float("nan"), "half"])
def test_a_bad_local_ratio_is_named(ratio):
    with pytest.raises(ValueError, match=f"^mpe_spread: local_ratio must be a number from 0 to 1, got {ratio!r}$"):
        make("mpe_spread", local_ratio=ratio)
