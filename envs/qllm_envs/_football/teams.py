"""Players of two whole teams whom nobody controls: formation, support of the attack, marking and hunting.

Formulas of the engine's teamAIcontroller.cpp, elizacontroller.cpp, playercontroller.cpp and AIfunctions.cpp, with its
settings at a score of 0 to 0. Positions are in a team's own frame: its own goal is at x = -55, so that of the right
team is turned by 180 degrees. Left out: exchange of roles within a team, fatigue, and attacking runs, which teams with
two agents or more do not make.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from qllm_envs._football import formation
from qllm_envs._football.ball import at_time
from qllm_envs._football.constants import (
    DISTANCE_TO_SPEED,
    DRIBBLE,
    HALF_LENGTH,
    HALF_WIDTH,
    LEFT,
    SPRINT,
    Rules,
    roles,
)
from qllm_envs._football.defenders import held, line_of, quantized
from qllm_envs._football.state import State, norm, share, unit

N_MARKED = 3  # opponents that are marked, the most dangerous ones
HUNTERS = 2  # players nearest to the opponent at the ball who may hunt him
HUNT, HUNT_BACKS, HUNT_LEAST = 10.0, 10.0, 0.3  # m, m more for backs, and share of it left to a team of difficulty 0
DIFFICULTY = (1.0, 0.6)  # of the scenarios
DAMPED = 7.0  # m from an attractor within which its pull fades
BASE_PULL, MATE_PUSH, MATE_SCALE, BALL_PUSH, BALL_SCALE = 0.7, 0.4, 10.5, 1.0, 2.0
FLOCK, FLOCK_SCALE, FLOCK_LEAST = 0.45, 21.0, 12.0
OPPONENT_SCALE = 5.0
LANE, LANE_Y, LANE_WIDTH = 22.0, 8.0, 30.0  # m that attackers move up in a lane beside the ball
OFFSIDE = 0.08  # m that supporters stay behind the opponents' last line
KEEPER_OUT = 10.0  # m in front of his line, while the ball is in the other half


class Side(NamedTuple):
    """A team in its own frame."""

    pos: Float[Array, "n 2"]
    vel: Float[Array, "n 2"]
    other_pos: Float[Array, "m 2"]
    other_vel: Float[Array, "m 2"]
    role: np.ndarray  # (n,)
    main: Int[Array, ""]  # the player who goes for the ball
    danger: Int[Array, ""]  # the opponent who does
    on_ball: Int[Array, ""]  # the opponent who is sooner there than all others on the pitch, or -1
    fading: Float[Array, ""]  # possession, 0.5 to 1.5


def run_for(rules: Rules, state: State, positions: Float[Array, "k 3"], team: int) -> Float[Array, "n 2"]:
    """Velocities that the players of a team want, as far as they are not controlled and do not go for the ball.

    The first of them, its goalkeeper, is meant for the left team: the right one has another (keeper.py).
    """
    sign = 1.0 if team == LEFT else -1.0
    side = _side(rules, state, team, sign)
    path = positions[:, :2] * sign
    base = formation.places(rules, team, side.fading, path[0], state.ball_mean * sign, -_line(side, path))
    marked = _marks(side, path).at[0].set(-1)
    target = _defending(side, path, _supporting(side, path, base), marked)
    bound = jnp.array([[HALF_LENGTH, HALF_WIDTH]])
    way = jnp.clip(target, -bound, bound) - side.pos
    want = unit(way, jnp.zeros((2,))) * _lazy(side, norm(way) * DISTANCE_TO_SPEED)[:, None]
    want = _hunting(side, want, marked, team)
    return sign * want.at[0].set(_keeper(side, path[0]))


def _side(rules: Rules, state: State, team: int, sign: float) -> Side:
    n, last = rules.n_left, rules.n_players
    own, others = (slice(0, n), slice(n, last)) if team == LEFT else (slice(n, last), slice(0, n))
    first, other = own.start, others.start
    at_ball = (state.on_ball >= other) & (state.on_ball < others.stop)
    return Side(
        sign * state.pos[own],
        sign * state.vel[own],
        sign * state.pos[others],
        sign * state.vel[others],
        roles(rules.scenario)[own],
        state.designated[team] - first,
        state.designated[1 - team] - other,
        jnp.where(at_ball, state.on_ball - other, -1),
        state.fading[team],
    )


def _supporting(side: Side, path: Array, base: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """Places from which players without the ball support the attack: pushed and pulled from where they are."""
    mind, i = formation.mindset(side.role), jnp.arange(len(side.pos))
    now, main = side.pos + 0.1 * side.vel, side.pos[side.main] + 0.1 * side.vel[side.main]
    lane = formation.curve(1 - share(jnp.abs(-jnp.where(main[1] < 0, -1.0, 1.0) * LANE_Y - now[:, 1]), 0.0, LANE_WIDTH))
    home = base.at[:, 0].add(mind**1.5 * LANE * lane)
    far = norm(home - now)
    pull = BASE_PULL * (0.3 + 0.7 * share(far, 0.0, 20.0))
    total = unit(home - now, jnp.zeros((2,))) * (pull * jnp.minimum(far / DAMPED, 1.0))[:, None]
    force = pull

    def pushed(origin: Array, power: Array, scale: float, exponent: float = 1.0) -> tuple[Array, Array]:
        """Sums over spots (n, s, 2) of what pushes the players away from them."""
        away = now[:, None] - origin
        strength = power * (1 - share(norm(away), 0.0, scale)) ** exponent
        return (unit(away, jnp.zeros((2,))) * strength[..., None]).sum(1), strength.sum(1)

    foes = side.other_pos + 0.1 * side.other_vel
    foes = foes + unit(foes - main[None], jnp.zeros((2,))) * 2.0  # the way of a pass past them is to be clear
    repel = jnp.asarray(0.3 * formation.of_role(side.role, back=2.2, midfielder=1.6, forward=1.0), jnp.float32)
    mates = MATE_PUSH * (side.fading >= 1.02) * (i[:, None] != i[None])
    ball = jnp.stack([at_time(path, jnp.array(t)) for t in (0.2, 0.35, 0.5, 0.65)])
    others = (i != side.main)[:, None]
    for each, strength in (
        pushed(foes[None], repel[:, None], OPPONENT_SCALE, 0.7),
        pushed(now[None], mates, MATE_SCALE),
        pushed(ball[None], BALL_PUSH * (side.fading >= 1.06) * others, BALL_SCALE, 0.5),
        pushed(main[None, None], FLOCK * others, FLOCK_LEAST),
    ):
        total, force = total + each, force + strength
    each, strength = pushed(main[None, None], FLOCK * others, FLOCK_SCALE)
    total = total - each * jnp.minimum(norm(main[None] - now) / DAMPED, 1.0)[:, None]
    spot = now + total / (force + strength)[:, None] * SPRINT
    last = jnp.sort(side.other_pos[:, 0] + 0.24 * side.other_vel[:, 0])[-2]
    spot = spot.at[:, 0].min(jnp.maximum(jnp.maximum(last, path[0, 0]), 0.0) - OFFSIDE)
    low = formation.of_role(side.role, back=0.2, midfielder=0.1, forward=0.1)
    high = formation.of_role(side.role, back=0.9, midfielder=0.7, forward=0.6)
    attack = share(side.fading - 0.5, low, high)[:, None]
    return base * (1 - attack) + spot * attack


def _line(side: Side, path: Array) -> Array:
    """Distance of a team's last line from the middle, towards its own goal, in meters."""
    foe = side.danger
    return line_of(-path[0, 0], -at_time(path, jnp.array(0.7))[0], -side.other_pos[foe, 0], -side.other_vel[foe, 0])


