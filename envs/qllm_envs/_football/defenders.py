"""The opponents' field players: they mark the most dangerous attackers (teamAIcontroller.cpp, playercontroller.cpp)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._football.ball import at_time
from qllm_envs._football.constants import (
    DISTANCE_TO_SPEED,
    DRIBBLE,
    HALF_LENGTH,
    HALF_WIDTH,
    LEFT,
    RIGHT,
    SPRINT,
    WALK,
    Rules,
)
from qllm_envs._football.state import State, norm, share, unit

# From AddDefensiveComponent and CalculateManMarking of the engine but where another source is named.
CARRIER_SHOOTING, OTHER_SHOOTING = (
    24.0,
    8.0,
)  # m from goal where attackers with and without the ball are held tightly
LEAST = 0.4  # m in front of an attacker
BUFFER = 4.0  # m by which a defender wants to be nearer to the point of the shot than the attacker
LATE = 0.7  # share of the way lost that is made up for by running towards the goal
# The line behind which defenders do not fall back (TeamAIController::Process), all in m: it starts this far from goal,
# lies ahead of the ball by less the nearer the ball is to goal, and leaves an attacker some caution.
LINE_START, LINE_AHEAD, LINE_FORCED, CAUTION = 40.0, 25.0, 6.0, 4.0
# Formation: in place of GetAdaptedFormationPosition, a point that follows the ball. Fitted to an idle team.
FORMATION_X, FORMATION_OF_BALL = 0.35, 0.55  # of half the pitch, and of the ball's x
FORMATION_Y = 0.4  # of the ball's y


def run_for(rules: Rules, state: State, positions: Float[Array, "k 3"]) -> Float[Array, "d 2"]:
    """Velocities that the opponents' field players want, but for one who goes for the ball."""
    start = rules.n_left + 1
    pos, vel = state.pos[start:], state.vel[start:]
    marked = _marks(rules, state, positions)
    base = _formation(state, len(pos))
    bias = jnp.clip(1.9 - state.fading[RIGHT], 0.0, 1.0) ** 0.7
    attacker = state.pos[marked] + state.vel[marked] * 0.5
    on_ball = marked == state.on_ball
    line = _line(state, positions)
    spot = held(base, pos + vel * 0.14, attacker, on_ball, line)
    target = base * (1 - bias) + spot * bias
    target = target.at[:, 0].min(line)
    bound = jnp.broadcast_to(jnp.array([HALF_LENGTH, HALF_WIDTH]), target.shape)
    target = jnp.clip(target, -bound, bound)
    way = target - pos
    far = share(norm(pos - state.pos[state.designated[LEFT]][None]), 20.0, 65.0)
    lazy = far * (0.5 + 0.5 * jnp.clip(state.fading[RIGHT] - 0.5, 0.0, 1.0))
    speed = quantized(jnp.minimum(norm(way) * DISTANCE_TO_SPEED * (1 - lazy), SPRINT))
    return unit(way, jnp.zeros((2,))) * speed[:, None]


def quantized(speed: Array) -> Array:
    """The nearest of the speeds that players run at."""
    return jnp.where(speed < 1.8, 0.0, jnp.where(speed < 4.2, DRIBBLE, jnp.where(speed < 6.0, WALK, SPRINT)))


def _marks(rules: Rules, state: State, positions: Array) -> Int[Array, " d"]:
    """The attacker whom each defender marks: the most dangerous one is given the nearest defender, and so on."""
    ball = at_time(positions, jnp.array(0.1))[:2]
    spot = jnp.array([HALF_LENGTH - 2.0, 0.0]) * 0.8 + ball * 0.2
    attackers = state.pos[: rules.n_left]
    danger = 0.95 * (1 - share(norm(attackers - spot[None]), 0.0, 2 * HALF_LENGTH))
    danger = danger + 0.05 * (jnp.arange(rules.n_left) == state.designated[LEFT])
    defenders = state.pos[rules.n_left + 1 :]
    marked = jnp.full((len(defenders),), jnp.argmax(danger), jnp.int32)
    free: Bool[Array, " d"] = jnp.ones((len(defenders),), bool)
    for _ in range(min(len(defenders), rules.n_left)):
        attacker = jnp.argmax(danger)
        nearest = jnp.argmin(jnp.where(free, norm(defenders - attackers[attacker][None]), jnp.inf))
        marked = marked.at[nearest].set(attacker)
        free = free.at[nearest].set(False)
        danger = danger.at[attacker].set(-1.0)
    return marked


def _formation(state: State, n: int) -> Float[Array, "d 2"]:
    x = jnp.clip(FORMATION_X * HALF_LENGTH + FORMATION_OF_BALL * state.ball_mean[0], -HALF_LENGTH, HALF_LENGTH - 3.0)
    return jnp.broadcast_to(jnp.stack([x, FORMATION_Y * state.ball_mean[1]]), (n, 2))


def _line(state: State, positions: Array) -> Array:
    """x of the line that defenders hold (their offside trap, which also bounds where they meet attackers)."""
    carrier = state.designated[LEFT]
    soon = at_time(positions, jnp.array(0.7))[0]
    return line_of(positions[0, 0], soon, state.pos[carrier, 0], state.vel[carrier, 0])


def line_of(ball: Array, soon: Array, carrier: Array, carrier_speed: Array) -> Array:
    """The line from the x of the ball, now and 0.7 s later, and of the attacker who goes for it; own goal at x = 55."""
    part = share(ball, HALF_LENGTH - LINE_START - LINE_AHEAD, HALF_LENGTH - LINE_FORCED)
    near = carrier + carrier_speed * 0.15 + CAUTION
    deepest = jnp.maximum(jnp.maximum(ball + LINE_AHEAD * (1 - part), soon), near)
    return jnp.clip(deepest, HALF_LENGTH - LINE_START, HALF_LENGTH)


def held(base: Array, actual: Array, attacker: Array, on_ball: Array, line: Array) -> Array:
    """Where defenders have to be so that their attackers do not get to shoot before they are there."""
    goal = jnp.array([[HALF_LENGTH, 0.0]])
    to_goal = norm(goal - attacker)
    shooting = jnp.where(on_ball, CARRIER_SHOOTING, OTHER_SHOOTING)
    threshold = jnp.clip(to_goal - shooting, LEAST, HALF_LENGTH)
    point = attacker + unit(goal - attacker, jnp.zeros((2,))) * threshold[:, None]
    to_line = jnp.clip((line - attacker[:, 0]) / jnp.maximum(HALF_LENGTH - attacker[:, 0], 0.1), 0.0, 1.0)
    beyond = point[:, 0] > line
    point = jnp.where(beyond[:, None], attacker + (goal - attacker) * to_line[:, None], point)
    threshold = jnp.where(beyond, norm(point - attacker), threshold)
    to_point = norm(point - base)
    slack = jnp.clip(to_point - (threshold - BUFFER), 0.0, to_point)
    target = base + unit(point - base, jnp.zeros((2,))) * slack[:, None]
    late = jnp.maximum(norm(point - actual) - threshold, 0.0) * LATE
    return target + unit(goal - target, jnp.zeros((2,))) * late[:, None]
