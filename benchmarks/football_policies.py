"""Fixed policies of the football tasks, for the engine and for its port alike: functions of an observation and a step.

`policy(xp, obs (N, 115), t, n_left, draw (N,)) -> actions (N,)` with `xp` numpy or jax.numpy, and `draw` uniform in
[0, 1) for the random one. None of them plays well: they reach different parts of the game.
"""

from collections.abc import Callable
from typing import Any

HALF = (54.4, 83.6)  # meters of a unit of an observation, y pointing down
# Actions of the eight directions, from the right clockwise as an observation's y points down.
RIGHT_FIRST = (5, 6, 7, 8, 1, 2, 3, 4)
IDLE, SHORT_PASS, SHOT, SPRINT = 0, 11, 12, 13
NEAR_BALL = 1.5  # meters


def random(xp: Any, _obs: Any, _t: Any, _n_left: int, draw: Any) -> Any:
    """Each of the 19 actions is as likely."""
    return xp.floor(draw * 19).astype(int)


def idle(xp: Any, obs: Any, _t: Any, _n_left: int, _draw: Any) -> Any:
    """Nobody acts."""
    return xp.zeros(len(obs), int)


def solo(xp: Any, obs: Any, t: Any, n_left: int, _draw: Any, reach: float = 14.0) -> Any:
    """The player nearest to the ball sprints with it to the goal and shoots from less than `reach` meters."""
    to_ball, to_goal, nearest = scene(xp, obs, n_left)
    length = xp.sqrt(xp.sum(to_goal**2, -1))
    has_ball = xp.sqrt(xp.sum(to_ball**2, -1)) < NEAR_BALL
    run = direction(xp, xp.where(has_ball[:, None], to_goal, to_ball))
    act = xp.where(t % 4 == 1, SPRINT, run)
    act = xp.where(has_ball & (length < reach), SHOT, act)
    return xp.where(nearest, act, IDLE)


def pass_shoot(xp: Any, obs: Any, t: Any, n_left: int, draw: Any) -> Any:
    """The player nearest to the ball passes to the nearest mate at step 4; from step 12 on `solo` with 18 meters."""
    _, _, nearest = scene(xp, obs, n_left)
    own = positions(xp, obs, n_left)
    here = own[xp.argmax(nearest_player(xp, obs, n_left))]
    gap = xp.sum((own - here) ** 2, -1)
    gap = xp.where((gap < 0.01) | (xp.arange(n_left) == 0), xp.inf, gap)
    hold = direction(xp, (own[xp.argmin(gap)] - here)[None])[0]
    early = xp.where(t < 4, hold, xp.where(t == 4, SHORT_PASS, IDLE))
    return xp.where(t < 12, xp.where(nearest, early, IDLE), solo(xp, obs, t, n_left, draw, 18.0))


POLICIES: dict[str, Callable[..., Any]] = {"random": random, "idle": idle, "solo": solo, "pass_shoot": pass_shoot}


def positions(xp: Any, obs: Any, n_left: int) -> Any:
    """Positions (n_left, 2) of the own team in meters, y pointing down."""
    return obs[0, : 2 * n_left].reshape(n_left, 2) * xp.asarray(HALF)


def nearest_player(xp: Any, obs: Any, n_left: int) -> Any:
    """Mark (n_left,) the player nearest to the ball, its goalkeeper left out."""
    gap = xp.sum((positions(xp, obs, n_left) - obs[0, 88:90] * xp.asarray(HALF)) ** 2, -1)
    gap = xp.where(xp.arange(n_left) == 0, xp.inf, gap)
    return xp.arange(n_left) == xp.argmin(gap)


def scene(xp: Any, obs: Any, n_left: int) -> tuple[Any, Any, Any]:
    """Ways of each agent to the ball and to the goal (N, 2) in meters, and a mark (N,) of the nearest to the ball."""
    player = xp.argmax(obs[:, 97:108], -1)
    own = positions(xp, obs, n_left)[player]
    to_ball = obs[0, 88:90] * xp.asarray(HALF) - own
    to_goal = xp.asarray((HALF[0], 0.0)) - own
    return to_ball, to_goal, nearest_player(xp, obs, n_left)[player]


def direction(xp: Any, way: Any) -> Any:
    """The action (N,) of the direction nearest to `way` (N, 2)."""
    eighth = xp.round(xp.arctan2(way[:, 1], way[:, 0]) / (xp.pi / 4)).astype(int) % 8
    return xp.asarray(RIGHT_FIRST)[eighth]
