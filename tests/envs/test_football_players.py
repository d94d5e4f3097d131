"""Facts of single decisions and touches of football's players: pads, kicks, saves, runs, possession and tackles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from football_play import HIGH_PASS, LONG_PASS, RULES, SHORT_PASS, SHOT, at, each, placed

from qllm_envs._football import ball as balls
from qllm_envs._football import buttons, constants, contacts, defenders, keeper, kick, movement, reach
from qllm_envs._football.state import Buttons, State, table

PRESS = jax.jit(buttons.press)
TARGET = jax.jit(kick.pass_target)
KEPT_APART = jax.jit(movement.kept_apart)
STILL, FORWARD = jnp.zeros(2), jnp.array([1.0, 0.0])


def pressed(*actions: int, possession: float = 1.0, on_ball: bool = True) -> Buttons:
    """The pad of one player after each of some actions, time first."""
    pads, found = buttons.none(1), []
    for action in actions:
        pads = PRESS(pads, np.array([action]), np.array([possession], np.float32), np.array([on_ball]))
        found.append(pads)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def test_no_kick_is_buffered_by_a_player_who_is_far_later_at_the_ball_than_an_opponent():
    kicks = [pressed(SHOT, possession=possession, on_ball=False).kick[0] for possession in (0.3, 0.9, 1.2)]
    assert kicks == [0, constants.SHOT, constants.SHOT]


def test_sprint_and_dribble_stay_pressed_until_their_own_release():
    pads = pressed(13, 17, 14, 16, 15, 18)
    assert pads.sprint.tolist() == [True, True, True, True, False, False]
    assert pads.dribble.tolist() == [False, True, True, True, True, False]


def test_a_short_pass_takes_back_a_shot_and_a_high_pass_but_no_long_pass():
    kicks = [pressed(action, SHORT_PASS).kick[1] for action in (SHOT, HIGH_PASS, LONG_PASS)]
    assert kicks == [0, 0, constants.LONG_PASS]


def test_a_kick_that_waits_is_forgotten_after_2_s_or_when_the_ball_has_gone():
    pads = pressed(SHOT, *[0] * 21)

    def kept(steps: int, grown: float) -> int:
        return int(buttons.drop(jax.tree.map(lambda leaf: leaf[[steps]], pads), jnp.array([grown])).kick[0])

    assert [kept(19, 0.6), kept(19, 0.8), kept(21, 0.0)] == [constants.SHOT, 0, 0]


def test_strength_grows_while_the_button_of_a_kick_is_held():
    pads = pressed(*[SHOT] * 12)
    power = np.asarray(buttons.power(pads))
    assert power[0] == pytest.approx((0.1 - 0.06) / 0.94)  # 0.06 s do not count
    assert power[-3:].tolist() == [1.0] * 3
    assert buttons.released(pads).tolist() == [False] * 5 + [True] * 7  # held for more than half a second


def test_outside_of_the_pitch_nobody_runs_on_away_from_it():
    pos = np.array([[-56.0, 0.0], [-56.0, 0.0], [0.0, 37.0], [20.0, 0.0]])
    pads = buttons.none(4)._replace(held=np.array([1, 5, 4, 1]))  # left, right, top right, left
    way, speed = jax.jit(buttons.wanted)(pads, pos, np.tile([[0.0, -1.0]], (4, 1)))
    assert speed.tolist() == [0.0, constants.WALK, constants.WALK, constants.WALK]
    assert way == pytest.approx(np.array([[0, -1], [1, 0], [1, 0], [-1, 0]]), abs=1e-6)


def target(kind: int, pos: list[list[float]], aim: list[float], strength: float) -> np.ndarray:
    """Where the second of four players who stand plays a pass to."""
    aimed = np.array(aim, np.float32)
    return np.asarray(TARGET(np.int32(kind), np.int32(1), np.array(pos), np.zeros((4, 2)), aimed, strength))


def test_a_pass_goes_to_the_mate_in_the_held_direction():
    pos = [[-55.0, 0], [0, 0], [10, 10], [10, -10]]
    for aim, mate in (([0.0, 1.0], 2), ([0.0, -1.0], 3), ([-1.0, 0.0], 0)):
        assert target(constants.SHORT_PASS, pos, aim, 0.04) == pytest.approx(np.array(pos[mate]), abs=1e-3)


def test_a_long_pass_is_led_by_a_fifth_towards_the_goal():
    pos = [[-55.0, 0], [0, 0], [20, 0], [10, -30]]
    for kind, x in ((constants.SHORT_PASS, 20.0), (constants.HIGH_PASS, 20.0), (constants.LONG_PASS, 24.0)):
        assert target(kind, pos, [1.0, 0.0], 0.3) == pytest.approx([x, 0.0], abs=1e-3)


def test_a_high_pass_flies_higher_and_takes_a_runner_longer_to_play():
    play = lambda kind: kick.pass_ball(kind, 30 * FORWARD, at(0.0, 0.0), STILL, FORWARD, jnp.float32(0.0))[0]
    long, high = each(play, np.array([constants.LONG_PASS, constants.HIGH_PASS]))
    assert high[2] > 3 * long[2] > 0
    kinds = jnp.array([0, constants.SHORT_PASS, constants.LONG_PASS, constants.HIGH_PASS, constants.SHOT])
    stands, runs = each(lambda speed: kick.windup_of(kinds, jnp.full(5, speed)), np.array([1.0, 6.0]))
    assert (stands.tolist(), runs.tolist()) == ([0, 3, 3, 2, 2], [0, 3, 3, 5, 2])


def test_a_held_direction_aims_a_shot_at_that_side_of_the_goal():
    ways = each(
        lambda aim: kick.shot_direction(40 * FORWARD, STILL, aim), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1]])
    )
    sides = 0.9 * constants.GOAL_HALF_WIDTH * np.array([0, 1, -1])
    assert 15.0 * ways[:, 1] / ways[:, 0] == pytest.approx(sides, abs=1e-3)


def test_a_shot_across_the_way_of_a_runner_goes_astray_towards_that_way():
    shoot = lambda vel, way: kick.shoot(FORWARD, jnp.float32(0.5), at(0.0, 0.0), vel, way, jnp.zeros(7))[0][1]
    left, right, still = each(shoot, np.array([[0.0, 5], [0, -5], [0, 0]]), np.array([[0.0, 1], [0, -1], [1, 0]]))
    assert left > 2.0
    assert right < -2.0
    assert abs(still) < 1e-3


def test_the_keepers_hands_reach_neither_over_his_head_nor_beyond_his_box():
    def reaches(x: jax.Array, y: jax.Array, z: jax.Array, dive: jax.Array, keeper_x: jax.Array) -> jax.Array:
        pos = jnp.zeros((6, 2)).at[RULES.n_left, 0].set(keeper_x)
        return keeper.reaches(RULES, at(x, y, z, vx=20.0), pos, dive, jnp.float32(0.0))

    cases = {
        "beside him": ((51.5, 0.5, 1.0, 0.0, 52.0), True),
        "over his head": ((51.5, 0.5, 2.4, 0.0, 52.0), False),
        "too far to the side": ((51.5, 1.5, 1.0, 0.0, 52.0), False),
        "the same after half a second's dive": ((51.5, 1.5, 1.0, 0.5, 52.0), True),
        "17 m in front of the goal": ((38.0, 0.0, 1.0, 0.0, 38.0), False),
    }
    found = each(reaches, *np.array([case for case, _ in cases.values()]).T)
    assert dict(zip(cases, found.tolist(), strict=True)) == {name: wanted for name, (_, wanted) in cases.items()}


def test_the_keeper_holds_a_slow_ball_that_he_saw_coming_and_parries_others_away_from_goal():
    holds = lambda vx, since: keeper.holds(at(54.0, 0.0, 1.0, vx=vx), STILL, since)
    assert each(holds, np.array([10.0, 10, 35]), np.array([2.0, 0.05, 2.0])).tolist() == [True, False, False]
    away = each(lambda luck: keeper.parried(at(54.0, 0.0, 1.0, vx=25.0), STILL, luck), np.array([0.0, 1.0]))
    assert (away[:, 0] < -5.0).all()
    assert (away[:, 1] > 0).tolist() == [False, True]
    assert (away[:, 2] > 0).all()


def test_only_a_ball_that_will_be_in_the_goal_threatens_it():
    def threat(x: jax.Array, y: jax.Array, vel: jax.Array, pos: jax.Array) -> jax.Array:
        return keeper.threat(balls.predict(at(x, y)._replace(vel=vel))[0], pos).coming

    in_goal = [54.0, 0.0]
    cases = (
        ((40.0, 0.0, [25.0, 0.0, 0.0], in_goal), True),
        ((40.0, 0.0, [4.0, 0.0, 0.0], in_goal), False),  # it stops before the line
        ((40.0, 0.0, [25.0, 12.0, 0.0], in_goal), False),  # wide
        ((20.0, 30.0, [34.2, -29.3, 7.0], in_goal), False),  # too far off to concern him
        ((20.0, 30.0, [34.2, -29.3, 7.0], [45.0, 15.0]), True),
    )
    found = each(threat, *(np.array(given) for given in zip(*(case for case, _ in cases), strict=True)))
    assert found.tolist() == [wanted for _, wanted in cases]


def test_runs_are_at_the_nearest_of_the_speeds_of_players():
    speeds = defenders.quantized(jnp.array([1.7, 1.9, 4.1, 4.3, 5.9, 6.1, 9.0]))
    assert speeds == pytest.approx([0.0, 3.5, 3.5, 5.0, 5.0, 8.0, 8.0])


def test_the_ball_at_the_feet_is_near_low_as_fast_as_its_player_and_was_not_just_kicked():
    def has(x: jax.Array, z: jax.Array, ball_vx: jax.Array, vx: jax.Array, kicking: jax.Array) -> jax.Array:
        vel = jnp.array([[vx, 0.0]])
        return reach.has_ball(at(x, 0.0, z, ball_vx), jnp.zeros((1, 2)), vel, FORWARD[None], kicking[None])[0]

    cases = (
        ((0.5, 0.11, 0.0, 0.0, 0.0), True),
        ((1.5, 0.11, 0.0, 0.0, 0.0), False),
        ((0.5, 0.6, 0.0, 0.0, 0.0), False),
        ((0.5, 0.11, 0.0, 0.0, 0.1), False),
        ((0.5, 0.11, 10.0, 0.0, 0.0), False),
        ((0.5, 0.11, 10.0, 6.0, 0.0), True),
    )
    assert each(has, *np.array([case for case, _ in cases]).T).tolist() == [wanted for _, wanted in cases]


def test_possession_is_of_the_team_that_is_sooner_at_the_ball():
    time = jnp.array([5.0, 0.3, 1.0, 2.0, 0.8, 4.0])
    assert reach.possession(RULES, time) == pytest.approx([1 / 5.2, 1 / 0.5, 1 / 1.2, 1 / 2.2, 0.5, 0.5 / 4.2])
    free, held = each(lambda held: reach.fade(RULES, jnp.ones(2), time, held), np.array([False, True]))
    assert free[0] > 1.005
    assert free[1] < 0.995
    assert held.tolist() == [0.5, 1.5]


def test_who_goes_for_the_ball_is_kept_until_another_is_clearly_sooner():
    state = placed(at(0.0, 0.0), designated=jnp.array([1, 4], jnp.int32), on_ball=jnp.int32(1))
    cases = (
        ((9, 1.0, 0.9, 9, 2.0, 9), False, [1, 4], 1),
        ((9, 1.0, 0.5, 9, 2.0, 9), False, [2, 4], 2),
        ((9, 1.0, 0.9, 9, 2.0, 9), True, [2, 4], 2),  # player 2 has the ball
        ((9, 1.0, 9, 9, 0.9, 9), False, [1, 4], 1),  # nor from one team to the other
        ((9, 1.0, 9, 9, 0.8, 9), False, [1, 4], 4),
    )
    choose = lambda time, has: reach.designate(RULES, state, time, has & (jnp.arange(6) == 2))
    designated, on_ball = each(choose, np.array([case[0] for case in cases]), np.array([case[1] for case in cases]))
    assert designated.tolist() == [case[2] for case in cases]
    assert on_ball.tolist() == [case[3] for case in cases]


def test_a_table_is_interpolated_as_numpy_does_it():
    values = np.linspace(-1.0, 10.0, 200, dtype=np.float32)
    for speeds, of in ((movement.SPEEDS, movement.ACCELERATION), (movement.TURNS, movement.LEFT_SPEED)):
        assert table(jnp.asarray(values), speeds, of) == pytest.approx(np.interp(values, speeds, of), abs=1e-5)


def test_two_players_in_contact_are_pushed_apart_alike():
    pos = KEPT_APART(np.array([[0.0, 0.0], [0.3, 0.4], [20.0, 0.0]]))
    way, overlap = np.array([0.6, 0.8]), movement.BODY - 0.5
    assert pos[0] == pytest.approx(-way * overlap / 2, abs=1e-6)
    assert pos[1] == pytest.approx(np.array([0.3, 0.4]) + way * overlap / 2, abs=1e-6)
    assert pos[2].tolist() == [20.0, 0.0]


def test_players_are_kept_near_the_pitch():
    pos = KEPT_APART(np.array([[70.0, 0.0], [0.0, -50.0], [55.0, 36.0]]))
    assert pos.tolist() == [[58.0, 0.0], [0.0, -39.0], [55.0, 36.0]]


def plan(state: State, luck: Any, threat: bool = False) -> contacts.Plan:
    """Decisions to run on as they run and to hold nothing, with chance `luck` throughout."""
    return contacts.Plan(
        want=state.vel,
        aim=state.facing[: RULES.n_left],
        strength=jnp.zeros(RULES.n_left),
        threat=jnp.bool_(threat),
        luck=jnp.full((RULES.n_players, 3), luck),
        stray=jnp.float32(0.0),
        shot_luck=jnp.zeros(7),
    )


@jax.jit
def touched(state: State, luck: Any) -> State:
    """After a tick of touches, where agent 1 and opponent 1 go for the ball."""
    state = state._replace(designated=jnp.array([1, 5], jnp.int32))
    return contacts.controlled(RULES, plan(state, luck), state)


def test_a_defender_who_runs_into_the_ball_tackles_and_may_miss_or_stand():
    state = placed(at(0.0, 0.0), owner=np.int32(1), owner_team=np.int32(0), last_touch_team=np.int32(0))
    pos, facing, vel = np.array(state.pos), np.array(state.facing), np.zeros((6, 2), np.float32)
    pos[1], pos[5], facing[5] = (-5.0, 0.0), (0.3, 0.0), (-1.0, 0.0)
    stands = state._replace(pos=pos, facing=facing, vel=vel)
    runs = stands._replace(vel=vel + 4.0 * facing * (np.arange(6) == 5)[:, None])
    won = touched(runs, 0.5)
    assert (int(won.last_touch_team), int(won.last_touch[1])) == (1, 5)
    assert won.rest[5] == pytest.approx(contacts.TACKLE_REST)
    missed = touched(runs, 0.1)
    assert (int(missed.last_touch_team), missed.ball.vel.tolist()) == (0, [0, 0, 0])
    assert missed.rest[5] == pytest.approx(contacts.TACKLE_REST)  # he tried
    kept = touched(stands, 0.5)
    assert (int(kept.last_touch_team), float(kept.rest[5])) == (0, 0.0)


def test_a_player_who_winds_up_a_kick_does_not_touch_the_ball_before_it():
    state = placed(at(0.0, 0.0), last_touch_team=np.int32(1))
    winding = state._replace(windup=np.array([0, 2, 0, 0], np.int32))
    assert [int(touched(one, 0.0).last_touch_team) for one in (state, winding)] == [0, 1]


def test_a_save_puts_the_ball_into_the_hands_or_back_into_play():
    start = placed(at(53.8, 0.0, 1.0), since_touch=jnp.array([2.0, 10.0]), last_touch_team=jnp.int32(0))
    start = start._replace(pos=start.pos.at[4].set(jnp.array([54.3, 0.0])))

    def saved(vx: jax.Array, rest: jax.Array) -> State:
        state = start._replace(ball=at(53.8, 0.0, 1.0, vx), rest=start.rest.at[4].set(rest))
        return contacts.saved(RULES, plan(state, 0.5, threat=True), state)

    after = each(saved, np.array([8.0, 30.0, 30.0]), np.array([0.0, 0.0, 0.4]))
    assert after.held_by_keeper.tolist() == [True, False, False]
    assert after.last_touch_team.tolist() == [1, 1, 0]  # he rests from a save
    assert after.ball.vel[0].tolist() == [0, 0, 0]
    assert after.ball.vel[1, 0] < 0
    assert after.rest[1, 4] == pytest.approx(0.4)
