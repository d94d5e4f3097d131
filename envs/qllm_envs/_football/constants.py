"""Sizes, speeds and scenarios of football, in meters and seconds, as in Google Research Football's engine 2.10.2.

The origin is the center of the pitch. x grows towards the goal that the left team attacks, y to its left hand side, z
upwards. The engine's observations are scaled and turn y round: see `SEEN_SCALE`.
"""

from typing import NamedTuple

import numpy as np

TICK, TICKS = 0.01, 10  # the engine computes in ticks of 10 ms, ten of them to an env step
STEP = TICK * TICKS
HORIZON = 150  # steps of an episode in QLLM's release and in pymarl2 (time_limit of envs/gfootball.yaml)

HALF_LENGTH, HALF_WIDTH = 55.0, 36.0  # gamedefines.hpp
LINE = 0.06  # half the width of a line, gamedefines.hpp
GOAL_HALF_WIDTH, GOAL_HEIGHT = 3.7, 2.5
BALL_RADIUS, POST_RADIUS = 0.11, 0.07
SEEN_SCALE = np.array([1 / 54.4, -1 / 83.6], np.float32)  # of x and y in observations (defines.hpp)

IDLE, DRIBBLE, WALK, SPRINT = 0.0, 3.5, 5.0, 8.0  # speeds that a player can want, m/s (gamedefines.hpp)
IDLE_DRIBBLE_SWITCH = 1.8  # below it a player counts as standing
DISTANCE_TO_SPEED = 2.6  # speed that is wanted for each meter to go
TOUCH_OFFSET = 0.08  # s into a stride at which the foot meets the ball

LEFT, RIGHT = 0, 1
# Numbers of roles as in the engine's observations.
GOALKEEPER, BACK, LEFT_BACK, RIGHT_BACK, MIDFIELDER, LEFT_WING, RIGHT_WING, FORWARD = 0, 1, 2, 3, 5, 6, 7, 9

ACTION_NAMES = (
    "idle",
    "left",
    "top_left",
    "top",
    "top_right",
    "right",
    "bottom_right",
    "bottom",
    "bottom_left",
    "long_pass",
    "high_pass",
    "short_pass",
    "shot",
    "sprint",
    "release_direction",
    "release_sprint",
    "sliding",
    "dribble",
    "release_dribble",
)
N_DIRECTIONS = 8
SHORT_PASS, LONG_PASS, HIGH_PASS, SHOT = 1, 2, 3, 4  # of a buffered kick; 0 is none
KICK_OF_ACTION = np.array([0] * 9 + [LONG_PASS, HIGH_PASS, SHORT_PASS, SHOT] + [0] * 6)
_ANGLES = np.deg2rad([0, 180, 135, 90, 45, 0, -45, -90, -135])
DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1).astype(np.float32)
DIRECTIONS[0] = 0.0  # no direction is held


class Scenario(NamedTuple):
    """Start of an episode as the engine's scenario files state it; positions of the right team are mirrored."""

    ball: tuple[float, float]
    left: tuple[tuple[float, float, int], ...]  # (x, y, role), the goalkeeper first
    right: tuple[tuple[float, float, int], ...]
    short: str  # its name in run folders
    agents: tuple[int, ...] | None = None  # players of the left team that agents control at first; None: all


SCENARIOS = {
    "academy_3_vs_1_with_keeper": Scenario(
        ball=(0.62, 0.0),
        left=((-1, 0, GOALKEEPER), (0.6, 0, MIDFIELDER), (0.7, 0.2, MIDFIELDER), (0.7, -0.2, MIDFIELDER)),
        right=((-1, 0, GOALKEEPER), (-0.75, 0, BACK)),
        short="3v1",
    ),
    "academy_pass_and_shoot_with_keeper": Scenario(
        ball=(0.7, -0.28),
        left=((-1, 0, GOALKEEPER), (0.7, 0, BACK), (0.7, -0.3, BACK)),
        right=((-1, 0, GOALKEEPER), (-0.75, 0.3, BACK)),
        short="pass_and_shoot",
    ),
    "academy_counterattack_easy": Scenario(
        ball=(0.26, -0.11),
        left=(
            (-1, 0, GOALKEEPER),
            (-0.672, -0.19576, LEFT_BACK),
            (-0.75, -0.06356, BACK),
            (-0.75, 0.063559, BACK),
            (-0.672, 0.19576, RIGHT_BACK),
            (-0.434, -0.10568, MIDFIELDER),
            (-0.434, 0.10568, MIDFIELDER),
            (0.5, -0.3161, MIDFIELDER),
            (0.25, -0.1, LEFT_WING),
            (0.25, 0.1, RIGHT_WING),
            (0.35, 0.316102, FORWARD),
        ),
        right=(
            (-1, 0, GOALKEEPER),
            (0.128, -0.19576, LEFT_BACK),
            (0.4, -0.06356, BACK),
            (-0.4, 0.063559, BACK),
            (0.128, -0.19576, RIGHT_BACK),
            (0.365, -0.10568, MIDFIELDER),
            (0.282, 0.0, MIDFIELDER),
            (0.365, 0.10568, MIDFIELDER),
            (0.54, -0.3161, LEFT_WING),
            (0.51, 0.0, RIGHT_WING),
            (0.54, 0.316102, FORWARD),
        ),
        short="counterattack",
        agents=(5, 6, 7, 8),  # as the engine hands them out at its reset to four agents
    ),
}


class Rules(NamedTuple):
    """The options of `make`, checked. All static, and hashable."""

    scenario: str
    n_left: int
    n_right: int
    horizon: int
    agents: tuple[int, ...]  # players of the left team that are controlled at first, one for each agent

    @property
    def n_agents(self) -> int:
        """A."""
        return len(self.agents)

    @property
    def hops(self) -> bool:
        """True if only some players of the left team are controlled: control then hops to the one at the ball."""
        return self.n_agents < self.n_left

    @property
    def n_players(self) -> int:
        """P: the left team, then the right one."""
        return self.n_left + self.n_right


def rules(scenario: str, horizon: int) -> Rules:
    """Return the rules of a scenario that is known."""
    given = SCENARIOS[scenario]
    n_left = len(given.left)
    return Rules(scenario, n_left, len(given.right), horizon, given.agents or tuple(range(n_left)))


def start_positions(scenario: str) -> tuple[np.ndarray, np.ndarray]:
    """(ball (2,), players (P, 2)) in meters. Both goalkeepers stand in the middle of their goal lines."""
    given = SCENARIOS[scenario]
    # Players stand at shares of half the pitch, the ball in units of observations (FORMATION_Y_SCALE, gamedefines.hpp).
    scale = np.array([HALF_LENGTH, -2.36 * HALF_WIDTH])
    left = np.array([player[:2] for player in given.left]) * scale
    right = -np.array([player[:2] for player in given.right]) * scale
    ball = np.array(given.ball) / SEEN_SCALE
    return ball.astype(np.float32), np.concatenate([left, right]).astype(np.float32)


def roles(scenario: str) -> np.ndarray:
    """(P,) roles."""
    given = SCENARIOS[scenario]
    return np.array([player[2] for player in given.left + given.right], np.int32)