def _defending(side: Side, path: Array, base: Float[Array, "n 2"], marked: Int[Array, " n"]) -> Float[Array, "n 2"]:
    """The places of players who mark opponents while these have the ball."""
    line = _line(side, path)
    at = jnp.maximum(marked, 0)
    attacker = side.other_pos[at] + 0.5 * side.other_vel[at]
    spot = -held(-base, -(side.pos + 0.14 * side.vel), -attacker, at == side.on_ball, line)
    most = formation.of_role(side.role, back=1.9, midfielder=1.5, forward=1.3)
    bias = jnp.clip(most - formation.mindset(side.role) - side.fading, 0.0, 1.0) ** 0.7
    bias = jnp.where(marked >= 0, bias, 0.0)[:, None]
    target = base * (1 - bias) + spot * bias
    falls_back = formation.of_role(side.role, back=1.0, midfielder=1.0, forward=0.0) > 0
    # The line is soft: 2 m around it are pressed into the 2 m in front of it.
    pressed = -line + 2.0 - 2.0 * jnp.clip((-target[:, 0] - line + 2.0) / 4.0, 0.0, 1.0)
    deep = falls_back & (-target[:, 0] > line - 2.0)
    return target.at[:, 0].set(jnp.where(deep, pressed, target[:, 0]))


def _marks(side: Side, path: Array) -> Int[Array, " n"]:
    """The opponent whom each player marks, -1 for none: the most dangerous first, each by who can best keep up."""
    spot = jnp.array([2.0 - HALF_LENGTH, 0.0]) * 0.8 + at_time(path, jnp.array(0.1)) * 0.2
    danger = 0.95 * (1 - share(norm(side.other_pos - spot[None]), 0.0, 2 * HALF_LENGTH))
    danger = danger + 0.05 * (jnp.arange(len(danger)) == side.danger)
    quality = _quality(side).at[0].set(-1.0)
    marked = jnp.full((len(side.pos),), -1)
    for _ in range(N_MARKED):
        foe = jnp.argmax(danger)
        best = jnp.argmax(quality[:, foe])
        marked = marked.at[best].set(foe)
        quality, danger = quality.at[best].set(-1.0), danger.at[foe].set(-1.0)
    return marked


