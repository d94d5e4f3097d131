"""Adversary: numbers made by hand, and what must hold in any state. What all tasks keep is in test_mpe_tasks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import KEY, LEFT, RIGHT, UP, any_actions, assert_shown, assert_sound, close, compiled, grid, player

from qllm_envs import mpe_adversary
from qllm_envs.mpe_adversary import State

deception = partial(compiled, "mpe_adversary")


def place(agent_pos, adversary_pos, landmark_pos, goal=0):
    agents, adversary, landmarks = (jnp.array(pos, jnp.float32) for pos in (agent_pos, adversary_pos, landmark_pos))
    return State(agents, jnp.zeros_like(agents), adversary, jnp.zeros(2), landmarks, jnp.int32(goal), jnp.int32(0))


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


@st.composite
def plays(draw):
    n = draw(st.integers(1, 4))
    state = place(grid(draw, 10, n, 2), grid(draw, 10, 2), grid(draw, 10, n, 2), draw(st.integers(0, n - 1)))
    opponent = draw(st.sampled_from(["heuristic", "random"] + ["trained"] * (n == 2)))
    return n, opponent, state, any_actions(draw, n)


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_play_is_finite_within_its_bounds_and_seen_as_it_is(play):
    n, opponent, start, actions = play
    steps, views = player("mpe_adversary", n, opponent=opponent)(start, jnp.asarray(actions))
    assert_sound(deception(n), steps, views)
    goal = np.asarray(start.landmark_pos[start.goal])
    agents, adversary = np.asarray(steps.state.agent_pos), np.asarray(steps.state.adversary_pos)
    distance = np.linalg.norm(agents - goal, axis=-1)
    close(steps.reward, n * (np.linalg.norm(adversary - goal, axis=-1) - distance.min(1)))
    seen = np.asarray(views.obs).reshape(25, n, 1 + 2 * n, 2) + agents[:, :, None]
    fixed = np.concatenate([goal[None], start.landmark_pos])
    for i in range(n):
        others = np.concatenate([adversary[:, None], np.delete(agents, i, axis=1)], axis=1)
        close(seen[:, i], np.concatenate([np.broadcast_to(fixed, (25, *fixed.shape)), others], axis=1))


def test_the_scene_shows_the_adversary_in_red_and_the_goal_in_green():
    scene = deception(2).scene(place([[0, 0], [-7, 2]], [4, 4], [[1, 1], [2, 2]], goal=1))
    assert_shown(scene, (0, 0), (-7, 2))
    others = [(shape.color, shape.center) for shape in scene.shapes if shape.agent is None]
    assert others == [("tab:red", (4, 4)), ("gray", (1, 1)), ("tab:green", (2, 2))]
