"""Facts of football's referee: goals, the ball out of play, lost possession, checkpoints and rewards."""

import jax
import jax.numpy as jnp
import pytest
from football_play import COUNTER, NAMES, at, placed, start

from qllm_envs._football import constants, referee
from qllm_envs._football.state import CONCEDED, GOAL, LOST, OUT, RUNNING

WHISTLE = jax.jit(lambda x, y, z, ended: referee.whistle(at(x, y, z), ended))
REWARDED = jax.jit(referee.rewarded)


@pytest.mark.parametrize(
    ("x", "y", "ended"),
    [(55.3, 1.0, GOAL), (-55.3, 1.0, CONCEDED), (55.3, 5.0, OUT), (20.0, 36.3, OUT), (54.0, 1.0, RUNNING)],
)
def test_the_referee_sees_goals_and_the_ball_over_a_line(x: float, y: float, ended: int):
    assert WHISTLE(x, y, constants.BALL_RADIUS, RUNNING) == ended


def test_a_ball_above_the_bar_is_out_and_one_that_is_not_over_a_line_with_all_of_it_is_in_play():
    assert WHISTLE(55.3, 1.0, 2.6, RUNNING) == OUT
    for x, y in ((55.1, 1.0), (-55.1, 9.0), (20.0, 36.1)):
        assert WHISTLE(x, y, constants.BALL_RADIUS, RUNNING) == RUNNING


def test_what_has_ended_stays_ended():
    assert WHISTLE(20.0, 0.0, constants.BALL_RADIUS, GOAL) == GOAL
    assert WHISTLE(55.3, 0.0, constants.BALL_RADIUS, OUT) == OUT


def test_possession_is_lost_when_the_other_team_owns_the_ball_and_not_before():
    state = placed(at(0.0, 0.0))
    mine = state._replace(owner_team=jnp.int32(0), last_owner_team=jnp.int32(0))
    nobodys = referee.judged(mine._replace(owner_team=jnp.int32(-1)))
    assert (nobodys.ended, nobodys.last_owner_team) == (RUNNING, 0)
    assert referee.judged(nobodys._replace(owner_team=jnp.int32(1))).ended == LOST
    assert referee.judged(state._replace(owner_team=jnp.int32(1))).ended == RUNNING


@pytest.mark.parametrize("scenario", NAMES)
def test_a_goal_makes_twice_the_number_of_agents_over_an_episode(scenario: str):
    state, (one, other) = start(scenario), constants.rules(scenario, 150).agents[1:3]
    n, total = len(state.checkpoints), 0.0
    for x, y, owner, ended in (
        (30.0, 0.0, one, RUNNING),
        (45.0, 3.0, one, RUNNING),
        (40.0, 0.0, other, RUNNING),
        (55.3, 0.0, -1, GOAL),
    ):
        state = state._replace(
            ball=at(x, y), owner=jnp.int32(owner), owner_team=jnp.int32(min(owner, 0)), ended=jnp.int32(ended)
        )
        state, reward = REWARDED(state)
        total += float(reward)
    assert total == pytest.approx(2 * n)


def test_only_the_owner_collects_checkpoints_and_each_once():
    state = placed(at(45.0, 0.0), owner=jnp.int32(2), owner_team=jnp.int32(0))
    state, first = REWARDED(state)
    distance = 1 - 45.0 / 54.4
    passed = int((0.99 - distance) / (0.8 / 9)) + 1
    assert first == pytest.approx(0.1 * passed)
    assert state.checkpoints.tolist() == [0, 0, passed, 0]
    assert REWARDED(state)[1] == 0


def test_a_goal_against_the_team_costs_each_agent_1():
    after, reward = REWARDED(placed(at(-55.3, 0.0), ended=jnp.int32(CONCEDED)))
    assert reward == -4
    assert after.checkpoints.tolist() == [0] * 4


def test_where_control_hops_the_agent_of_the_player_with_the_ball_collects_its_checkpoints():
    state = start(COUNTER)._replace(ball=at(45.0, 0.0), owner=jnp.int32(7), owner_team=jnp.int32(0))
    checkpoints = REWARDED(state)[0].checkpoints
    assert (checkpoints > 0).tolist() == [False, False, True, False]
    assert not REWARDED(state._replace(owner=jnp.int32(2)))[0].checkpoints.any()  # nobody's player
