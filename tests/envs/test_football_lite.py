"""Facts of whole steps of football: kicks, ownership, ends, what is seen and shown, notable states and options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from football_play import RELEASE, RIGHT_KEY, RULES, SHORT_PASS, SHOT, THREE, at, placed
from hypothesis import given, settings
from hypothesis import strategies as st

import qllm_envs
from qllm_envs import Env, Step
from qllm_envs._football import buttons, constants, game
from qllm_envs._football.state import CONCEDED, GOAL, LOST, OUT, RUNNING, Ball, State

LONG = 10  # steps of a call of `play`
START = constants.start_positions(THREE)[1]


@jax.jit
def play(key, start: State, actions) -> Step:
    """Some steps with actions (LONG, N). One program for all tests."""

    def one(state, given):
        step = game.step(RULES, given[0], state, given[1])
        return step.state, step

    return jax.lax.scan(one, start, (jax.random.split(key, LONG), actions))[1]


def pressed(agent: int, *actions: int) -> np.ndarray:
    """Actions (LONG, N) of one agent; all others, and it itself afterwards, do nothing."""
    table = np.zeros((LONG, RULES.n_left), np.int32)
    table[: len(actions), agent] = actions
    return table


@pytest.fixture(scope="module")
def episodes() -> list[State]:
    """Twelve episodes of random actions, up to their ends."""
    found = []
    for seed in range(12):
        state, parts = placed(at(34.0, 0.0))._replace(pos=START), []
        for part in range(15):
            actions = np.random.default_rng([seed, part]).integers(0, 19, (LONG, RULES.n_left))
            states = jax.device_get(play(jax.random.key(100 * seed + part), state, actions).state)
            state = jax.tree.map(lambda leaf: leaf[-1], states)
            parts.append(states)
        states = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        stop = int(np.argmax(np.append(states.ended, GOAL) != RUNNING)) + 1
        found.append(jax.tree.map(lambda leaf, stop=stop: leaf[:stop], states))
    return found


@pytest.mark.thorough
def test_the_ball_is_where_its_velocity_takes_it(episodes: list[State]):
    for states in episodes:
        moved = np.linalg.norm(np.diff(states.ball.pos[:, :2], axis=0), axis=-1)
        free = ~states.held_by_keeper[1:]
        speed = np.maximum(*(np.linalg.norm(states.ball.vel[s], axis=-1) for s in (slice(None, -1), slice(1, None))))
        assert (moved[free] <= 0.1 * np.maximum(speed, 35.0)[free] + 0.2).all()


@pytest.mark.thorough
def test_the_ball_has_one_owner_who_touched_it_last_and_is_near(episodes: list[State]):
    owned = 0
    for states in episodes:
        for t in np.flatnonzero(states.owner >= 0):
            owner, team = states.owner[t], states.owner_team[t]
            assert team == int(owner >= RULES.n_left)
            assert states.last_touch[t, team] == owner
            assert states.last_touch_team[t] == team
            assert np.linalg.norm(states.pos[t, owner] - states.ball.pos[t, :2]) < 1.6
            owned += 1
        assert (states.owner_team[states.owner < 0] == -1).all()
    assert owned > 20


@pytest.mark.thorough
def test_random_episodes_end_in_more_than_one_way(episodes: list[State]):
    ends = {int(states.ended[-1]) for states in episodes}
    assert len(ends & {RUNNING, LOST, OUT, GOAL, CONCEDED}) >= 2


@pytest.mark.parametrize(("action", "steps"), [(SHORT_PASS, 5), (SHOT, 4)])
def test_a_pass_leaves_in_the_fifth_step_and_a_shot_in_the_fourth(action: int, steps: int):
    states = play(jax.random.key(0), placed(at(20.0, 0.0)), pressed(1, action)).state
    speeds = np.linalg.norm(states.ball.vel, axis=-1)
    assert speeds[: steps - 1].max() < 5.0 < 10.0 < speeds[steps - 1]
    assert states.last_touch[-1, 0] == 1


def test_a_direction_stays_pressed_until_it_is_released():
    states = play(jax.random.key(0), placed(at(20.0, 0.0)), pressed(2, RIGHT_KEY)).state
    assert states.vel[-1, 2, 0] == pytest.approx(constants.WALK, abs=0.1)
    still = play(jax.random.key(1), jax.tree.map(lambda leaf: leaf[-1], states), pressed(2, RELEASE)).state
    assert float(jnp.abs(still.vel[-1, 2]).max()) < 0.1


def test_an_end_terminates_an_episode_and_the_limit_truncates_it():
    steps = play(jax.random.key(0), placed(at(52.5, 1.0, vx=20.0), t=jnp.int32(145)), pressed(1))
    assert steps.terminated.tolist() == (steps.state.ended != RUNNING).tolist() == [False] + [True] * 9
    assert steps.truncated.tolist() == [False] * 4 + [True] * 6


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"scenario '11_vs_11' does not exist: choose from academy_3_vs_1"):
        qllm_envs.make("football_lite", scenario="11_vs_11")
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1"):
        qllm_envs.make("football_lite", horizon=0)


@functools.cache
def task() -> Env:
    """3v1, its functions compiled once for all tests."""
    env = qllm_envs.make("football_lite")
    assert env.notable is not None
    return env._replace(view=jax.jit(env.view), notable=jax.jit(env.notable))


def test_sticky_buttons_and_the_buffer_are_hidden():
    env = task()
    state = placed(at(20.0, 0.0))
    pads = state.buttons._replace(
        held=state.buttons.held + 5, sprint=~state.buttons.sprint, kick=state.buttons.kick + 4
    )
    for seen, other in zip(
        jax.tree.leaves(env.view(state)), jax.tree.leaves(env.view(state._replace(buttons=pads))), strict=True
    ):
        assert jnp.array_equal(seen, other)


def test_what_is_seen_of_a_state_by_hand():
    """Of an opponent who has the ball: numbers in the units of the engine's observations."""
    state = placed(at(27.2, -8.36, 1.0, vx=5.44), owner=jnp.int32(5), owner_team=jnp.int32(1))
    state = state._replace(vel=state.vel.at[5].set(jnp.array([0.0, 8.36])))
    view = task().view(state)
    row = np.asarray(view.obs[2])
    pos, vel = row[16:20].reshape(2, 2), row[20:24].reshape(2, 2)  # of the two opponents
    assert pos == pytest.approx(np.array([[55 / 54.4, 0], [-50 / 54.4, -30 / 83.6]]), abs=1e-5)
    assert vel == pytest.approx(np.array([[0, 0], [0, -0.01]]), abs=1e-6)
    assert (row[24:88] == -1).all()
    assert row[88:97] == pytest.approx([0.5, 0.1, 1.0, 0.01, 0, 0, 0, 0, 1], abs=1e-6)
    assert row[97:108].argmax() == 2
    assert view.fields["ball_owner"] == 1  # among the opponents
    assert view.fields["ball_owner_team"] == 1
    assert not view.fields["agent_has_ball"].any()


