"""Places of the players of a whole team in its formation (GetAdaptedFormationPosition of the engine).

All in the team's own frame, own goal at x = -55; the formation's own places are those at the start of the scenario.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qllm_envs._football.constants import (
    BACK,
    FORWARD,
    GOALKEEPER,
    HALF_LENGTH,
    HALF_WIDTH,
    LEFT,
    LEFT_BACK,
    LEFT_WING,
    RIGHT_BACK,
    RIGHT_WING,
    Rules,
    roles,
    start_positions,
)
from qllm_envs._football.state import norm, share

# Tactics, each for a team in possession of the ball and for one that is not (teamAIcontroller.cpp).
DEPTH, WIDTH = 0.45, 0.95
DEPTH_SHARE, WIDTH_SHARE, OWN_HALF = (0.9, 0.75), (0.9, 0.8), (0.52, 0.54)
MIDFIELD, MIDFIELD_STRENGTH = (0.6, 0.5), 0.35
SIDE_STRENGTH, FOCUS_STRENGTH = (0.1, 0.4), (0.7, 0.8)
FOCUS_REACH = 50.0  # m within which the ball draws players
FIT_DEPTH, FIT_WIDTH = 0.95, 0.9
BACKS, WINGS, WIDE_BACKS = (BACK, LEFT_BACK, RIGHT_BACK), (LEFT_WING, RIGHT_WING), (LEFT_BACK, RIGHT_BACK)


def of_role(role: np.ndarray, back: float, midfielder: float, forward: float) -> np.ndarray:
    """A number for each player by his role; the goalkeeper has that of backs."""
    backs = np.isin(role, (GOALKEEPER, *BACKS))
    return np.where(backs, back, np.where(role == FORWARD, forward, midfielder)).astype(np.float32)


def mindset(role: np.ndarray) -> np.ndarray:
    """Return the share of attack in each role's mind, from 0 to 1 (AI_GetMindSet)."""
    return of_role(role, 0.0, 0.5, 1.0) + np.float32(0.25) * np.isin(role, WIDE_BACKS)


def curve(value: Array) -> Array:
    """An S in place of a straight line from 0 to 1."""
    return jnp.sin((value - 0.5) * jnp.pi) * 0.5 + 0.5


def places(
    rules: Rules, team: int, fading: Array, ball: Float[Array, " 2"], mean: Float[Array, " 2"], line: Array
) -> Float[Array, "n 2"]:
    """Positions of a team's formation: `mean` is the ball's position, smoothed, and `line` the x of the last line."""
    start = start_positions(rules.scenario)[1]
    start = start[: rules.n_left] if team == LEFT else -start[rules.n_left :]
    role = roles(rules.scenario)[: rules.n_left] if team == LEFT else roles(rules.scenario)[rules.n_left :]
    x, y = start[:, 0] / HALF_LENGTH, start[:, 1] / HALF_WIDTH
    forward = mean[0] / HALF_LENGTH
    amount = share(fading - 0.5, 0.3, 0.7)
    unclear = 0.6 * (1 - jnp.abs(2 * amount - 1))
    attack = jnp.clip(amount * (1 - unclear) + share(forward, -0.7, 0.7) * unclear, 0.0, 1.0)
    mixed = lambda both, more=(0.0, 0.0): (both[0] + more[0]) * attack + (both[1] + more[1]) * (1 - attack)

    depth = DEPTH * mixed(DEPTH_SHARE, (0.0, np.where(role == FORWARD, 0.125, 0.0)))
    width = WIDTH * mixed((np.minimum(WIDTH_SHARE[0] + np.where(np.isin(role, BACKS), 0.2, 0.0), 1.0), WIDTH_SHARE[1]))
    up = np.where(np.isin(role, (*WIDE_BACKS, *WINGS)), -0.1, 0.0)
    up_defense = np.where(np.isin(role, WIDE_BACKS), -0.075, np.where(np.isin(role, WINGS), -0.05, 0.0))
    back = -HALF_LENGTH * (2 * mixed(OWN_HALF, (up, up_defense)) - 1)
    mind = mindset(role)
    of_side = mixed(
        (
            np.clip(SIDE_STRENGTH[0] + 0.2 * (mind - 0.5) - 0.15, 0.0, 1.0),
            np.clip(SIDE_STRENGTH[1] + 0.2 * (0.5 - mind) - 0.15, 0.0, 1.0),
        )
    )
    side_x = HALF_LENGTH * (0.2 * (2 * attack - 1) + 0.8 * (2 * amount - 1))
    center_x = jnp.clip(mean[0] * (1 - of_side) + side_x * of_side + back, -HALF_LENGTH, HALF_LENGTH)
    center_x = center_x * ((1 - depth) * FIT_DEPTH + 1 - FIT_DEPTH)
    center_y = mean[1] * ((1 - width) * FIT_WIDTH + 1 - FIT_WIDTH)
    low_x = jnp.maximum(center_x - depth * HALF_LENGTH, line)
    high_x = center_x + depth * HALF_LENGTH

    middle = 0.7 * mixed(MIDFIELD) + 0.3 * share(forward, -0.8, 0.8)
    stretch = MIDFIELD_STRENGTH * curve(jnp.clip(1 - np.abs(1.2 * x), 0.0, 1.0))
    x = x * (1 - stretch) + (2 * middle - 1) * stretch
    spot_x = low_x + (0.5 * x + 0.5) * (high_x - low_x)
    spot_y = center_y + y * width * HALF_WIDTH
    pure = jnp.stack([spot_x, spot_y], -1)
    near = 1 - jnp.clip(jnp.abs(mean[1] - spot_y) / (2 * width * HALF_WIDTH), 0.0, 1.0)
    drawn = near * (0.2 + 0.8 * jnp.abs(mean[1]) / HALF_WIDTH) * mixed((0.5, 0.2))
    spot_y = spot_y * (1 - drawn) + mean[1] * drawn
    return _focused(jnp.stack([spot_x, spot_y], -1), pure, low_x, ball, mean, attack)


def _focused(place: Array, pure: Array, low_x: Array, ball: Array, mean: Array, attack: Array) -> Float[Array, "n 2"]:
    """Places drawn towards the ball."""
    focus = mean * attack + (0.5 * mean + 0.5 * ball) * (1 - attack)
    ahead = jnp.clip(focus[0] + 1.0, -HALF_LENGTH, HALF_LENGTH)
    behind = jnp.maximum(focus[0] - 2.0, low_x)
    focus_x = ahead * attack + behind * (1 - attack)
    focus_y = 0.9 * focus[1] + 0 * focus_x
    forward = 0.3 + 0.7 * share(mean[0] / HALF_LENGTH, -0.7, 0.7)
    strength = FOCUS_STRENGTH[0] * attack + FOCUS_STRENGTH[1] * (1 - attack)
    strength = strength * (0.2 + 0.8 * (forward**0.8 * attack + (1 - forward) ** 0.6 * (1 - attack)))
    focus = jnp.stack([focus_x, focus_y], -1)
    far = norm((focus - pure) * jnp.array([[1.0, 0.8]])) / FOCUS_REACH
    value = 1 - far
    value = curve(value) * 0.3 + value * 0.7 + 0.1 * (1 - share(jnp.abs(far - 0.15), 0.0, 0.25))
    drawn = (jnp.clip(value, 0.0, 1.0) * strength * (far < 1))[:, None]
    goes = jnp.stack([focus_x, 0.6 * focus_y + 0.4 * place[:, 1]], -1)
    return place * (1 - drawn) + goes * drawn
