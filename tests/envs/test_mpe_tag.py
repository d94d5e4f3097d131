"""Tag: numbers made by hand, and what must hold in any state. What all tasks keep is in test_mpe_tasks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import KEY, LEFT, NONE, any_actions, assert_shown, assert_sound, close, compiled, grid, player

from qllm_envs import make, mpe_tag
from qllm_envs._mpe import physics
from qllm_envs.mpe_tag import State

FAR = ((5.0, 5.0), (6.0, 6.0))  # obstacles out of the way
tag = partial(compiled, "mpe_tag")


def place(agent_pos, prey_pos, obstacle_pos=FAR):
    agents, prey, obstacles = (jnp.array(pos, jnp.float32) for pos in (agent_pos, prey_pos, obstacle_pos))
    return State(agents, jnp.zeros_like(agents), prey, jnp.zeros(2), obstacles, jnp.int32(0))


def test_each_touch_pays_10_to_each_predator():
    # Two of three predators are nearer than 0.125. Positions move by the old velocity, so the first step changes none.
    state = place([[0.12, 0], [0, -0.12], [0, 0.13]], [0, 0])
    close(tag(3).step(KEY, state, jnp.zeros(3, jnp.int32)).reward, 2 * 10 * 3)
    close(tag(3).step(KEY, state._replace(prey_pos=jnp.ones(2)), jnp.zeros(3, jnp.int32)).reward, 0)


def test_a_predator_sees_what_mpe2_shows_it():
    state = place([[0, 0], [1, 2]], [3, 4], [[5, 6], [7, 8]])._replace(
        agent_vel=jnp.array([[0.1, 0.2], [0.3, 0.4]]), prey_vel=jnp.array([0.5, 0.6])
    )
    first = [0.1, 0.2, 0, 0, 5, 6, 7, 8, 1, 2, 3, 4, 0.5, 0.6]
    second = [0.3, 0.4, 1, 2, 4, 4, 6, 6, -1, -2, 2, 2, 0.5, 0.6]
    close(tag(2).view(state).obs, [first, second])
    close(mpe_tag.prey_obs(state), [0.5, 0.6, 3, 4, 2, 2, 4, 4, -3, -4, -2, -2])


@pytest.mark.parametrize(("acceleration", "top", "prey_action"), [(3.0, 1.0, NONE), (4.0, 1.3, LEFT)])
def test_predators_and_prey_have_their_own_thrust_and_top_speed(acceleration, top, prey_action):
    state, actions = place([[0, 0]], [3, 3]), jnp.array([LEFT])
    speeds = []
    for _ in range(12):
        state = mpe_tag.move(state, actions, jnp.int32(prey_action))
        speeds.append(-float((state.agent_vel[0] if prey_action == NONE else state.prey_vel)[0]))
    close(speeds[0], 0.1 * acceleration)
    close(speeds[1], 0.1 * acceleration * 1.75)
    close(speeds[-1], top)


def test_an_obstacle_pushes_a_predator_and_stays():
    # 0.01 inside: the softened contact gives a force of 100 * 0.01, and a tenth of it as speed in a step.
    state = place([[0.265, 0]], [3, 3], [[0, 0], [6, 6]])
    after = tag(1).step(KEY, state, jnp.array([NONE])).state
    close(after.agent_vel, [[0.1, 0]])
    np.testing.assert_array_equal(after.obstacle_pos, state.obstacle_pos)


def test_things_start_where_mpe2_starts_them():
    states = jax.vmap(tag(3).reset)(jax.random.split(KEY, 2000))
    for pos, bound in ((states.agent_pos, 1.0), (states.prey_pos, 1.0), (states.obstacle_pos, 0.9)):
        assert bound - 0.01 < jnp.abs(pos).max() <= bound
        assert jnp.abs(pos.mean(0)).max() < 0.06
    assert not states.agent_vel.any()
    assert not states.prey_vel.any()


def test_the_reward_sentence_has_the_numbers():
    assert "30 for each agent that touches it." in make("mpe_tag").spec.reward
    assert "touches it, and 0 at step 9." in make("mpe_tag", horizon=9, drop_last_reward=True).spec.reward


@st.composite
def plays(draw):
    n = draw(st.integers(1, 5))
    state = place(grid(draw, 9, n, 2), grid(draw, 9, 2), grid(draw, 9, 2, 2))
    opponent = draw(st.sampled_from(["heuristic", "random"] + ["trained"] * (n == 3)))
    return n, opponent, state, any_actions(draw, n)


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_play_is_finite_within_its_bounds_and_seen_as_it_is(play):
    n, opponent, start, actions = play
    steps, views = player("mpe_tag", n, opponent=opponent)(start, jnp.asarray(actions))
    assert_sound(tag(n), steps, views)
    touching = np.linalg.norm(steps.state.agent_pos - steps.state.prey_pos[:, None], axis=-1) < 0.125
    np.testing.assert_array_equal(steps.reward, 10 * n * touching.sum(1))
    for name in tag(n).spec.fields:
        np.testing.assert_array_equal(views.fields[name], getattr(steps.state, name))
    seen = np.asarray(views.obs[..., 4:-2]).reshape(25, n, n + 2, 2) + np.asarray(steps.state.agent_pos)[:, :, None]
    for i in range(n):
        others = np.delete(np.asarray(steps.state.agent_pos), i, axis=1)
        prey = np.asarray(steps.state.prey_pos)[:, None]
        close(seen[:, i], np.concatenate([steps.state.obstacle_pos, others, prey], axis=1))


def test_the_scene_shows_predators_by_number_the_prey_in_red_and_obstacles_in_gray():
    scene = tag(2).scene(place([[0, 0], [-7, 2]], [1, 1]))
    assert_shown(scene, (0, 0), (-7, 2))
    assert [shape.color for shape in scene.shapes if shape.agent is None] == ["gray", "gray", "tab:red"]
    assert [shape.center for shape in scene.shapes if shape.label == "prey"] == [(1, 1)]


def test_top_speed_holds_to_the_last_bit_in_any_direction():
    # Scaling to a length can round up along an axis, and a field's range is exact.
    vel = jax.random.normal(KEY, (1000, 2)) * jnp.array([[3.0, 0.0]])
    _, limited = physics.integrate(vel, vel, vel, mpe_tag.PREY_MAX_SPEED)
    assert (jnp.abs(limited) <= mpe_tag.PREY_MAX_SPEED).all()