def test_notable_states_show_what_they_say():
    env = task()
    assert env.notable is not None
    assert env.won is not None
    found = env.notable(jax.random.key(0))
    fields = {phrase: env.view(state).fields for phrase, state in found.items()}
    assert [phrase for phrase, state in found.items() if env.won(state)] == ["in which the ball is in the goal"]
    mine = fields["in which agent 1 has the ball in front of the goal"]
    assert mine["agent_has_ball"].tolist() == [False, True, False, False]
    assert mine["agent_goal_distance"][1] < 10
    assert fields["in which the agents' goalkeeper has the ball"]["agent_has_ball"].tolist() == [True] + [False] * 3
    theirs = fields["in which the opponents' goalkeeper holds the ball"]
    assert (int(theirs["ball_owner_team"]), int(theirs["ball_owner"])) == (1, 0)


def test_the_scene_shows_who_has_the_ball_in_orange():
    state = placed(at(20.0, 3.0), owner=jnp.int32(1), owner_team=jnp.int32(0))
    shapes = task().scene(state).shapes
    assert [shape.agent for shape in shapes if shape.color == "tab:orange"] == [1]
    assert [shape.center[0] for shape in shapes if shape.color == "tab:red"] == [55, -50]
    assert shapes[-1].center == pytest.approx((20.0, 3.0))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(-60, 60, width=32), min_size=12, max_size=12),
    st.lists(st.floats(-40, 40, width=32), min_size=9, max_size=9),
    st.lists(st.integers(0, 18), min_size=4, max_size=4),
)
def test_a_step_from_anywhere_is_finite(places: list[float], flight: list[float], actions: list[int]):
    ball = Ball(*jnp.array(flight).reshape(3, 3))
    pos = jnp.array(places).reshape(6, 2)
    state = placed(at(0.0, 0.0))._replace(pos=pos, ball=ball)
    steps = play(jax.random.key(0), state, np.tile(np.array(actions, np.int32), (LONG, 1)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(steps))


@pytest.mark.parametrize("held", range(1, 9))
def test_a_kick_against_the_direction_held_is_finite(held: int):
    """A rounded product of opposite directions may be below -1."""
    state = placed(at(0.0, 0.0))
    direction = jnp.asarray(buttons.DIRECTIONS)[held]
    facing = jnp.broadcast_to(-direction / jnp.linalg.norm(direction) * 1.000001, state.facing.shape)
    pads = state.buttons._replace(held=jnp.full_like(state.buttons.held, held))
    state = state._replace(facing=facing, vel=4.0 * facing, buttons=pads, windup=jnp.full_like(state.windup, 3))
    states = play(jax.random.key(0), state, pressed(1)).state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
