"""Common part of tests of football: rules, states made by hand, and one program for many cases of a function."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import qllm_envs
from qllm_envs._football import constants, game
from qllm_envs._football.state import Ball, State

NAMES = tuple(constants.SCENARIOS)
THREE, SHOOT, COUNTER = NAMES
RULES, TEAMS = constants.rules(THREE, 150), constants.rules(COUNTER, 150)
RIGHT_KEY, LONG_PASS, HIGH_PASS, SHORT_PASS, SHOT, RELEASE = 5, 9, 10, 11, 12, 14
PLACED = jax.jit(lambda pos, ball: game.placed(RULES, pos, jnp.zeros_like(pos), jnp.eye(1, 2).repeat(6, 0), ball))


def at(x: Any, y: Any, z: Any = constants.BALL_RADIUS, vx: Any = 0.0) -> Ball:
    return Ball(jnp.array([x, y, z]), jnp.array([vx, 0.0, 0.0]), jnp.zeros(3))


def placed(ball: Ball, **changed: Any) -> State:
    """A state of 3v1 with all players but agent 1 far from the ball, and that one half a meter behind it."""
    pos = jnp.array([[-55.0, 0], [0, 0], [10, 30], [10, -30], [55, 0], [-50, 30]])
    pos = pos.at[1].set(ball.pos[:2] - jnp.array([0.5, 0.0]))
    return PLACED(pos, ball)._replace(**changed)


@functools.cache
def start(scenario: str) -> State:
    return jax.jit(qllm_envs.make("football_lite", scenario=scenario).reset)(jax.random.key(0))


def each(function: Callable, *cases: Any) -> Any:
    """Results of `function` for each of several cases (C, ...), as NumPy arrays."""
    return jax.device_get(jax.jit(jax.vmap(function))(*cases))
