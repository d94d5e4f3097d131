"""One step of a football match: decisions of all players, then ten ticks of running, kicking and touching."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._football import ball as balls
from qllm_envs._football import buttons, defenders, keeper, kick, movement, reach, referee, touch
from qllm_envs._football.constants import (
    BALL_RADIUS,
    DISTANCE_TO_SPEED,
    DRIBBLE,
    LEFT,
    RIGHT,
    SHOT,
    SPRINT,
    STEP,
    TICK,
    TICKS,
    TOUCH_OFFSET,
    WALK,
    Rules,
    start_positions,
)
from qllm_envs._football.state import RUNNING, Ball, State, norm, share, unit
from qllm_envs.core import Step

CONTROL_TIME = 0.25 + TOUCH_OFFSET  # s ahead at which a dribbler looks for the ball (AI_GetBallControlMovement)
NEAR = 0.8  # m from a foot at which it meets the ball; fitted to the distance of the ball at a sprint
HASTE = 1.1  # possession below which a player hurries to the ball (_MovementCommand)
KICK_NEAR = 1.2  # m at which a kick that was begun still meets the ball
# Tackles, fitted to when and how often an idle team loses the ball: at steps 17 to 21 or not at all.
TACKLE_NEAR = 1.0  # m from a defender's foot at which it meets the ball
TACKLE_CHANCE = 0.62  # that the defender has the ball after it; else he only knocks it away
TACKLE_SPEED = 1.5  # m/s, below which a defender stands his ground and does not try
TACKLE_REST = 1.0  # s to the next try
AT_REST = 0.7  # m within which a player who holds no direction lets the ball lie
GAIN = 0.9  # m/s that a dribbler wants to gain in a step at most; fitted to speeds from rest with the ball
WITH_BALL = (0.0, 4.0, 5.0, 7.6)  # m/s, measured with nothing, dribble, no button and sprint held
PASS_GRIP, SHOT_GRIP = 0.9, 0.7  # shares of its spin that a kick sets (humanoid.cpp)
HEAD = 1.3  # m above which nobody but the goalkeeper reaches a ball
HANDS = 1.1  # m, height of a ball in the goalkeeper's hands
PASS_NOISE = 0.03  # rad, standard deviation of the direction of a pass; fitted
MEAN_TIME = 2.0  # s over which the position of the ball is smoothed for the formation (GetAveragePosition)


class Plan(NamedTuple):
    """What is decided once a step, and the chance in it."""

    want: Float[Array, "p 2"]
    aim: Float[Array, "n 2"]
    strength: Float[Array, " n"]
    threat: Bool[Array, ""]
    luck: Float[Array, "p 3"]  # uniform in [0, 1)
    stray: Float[Array, ""]  # standard normal, of the pass of this step, if there is one
    shot_luck: Float[Array, " 7"]  # uniform in [0, 1), of its shot


class Struck(NamedTuple):
    """A kick that is due in a step."""

    due: Bool[Array, ""]
    player: Int[Array, ""]
    vel: Float[Array, " 3"]  # of the ball after it
    spin: Float[Array, " 3"]
    grip: Float[Array, ""]  # share of the spin that the foot sets


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
        checkpoints=jnp.zeros((n,), jnp.int32),
        ended=jnp.int32(RUNNING),
        t=jnp.int32(0),
    )
    return _noticed(rules, state, *balls.predict(ball))[0]


def step(rules: Rules, key: jax.Array, state: State, actions: Array) -> Step:
    """Play one step of 0.1 s."""
    positions, times = balls.predict(state.ball)
    grown = -state.time_to_ball[: rules.n_left]
    state, has = _noticed(rules, state, positions, times)
    grown = grown + state.time_to_ball[: rules.n_left]
    state, plan = _decided(rules, key, state, actions, positions, times, has, grown)
    struck = _struck(rules, plan, state)
    state = state._replace(windup=jnp.maximum(state.windup - 1, 0))
    state, _ = jax.lax.scan(partial(_tick, rules, plan, struck), state, jnp.arange(TICKS))
    state = referee.judged(_owned(rules, state._replace(command=plan.want, t=state.t + 1)))
    state, reward = referee.rewarded(state)
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


def _decided(
    rules: Rules, key: jax.Array, state: State, actions: Array, positions: Array, times: Array, has: Array, grown: Array
) -> tuple[State, Plan]:
    n = rules.n_left
    luck = jax.random.uniform(key, (rules.n_players * 3 + 8,))
    amount = reach.possession(rules, state.time_to_ball)
    pads = buttons.press(state.buttons, actions, amount[:n], jnp.arange(n) == state.on_ball)
    pads = buttons.drop(pads, grown)
    aim, _ = buttons.wanted(pads, state.pos[:n], state.facing[:n])
    windup = _begun(rules, state, pads, positions)
    shots = jax.vmap(kick.shot_direction)(state.pos[:n], state.vel[:n], aim)
    aimed = jnp.where((windup > state.windup)[:, None], shots, state.aimed)
    state = state._replace(buttons=pads, windup=windup, aimed=aimed)
    danger = keeper.threat(positions, state.pos[n])
    want = jnp.concatenate(
        [
            _agents_want(rules, state, positions, times, has, amount),
            keeper.run_for(rules, state, positions, state.time_to_ball, danger)[None],
            defenders.run_for(rules, state, positions),
        ]
    )
    goes = (jnp.arange(rules.n_players) == state.on_ball) & reach.right_team(rules) & ~state.held_by_keeper
    way, speed = reach.intercept(positions, state.pos[state.on_ball], state.time_to_ball[state.on_ball])
    want = jnp.where(goes[:, None], unit(way, jnp.zeros((2,))) * speed, want)
    stray = jax.scipy.special.ndtri(jnp.clip(luck[0], 1e-4, 1 - 1e-4))
    of_players = luck[8:].reshape(rules.n_players, 3)
    return state, Plan(want, aim, buttons.power(pads), danger.coming, of_players, stray, luck[1:8])


def _begun(rules: Rules, state: State, pads: buttons.Buttons, positions: Array) -> Int[Array, " n"]:
    """Wind-ups of all agents, of which 1 ends now: a released kick begins when the ball will be there at its end."""
    n = rules.n_left
    steps = kick.windup_of(pads.kick, norm(state.vel[:n]))
    needs = STEP * steps
    spot = touch.reach_point(state.pos[:n] + state.vel[:n] * needs[:, None], state.vel[:n], state.facing[:n])
    there = balls.at_time(positions, needs)
    meets = (norm(there[:, :2] - spot) < KICK_NEAR) & (there[:, 2] < HEAD)
    starts = buttons.released(pads) & meets & (state.windup == 0) & (state.kicking[:n] <= 0)
    return jnp.where(starts, steps + 1, state.windup).astype(jnp.int32)


def _agents_want(
    rules: Rules, state: State, positions: Array, times: Array, has: Array, amount: Array
) -> Float[Array, "n 2"]:
    """Velocities of the agents: what they hold, but for the one at the ball, who is led to it (_MovementCommand)."""
    n = rules.n_left
    pos, facing, pads = state.pos[:n], state.facing[:n], state.buttons
    direction, speed = buttons.wanted(pads, pos, facing)
    manual = direction * speed[:, None]
    waits = pads.kick > 0  # a player who is to kick goes for the ball
    calm = ~waits & (amount[:n] >= HASTE)
    each = (pos, state.time_to_ball[:n], manual, calm)
    way, fast = jax.vmap(reach.meet, (None, None, 0, 0, 0, 0))(positions, times, *each)
    to_ball = unit(way, jnp.zeros((2,))) * fast[:, None]
    ahead = balls.at_time(positions, jnp.array(CONTROL_TIME))[None, :2] - pos
    follow = norm(ahead) * DISTANCE_TO_SPEED
    follow = jnp.where(
        speed > 0, jnp.minimum(jnp.clip(follow, 0.3 * speed, _with_ball(speed)), norm(state.vel[:n]) + GAIN), follow
    )
    follow = jnp.where((speed <= 0) & (norm(ahead) < AT_REST), 0.0, follow)
    close = share(norm(ahead), 0.2, 0.4)[:, None] ** 0.5
    dribble = unit(unit(ahead, facing) * close + facing * (1 - close), facing) * follow[:, None]
    led = jnp.where((has[:n] & (amount[:n] >= 1))[:, None], dribble, to_ball)
    at_ball = (jnp.arange(n) == state.on_ball) | (waits & (amount[:n] > 0.5))
    want = jnp.where(at_ball[:, None], led, manual)
    # A kick slows its player down: more the farther he faces from where he wants to go.
    turn = ((facing * direction).sum(-1) * 0.5 + 0.5) ** 1.5 * 0.8 + 0.2
    damped = state.vel[:n] * (0.9 * turn)[:, None]
    return jnp.where((state.windup > 0)[:, None], damped, want)


def _with_ball(speed: Array) -> Array:
    """Top speed of a dribbler who wants `speed`: a little more than slow, a little less than a sprint."""
    return jnp.interp(speed, jnp.array([0.0, DRIBBLE, WALK, SPRINT]), jnp.array(WITH_BALL))


def _tick(rules: Rules, plan: Plan, struck: Struck, state: State, tick: Array) -> tuple[State, None]:
    """Run all players and the ball for 10 ms, then let feet and hands touch it."""
    want = jnp.where(tick < movement.DELAY, state.command, plan.want)
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
        dive=jnp.where(plan.threat, jnp.minimum(state.dive + TICK, 2.0), 0.0),
    )
    state = _kicked(rules, struck, state, tick == kick.KICK_TICK)
    state = _saved(rules, plan, _controlled(rules, plan, state))
    return state._replace(ended=referee.whistle(state.ball, state.ended)), None


def _touched(state: State, happens: Array, ball: Ball, player: Array, team: int | Array) -> State:
    """The state after `player` touched the ball, if that happens."""
    keep = lambda new, old: jnp.where(happens, new, old)
    mine = jnp.arange(2) == team
    return state._replace(
        ball=jax.tree.map(keep, ball, state.ball),
        last_touch_team=keep(jnp.int32(team), state.last_touch_team),
        last_touch=keep(jnp.where(mine, player, state.last_touch), state.last_touch).astype(jnp.int32),
        since_touch=keep(jnp.where(mine, 0.0, state.since_touch), state.since_touch),
    )


def _struck(rules: Rules, plan: Plan, state: State) -> Struck:
    """The kick that is due in this step, if there is one."""
    n = rules.n_left
    due = state.windup == 1
    i = jnp.argmax(due)
    kind, vel, facing = state.buttons.kick[i], state.vel[i], state.facing[i]
    target = kick.pass_target(kind, i, state.pos[:n], state.vel[:n], plan.aim[i], plan.strength[i])
    passed, pass_spin = kick.pass_ball(kind, target, state.ball, vel, facing, PASS_NOISE * plan.stray)
    shot, shot_spin = kick.shoot(state.aimed[i], plan.strength[i], state.ball, vel, facing, plan.shot_luck)
    shoots = kind == SHOT
    return Struck(
        due[i] & (kind > 0),
        i,
        jnp.where(shoots, shot, passed),
        jnp.where(shoots, shot_spin, pass_spin),
        jnp.where(shoots, SHOT_GRIP, PASS_GRIP),
    )


def _kicked(rules: Rules, struck: Struck, state: State, now: Bool[Array, ""]) -> State:
    """Play the kick that is due, if the ball is there."""
    i, p = struck.player, jnp.arange(rules.n_players)
    foot = touch.reach_point(state.pos[i], state.vel[i], state.facing[i])
    near = (norm(state.ball.pos[:2] - foot) < KICK_NEAR) & (state.ball.pos[2] < HEAD)
    plays = now & struck.due & near & (state.ended == RUNNING) & ~state.held_by_keeper
    ball = balls.struck(state.ball, struck.vel, struck.spin, struck.grip)
    state = _touched(state, plays, ball, i, LEFT)
    mine = plays & (p == i)
    pads = state.buttons
    return state._replace(
        rest=jnp.where(mine, kick.FOLLOW, state.rest),
        kicking=jnp.where(mine, kick.FOLLOW, state.kicking),
        buttons=pads._replace(kick=jnp.where(mine[: rules.n_left], 0, pads.kick)),
    )


def _controlled(rules: Rules, plan: Plan, state: State) -> State:
    """Let the nearest of the players who go for the ball touch it: to keep it, or to win it."""
    p, n = rules.n_players, rules.n_left
    index, right = jnp.arange(p), reach.right_team(rules)
    foot = touch.reach_point(state.pos, state.vel, state.facing)
    distance = norm(state.ball.pos[None, :2] - foot)
    tries = right & (state.owner_team == LEFT)
    near = (distance < jnp.where(tries, TACKLE_NEAR, NEAR)) & (~tries | (norm(state.vel) > TACKLE_SPEED))
    goes = (index == state.designated[LEFT]) | (index == state.designated[RIGHT])
    winding = jnp.concatenate([state.windup > 0, jnp.zeros((p - n,), bool)])
    ready = (state.rest <= 0) & ~winding & (state.kicking <= 0) & goes & near
    ready = ready & (state.ball.pos[2] < HEAD) & (index != n)
    i = jnp.argmin(jnp.where(ready, distance, jnp.inf))
    is_right = right[i]
    happens = ready[i] & (state.ended == RUNNING) & ~state.held_by_keeper
    want = jnp.where(is_right, plan.want[i], _held_velocity(plan, state, i, n))
    opponent = jnp.where(is_right, state.since_touch[LEFT], state.since_touch[RIGHT])
    mine = (state.ball, state.pos[i], state.vel[i], state.facing[i])
    trouble = touch.difficulty(*mine, opponent, plan.luck[i, 1])
    given, spin = touch.control(*mine, want, trouble)
    tackles = tries[i]
    loose = tackles & (plan.luck[i, 0] > TACKLE_CHANCE)
    given = jnp.where(loose, touch.tackle(state.ball, state.pos[i], given, plan.luck[i, 2]), given)
    ball = balls.struck(state.ball, given, spin, touch.GRIP)
    rest = jnp.where(tackles, TACKLE_REST, touch.rest_after(norm(state.vel[i])))
    state = _touched(state, happens, ball, i, is_right.astype(jnp.int32))
    return state._replace(rest=jnp.where(happens & (index == i), rest, state.rest))


def _held_velocity(plan: Plan, state: State, i: Array, n: int) -> Array:
    """Velocity that agent i holds."""
    j = jnp.minimum(i, n - 1)
    pads = state.buttons
    still = pads.held[j] == 0
    speed = jnp.where(pads.sprint[j], SPRINT, jnp.where(pads.dribble[j], DRIBBLE, WALK))
    return plan.aim[j] * jnp.where(still, 0.0, speed)


def _saved(rules: Rules, plan: Plan, state: State) -> State:
    """Let the goalkeeper catch or parry a ball that his hands reach."""
    n = rules.n_left
    vel = state.vel[n]
    can = (state.rest[n] <= 0) & (state.ended == RUNNING) & ~state.held_by_keeper
    reached = can & keeper.reaches(rules, state.ball, state.pos, state.dive, plan.luck[n, 1])
    holds = reached & keeper.holds(state.ball, vel, state.since_touch[LEFT])
    away = keeper.parried(state.ball, vel, plan.luck[n, 0])
    hands = jnp.concatenate([state.pos[n] + state.facing[n] * 0.3, jnp.array([HANDS])])
    ball = Ball(
        jnp.where(holds, hands, state.ball.pos),
        jnp.where(holds, 0.0, away),
        state.ball.spin * jnp.where(holds, 0.0, 0.8),
    )
    state = _touched(state, reached, ball, jnp.int32(n), RIGHT)
    rest = jnp.where(reached & (jnp.arange(rules.n_players) == n), 0.4, state.rest)
    return state._replace(held_by_keeper=state.held_by_keeper | holds, rest=rest)


def _owned(rules: Rules, state: State) -> State:
    """The state with the owner of the ball: who has it and touched it last (match.cpp)."""
    has = reach.has_ball(state.ball, state.pos, state.vel, state.facing, state.kicking)
    last = state.last_touch[jnp.maximum(state.last_touch_team, 0)]
    owns = has & (jnp.arange(rules.n_players) == last) & (state.last_touch_team >= 0)
    owns = jnp.where(state.held_by_keeper, jnp.arange(rules.n_players) == rules.n_left, owns)
    owner = jnp.where(owns.any(), jnp.argmax(owns), -1).astype(jnp.int32)
    team = jnp.where(owner < 0, -1, (owner >= rules.n_left).astype(jnp.int32))
    return state._replace(owner=owner, owner_team=team.astype(jnp.int32))
