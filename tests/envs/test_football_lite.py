"""Facts of the football environment: the ball, possession, kicks, ends and rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qllm_envs
from qllm_envs._football import ball as balls
from qllm_envs._football import buttons, constants, control, game, kick, movement, referee
from qllm_envs._football.state import CONCEDED, GOAL, LOST, OUT, RUNNING, Ball, Control, State, table

NAMES = tuple(constants.SCENARIOS)
THREE, SHOOT, COUNTER = NAMES
RULES, TEAMS = constants.rules(THREE, 150), constants.rules(COUNTER, 150)
RIGHT_KEY, SHORT_PASS, SHOT, RELEASE = 5, 11, 12, 14
LONG = 10  # steps of a call of `play`
FLY = jax.jit(lambda ball: jax.lax.scan(lambda b, _: (balls.step(b), b), ball, None, length=100)[1])
START = constants.start_positions(THREE)[1]
THROWN = Ball(jnp.array([0.0, 0.0, 3.0]), jnp.array([10.0, 0.0, 2.0]), jnp.zeros(3))


@jax.jit
def play(key, start: State, actions) -> tuple[State, jax.Array]:
    """States after each of some steps with actions (LONG, N), and their rewards. One program for all tests."""

    def one(state, given):
        step = game.step(RULES, given[0], state, given[1])
        return step.state, (step.state, step.reward)

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
            states = jax.device_get(play(jax.random.key(100 * seed + part), state, actions)[0])
            state = jax.tree.map(lambda leaf: leaf[-1], states)
            parts.append(states)
        states = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        stop = int(np.argmax(np.append(states.ended, GOAL) != RUNNING)) + 1
        found.append(jax.tree.map(lambda leaf, stop=stop: leaf[:stop], states))
    return found


PLACED = jax.jit(lambda pos, ball: game.placed(RULES, pos, jnp.zeros_like(pos), jnp.eye(1, 2).repeat(6, 0), ball))


def placed(ball: Ball, **changed) -> State:
    """A state of 3v1 with all players but agent 1 far from the ball, and that one half a meter behind it."""
    pos = jnp.array([[-55.0, 0], [0, 0], [10, 30], [10, -30], [55, 0], [-50, 30]])
    pos = pos.at[1].set(ball.pos[:2] - jnp.array([0.5, 0.0]))
    return PLACED(pos, ball)._replace(**changed)


def at(x: float, y: float, z: float = constants.BALL_RADIUS, vx: float = 0.0) -> Ball:
    return Ball(jnp.array([x, y, z]), jnp.array([vx, 0.0, 0.0]), jnp.zeros(3))


def test_in_the_air_the_ball_falls_as_gravity_and_drag_say():
    flight = FLY(THROWN)
    after = 50  # of 10 ms; it does not touch the ground before
    seconds = after * constants.TICK
    height = 3.0 + 2.0 * seconds - 0.5 * balls.GRAVITY * seconds**2
    assert flight.pos[after, 2] == pytest.approx(height, abs=0.06)  # drag is small
    along = np.log(1 + balls.DRAG * 10.0 * seconds) / balls.DRAG  # of dv/dt = -k v^2
    assert flight.pos[after, 0] == pytest.approx(along, abs=0.06)


def test_a_bounce_keeps_the_share_of_speed_of_the_engine():
    flight = jax.device_get(FLY(THROWN._replace(vel=jnp.zeros(3))))
    hit = int(np.argmax(flight.vel[:, 2] > 0))
    fell = -flight.vel[hit - 1, 2] + balls.GRAVITY * constants.TICK
    assert flight.vel[hit, 2] == pytest.approx(fell * balls.BOUNCE - balls.LINEAR_BOUNCE, abs=0.05)


def test_a_post_throws_the_ball_back():
    flight = FLY(Ball(jnp.array([54.0, 3.7, 0.5]), jnp.array([20.0, 0.0, 0.0]), jnp.zeros(3)))
    assert flight.vel[-1, 0] < 0
    assert flight.pos[:, 0].max() < constants.HALF_LENGTH


def test_a_coarse_prediction_is_near_the_ball():
    predicted, times = balls.predict(THROWN)
    exact = FLY(THROWN).pos
    near = [float(jnp.abs(predicted[i] - exact[round(float(times[i]) * 100)]).max()) for i in (5, 10, 15)]
    assert max(near) < 0.6


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
    states, _ = play(jax.random.key(0), placed(at(20.0, 0.0)), pressed(1, action))
    speeds = np.linalg.norm(states.ball.vel, axis=-1)
    assert speeds[: steps - 1].max() < 5.0 < 10.0 < speeds[steps - 1]
    assert states.last_touch[-1, 0] == 1


def test_a_direction_stays_pressed_until_it_is_released():
    states, _ = play(jax.random.key(0), placed(at(20.0, 0.0)), pressed(2, RIGHT_KEY))
    assert states.vel[-1, 2, 0] == pytest.approx(constants.WALK, abs=0.1)
    still, _ = play(jax.random.key(1), jax.tree.map(lambda leaf: leaf[-1], states), pressed(2, RELEASE))
    assert float(jnp.abs(still.vel[-1, 2]).max()) < 0.1


def test_no_kick_is_buffered_by_a_player_who_is_far_later_at_the_ball_than_an_opponent():
    far, near = jnp.array([0.3, 0.3]), jnp.array([0.9, 1.2])
    actions = jnp.array([SHOT, SHOT])
    assert buttons.press(buttons.none(2), actions, far, jnp.zeros(2, bool)).kick.tolist() == [0, 0]
    assert buttons.press(buttons.none(2), actions, near, jnp.zeros(2, bool)).kick.tolist() == [4, 4]


def test_a_pass_goes_to_the_mate_in_the_held_direction():
    pos = jnp.array([[-55.0, 0], [0, 0], [10, 10], [10, -10]])
    for aim, mate in ((jnp.array([0.0, 1.0]), 2), (jnp.array([0.0, -1.0]), 3), (jnp.array([-1.0, 0.0]), 0)):
        target = kick.pass_target(jnp.int32(1), jnp.int32(1), pos, jnp.zeros((4, 2)), aim, jnp.float32(0.04))
        assert jnp.allclose(target, pos[mate] - pos[1], atol=1e-3)


def test_a_held_direction_aims_a_shot_at_that_side_of_the_goal():
    pos = jnp.array([40.0, 0.0])
    ways = [kick.shot_direction(pos, jnp.zeros(2), jnp.array(aim)) for aim in ([1.0, 0.0], [0.0, 1.0], [0.0, -1.0])]
    heights = [float(15.0 * way[1] / way[0]) for way in ways]
    assert heights == pytest.approx([0.0, 0.9 * constants.GOAL_HALF_WIDTH, -0.9 * constants.GOAL_HALF_WIDTH], abs=1e-3)


@pytest.mark.parametrize(
    ("x", "y", "ended"),
    [(55.3, 1.0, GOAL), (-55.3, 1.0, CONCEDED), (55.3, 5.0, OUT), (20.0, 36.3, OUT), (54, 1, RUNNING)],
)
def test_the_referee_sees_goals_and_the_ball_over_a_line(x: float, y: float, ended: int):
    assert referee.whistle(at(x, y), jnp.int32(RUNNING)) == ended


def test_possession_is_lost_when_the_other_team_owns_the_ball_and_not_before():
    state = placed(at(0.0, 0.0))
    mine = state._replace(owner_team=jnp.int32(0), last_owner_team=jnp.int32(0))
    nobodys = referee.judged(mine._replace(owner_team=jnp.int32(-1)))
    assert (nobodys.ended, nobodys.last_owner_team) == (RUNNING, 0)
    assert referee.judged(nobodys._replace(owner_team=jnp.int32(1))).ended == LOST
    assert referee.judged(state._replace(owner_team=jnp.int32(1))).ended == RUNNING


@pytest.mark.parametrize("scenario", NAMES)
def test_a_goal_makes_twice_the_number_of_agents_over_an_episode(scenario: str):
    env = qllm_envs.make("football_lite", scenario=scenario)
    n, state = env.spec.n_agents, env.reset(jax.random.key(0))
    one, other = constants.rules(scenario, 150).agents[1:3]
    total = 0.0
    for x, y, owner, ended in (
        (30.0, 0.0, one, RUNNING),
        (45.0, 3.0, one, RUNNING),
        (40.0, 0.0, other, RUNNING),
        (55.3, 0.0, -1, GOAL),
    ):
        state = state._replace(
            ball=at(x, y), owner=jnp.int32(owner), owner_team=jnp.int32(min(owner, 0)), ended=jnp.int32(ended)
        )
        state, reward = referee.rewarded(state)
        total += float(reward)
    assert total == pytest.approx(2 * n)


def test_only_the_owner_collects_checkpoints_and_each_once():
    state = placed(at(45.0, 0.0), owner=jnp.int32(2), owner_team=jnp.int32(0))
    state, first = referee.rewarded(state)
    distance = 1 - 45.0 / 54.4
    passed = int((0.99 - distance) / (0.8 / 9)) + 1
    assert first == pytest.approx(0.1 * passed)
    assert state.checkpoints.tolist() == [0, 0, passed, 0]
    assert referee.rewarded(state)[1] == 0


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"scenario '11_vs_11' does not exist: choose from academy_3_vs_1"):
        qllm_envs.make("football_lite", scenario="11_vs_11")
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1"):
        qllm_envs.make("football_lite", horizon=0)


def test_sticky_buttons_and_the_buffer_are_hidden():
    env = qllm_envs.make("football_lite")
    state = placed(at(20.0, 0.0))
    pads = state.buttons._replace(
        held=state.buttons.held + 5, sprint=~state.buttons.sprint, kick=state.buttons.kick + 4
    )
    for seen, other in zip(
        jax.tree.leaves(env.view(state)), jax.tree.leaves(env.view(state._replace(buttons=pads))), strict=True
    ):
        assert jnp.array_equal(seen, other)


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
    states, rewards = play(jax.random.key(0), state, np.tile(np.array(actions, np.int32), (LONG, 1)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((states, rewards)))


@pytest.mark.parametrize("held", range(1, 9))
def test_a_kick_against_the_direction_held_is_finite(held: int):
    """A rounded product of opposite directions may be below -1."""
    state = placed(at(0.0, 0.0))
    direction = jnp.asarray(buttons.DIRECTIONS)[held]
    facing = jnp.broadcast_to(-direction / jnp.linalg.norm(direction) * 1.000001, state.facing.shape)
    pads = state.buttons._replace(held=jnp.full_like(state.buttons.held, held))
    state = state._replace(facing=facing, vel=4.0 * facing, buttons=pads, windup=jnp.full_like(state.windup, 3))
    states, _ = play(jax.random.key(0), state, pressed(1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))


@pytest.fixture(scope="module")
def kickoff() -> State:
    """The start of the task in which four of eleven players are agents."""
    return qllm_envs.make("football_lite", scenario=COUNTER).reset(jax.random.key(0))


def controlled(state: State) -> list[int]:
    """The players whom the agents control."""
    assert state.control is not None
    return state.control.player.tolist()


def at_the_ball(state: State, player: int) -> State:
    """The state in which a player of the left team has the ball alone, after control has hopped if it does."""
    has = jnp.zeros((TEAMS.n_players,), bool).at[player].set(True)
    state = state._replace(designated=state.designated.at[0].set(player), on_ball=jnp.int32(player))
    assert state.control is not None
    return control.hopped(TEAMS, state, state.control, has)


def test_control_hops_to_the_player_at_the_ball_who_takes_over_the_pad(kickoff: State):
    state = kickoff._replace(buttons=kickoff.buttons._replace(held=kickoff.buttons.held.at[5].set(RIGHT_KEY)))
    first = at_the_ball(state, 9)
    assert controlled(first) == [9, 6, 7, 8]
    assert (first.buttons.held[9], first.buttons.held[5]) == (RIGHT_KEY, 0)
    second = at_the_ball(first, 3)
    assert controlled(second) == [9, 3, 7, 8]  # another agent in turn
    for stays, player in ((second, 9), (second, 0)):  # he is controlled; the goalkeeper is never
        assert controlled(at_the_ball(stays, player)) == [9, 3, 7, 8]


def test_agents_are_the_players_that_they_control(kickoff: State):
    env = qllm_envs.make("football_lite", scenario=COUNTER)
    player = jnp.array([10, 3, 9, 8])
    state = kickoff._replace(owner=jnp.int32(9), owner_team=jnp.int32(0), control=Control(player, jnp.arange(4)))
    view = env.view(state)
    assert view.obs[:, 97:108].argmax(-1).tolist() == player.tolist()
    assert view.fields["agent_has_ball"].tolist() == [False, False, True, False]
    assert jnp.array_equal(view.fields["agent_pos"], state.pos[player])
    assert jnp.array_equal(view.fields["agent_role"], view.fields["team_role"][player])
    colors = {shape.agent for shape in env.scene(state).shapes}
    assert colors == {None, 0, 1, 2, 3}


@pytest.mark.thorough
def test_two_teams_of_eleven_play_on_by_themselves(kickoff: State):
    """Random actions of four agents; the players without one run, and press nothing."""
    step = jax.jit(lambda key, state, actions: game.step(TEAMS, key, state, actions))
    state = kickoff
    for t, actions in enumerate(np.random.default_rng(0).integers(0, 19, (20, 4))):
        state = step(jax.random.key(t), state, jnp.asarray(actions, jnp.int32)).state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    free = ~np.isin(np.arange(TEAMS.n_left), controlled(state))
    assert not np.asarray(state.buttons.held)[free].any()
    moved = np.linalg.norm(state.pos - kickoff.pos, axis=-1)
    assert (moved[:11][free] > 0.5).all()
    assert moved[12:].mean() > 5.0
    assert state.pos[0] == pytest.approx([-45.0, 0.0], abs=1.0)  # the own goalkeeper comes out


def test_a_table_is_interpolated_as_numpy_does_it():
    values = np.linspace(-1.0, 10.0, 200, dtype=np.float32)
    for at, of in ((movement.SPEEDS, movement.ACCELERATION), (movement.TURNS, movement.LEFT_SPEED)):
        assert table(jnp.asarray(values), at, of) == pytest.approx(np.interp(values, at, of), abs=1e-5)


def test_two_players_in_contact_are_pushed_apart_alike():
    pos = movement.kept_apart(jnp.array([[0.0, 0.0], [0.3, 0.4], [20.0, 0.0]]))
    way, overlap = np.array([0.6, 0.8]), movement.BODY - 0.5
    assert pos[0] == pytest.approx(-way * overlap / 2, abs=1e-6)
    assert pos[1] == pytest.approx(np.array([0.3, 0.4]) + way * overlap / 2, abs=1e-6)
    assert pos[2].tolist() == [20.0, 0.0]
