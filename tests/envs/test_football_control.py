"""Facts of football with eleven players of whom four are agents: control that hops, and players without an agent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from football_play import COUNTER, RIGHT_KEY, TEAMS, each, start

import qllm_envs
from qllm_envs._football import ball as balls
from qllm_envs._football import control, game, teams
from qllm_envs._football.constants import LEFT, RIGHT
from qllm_envs._football.state import Control, State


@pytest.fixture(scope="module")
def kickoff() -> State:
    return start(COUNTER)


def controlled(state: State) -> list[int]:
    """The players whom the agents control."""
    assert state.control is not None
    return state.control.player.tolist()


def having(*players: int) -> np.ndarray:
    """True for the players who have the ball."""
    return np.isin(np.arange(TEAMS.n_players), players)


@jax.jit
def hopped(state: State, player: jax.Array, time: jax.Array, on_ball: jax.Array, has: jax.Array) -> State:
    """The state after control has hopped, if it does, where `player` is to go for the ball, `time` s from him.

    All others are 3 s from it.
    """
    state = state._replace(
        time_to_ball=jnp.full((TEAMS.n_players,), 3.0).at[player].set(time),
        designated=state.designated.at[LEFT].set(player),
        on_ball=on_ball,
    )
    assert state.control is not None
    return control.hopped(TEAMS, state, state.control, has)


def at_the_ball(state: State, player: int) -> State:
    """The state in which a player of the left team has the ball alone, after control has hopped if it does."""
    return hopped(state, np.int32(player), 3.0, np.int32(player), having(player))


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


def test_actions_reach_the_players_that_the_agents_control(kickoff: State):
    def pressed(player: jax.Array) -> jax.Array:
        state = kickoff._replace(control=Control(player, jnp.arange(4)))
        return control.of_players(TEAMS, state, jnp.array([1, 2, 3, 4]))

    first, later = each(pressed, np.array([TEAMS.agents, [10, 6, 0, 8]]))
    assert first.tolist() == [0] * 5 + [1, 2, 3, 4] + [0, 0]
    assert later.tolist() == [3, 0, 0, 0, 0, 0, 2, 0, 4, 0, 1]


def test_control_hops_without_the_ball_only_to_one_who_is_three_times_sooner_there(kickoff: State):
    def after(time: float, has: np.ndarray) -> list[int]:
        return controlled(hopped(kickoff, np.int32(9), time, np.int32(9), has))

    assert after(1.1, having()) == [5, 6, 7, 8]
    assert after(0.9, having()) == [9, 6, 7, 8]
    # With the ball he is handed over, but not while an opponent has it too.
    assert after(2.0, having(9)) == [9, 6, 7, 8]
    assert after(2.0, having(9, 15)) == [5, 6, 7, 8]


def test_the_agent_at_the_ball_is_not_the_one_to_be_taken_away_from_his_player(kickoff: State):
    after = hopped(kickoff, np.int32(9), 2.0, np.int32(5), having(9))
    assert controlled(after) == [5, 9, 7, 8]
    assert after.control is not None
    assert after.control.order.tolist() == [2, 3, 0, 1]


def test_controlled_players_are_favored_to_go_for_the_ball_and_one_who_is_safe_is_kept(kickoff: State):
    now = kickoff.control
    assert now is not None
    time = np.full((4, TEAMS.n_players), 2.0, np.float32)
    time[3, 10] = 1.8
    rated = lambda time, best, chosen: control.weighed(TEAMS, now, jnp.float32(1.0), time, best, chosen)
    found = each(rated, time, np.array([5, 9, 9, 9]), np.array([9, 5, 10, 10]))
    assert found == pytest.approx([0.8, 1.25, 1.0, 1.44])


def test_three_opponents_are_marked_each_by_another_player_and_none_by_the_goalkeeper(kickoff: State):
    @jax.jit
    def marks() -> list[jax.Array]:
        path = balls.predict(kickoff.ball)[0][:, :2]
        of = lambda team, sign: teams._marks(teams._side(TEAMS, kickoff, team, sign), path * sign)
        return [of(LEFT, 1.0), of(RIGHT, -1.0)]

    for marked in map(np.asarray, marks()):
        assert marked[0] == -1
        assert len(set(marked[marked >= 0])) == (marked >= 0).sum() == teams.N_MARKED
