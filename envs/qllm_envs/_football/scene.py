"""Pictures of a football match: the pitch in front of the goal, players with roles, the ball with its height."""

from typing import Any

import numpy as np

from qllm_envs._football import control
from qllm_envs._football.constants import (
    BALL_RADIUS,
    GOAL_HALF_WIDTH,
    GOALKEEPER,
    HALF_LENGTH,
    HALF_WIDTH,
    Rules,
    roles,
)
from qllm_envs.core import Bar, Key, Line, Scene, Shape

AGENT, OWNER, OPPONENT, BALL, MATE = "tab:blue", "tab:orange", "tab:red", "black", "#a9c4e0"
LINES, RUN = "#9aa5b1", "gold"
BEHIND, BESIDE = 4.0, 2.0  # m around the pitch
PLAYER, HEIGHT = 2.0, 4.0  # m, radius of a player; height of the ball that fills its bar
BOXES = ((16.5, 20.16), (5.5, 9.16))  # length and half the width of the areas in front of the goals
KEY = (
    Key("circle", OWNER, "agent with the ball"),
    Key("circle", OPPONENT, "opponent (G: goalkeeper)"),
    Key("circle", BALL, "ball (bar: height)"),
    Key("line", RUN, "0.4 s of running"),
)
MATES = Key("circle", MATE, "player of the team without an agent")


def scene(rules: Rules, state: Any) -> Scene:
    """The pitch from above. Lines show where players run, a bar how high the ball is."""
    n, role = rules.n_left, roles(rules.scenario)
    pos, vel = _inside(np.asarray(state.pos)), np.asarray(state.vel)
    owner, agent_of = int(state.owner), {int(p): i for i, p in enumerate(control.players(rules, state))}
    shapes, lines = [], _pitch()
    for i, (x, y) in enumerate(pos.tolist()):
        name = "G" if role[i] == GOALKEEPER else ""
        if i in agent_of:
            color = OWNER if i == owner else AGENT
            shapes.append(Shape("circle", (x, y), PLAYER, color, str(agent_of[i]), agent=agent_of[i]))
        elif i < n:
            shapes.append(Shape("circle", (x, y), PLAYER, MATE, name))
        else:
            shapes.append(Shape("circle", (x, y), PLAYER, OPPONENT, name))
        end = _inside(pos[i] + 0.4 * vel[i])
        lines.append(Line((x, y), (float(end[0]), float(end[1])), RUN))
    ball = np.asarray(state.ball.pos)
    height = float(np.clip((ball[2] - BALL_RADIUS) / HEIGHT, 0.0, 1.0))
    x, y = _inside(ball[:2]).tolist()
    bars = (Bar(height, "tab:green"),) if height > 0.02 else ()
    shapes.append(Shape("circle", (x, y), 0.5 + 0.5 * height, BALL, "", bars=bars))
    bounds = (-HALF_LENGTH - BEHIND, -HALF_WIDTH - BESIDE, HALF_LENGTH + BEHIND, HALF_WIDTH + BESIDE)
    return Scene(tuple(shapes), bounds, tuple(lines), key=(*KEY, MATES) if rules.hops else KEY)


def _inside(point: np.ndarray) -> np.ndarray:
    bound = np.array([HALF_LENGTH + BEHIND, HALF_WIDTH + BESIDE])
    return np.clip(point, -bound, bound)


def _pitch() -> list[Line]:
    """Lines of the pitch, and the goals behind its ends."""
    lines = [Line((0.0, -HALF_WIDTH), (0.0, HALF_WIDTH), LINES)]
    lines += _box(-HALF_LENGTH, HALF_LENGTH, HALF_WIDTH)
    for end in (-1.0, 1.0):
        lines += _box(end * HALF_LENGTH, end * (HALF_LENGTH + 2.5), GOAL_HALF_WIDTH)
        for length, width in BOXES:
            lines += _box(end * HALF_LENGTH, end * (HALF_LENGTH - length), width)
    return lines


def _box(x0: float, x1: float, half: float) -> list[Line]:
    corners = [(x0, -half), (x1, -half), (x1, half), (x0, half)]
    return [Line(a, b, LINES) for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)]
