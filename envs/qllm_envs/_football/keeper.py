"""The opponents' goalkeeper: where he stands, how far he comes out, his saves (goalie_default.cpp, humanoid.cpp)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qllm_envs._football.ball import at_time
from qllm_envs._football.constants import (
    DISTANCE_TO_SPEED,
    GOAL_HALF_WIDTH,
    HALF_LENGTH,
    HALF_WIDTH,
    LEFT,
    RIGHT,
    SPRINT,
    WALK,
    Rules,
)
from qllm_envs._football.state import Ball, State, norm, share, unit

# From goalie_default.cpp but where another source is named.
FAR_LINE = 10.0  # m in front of his line while the ball is in the other half
LINE_DISTANCE = 0.7  # m, the least
SHOOTING, HELPER_SHOOTING = 20.0, 24.0  # m from goal at which attackers are taken to shoot
PANIC = 1.236  # of the goal's half width: 1.02 + 0.5 (1 - positioning and vision) with his stats at difficulty 0.6
SEEN = 32.0  # m within which a shot concerns him
BOX_LENGTH, BOX_WIDTH = 16.4, 20.05  # m, where hands are allowed (playercontroller.cpp)
CATCH = 0.3  # least ease of a ball that is held (humanoid.cpp)
REACTION = 0.85 * 0.72  # stat at difficulty 0.6 (playerdata.cpp)
# Reach: in place of the engine's recorded dives, an ellipse that grows. Fitted to the share of goals by place of shot.
DIVE_DELAY = 0.24  # s from a shot to the first move
DIVE_SPEED = 8.4  # m/s by which his reach across the way of the ball grows
STANDING, STRETCHED = 0.76, 2.3  # m, reach across it at first and at last
FORWARD = 1.22  # m, reach along the way of the ball
SPREAD = 0.27  # share of his reach that chance can take
OVERHEAD = 2.25  # m


class Threat(NamedTuple):
    """A ball that is on its way into the goal."""

    coming: Bool[Array, ""]
    y: Float[Array, ""]  # where it would cross the line


def threat(positions: Float[Array, "k 3"], pos: Float[Array, " 2"]) -> Threat:
    """Look if the ball will cross the goal line at the goal, or somewhat beside it."""
    now, soon = at_time(positions, jnp.array([0.0, 0.8]))
    along = soon[0] - now[0]
    part = (HALF_LENGTH - now[0]) / jnp.where(jnp.abs(along) > 1e-3, along, 1e-3)
    y = now[1] + (soon[1] - now[1]) * part
    near = norm(pos - at_time(positions, jnp.array(0.25))[:2]) < SEEN
    coming = (positions[-1, 0] > HALF_LENGTH) & near & (jnp.abs(y) < GOAL_HALF_WIDTH * PANIC)
    return Threat(coming, jnp.clip(y, -HALF_WIDTH, HALF_WIDTH))


def run_for(
    rules: Rules, state: State, positions: Float[Array, "k 3"], time: Float[Array, " p"], danger: Threat
) -> Float[Array, " 2"]:
    """Velocity that the goalkeeper wants."""
    index = rules.n_left
    pos = state.pos[index]
    ball = at_time(positions, 0.6 + 0.2 * time[index])[:2]
    tactical, walks = _tactical(rules, state, ball)
    target = jnp.where(danger.coming, _on_line(state, positions, pos, danger), tactical)
    target = jnp.where(ball[0] > 0, target, jnp.array([HALF_LENGTH - FAR_LINE, 0.0]))
    way = target - pos
    most = jnp.where(walks & ~danger.coming & (ball[0] > 0), WALK, SPRINT)
    return unit(way, jnp.zeros((2,))) * jnp.minimum(norm(way) * DISTANCE_TO_SPEED, most)


def _on_line(state: State, positions: Array, pos: Array, danger: Threat) -> Array:
    """The point nearest to him on the way of the ball to the goal."""
    start = positions[0, :2]
    end = jnp.stack([HALF_LENGTH + 0 * danger.y, danger.y])
    end = end + unit(start - end, jnp.array([-1.0, 0.0])) * 0.4
    part = _part(start, end, pos + state.vel[-1] * 0.0)
    point = start + (end - start) * jnp.clip(part, 0.0, 1.0)
    return point.at[0].set(jnp.clip(point[0], -HALF_LENGTH + 0.2, HALF_LENGTH - 0.2))


def _part(start: Array, end: Array, point: Array) -> Array:
    """Position of the foot of a point on a line, 0 at its start and 1 at its end."""
    line = end - start
    return ((point - start) * line).sum() / jnp.maximum(jnp.square(line).sum(), 1e-6)


def _tactical(rules: Rules, state: State, ball: Array) -> tuple[Array, Array]:
    """The point that makes the goal small, and True if he is to walk back to it."""
    index, goal = rules.n_left, jnp.array([HALF_LENGTH, 0.0])
    posts = jnp.array([[HALF_LENGTH, GOAL_HALF_WIDTH], [HALF_LENGTH, -GOAL_HALF_WIDTH]]) - ball[None]
    middle = unit(unit(posts, jnp.array([1.0, 0.0])).sum(0), jnp.array([1.0, 0.0]))
    reach = (HALF_LENGTH - LINE_DISTANCE - ball[0]) / jnp.maximum(middle[0], 0.05)
    on_line = ball + middle * reach
    on_line = jnp.stack([HALF_LENGTH - LINE_DISTANCE + 0 * reach, jnp.clip(on_line[1], -3.7, 3.7)])
    attacked = state.fading[RIGHT] < 1.0
    carrier = state.designated[LEFT]
    opponent = state.pos[carrier] + state.vel[carrier] * 0.32
    owns = (state.owner == carrier) & (state.owner_team == LEFT)
    front = jnp.where(owns, opponent * 0.4 + ball * 0.6, opponent * 0.6 + ball * 0.4)
    front = jnp.where(attacked, front, ball)
    calm = 0.3 * share(state.fading[RIGHT], 1.0, 1.5)
    out = jnp.where(attacked, _coming_out(rules, state, opponent, carrier, goal), calm)
    length = norm(front - on_line)
    distance = jnp.clip(jnp.maximum(length - 0.5, 0.0) * out, LINE_DISTANCE, HALF_LENGTH)
    target = on_line + unit(front - on_line, jnp.array([-1.0, 0.0])) * distance
    target = target.at[0].set(jnp.clip(target[0], -HALF_LENGTH + 0.2, HALF_LENGTH - 0.2))
    pos = state.pos[index]
    part = _part(front, on_line, pos)
    aside = norm(pos - (front + (on_line - front) * part))
    return target, (norm(target - goal) < norm(pos - goal)) & (aside < 1.0) & (part > 0)


def _coming_out(rules: Rules, state: State, opponent: Array, carrier: Array, goal: Array) -> Array:
    """Share of the way to the attacker that he comes out: all of it if no defender can help and no second attacker."""
    n, defenders = rules.n_left, slice(rules.n_left + 1, rules.n_players)
    mates = state.pos[defenders] + state.vel[defenders] * 0.24
    threshold, late = _danger(opponent, goal, SHOOTING, mates)
    distance = norm(state.pos[:n] - goal[None])
    helper = jnp.argmin(jnp.where(jnp.arange(n) == carrier, jnp.inf, distance))
    second = state.pos[helper] + state.vel[helper] * 0.32
    helper_threshold, helper_late = _danger(second, goal, HELPER_SHOOTING, mates)
    free = jnp.where(helper_late > helper_threshold, share(helper_late - helper_threshold, 0.0, 2.0), 0.0)
    ratio = 0.7 * (1 - share(helper_threshold / (threshold + 1e-4), 1.0, 1.5))
    return jnp.where(late > threshold + 1.0, jnp.clip(1 - free * ratio, 0.0, 1.0), 0.0)


def _danger(attacker: Array, goal: Array, shooting: float, mates: Array) -> tuple[Array, Array]:
    """Distances of an attacker, and of the nearest defender, to the point from which he will shoot."""
    to_goal = norm(goal - attacker)
    threshold = jnp.clip(to_goal - shooting * share(to_goal, 0.0, shooting * 2), 0.0, HALF_LENGTH)
    point = attacker + unit(goal - attacker, jnp.zeros((2,))) * threshold
    return threshold, norm(mates - point[None]).min()


def reaches(rules: Rules, ball: Ball, pos: Array, dive: Array, luck: Array) -> Bool[Array, ""]:
    """True if the goalkeeper's hands are at the ball: in an ellipse across its way, which grows as he dives."""
    side = jnp.clip(STANDING + DIVE_SPEED * (dive - DIVE_DELAY), STANDING, STRETCHED) * (1 - SPREAD * luck)
    away = ball.pos[:2] - pos[rules.n_left]
    way = unit(ball.vel[:2], jnp.array([1.0, 0.0]))
    along, across = (away * way).sum(), away[0] * way[1] - away[1] * way[0]
    in_box = (ball.pos[0] > HALF_LENGTH - BOX_LENGTH) & (jnp.abs(ball.pos[1]) < BOX_WIDTH)
    inside = jnp.square(along / FORWARD) + jnp.square(across / side) < 1.0
    return inside & (ball.pos[2] < OVERHEAD) & in_box & (ball.pos[0] < HALF_LENGTH + 0.1)


def holds(ball: Ball, vel: Array, since_kick: Array) -> Bool[Array, ""]:
    """True if the goalkeeper keeps a ball that he reaches: it must be slow enough, and not too sudden."""
    fast = share(norm(ball.vel - jnp.concatenate([vel, jnp.zeros(1)])), 0.0, 40.0)
    sudden = (1 - share(since_kick, 0.0, 1.2 - REACTION * 0.4)) ** 0.6
    return (1 - fast) * (1 - sudden) >= CATCH


def parried(ball: Ball, vel: Array, luck: Array) -> Float[Array, " 3"]:
    """Velocity of a ball that he only deflects: away from the goal, with his own movement, and up."""
    flat = ball.vel[:2]
    way = unit(-flat * 0.1 + vel * 2.0 + jnp.stack([-4.0 + 0 * luck, 2 * luck - 1]), jnp.array([-1.0, 0.0]))
    return jnp.concatenate([way * (norm(flat) * 0.3 + norm(vel) * 2.5), jnp.array([1.2])])
