"""One step of a football match: decisions of all players, then ten ticks of running, kicking and touching."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qllm_envs._football import ball as balls
from qllm_envs._football import buttons, contacts, control, kick, movement, plan, reach, referee
from qllm_envs._football.constants import (
    BALL_RADIUS,
    STEP,
    TICK,
    TICKS,
    Rules,
    start_positions,
)
from qllm_envs._football.state import RUNNING, Ball, State
from qllm_envs.core import Step

MEAN_TIME = 2.0  # s over which the position of the ball is smoothed for the formation (GetAveragePosition)


def reset(rules: Rules, key: jax.Array) -> State:
    """Return the start of an episode. Nothing in it is drawn; the key is not used."""
    del key
    ball, pos = start_positions(rules.scenario)
    forward = jnp.where(reach.right_team(rules)[:, None], jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]))
    at = Ball(jnp.concatenate([jnp.asarray(ball), jnp.array([BALL_RADIUS])]), jnp.zeros(3), jnp.zeros(3))
    return placed(rules, jnp.asarray(pos), jnp.zeros_like(forward), forward, at)


def placed(
    rules: Rules,
    pos: Float[Array, "p 2"],
    vel: Float[Array, "p 2"],
    facing: Float[Array, "p 2"],
    ball: Ball,
    held: Array | None = None,
    sprint: Array | None = None,
) -> State:
    """Return a state with players and ball at given places, with the directions and sprint buttons that agents hold."""
    n, zero = rules.n_left, jnp.zeros((rules.n_players,))
    pads = buttons.none(n)
    pads = pads._replace(
        held=pads.held if held is None else jnp.asarray(held, jnp.int32),
        sprint=pads.sprint if sprint is None else jnp.asarray(sprint, bool),
    )
    nobody = jnp.int32(-1)
    state = State(
        ball=ball,
        pos=pos,
        vel=vel,
        facing=facing,
        command=vel,
        buttons=pads,
        windup=jnp.zeros((n,), jnp.int32),
        aimed=facing[:n],
        rest=zero,
        kicking=zero,
        time_to_ball=zero + 1.0,
        designated=jnp.array([0, n], jnp.int32),
        on_ball=jnp.int32(0),
        last_touch_team=nobody,
        last_touch=jnp.full((2,), -1, jnp.int32),
        since_touch=jnp.full((2,), 10.0),
        dive=jnp.float32(0.0),
        held_by_keeper=jnp.bool_(False),
        fading=jnp.ones((2,)),
        ball_mean=ball.pos[:2],
        owner=nobody,
        owner_team=nobody,
        last_owner_team=nobody,
        checkpoints=jnp.zeros((rules.n_agents,), jnp.int32),
        ended=jnp.int32(RUNNING),
        t=jnp.int32(0),
        control=control.start(rules),
    )
    return _noticed(rules, state, *balls.predict(ball))[0]


def step(rules: Rules, key: jax.Array, state: State, actions: Array) -> Step:
    """Play one step of 0.1 s."""
    positions, times = balls.predict(state.ball)
    grown = -state.time_to_ball[: rules.n_left]
    state, has = _noticed(rules, state, positions, times)
    grown = grown + state.time_to_ball[: rules.n_left]
    pressed = control.of_players(rules, state, actions)
    state, decided = plan.decided(rules, key, state, pressed, positions, times, has, grown)
    struck = contacts.struck(rules, decided, state)
    state = state._replace(windup=jnp.maximum(state.windup - 1, 0))
    state, _ = jax.lax.scan(partial(_tick, rules, decided, struck), state, jnp.arange(TICKS))
    state = referee.judged(_owned(rules, state._replace(command=decided.want, t=state.t + 1)))
    state, reward = referee.rewarded(state)
    if state.control is not None:
        state = control.hopped(rules, state, state.control, has)
    return Step(state, reward.astype(jnp.float32), state.ended != RUNNING, state.t >= rules.horizon)


def _noticed(rules: Rules, state: State, positions: Array, times: Array) -> tuple[State, Bool[Array, " p"]]:
    """The state with times to the ball and designated players, and who has the ball."""
    time = reach.time_to_ball(state, positions, times, reach.max_speed(rules))
    time = jnp.where(state.kicking > 0, jnp.maximum(time, 0.5), time)
    has = reach.has_ball(state.ball, state.pos, state.vel, state.facing, state.kicking)
    designated, on_ball = reach.designate(rules, state, time, has)
    kept = jnp.exp(-STEP / MEAN_TIME)
    state = state._replace(
        time_to_ball=time,
        designated=designated,
        on_ball=jnp.where(state.held_by_keeper, rules.n_left, on_ball).astype(jnp.int32),
        fading=reach.fade(rules, state.fading, time, state.held_by_keeper),
        ball_mean=state.ball_mean * kept + state.ball.pos[:2] * (1 - kept),
    )
    return state, has


def _tick(
    rules: Rules, decided: contacts.Plan, struck: contacts.Struck, state: State, tick: Array
) -> tuple[State, None]:
    """Run all players and the ball for 10 ms, then let feet and hands touch it."""
    want = jnp.where(tick < movement.DELAY, state.command, decided.want)
    vel, facing = movement.run(state.vel, state.facing, want)
    pos = movement.kept_apart(state.pos + vel * TICK)
    running = (state.ended == RUNNING) & ~state.held_by_keeper
    flown = balls.step(state.ball)
    state = state._replace(
        pos=pos,
        vel=vel,
        facing=facing,
        ball=jax.tree.map(lambda new, old: jnp.where(running, new, old), flown, state.ball),
        rest=jnp.maximum(state.rest - TICK, 0.0),
        kicking=jnp.maximum(state.kicking - TICK, 0.0),
        since_touch=jnp.minimum(state.since_touch + TICK, 10.0),
        dive=jnp.where(decided.threat, jnp.minimum(state.dive + TICK, 2.0), 0.0),
    )
    state = contacts.kicked(rules, struck, state, tick == kick.KICK_TICK)
    state = contacts.saved(rules, decided, contacts.controlled(rules, decided, state))
    return state._replace(ended=referee.whistle(state.ball, state.ended)), None


def _owned(rules: Rules, state: State) -> State:
    """The state with the owner of the ball: who has it and touched it last (match.cpp)."""
    has = reach.has_ball(state.ball, state.pos, state.vel, state.facing, state.kicking)
    last = state.last_touch[jnp.maximum(state.last_touch_team, 0)]
    owns = has & (jnp.arange(rules.n_players) == last) & (state.last_touch_team >= 0)
    owns = jnp.where(state.held_by_keeper, jnp.arange(rules.n_players) == rules.n_left, owns)
    owner = jnp.where(owns.any(), jnp.argmax(owns), -1).astype(jnp.int32)
    team = jnp.where(owner < 0, -1, (owner >= rules.n_left).astype(jnp.int32))
    return state._replace(owner=owner, owner_team=team.astype(jnp.int32))
