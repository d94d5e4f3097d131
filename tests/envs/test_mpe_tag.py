"""Tag: numbers made by hand, the end of an episode, bad options, what must hold in any state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qllm_envs import _mpe, check_env, make, mpe_tag
from qllm_envs.mpe_tag import State

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
NONE, LEFT, RIGHT, DOWN, UP = range(5)
FAR = ((5.0, 5.0), (6.0, 6.0))  # obstacles out of the way
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)


@functools.cache
def tag(n_agents, opponent="still", **options):
    """The environment with its functions compiled once for all tests."""
    env = make("mpe_tag", n_agents=n_agents, opponent=opponent, **options)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step), view=jax.jit(env.view))


@functools.cache
def player(n_agents, opponent, **options):
    """(state, actions (T, N)) -> steps and views, time first."""
    env = make("mpe_tag", n_agents=n_agents, opponent=opponent, **options)

    def turn(state, actions):
        step = env.step(jax.random.fold_in(KEY, state.t), state, actions)
        return step.state, (step, env.view(step.state))

    return jax.jit(lambda state, actions: jax.lax.scan(turn, state, actions)[1])


def place(agent_pos, prey_pos, obstacle_pos=FAR):
    agents, prey, obstacles = (jnp.array(pos, jnp.float32) for pos in (agent_pos, prey_pos, obstacle_pos))
    return State(agents, jnp.zeros_like(agents), prey, jnp.zeros(2), obstacles, jnp.int32(0))


@pytest.mark.parametrize("opponent", ["trained", "heuristic", "random", "still"])
def test_it_keeps_the_contract_against_any_opponent(opponent):
    check_env(make("mpe_tag", opponent=opponent))


def test_it_keeps_the_contract_with_the_papers_options():
    check_env(make("mpe_tag", opponent_action_order="paper", drop_last_reward=True))


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


@pytest.mark.parametrize("horizon", [1, 25])
def test_the_last_of_horizon_steps_is_truncated(horizon):
    steps, _ = player(3, "still", horizon=horizon)(tag(3).reset(KEY), jnp.ones((horizon, 3), jnp.int32))
    assert steps.truncated.tolist() == [False] * (horizon - 1) + [True]
    assert not steps.terminated.any()


def test_drop_last_reward_pays_24_of_25_steps_and_stays_where_it_was():
    # A predator sits in the prey and neither moves, so that each step pays; another glides far away.
    start, actions = place([[0, 0], [3, 3]], [0, 0]), jnp.zeros((25, 2), jnp.int32)
    start = start._replace(agent_vel=jnp.array([[0.0, 0.0], [1.0, 0.0]]))
    full, _ = player(2, "still")(start, actions)
    dropped, views = player(2, "still", drop_last_reward=True)(start, actions)
    assert full.reward.tolist() == [20] * 25
    assert dropped.reward.tolist() == [20] * 24 + [0]
    np.testing.assert_array_equal(views.obs[24], views.obs[23])
    assert dropped.state.t.tolist() == list(range(1, 26))


@pytest.mark.parametrize(("n_agents", "obs_dim", "state_dim"), [(1, 12, 12), (3, 16, 48), (6, 22, 132)])
def test_sizes_are_those_of_the_paper(n_agents, obs_dim, state_dim):
    spec = tag(n_agents).spec
    assert (spec.obs_dim, spec.state_dim, spec.n_actions, spec.horizon) == (obs_dim, state_dim, 5, 25)
    assert spec.task == f"mpe_tag_n{n_agents}"


def test_the_reward_sentence_has_the_numbers():
    assert "30 for each agent that touches it." in make("mpe_tag").spec.reward
    assert "touches it, and 0 at step 9." in make("mpe_tag", horizon=9, drop_last_reward=True).spec.reward


@st.composite
def plays(draw):
    """Positions on a grid with step 0.1, so that bodies in one place and contacts are common, and any actions."""
    n = draw(st.integers(1, 5))
    grid = lambda *shape: draw(hnp.arrays(np.int32, shape, elements=st.integers(-9, 9))) / 10
    state = place(grid(n, 2), grid(2), grid(2, 2))
    opponent = draw(st.sampled_from(["heuristic", "random"] + ["trained"] * (n == 3)))
    return n, opponent, state, draw(hnp.arrays(np.int32, (25, n), elements=st.integers(0, 4)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plays())
def test_any_play_is_finite_within_its_bounds_and_seen_as_it_is(play):
    n, opponent, start, actions = play
    steps, views = player(n, opponent)(start, jnp.asarray(actions))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((steps, views)))
    touching = np.linalg.norm(steps.state.agent_pos - steps.state.prey_pos[:, None], axis=-1) < 0.125
    np.testing.assert_array_equal(steps.reward, 10 * n * touching.sum(1))
    for name, field in tag(n).spec.fields.items():
        assert (field.low <= views.fields[name]).all()
        assert (views.fields[name] <= field.high).all()
        np.testing.assert_array_equal(views.fields[name], getattr(steps.state, name))
    np.testing.assert_array_equal(views.state, views.obs.reshape(25, -1))
    seen = np.asarray(views.obs[..., 4:-2]).reshape(25, n, n + 2, 2) + np.asarray(steps.state.agent_pos)[:, :, None]
    for i in range(n):
        others = np.delete(np.asarray(steps.state.agent_pos), i, axis=1)
        prey = np.asarray(steps.state.prey_pos)[:, None]
        close(seen[:, i], np.concatenate([steps.state.obstacle_pos, others, prey], axis=1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_agents": 0}, "mpe_tag: n_agents must be an integer of at least 1, got 0"),
        ({"horizon": 2.5}, "mpe_tag: horizon must be an integer of at least 1, got 2.5"),
        ({"drop_last_reward": 1}, "mpe_tag: drop_last_reward must be True or False, got 1"),
        ({"opponent": "stil"}, "mpe_tag: opponent 'stil' does not exist: did you mean 'still'? choose from "),
        ({"opponent": None}, "mpe_tag: opponent None does not exist: choose from heuristic, random, still, trained"),
        (
            {"opponent_action_order": "swapped"},
            "mpe_tag: opponent_action_order 'swapped' does not exist: choose from corrected, paper",
        ),
        (
            {"opponent": "random", "opponent_action_order": "paper"},
            "mpe_tag: opponent_action_order 'paper' needs opponent 'trained', got 'random'",
        ),
        (
            {"n_agents": 4},
            "mpe_tag: opponent 'trained' was trained for n_agents=3, not 4: choose opponent from heuristic",
        ),
    ],
)
def test_a_bad_value_is_named(options, sentence):
    with pytest.raises(ValueError, match=r"^mpe_tag: ") as caught:
        make("mpe_tag", **options)
    assert str(caught.value).startswith(sentence)


def test_the_scene_shows_predators_by_number_the_prey_in_red_and_obstacles_in_gray():
    scene = tag(2).scene(place([[0, 0], [-7, 2]], [1, 1]))
    agents = [shape for shape in scene.shapes if shape.agent is not None]
    assert [(shape.agent, shape.label, shape.center) for shape in agents] == [(0, "0", (0, 0)), (1, "1", (-7, 2))]
    assert [shape.color for shape in scene.shapes if shape.agent is None] == ["gray", "gray", "tab:red"]
    assert [shape.center for shape in scene.shapes if shape.label == "prey"] == [(1, 1)]
    x0, y0, x1, y1 = scene.bounds
    for shape in scene.shapes:
        (x, y), r = shape.center, shape.radius
        assert x0 <= x - r <= x + r <= x1
        assert y0 <= y - r <= y + r <= y1


def test_top_speed_holds_to_the_last_bit_in_any_direction():
    # Scaling to a length can round up along an axis, and a field's range is exact.
    vel = jax.random.normal(KEY, (1000, 2)) * jnp.array([[3.0, 0.0]])
    _, limited = _mpe.integrate(vel, vel, vel, mpe_tag.PREY_MAX_SPEED)
    assert (jnp.abs(limited) <= mpe_tag.PREY_MAX_SPEED).all()