def _quality(side: Side) -> Float[Array, "n m"]:
    """Quality of each player as a marker of each opponent, from 0 to 1: best 2 m in front of him and straight ahead."""
    me, foe = side.pos + 0.1 * side.vel, side.other_pos + 0.1 * side.other_vel
    to_goal = jnp.array([[-HALF_LENGTH, 0.0]]) - me
    width = jnp.clip(norm(to_goal), 4.0, 14.0)
    way = unit(to_goal, jnp.array([-1.0, 0.0]))
    apart = foe[None] - (me - 0.5 * way)[:, None]
    ahead = -(apart * way[:, None]).sum(-1)
    aside = jnp.abs(apart[..., 0] * way[:, None, 1] - apart[..., 1] * way[:, None, 0])
    before = ahead > 0
    off = jnp.where(before, jnp.abs(ahead - 2.0), -ahead)
    value = 1 - 0.5 * share(off, 0.0, 60.0) ** 0.5 - 0.5 * jnp.clip(aside / width[:, None], 0.0, 1.0) ** 0.5
    value = jnp.clip(value, 0.0, 1.0) * jnp.where(before, 1.0, 0.6)
    return value * 0.8 + 0.2 * (1 - share(norm(me[:, None] - foe[None]), 0.0, 2 * HALF_LENGTH))


def _lazy(side: Side, speed: Array) -> Array:
    """The speed that is left of the wanted one: players far from the opponents' leader are lazier, backs in attack."""
    speed = jnp.where(speed > SPRINT, SPRINT + 0.1 * (speed - SPRINT), speed)
    mind, amount = formation.mindset(side.role), jnp.clip(side.fading - 0.5, 0.0, 1.0)
    far = share(norm(side.pos - side.other_pos[side.danger][None]), 20.0, 65.0)
    slower = speed * (1 - far * (0.5 + 0.5 * (mind + amount * (1 - 2 * mind))))
    slower = jnp.where(speed >= DRIBBLE, jnp.maximum(slower, DRIBBLE), slower)
    return quantized(jnp.minimum(slower, SPRINT))


def _hunting(side: Side, want: Float[Array, "n 2"], marked: Int[Array, " n"], team: int) -> Float[Array, "n 2"]:
    """The wanted velocities with those of the players next to the opponent at the ball, who cut off his way.

    A player who marks somebody stays with him.
    """
    foe, vel = side.other_pos[side.danger], side.other_vel[side.danger]
    goal = jnp.array([-HALF_LENGTH, 0.0])
    near = norm((foe + 0.12 * vel)[None] - side.pos - 0.04 * side.vel)
    reach = (HUNT + HUNT_BACKS * (1 - formation.mindset(side.role))) * (1 - 0.5 * share(norm(side.vel), 0.0, SPRINT))
    reach = reach * (HUNT_LEAST + (1 - HUNT_LEAST) * DIFFICULTY[team])
    rank = (near[None] < near[:, None]).sum(1)
    hunts = (side.on_ball >= 0) & (near < reach) & (rank < HUNTERS) & (marked < 0)
    to_goal, apart = goal - foe, side.pos - foe[None]
    along = (apart * to_goal[None]).sum(-1)
    part = jnp.clip(jnp.square(apart).sum(-1) / jnp.maximum(2 * along, 1e-3), 0.0, 1.0)
    part = jnp.where(along > 0, part, 0.0)
    spot = foe[None] + to_goal[None] * part[:, None] + (unit(to_goal, goal) * SPRINT * 0.1 + 0.14 * vel)[None]
    way = spot - side.pos
    speed = quantized(jnp.minimum(norm(way) * DISTANCE_TO_SPEED, SPRINT))
    return jnp.where(hunts[:, None], unit(way, jnp.zeros((2,))) * speed[:, None], want)


def _keeper(side: Side, ball: Array) -> Float[Array, " 2"]:
    """Velocity of the team's own goalkeeper: he stands in front of his goal, on the way of the ball to it."""
    goal = jnp.array([-HALF_LENGTH, 0.0])
    out = jnp.where(ball[0] > 0, KEEPER_OUT, 0.2 * norm(ball - goal))
    ahead = unit(ball - goal, jnp.array([1.0, 0.0]))
    spot = goal + jnp.where(ball[0] > 0, jnp.array([1.0, 0.0]), ahead) * out
    way = spot - side.pos[0]
    return unit(way, jnp.zeros((2,))) * jnp.minimum(norm(way) * DISTANCE_TO_SPEED, SPRINT)
